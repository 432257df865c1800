"""From sets of examples to a localizer's file, with its card."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import InputError, plural
from ..inpainting.examples import ExampleSet, read_examples
from ..localization.files import Localizer, load_localizer, save_localizer
from ..localization.measuring import by_kind, finish, look, with_figures, words_of
from ..localization.settings import SETUPS, LocalizerSpec, LocalizeSpec
from ..localization.training import train_localizer
from ..lora.header import load_tensors, sha256_file
from ..protocols import QUIET, Progress
from ..storage import Work, open_case
from .intake import check_output
from .localizing import ASKED, words_of_card
from .request import LocalizerRequest

FILE = "localizer.safetensors"


def train_files(
    request: LocalizerRequest,
    *,
    progress: Progress = QUIET,
    announce: Callable[[str], None] = lambda _: None,
) -> tuple[Path, Localizer]:
    """Train, set the gate, measure, write; the same request resumes.

    Raises:
        ForensicsError: one of its named kinds.
    """
    check_output(request.out)
    whole, spec = read_examples(request.examples), _spec(request)
    chosen = whole.pick(variants=SETUPS[request.setup].variants)
    outside = {folder.name: read_examples(folder) for folder in request.outside}
    start = None if request.weights is None else load_tensors(request.weights)
    announce(
        f"{spec.method}, setup {request.setup}: {words_of(chosen)}; "
        f"{plural(spec.epochs * spec.iterations, 'step')} of {spec.batch}"
    )
    with closing(open_case(request.out, _manifest(request, spec, whole, outside))) as case:
        trained = train_localizer(
            chosen, spec, start=start, work=Work(case, progress), device=request.device
        )
        localizer = finish(
            trained, whole, words_of(chosen.pick(split="train")),
            source_side=min(whole.picture(whole.rows[0]).size), outside=outside, progress=progress,
        )  # fmt: skip
        path = save_localizer(localizer.network, localizer.card, request.out / FILE)
    announce(words_of_card(localizer))
    return path, localizer


def _spec(request: LocalizerRequest) -> LocalizerSpec:
    wanted = SETUPS[request.setup].supervision
    if request.spec.supervision != wanted:
        raise InputError(
            "BAD_SETTING",
            f"setup {request.setup} learns from {wanted}, not {request.spec.supervision}",
        )
    return request.spec


def _manifest(
    request: LocalizerRequest,
    spec: LocalizerSpec,
    whole: ExampleSet,
    outside: dict[str, ExampleSet],
) -> dict[str, Any]:
    return {
        "tool": __version__,
        "examples": whole.digest(),
        "outside": {name: other.digest() for name, other in outside.items()},
        "setup": request.setup,
        "weights": None if request.weights is None else sha256_file(request.weights),
        "settings": asdict(spec),
    }


def measure_file(
    model: Path, examples: Path, *, device: str = "cpu", progress: Progress = QUIET
) -> Localizer:
    """A localizer whose card holds its figures on a whole set, all splits, and no other ones.

    Raises:
        ForensicsError: the localizer or the set cannot be used.
    """
    found, whole = load_localizer(model, device), read_examples(examples)
    kinds = by_kind(look(found, whole, LocalizeSpec(), progress))
    parts = [(name, ASKED, part) for name, part in kinds.items()]
    return replace(found, card=with_figures(found.card, parts))
