"""The baselines of the black-box attack, from files to a table: other people's ways to ask."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from .. import __version__
from ..attack.baselines import (
    BASELINES,
    BaselineEvidence,
    base_calibrated,
    baseline_evidence,
    pixel_vectors,
)
from ..attack.baselines.reconstruction import IMAGES, draw_reconstructions
from ..attack.line import draw_arm, planned_forwards, sample_spec
from ..encoders import load_encoder
from ..encoders.clip import ClipEncoder
from ..errors import InputError, plural
from ..images.captions import captions_of, load_captions
from ..protocols import QUIET, ImageEncoder, Progress
from ..specs import AttackSpec
from ..storage import CaseFolder, Work, open_case, write_atomic
from ..types import BASE, TUNED, ImageBatch
from .opening import Opened, open_request
from .questions import prompts_of
from .request import ARMS, BaselineRequest

RESULT = "baselines.json"
BATCH = 64


def run_baselines(
    request: BaselineRequest,
    *,
    progress: Progress = QUIET,
    announce: Callable[[str], None] = lambda _: None,
) -> tuple[BaselineEvidence, ...]:
    """Score photos and controls by every method; plain, and minus the base where it can be asked.

    Images are kept in the folder, so that the same request resumes; the table goes to
    ``baselines.json``.

    Args:
        request: what to run.
        progress: long work.
        announce: told what will be done.

    Raises:
        ForensicsError: one of its named kinds; NO_PROMPTS and NO_TEXT_ENCODER for zero-shot;
            MINOR_SUSPECTED before any photo is opened.
    """
    case = request.case
    encoder = load_encoder(case.encoder, case.models, device=case.device)
    _check(request, encoder)
    opened = open_request(case, progress, _words(request))
    with closing(opened.pair):
        prompts = prompts_of(case, opened.inspection)
        spec = case.spec.attack
        announce(
            f"{opened.sets.counted}; {', '.join(request.methods)}; "
            f"{plural(spec.images, 'image')} per arm"
        )
        with closing(open_case(case.out, _manifest(request, opened, encoder, prompts))) as folder:
            evidence = _Work(request, opened, encoder, prompts, folder, progress).run()
            facts = {"schema_version": 1, "baselines": [asdict(b) for b in evidence]}
            write_atomic(case.out / RESULT, json.dumps(facts, indent=1).encode())
    return evidence


def _check(request: BaselineRequest, encoder: ImageEncoder) -> None:
    if "zero_shot" not in request.methods:
        return
    if len(request.texts) != 2:
        raise InputError(
            "NO_PROMPTS", "zero-shot compares two texts; give --member-text and --other-text"
        )
    if not isinstance(encoder, ClipEncoder):
        raise InputError(
            "NO_TEXT_ENCODER",
            f"zero-shot needs an encoder of texts, {encoder.id.name} is none; use --encoder clip",
        )


def _words(request: BaselineRequest) -> list[str]:
    """All texts that the methods use beside prompts, which may point to a minor."""
    captions = _captions(request) or {}
    return [*request.texts, *captions, *captions.values()]


def _captions(request: BaselineRequest) -> dict[str, str] | None:
    """Caption of each file by its name; None where the first prompt stands for all."""
    path = request.case.captions
    return None if path is None else load_captions(path)


def _manifest(
    request: BaselineRequest, opened: Opened, encoder: ImageEncoder, prompts: Sequence[str]
) -> dict[str, Any]:
    sets = (opened.sets.photos, opened.sets.controls)
    return {
        "tool": __version__,
        "models": asdict(opened.pair.hashes),
        "strength": request.case.strength,
        "images": [[s.sha256 for s in p.images.sources] for p in sets],
        "prompts": list(prompts),
        "texts": list(request.texts),
        "captions": _captions(request),
        "encoder": asdict(encoder.id),
        "settings": asdict(request.case.spec.attack),
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    request: BaselineRequest
    opened: Opened
    encoder: ImageEncoder
    prompts: Sequence[str]
    folder: CaseFolder
    progress: Progress

    @property
    def spec(self) -> AttackSpec:
        return self.request.case.spec.attack

    @property
    def queries(self) -> Tensor:
        return self.opened.sets.pixels

    def run(self) -> tuple[BaselineEvidence, ...]:
        methods = self.request.methods
        evidence = self._arms([m for m in methods if m in ARMS])
        if "reconstruction" in methods:
            evidence += self._reconstruction()
        if "zero_shot" in methods:
            evidence.append(self._zero_shot())
        return tuple(evidence)

    def _arms(self, methods: Sequence[str]) -> list[BaselineEvidence]:
        if not methods:
            return []
        tuned, base = (self._arm(model) for model in (TUNED, BASE))
        cost = planned_forwards(self.prompts, self.spec, 1)
        pairs = (self._both(m, self._view(m), (tuned, base), cost) for m in methods)
        return [evidence for pair in pairs for evidence in pair]

    def _arm(self, model: float) -> ImageBatch:
        return draw_arm(
            self.opened.pair, self.prompts, model, self.spec,
            work=Work(self.folder, self.progress),
        )  # fmt: skip

    def _view(self, method: str) -> Callable[[Tensor], Tensor]:
        return pixel_vectors if method == "gan_leaks" else self._vectors

    def _vectors(self, pixels: Tensor) -> Tensor:
        return torch.cat([self.encoder(part).cpu() for part in pixels.split(BATCH)])

    def _both(
        self,
        method: str,
        view: Callable[[Tensor], Tensor],
        arms: tuple[ImageBatch, ImageBatch],
        cost: int,
    ) -> tuple[BaselineEvidence, BaselineEvidence]:
        """Plain, and minus the base's score."""
        tuned, base = (view(arm.pixels) for arm in arms)
        queries, score = view(self.queries), BASELINES[method]
        plain = self._judged(method, score(tuned, queries), cost)
        calibrated = base_calibrated(score, tuned, base, queries)
        return plain, self._judged(method, calibrated, 2 * cost, calibrated=True)

    def _reconstruction(self) -> list[BaselineEvidence]:
        captions, spec = self._captions(), sample_spec(self.spec)
        arms = tuple(
            draw_reconstructions(
                self.opened.pair, captions, model=model, spec=spec, scale=self.spec.cfgs[0],
                work=Work(self.folder, self.progress),
            )
            for model in (TUNED, BASE)
        )  # fmt: skip
        rows = len(captions) * IMAGES * spec.steps * (1 if self.spec.cfgs[0] == 1 else 2)
        return list(self._both("reconstruction", self._vectors, (arms[0], arms[1]), rows))

    def _captions(self) -> list[str]:
        sets = self.opened.sets
        names = [f.name for f in (*sets.photos.facts, *sets.controls.facts)]
        captions = _captions(self.request)
        return [self.prompts[0]] * len(names) if captions is None else captions_of(names, captions)

    def _zero_shot(self) -> BaselineEvidence:
        assert isinstance(self.encoder, ClipEncoder)
        texts = self.encoder.prompts(self.request.texts)
        scores = BASELINES["zero_shot"](texts, self._vectors(self.queries))
        return self._judged("zero_shot", scores, 0)

    def _judged(
        self, method: str, scores: Tensor, cost: int, *, calibrated: bool = False
    ) -> BaselineEvidence:
        n = len(self.opened.sets.photos)
        return baseline_evidence(
            method, scores[:n], scores[n:], self.request.case.spec.verdict,
            calibrated=calibrated, forwards=cost,
            clusters=self.opened.sets.sessions,
        )  # fmt: skip
