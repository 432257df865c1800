"""Decoys: publish one of many secret variants of a photo set, and rank it in a suspect later."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from comfy_api.latest import io

from ..core.casework.decoy_files import (
    PUBLISH,
    SECRET,
    base_ratio_score,
    make_files,
    ranked_photos,
    read_originals,
)
from ..core.casework.intake import names_in
from ..core.casework.lines import DecoysRanked
from ..core.casework.photo_sets import PhotoSet
from ..core.decoys import Secret, rank_variants, read_secret
from ..core.errors import InputError, plural
from ..core.report.words import decoy_words
from ..core.specs import DecoySpec, MembershipSpec
from ..core.storage import Work
from . import _sockets as sockets
from ._host import HostProgress, check_name, output_folder, work_folder
from ._schema import (
    CATEGORY,
    accepted,
    inputs_of,
    outputs_of,
    prompts_input,
    resolution_input,
    spec_of,
)

DECOYS = f"{CATEGORY}/decoys"
FOLDER = "decoys"
NO_FOLDER = "(no decoys; run Make Decoys first)"
FIELDS = ("timesteps", "noises", "batch", "seed")


class MakeDecoys(io.ComfyNode):
    """Variants of a photo set, of which one is to be published."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsMakeDecoys",
            display_name="Make Decoys",
            category=DECOYS,
            description="Before photos go out: draws secret variants and writes the one to "
            "publish. Its rank in a suspect is an exact p-value later, without any control.",
            inputs=[
                sockets.Photos.Input("photos", tooltip="From Photos From Folder."),
                *inputs_of(DecoySpec, ("kind", "decoys", "amplitude", "grid")),
                io.String.Input("name", default="decoys", tooltip="Letters, digits, - and _ only."),
            ],
            outputs=outputs_of(commitment=io.String, summary=io.String),
            is_output_node=True,
        )

    @classmethod
    def execute(cls, photos, name, **settings) -> io.NodeOutput:
        """Write the variant and its secret into a new folder."""
        place = decoy_folder(name)
        secret = make_files(_originals(photos), place, spec_of(DecoySpec, settings))
        shown = f"output/lora_forensics/{FOLDER}/{place.name}"
        summary = (
            f"publish {shown}/{PUBLISH}, and nothing else of that folder\n"
            f"keep {shown}/{SECRET} and the originals; show them to nobody before the ranking\n"
            f"publish the commitment, or leave it with a notary: {secret.commitment}\n"
            f"{secret.kind}, {plural(len(secret.seeds), 'variant')} of "
            f"{plural(len(secret.names), 'photo')}"
        )
        return io.NodeOutput(secret.commitment, summary, ui={"text": [summary]})

    @classmethod
    def validate_inputs(cls, name="decoys") -> bool | str:
        """A bad name is refused before anything runs."""
        return accepted(check_name, name)


class RankDecoys(io.ComfyNode):
    """The published variant among its decoys, in a suspect."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """The form."""
        return io.Schema(
            node_id="LoraForensicsRankDecoys",
            display_name="Rank Decoys",
            category=DECOYS,
            description="Scores every variant with the suspect and ranks the published one. Exact "
            "for a suspect that was not trained on it: no control and no null model is needed.",
            inputs=[
                sockets.Suspect.Input("suspect"),
                io.Vae.Input("vae"),
                sockets.Photos.Input("photos", tooltip="The originals, not the published variant."),
                io.Combo.Input(
                    "folder",
                    options=decoy_folders() or [NO_FOLDER],
                    tooltip="Made by Make Decoys, below output/lora_forensics/decoys.",
                ),
                prompts_input(),
                *inputs_of(MembershipSpec, FIELDS),
                resolution_input(),
            ],
            outputs=outputs_of(decoys=sockets.Decoys, p=io.Float, summary=io.String),
        )

    @classmethod
    def execute(
        cls, suspect, vae, photos, folder, prompts, resolution, **settings
    ) -> io.NodeOutput:
        """Score each photo of each variant once; finished photos are kept."""
        secret, spec = secret_of(folder), spec_of(MembershipSpec, settings)
        place, chosen = _originals(photos), suspect.prompts(prompts)
        suspect.stop_if_minor([*chosen, *secret.names, *names_in(place)])
        pixels = read_originals(secret, place)
        with suspect.pair(vae, resolution, chosen) as pair:
            facts = {"models": pair.describe(), "commitment": secret.commitment}
            facts |= {"prompt": chosen[0], "settings": asdict(spec), "strength": suspect.strength}
            with work_folder({"kind": "decoys", **facts}) as case:
                score = base_ratio_score(pair, chosen[0], spec, Work(case))
                rank = rank_variants(secret, pixels, score, progress=HostProgress())
        ranked = DecoysRanked(rank, suspect.hashes, ranked_photos(secret, pixels))
        return io.NodeOutput(ranked, rank.p, decoy_words(rank))

    @classmethod
    def fingerprint_inputs(cls, folder, **_) -> str:
        """The commitment, which names the secret."""
        return secret_of(folder).commitment

    @classmethod
    def validate_inputs(cls, folder="", timesteps="500") -> bool | str:
        """Decoys made after the page was loaded are accepted too."""
        said = accepted(spec_of, MembershipSpec, {"timesteps": timesteps})
        return accepted(secret_of, folder) if said is True else said


def _originals(photos: PhotoSet) -> Path:
    """The folder of the photos.

    Raises:
        InputError: NO_FILES for photos that came as IMAGE or were changed.
    """
    if photos.root is None:
        raise InputError(
            "NO_FILES", "decoys are made of files; connect the photos by Photos From Folder"
        )
    return photos.root


def decoy_folder(name: str) -> Path:
    """Where decoys of this name lie.

    Raises:
        InputError: BAD_NAME.
    """
    check_name(name)
    return output_folder(FOLDER, name)


def decoy_folders() -> list[str]:
    """Names of the decoys that were made."""
    return sorted(path.parent.name for path in output_folder(FOLDER).glob(f"*/{SECRET}"))


def secret_of(name: str) -> Secret:
    """The secret of decoys that were made.

    Raises:
        InputError: BAD_NAME, MISSING_FOLDER, BAD_SECRET, SECRET_CHANGED.
    """
    path = decoy_folder(name) / SECRET
    if not path.is_file():
        raise InputError(
            "MISSING_FOLDER", f"there are no decoys {name!r}; run Make Decoys before publishing"
        )
    return read_secret(path.read_bytes())


NODES = [MakeDecoys, RankDecoys]
