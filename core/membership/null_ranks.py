"""Null models: what the same statistic says of models that cannot have known the photos.

Noise adapters change the layers as strongly as the suspect does but learned nothing: they show
what strength alone does, no more. Placebos (adapters trained on other photos) and counterfactuals
(trained on controls with the suspect's recipe) are samples of the null hypothesis itself; only
they can carry verdict B.

Source: specification mia.md, section 11 (null-model rank); membership_sota.md, sections 1.5 and 2.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..protocols import ModelPair
from ..sampling.plans import seed_of
from ..specs import MembershipSpec
from ..statistics.auc import AucDifference, delong_paired
from ..statistics.auc_bootstrap import bootstrap_auc_paired
from ..statistics.ranks import null_rank_p
from ..storage import UNKEPT, Work
from ..types import TUNED
from ..verdicts.comparison import standardized
from ..verdicts.evidence import NullKind, NullRank
from .signals.paired import Losses, base_ratio, eps_losses

NULL_SEEDS = 10_000_000  # far from the seeds of draws and images
Floats = np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class NullModel:
    """One null model, opened only when it is asked.

    Attributes:
        name: names its finished work; the digest of what it is.
        open: gives the pair; None where there is no such model.
    """

    name: str
    open: Callable[[], ModelPair | None]


@dataclass(frozen=True, slots=True, eq=False)
class NullGroup:
    """Null models of one kind.

    Attributes:
        kind: how they came about.
        models: the models.
        controls: controls that the statistic may use, for the suspect and for the nulls alike;
            None: all. Controls that trained a counterfactual are never among them.
        note: how they were made, in words of this tool.
    """

    kind: NullKind
    models: tuple[NullModel, ...]
    controls: tuple[int, ...] | None = None
    note: str = ""


def noise_group(pair: ModelPair, spec: MembershipSpec) -> NullGroup:
    """Adapters of noise with the suspect's rank and norm on each layer."""
    seeds = [seed_of(spec.seed, NULL_SEEDS + k) for k in range(spec.nulls)]
    models = (NullModel(f"noise-{k:04d}", lambda s=s: pair.null(s)) for k, s in enumerate(seeds))
    return NullGroup("noise", tuple(models))


def rank_nulls(
    group: NullGroup,
    losses: Losses,
    latents: Tensor,
    photos: int,
    prompt: str,
    spec: MembershipSpec,
    *,
    clusters: tuple[str, ...] | None = None,
    work: Work = UNKEPT,
) -> NullRank | None:
    """Rank of the suspect's standardized effect among that of null models.

    All are measured alike: same images, same prompt, same first ``null_noises`` draws.

    Args:
        group: the null models.
        losses: of the suspect, photos first, ``[N, T, K]``.
        latents: ``[N, C, h, w]``, photos first.
        photos: how many of the images are photos.
        prompt: the conditioning.
        spec: timesteps and draws.
        clusters: session of each image, photos first.
        work: keeps finished parts, is told of steps.

    Returns:
        None for an empty group, or where the pair has no such models.
    """
    few = replace(spec, noises=min(spec.noises, spec.null_noises))
    base, tuned = losses.base[..., : few.noises], losses.tuned[..., : few.noises]
    compared = _compared(len(latents), photos, group)
    rows = torch.tensor(compared)
    kept = [work.has(_unit(model)) for model in group.models]
    work.progress.start(f"{group.kind} models", len(group.models), sum(kept))
    scores = []
    for model, known in zip(group.models, kept, strict=True):
        null = _losses(model, latents[rows], prompt, few, work)
        if null is None:
            return None
        scores.append(base_ratio(Losses(base[rows], null)))
        work.progress.step(0 if known else 1)
    own = base_ratio(Losses(base[rows], tuned[rows]))
    if not scores:
        return None
    own_clusters = None if clusters is None else tuple(clusters[i] for i in compared)
    return null_rank(group.kind, own, scores, photos, note=group.note, clusters=own_clusters)


def null_rank(
    kind: NullKind,
    suspect: Floats,
    nulls: list[Floats],
    photos: int,
    *,
    note: str = "",
    clusters: tuple[str, ...] | None = None,
) -> NullRank:
    """The evidence that scores of suspect and nulls on the same images amount to.

    Args:
        kind: of the nulls.
        suspect: ``[N]`` scores, photos first.
        nulls: ``[N]`` scores under each null model; one or more.
        photos: how many of the images are photos.
        note: how the nulls were made.
        clusters: session of each image, photos first.
    """
    own = standardized(suspect, photos)
    others = np.stack([standardized(scores, photos) for scores in nulls])
    value, effects = own[:photos].mean(), others[:, :photos].mean(1)
    rank, mean = null_rank_p(value, effects), others.mean(0)
    return NullRank(
        kind=kind,
        value=float(value),
        nulls=tuple(effects.tolist()),
        p=rank.p,
        floor=rank.floor,
        photo_p=tuple(null_rank_p(own[i], others[:, i]).p for i in range(photos)),
        difference=_difference(own, mean, photos, clusters),
        note=note,
    )


def _difference(
    own: Floats, mean: Floats, photos: int, clusters: tuple[str, ...] | None
) -> AucDifference:
    suspect, nulls = ((scores[:photos], scores[photos:]) for scores in (own, mean))
    if clusters is None or len(set(clusters)) == len(clusters):
        return delong_paired(suspect, nulls)
    return bootstrap_auc_paired(suspect, nulls, clusters)


def _compared(images: int, photos: int, group: NullGroup) -> list[int]:
    controls = range(images - photos) if group.controls is None else group.controls
    return [*range(photos), *(photos + c for c in controls)]


def _unit(model: NullModel) -> str:
    return f"membership/{model.name}"


def _losses(
    model: NullModel, latents: Tensor, prompt: str, spec: MembershipSpec, work: Work
) -> Tensor | None:
    """Losses ``[N, T, K]`` under one null model."""
    unit = _unit(model)
    if work.has(unit):
        return work.tensors(unit, dict)["tuned"]
    pair = model.open()
    if pair is None:
        return None
    with closing(pair):
        losses = eps_losses(pair, latents, prompt, spec, models=(TUNED,))[0]
        return work.tensors(unit, lambda: {"tuned": losses})["tuned"]
