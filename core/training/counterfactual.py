"""Counterfactual null models: what the suspect's recipe makes of photos that it never saw.

The recipe is read from the suspect's file and repeated on controls. A control that trained one of
them is never a control of the test: half of the controls train, the other half compares.

Source: specification membership_sota.md, section 1.5, score 6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import InputError, NotEnoughDataError, plural
from ..lora.claims import Claims
from ..lora.inspection import Inspection
from ..lora.names import flatten
from ..membership.null_ranks import NullGroup, NullModel
from ..sampling.plans import seed_of
from ..specs import FinetuneSpec

Train = Callable[[Tensor, FinetuneSpec, int], NullModel]
"""Trains on images ``[n, 3, H, W]`` by a recipe; the number tells the adapters of a case apart."""
MIN_CONTROLS = 8
_SCHEDULES = {"constant": "constant", "linear": "linear", "cosine": "cosine"}
_ATTENTION = tuple(
    f"_{part}_" for part in ("to_q", "to_k", "to_v", "to_out", "attn_qkv", "attn_proj")
)
SEEDS = 20_000_000


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the suspect claims to be made.

    Attributes:
        spec: of the training.
        images: photos that it was trained on; 0 when the file does not say.
        assumed: settings that the file does not state, or that are not repeated here.
    """

    spec: FinetuneSpec
    images: int
    assumed: tuple[str, ...]


def recipe_of(inspection: Inspection) -> Recipe:
    """The recipe in a file's metadata; what it lacks is the quick preset's and is named.

    Raises:
        InputError: NO_RECIPE: the file names neither steps nor a learning rate.
    """
    claims, text = inspection.claims, inspection.claims.text
    rate = _number(text.get("unet_lr")) or _number(text.get("learning_rate"))
    if not claims.steps or not rate:
        raise InputError(
            "NO_RECIPE",
            "the file's metadata states no steps or no learning rate, so its training cannot be "
            "repeated; give placebo adapters instead",
        )
    rank = max((int(r) for r in inspection.ranks if r.isdigit()), default=None)
    stated: dict[str, Any] = {
        "steps": claims.steps,
        "learning_rate": rate,
        "rank": rank,
        "alpha": _number(text.get("network_alpha")),
        "batch": claims.batch,
        "decay": _SCHEDULES.get((text.get("lr_scheduler") or "").lower()),
        "flip": _flip(claims),
        "caption_dropout": _number(text.get("caption_dropout")),
    }
    known = {name: value for name, value in stated.items() if value not in (None, 0, 0.0)}
    missing = [name for name, value in stated.items() if value is None]
    if not claims.images:
        missing.append("number of photos")
    spec = replace(FinetuneSpec(flip=0.0), layers=_layers(inspection), **known)
    return Recipe(spec, claims.images or 0, tuple(missing))


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _flip(claims: Claims) -> float | None:
    flip = claims.text.get("flip_aug")
    return None if flip is None else 0.5 * (flip.lower() == "true")


def _layers(inspection: Inspection) -> str:
    # Files spell modules with dots or, as sd-scripts does, with underscores.
    names = [f"_{flatten(s.module)}_" for s in inspection.spectra if s.component == "unet"]
    attention = all(any(part in name for part in _ATTENTION) for name in names)
    return "attention" if attention else "all"


def split_controls(
    controls: int, seed: int, sessions: Sequence[str] | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Controls that train and controls that compare, halved at random by whole sessions.

    Photos of one session are much alike: one that compares would score high under a null model
    that another one trained, and every suspect would rank above.

    Args:
        controls: how many.
        seed: of the halving.
        sessions: session of each control; None where each stands for itself.

    Raises:
        NotEnoughDataError: TOO_FEW_CONTROLS, or one session holds so many that none are left.
    """
    if controls < MIN_CONTROLS:
        raise NotEnoughDataError(
            "TOO_FEW_CONTROLS",
            f"{plural(controls, 'control')}; half of them train the counterfactuals and half "
            f"compare, so {MIN_CONTROLS} or more are needed",
        )
    own = list(sessions or map(str, range(controls)))
    groups: dict[str, list[int]] = {}
    for i in np.random.default_rng(seed).permutation(controls).tolist():
        groups.setdefault(own[i], []).append(i)
    training: list[int] = []
    for group in groups.values():
        if len(training) + len(group) <= controls // 2:
            training += group
    comparing = sorted(set(range(controls)) - set(training))
    if min(len(training), len(comparing)) < MIN_CONTROLS // 2:
        raise NotEnoughDataError(
            "TOO_FEW_CONTROLS",
            f"{plural(controls, 'control')} of {plural(len(groups), 'session')} cannot be halved; "
            "give controls of more sessions",
        )
    return tuple(sorted(training)), tuple(comparing)


def counterfactual_group(
    train: Train,
    controls: Tensor,
    recipe: Recipe,
    count: int,
    *,
    seed: int,
    sessions: Sequence[str] | None = None,
) -> NullGroup:
    """Train `count` adapters, each on its own random controls.

    Args:
        train: trains one and keeps it: `retraining.training_on` for files, a node's for its graph.
        controls: ``[m, 3, H, W]`` in 0..1, m >= 8.
        recipe: from `recipe_of`; images 0 takes all training controls.
        count: adapters.
        seed: of split, choice and training.
        sessions: session of each control.

    Raises:
        NotEnoughDataError: TOO_FEW_CONTROLS.
        RunError: DIVERGED.
    """
    training, comparing = split_controls(len(controls), seed, sessions)
    size = min(recipe.images or len(training), len(training))
    models = []
    for k in range(count):
        own = seed_of(seed, SEEDS + k)
        rows = np.random.default_rng(own).choice(training, size, replace=False).tolist()
        models.append(train(controls[rows], replace(recipe.spec, seed=own % 2**31), k))
    note = _note(recipe, size, len(training))
    return NullGroup("counterfactual", tuple(models), comparing, note=note)


def _note(recipe: Recipe, size: int, train: int) -> str:
    s = recipe.spec
    text = (
        f"rank {s.rank}, {s.layers} layers, {plural(s.steps, 'step')} of {s.batch}, rate "
        f"{s.learning_rate:g}, {size} of {plural(train, 'training control')} each"
    )
    fewer = f"; the file claims {plural(recipe.images, 'photo')}" if recipe.images > size else ""
    missing = f"; not stated: {', '.join(recipe.assumed)}" if recipe.assumed else ""
    return text + fewer + missing
