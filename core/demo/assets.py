"""Finds the embedded files and reads what is true about the suspects."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ..errors import MissingWeightsError
from ..records import Reader
from .suspects import CONTROLS, SUSPECTS, LoraRecipe, Suspect

ASSETS = Path(__file__).resolve().parent / "assets"


@dataclass(frozen=True, kw_only=True)
class SuspectTruth:
    """What is known about one suspect. Folders and files are relative to the assets.

    Attributes:
        name: of the suspect. role: guilty, innocent, unrelated, study, institution or shadow.
        adapter: its LoRA file. trained_on: the photo folder it was trained on.
        query: the photo folder to ask about. controls: exchangeable photos that no model saw.
        member: whether ``query`` is ``trained_on``. prompt: the one caption of its training.
        domain: institution of the training photos.
        recipe: how it was trained. expected: what an honest examiner should find.
    """

    name: str
    role: str
    adapter: str
    trained_on: str
    query: str
    controls: str
    member: bool
    prompt: str
    domain: str
    recipe: LoraRecipe
    expected: str


@dataclass(frozen=True)
class Truth:
    """What ``truth.json`` holds: the truth about each suspect, by name."""

    schema: Literal[1]
    suspects: dict[str, SuspectTruth]


def asset_path(name: str) -> Path:
    """Absolute path of an embedded file or folder.

    Raises:
        MissingWeightsError: it is not there; the message says how to build it.
    """
    path = ASSETS / name
    if not path.exists():
        raise MissingWeightsError(
            "DEMO_ASSET",
            f"{path} is missing: rebuild it with "
            f"`python -m lora_forensics.core.demo.making.recipe --out {ASSETS}`",
        )
    return path


def suspect_truth(suspect: Suspect) -> SuspectTruth:
    """The truth about a planned suspect."""
    return SuspectTruth(
        name=suspect.name,
        role=suspect.role,
        adapter=f"suspects/{suspect.name}.safetensors",
        trained_on=f"photos/{suspect.name}",
        query=f"photos/{suspect.query}",
        controls=f"photos/{CONTROLS['southfield' if 'south' in suspect.query else 'northgate']}",
        member=suspect.query == suspect.name,
        prompt=suspect.prompt,
        domain=suspect.domain,
        recipe=suspect.recipe,
        expected=suspect.expected,
    )


def write_truth(folder: Path, suspects: Sequence[Suspect] = SUSPECTS) -> None:
    """Writes ``truth.json``."""
    truth = Truth(1, {s.name: suspect_truth(s) for s in suspects})
    text = json.dumps(asdict(truth), indent=1) + "\n"
    (folder / "truth.json").write_text(text, encoding="utf-8")


def load_truth(path: Path | None = None) -> dict[str, SuspectTruth]:
    """Reads ``truth.json`` (the embedded one by default), by name of suspect.

    Raises:
        InputError: the file was changed (BAD_TRUTH).
    """
    path = path or asset_path("truth.json")
    reader = Reader(str(path), "BAD_TRUTH", "rebuild the demo with its recipe")
    return reader.read(Truth, path.read_bytes()).suspects
