"""Signals of the caption: the conditional gap with its prompt controls, and CLiD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ...protocols import ModelPair
from ...sampling.plans import seed_of
from ...specs import SignalSpec
from ...statistics.auc import auc
from ...statistics.permutation import permutation_test
from ...types import TUNED
from .grid import Raw
from .paired import Floats, eps_losses
from .queries import Ask, grid_of
from .subjects import Subjects

GENERIC = "a photo"
GAP_CONTROLS = ("trigger", "shuffled", "generic")


def refuse_blank(subjects: Subjects, name: str) -> None:
    """Stop where a caption is needed and none was given.

    Raises:
        InputError: BAD_SIGNAL when a caption is blank.
    """
    if any(not c.strip() for c in subjects.captions):
        raise InputError(
            "BAD_SIGNAL",
            f"{name} compares a caption with none and some caption is blank; give each image a "
            "caption (or the trigger), or leave the signal out",
        )


def gap_stage(ask: Ask, done: Raw) -> dict[str, Tensor]:
    """Losses of the grid under an empty prompt, on the same noise.

    Returns:
        ``empty_tuned`` and, with both models, ``empty_base``, ``[N, T, K]``.
    """
    refuse_blank(ask.subjects, "conditional_gap")
    losses = eps_losses(ask.pair, ask.subjects.latents, "", grid_of(ask.spec), models=ask.models)
    names = ("empty_base", "empty_tuned")[-len(ask.models) :]
    return dict(zip(names, losses, strict=True))


def conditional_gap(raw: Raw, spec: SignalSpec) -> Tensor:
    """``E[L_tuned(empty) - L_tuned(caption)]`` with shared draws (CLiD, eq. 13)."""
    return (raw["empty_tuned"] - raw["tuned"]).mean((1, 2))


def conditional_gap_calibrated(raw: Raw, spec: SignalSpec) -> Tensor:
    """The conditional gap of the tuned model minus that of the base."""
    base = (raw["empty_base"] - raw["base"]).mean((1, 2))
    return conditional_gap(raw, spec) - base


def thirds(caption: str) -> tuple[str, str, str]:
    """First, middle and last third of a caption's words.

    Example:
        >>> thirds("a red fox in the snow")
        ('a red', 'fox in', 'the snow')
    """
    words = caption.split()
    cuts = [len(words) * i // 3 for i in range(4)]
    first, middle, last = (" ".join(words[cuts[i] : cuts[i + 1]]) for i in range(3))
    return first, middle, last


def clid_stage(ask: Ask, done: Raw) -> dict[str, Tensor]:
    """The tuned model's losses under the caption and under four reduced ones.

    The reduced captions are the paper's "simply clipping" (section 3.5, k = 4 with the empty
    one); its main tables use clipping by word importance, which needs another model. The
    timesteps 440, 450, 460 with M = N = 3 are those of its appendix D.1.
    """
    refuse_blank(ask.subjects, "clid")
    pair, who = ask.pair, ask.subjects
    grid = grid_of(ask.spec, ask.spec.clid_timesteps, 1)
    reduced = zip(*(thirds(c) for c in who.captions), strict=True)
    variants = [who.captions, *reduced, ("",) * len(who)]
    losses = [eps_losses(pair, who.latents, v, grid, models=(TUNED,))[0] for v in variants]
    return {"clid": torch.stack(losses, 1).mean((2, 3))}


def clid(raw: Raw, spec: SignalSpec) -> Tensor:
    """``a S(mean_k D_k) + (1 - a) S(-L)`` (CLiD, eq. 16), S the robust scaler.

    S is fitted on everything scored together, photos and controls alike, so that labels may
    still be permuted; a score therefore depends on the other images of the same call.
    """
    full = raw["clid"][:, 0]
    gap = (raw["clid"][:, 1:] - full[:, None]).mean(1)
    return spec.clid_weight * robust(gap) + (1 - spec.clid_weight) * robust(-full)


def robust(values: Tensor) -> Tensor:
    """Centred on the median, divided by the interquartile range (by 1 when that is 0)."""
    low, middle, high = values.quantile(values.new_tensor([0.25, 0.5, 0.75]))
    width = high - low
    return (values - middle) / (width if width > 0 else 1.0)


def gap_controls(
    pair: ModelPair, subjects: Subjects, spec: SignalSpec, trigger: str, seed: int = 0
) -> dict[str, Floats]:
    """The conditional gap under the paired captions and under three prompt controls.

    Args:
        pair: the two models; only the tuned one is asked.
        subjects: photos or controls with their own captions.
        spec: grid.
        trigger: the adapter's trigger words, shown to every image.
        seed: of the shuffle, which leaves no image its own place.

    Returns:
        ``paired``, ``trigger``, ``shuffled`` and ``generic``, each ``[N]``; five times T K rows
        an image.

    Raises:
        InputError: BAD_SIGNAL when a caption or the trigger is blank, or when there is only one
            image to shuffle.
    """
    refuse_blank(subjects, "gap_controls")
    n = len(subjects)
    captions: dict[str, tuple[str, ...]] = {
        "paired": subjects.captions,
        "trigger": (trigger,) * n,
        "shuffled": shuffled(subjects.captions, seed),
        "generic": (GENERIC,) * n,
    }
    refuse_blank(subjects.captioned(captions["trigger"]), "gap_controls")
    grid = grid_of(spec)

    def mean_loss(prompts: str | Sequence[str]) -> Tensor:
        return eps_losses(pair, subjects.latents, prompts, grid, models=(TUNED,))[0].mean((1, 2))

    empty = mean_loss("")
    return {name: (empty - mean_loss(c)).numpy() for name, c in captions.items()}


def shuffled(captions: Sequence[str], seed: int) -> tuple[str, ...]:
    """Captions passed round a random circle, so that none stays with its image.

    Raises:
        InputError: BAD_SIGNAL for fewer than two captions.

    Example:
        >>> shuffled(("a", "b"), 0)
        ('b', 'a')
    """
    if len(captions) < 2:
        raise InputError("BAD_SIGNAL", "captions of one image cannot be shuffled; give two or more")
    generator = torch.Generator().manual_seed(seed_of(seed, len(captions)))
    circle: list[int] = torch.randperm(len(captions), generator=generator).tolist()
    taken = dict(zip(circle, circle[1:] + circle[:1], strict=True))
    return tuple(captions[taken[i]] for i in range(len(captions)))


@dataclass(frozen=True, slots=True)
class CaptionCheck:
    """Does the conditional gap speak of the photo or of its caption?

    Attributes:
        aucs: photos against controls, for the paired captions and each prompt control.
        p: one-sided rank permutation p of each.
        dependent: the gap is there with the paired captions and with no other.
    """

    aucs: dict[str, float]
    p: dict[str, float]
    dependent: bool


def caption_dependent(
    photos: Mapping[str, Floats],
    controls: Mapping[str, Floats],
    *,
    alpha: float = 0.05,
    permutations: int = 9999,
    clusters: Sequence[str] | None = None,
) -> CaptionCheck:
    """Label a gap that lives only with the paired captions.

    Args:
        photos: result of `gap_controls` on the photos.
        controls: the same on the controls.
        alpha: level of each test.
        permutations: Monte Carlo draws when there are too many to enumerate.
        clusters: session of each photo, then of each control.
    """
    names = ("paired", *GAP_CONTROLS)
    aucs = {k: auc(np.asarray(photos[k]), np.asarray(controls[k])) for k in names}
    p = {
        k: permutation_test(photos[k], controls[k], "rank", permutations, clusters=clusters).p
        for k in names
    }
    alone = p["paired"] <= alpha and all(p[k] > alpha for k in GAP_CONTROLS)
    return CaptionCheck(aucs, p, alone)
