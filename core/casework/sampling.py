"""Multi-cfg sampling from files to a folder of images with provenance."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .. import __version__
from ..backends.loading import open_pair
from ..lora.safeguard import stop_words
from ..protocols import Progress
from ..sampling.generation import generate
from ..sampling.guidance import Guidance
from ..sampling.plans import forwards, plan
from ..specs import SampleSpec
from ..storage import open_case, write_atomic
from .intake import check_output, model_signs, stop_if_minor
from .questions import inspect_pair


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """What to sample: models, prompts, guidance rules, how many noises, where to."""

    base: Path
    tuned: Path
    out: Path
    prompts: tuple[str, ...]
    rules: tuple[Guidance, ...]
    images: int
    spec: SampleSpec = field(default_factory=SampleSpec)
    device: str = "auto"
    dtype: str = "auto"
    minor_suspected: bool = False


def sample_files(
    request: SampleRequest,
    *,
    progress: Progress | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> int:
    """Draw every noise under every guidance rule; images.json says how each was made.

    Returns:
        The number of images.

    Raises:
        ForensicsError: one of its named kinds; MINOR_SUSPECTED before any image is drawn.
    """
    check_output(request.out)
    pair = open_pair(request.base, request.tuned, device=request.device, dtype=request.dtype)
    try:
        signs = [*stop_words(request.prompts), *model_signs(request.tuned, inspect_pair(pair))]
        stop_if_minor(signs, flagged=request.minor_suspected)
        jobs = plan(request.prompts, request.rules, request.images, request.spec.seed)
        announce(f"{len(jobs)} images, {forwards(jobs, request.spec.steps):,} denoiser forwards")
        facts = {
            "tool": __version__,
            "models": asdict(pair.hashes),
            "prompts": list(request.prompts),
            "rules": [asdict(rule) for rule in request.rules],
            "settings": asdict(request.spec),
        }
        folder = open_case(request.out, facts)
        try:
            images = generate(pair, jobs, request.spec, case=folder, progress=progress)
            rows = [asdict(source) for source in images.sources]
            write_atomic(request.out / "images.json", json.dumps(rows, indent=1).encode())
        finally:
            folder.close()
    finally:
        pair.close()
    return len(jobs)
