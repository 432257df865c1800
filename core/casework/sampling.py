"""Multi-cfg sampling from files to a folder of images with provenance."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict

from .. import __version__
from ..backends.loading import open_pair
from ..errors import InputError, plural
from ..lora.safeguard import stop_words
from ..protocols import QUIET, Progress
from ..sampling.generation import generate
from ..sampling.guidance import Guidance, cfg, model_guidance
from ..sampling.plans import forwards, plan
from ..storage import Work, open_case, write_atomic
from ..types import BASE
from .intake import check_output, model_signs, stop_if_minor
from .questions import inspect_pair
from .request import SampleRequest


def sample_files(
    request: SampleRequest,
    *,
    progress: Progress = QUIET,
    announce: Callable[[str], None] = lambda _: None,
) -> int:
    """Draw every noise under every guidance rule; images.json says how each was made.

    Returns:
        The number of images.

    Raises:
        ForensicsError: one of its named kinds; MINOR_SUSPECTED before any image is drawn.
    """
    rules = rules_of(request)
    check_output(request.out)
    pair = open_pair(request.base, request.tuned, device=request.device, dtype=request.dtype)
    with closing(pair):
        signs = [*stop_words(request.prompts), *model_signs(request.tuned, inspect_pair(pair))]
        stop_if_minor(signs, flagged=request.minor_suspected)
        jobs = plan(request.prompts, rules, request.images, request.spec.seed)
        cost = plural(forwards(jobs, request.spec.steps), "denoiser forward")
        announce(f"{plural(len(jobs), 'image')}, {cost}")
        facts = {
            "tool": __version__,
            "models": asdict(pair.hashes),
            "prompts": list(request.prompts),
            "rules": [asdict(rule) for rule in rules],
            "settings": asdict(request.spec),
        }
        with closing(open_case(request.out, facts)) as folder:
            images = generate(pair, jobs, request.spec, work=Work(folder, progress))
            rows = [asdict(source) for source in images.sources]
            write_atomic(request.out / "images.json", json.dumps(rows, indent=1).encode())
    return len(jobs)


def rules_of(request: SampleRequest) -> tuple[Guidance, ...]:
    """The guidance rules that a request asks for.

    Raises:
        InputError: none (EMPTY_PLAN).
    """
    rules = (
        *(cfg(scale) for scale in request.cfgs),
        *(cfg(scale, BASE) for scale in request.base_cfgs),
        *(model_guidance(w) for w in request.weights),
    )
    if not rules:
        raise InputError("EMPTY_PLAN", "give at least one --cfg, --base-cfg or --guidance")
    return rules
