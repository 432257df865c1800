"""Every setting once: default, bounds and help, from which flags, forms and tables derive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any

from .errors import InputError


def setting(
    default: Any, text: str, *, low: float | None = None, high: float | None = None, **more: Any
) -> Any:
    """A dataclass field with bounds and help.

    Args:
        default: its value where nothing is given.
        text: help, in a few words.
        low: smallest value, included.
        high: largest value, included.
        more: ``choices``; and of its flag: ``flag`` where it is not called as the field (a name
            without hyphens stands for a positional argument), ``repeat`` where it is given once
            per value, ``group`` for flags that exclude each other.
    """
    return field(default=default, metadata={"help": text, "low": low, "high": high, **more})


def required(text: str, **more: Any) -> Any:
    """A field that must be given; see `setting`."""
    return field(metadata={"help": text, **more})


def settings(
    default: Spec, *, without: Sequence[str] = (), presets: Mapping[str, Spec] | None = None
) -> Any:
    """A field that holds a spec, of which each setting is a flag of its own.

    Args:
        default: its value where nothing is given.
        without: settings that nobody reads here.
        presets: by name, what ``--preset`` offers in place of the default.
    """
    return field(default=default, metadata={"without": without, "presets": presets})


@dataclass(frozen=True)
class Spec:
    """Base of all specs and requests: checks bounds and choices when it is made."""

    def __post_init__(self) -> None:
        for f in fields(self):
            _check(f, getattr(self, f.name))


def _check(f: Field[Any], value: Any) -> None:
    low, high, choices = (f.metadata.get(k) for k in ("low", "high", "choices"))
    for v in value if isinstance(value, tuple) else (value,):
        if choices and v not in choices:
            raise InputError(
                "BAD_SETTING", f"{f.name} is {v!r}; choose one of {', '.join(choices)}"
            )
        if isinstance(v, bool) or not isinstance(v, int | float):
            continue
        if v != v or (low is not None and v < low) or (high is not None and v > high):
            wanted = f"give {low} or more" if high is None else f"it must lie in {low}..{high}"
            raise InputError("BAD_SETTING", f"{f.name} is {v}; {wanted}")


def default_of(f: Field[Any]) -> Any:
    """The default of a setting.

    Raises:
        TypeError: the field has none, which no spec may have.
    """
    if f.default is MISSING:
        raise TypeError(f"setting {f.name} has no default")
    return f.default


@dataclass(frozen=True)
class SampleSpec(Spec):
    """How images are drawn from a model."""

    sampler: str = setting("ddim", "solver", choices=("ddim", "euler", "dpmpp_2m"))
    steps: int = setting(20, "solver steps per image", low=1, high=1000)
    batch: int = setting(32, "images in one batch", low=1, high=4096)
    seed: int = setting(0, "run seed; each image derives its own from it", low=0, high=2**31 - 1)


@dataclass(frozen=True)
class MembershipSpec(Spec):
    """White-box membership (BaseDelta) and its test."""

    timesteps: tuple[int, ...] = setting(
        (50, 150, 250, 350, 450, 550, 650, 750), "training timesteps probed", low=0, high=999
    )
    noises: int = setting(4, "noise draws per timestep (antithetic pairs)", low=1, high=1024)
    signals: str = setting(
        "standard", "signals beside the primary one", choices=("grid", "standard", "deep")
    )
    nulls: int = setting(0, "norm-matched noise adapters as null models", low=0, high=999)
    counterfactuals: int = setting(
        0, "adapters trained on controls with the file's recipe, as null models", low=0, high=999
    )
    null_noises: int = setting(2, "noise draws per timestep under null models", low=1, high=1024)
    permutations: int = setting(9999, "Monte Carlo permutations", low=99, high=1_000_000)
    batch: int = setting(64, "rows in one forward pass", low=1, high=4096)
    seed: int = setting(0, "noise seed, fixed before any result", low=0, high=2**31 - 1)


@dataclass(frozen=True)
class SignalSpec(Spec):
    """All signals of `core.membership.signals`: timesteps, draws and published settings."""

    timesteps: tuple[int, ...] = setting(
        (50, 150, 250, 350, 450, 550, 650, 750), "training timesteps of the losses", low=0, high=999
    )
    noises: int = setting(4, "noise draws per timestep (antithetic pairs)", low=1, high=1024)
    windows: tuple[int, ...] = setting(
        (1, 2, 4, 8, 16), "sides of the voting windows, in latent pixels", low=1, high=1024
    )
    loss_timestep: int = setting(500, "timestep of the single-draw loss", low=0, high=999)
    sima_timestep: int = setting(100, "timestep of the noise-free probe (SimA)", low=0, high=999)
    pia_timesteps: tuple[int, ...] = setting(
        (100, 200), "timesteps of PIA; the published score takes the last", low=1, high=999
    )
    secmi_timestep: int = setting(100, "t_sec of SecMI", low=2, high=999)
    secmi_stride: int = setting(10, "DDIM stride of SecMI", low=1, high=499)
    pfami_timesteps: tuple[int, ...] = setting(
        (0, 50, 100, 150, 200, 250, 300, 350, 400, 450), "timesteps of PFAMI", low=0, high=999
    )
    pfami_crops: int = setting(10, "center crops of PFAMI, side 0.95 to 0.70", low=1, high=100)
    clid_timesteps: tuple[int, ...] = setting(
        (440, 450, 460), "timesteps of CLiD, one draw each", low=0, high=999
    )
    clid_weight: float = setting(0.9, "weight of CLiD's discrepancy", low=0, high=1)
    strengths: tuple[float, ...] = setting(
        (0.5, 1.5, 2.0), "adapter strengths of the curve, besides 0 and 1", low=0.01, high=10
    )
    inversion: int = setting(50, "DDIM steps of the inversion with the base", low=2, high=1000)
    regeneration: int = setting(25, "DDIM steps of the regeneration", low=2, high=1000)
    jpeg_quality: int = setting(85, "JPEG quality of the range query", low=1, high=100)
    batch: int = setting(64, "rows in one forward pass", low=1, high=4096)
    seed: int = setting(0, "noise seed, fixed before any result", low=0, high=2**31 - 1)


@dataclass(frozen=True)
class ExtractSpec(Spec):
    """FineXtract: guided sampling, descriptors, clusters, medoids."""

    images: int = setting(200, "images drawn with the chosen guidance", low=2, high=100_000)
    guidance: str = setting("model", "arm", choices=("model", "cfg", "cond"))
    scale: float = setting(
        0.0, "guidance weight w'; 0 = pilot without ground truth", low=0, high=50
    )
    correction: float = setting(0.0, "correction term k of model guidance", low=-1, high=1)
    pilot: tuple[float, ...] = setting(
        (1.25, 1.5, 2.0, 3.0, 5.0), "weights that the pilot tries", low=1, high=50
    )
    pilot_images: int = setting(40, "images for each pilot weight", low=4, high=10_000)
    clusters: int = setting(0, "clusters reported (N0); 0 = number of photos", low=0, high=10_000)
    steps: int = setting(20, "solver steps per image", low=1, high=1000)
    sampler: str = setting("ddim", "solver", choices=("ddim", "euler", "dpmpp_2m"))
    batch: int = setting(32, "images in one batch", low=1, high=4096)
    seed: int = setting(0, "run seed", low=0, high=2**31 - 1)


@dataclass(frozen=True)
class AttackSpec(Spec):
    """The black-box attack: ResNet-18 on generated images."""

    images: int = setting(200, "images per arm", low=4, high=100_000)
    cfgs: tuple[float, ...] = setting((3.0,), "guidance scales, equal in both arms", low=0, high=50)
    steps: int = setting(20, "solver steps per image", low=1, high=1000)
    sampler: str = setting("ddim", "solver", choices=("ddim", "euler", "dpmpp_2m"))
    seeds: int = setting(5, "classifier seeds", low=1, high=100)
    epochs: int = setting(8, "passes over the generated images", low=1, high=1000)
    learning_rate: float = setting(1e-4, "Adam step size", low=1e-7, high=1.0)
    minibatch: int = setting(32, "images in a training step", low=2, high=4096)
    side: int = setting(0, "input side in pixels; 0 = native, at most 224", low=0, high=1024)
    batch: int = setting(32, "images in one sampling batch", low=1, high=4096)
    seed: int = setting(1, "run seed of the generated images", low=0, high=2**31 - 1)
    augment: str = setting(
        "full",
        "changes of both classes alike: shift = mirror and shift, full = blur and JPEG too",
        choices=("none", "shift", "full"),
    )
    holdout: float = setting(
        0.15, "share of the generated images kept out of the training", low=0, high=0.5
    )
    selection: str = setting(
        "best", "epoch used; best = lowest loss on held-out images", choices=("last", "best")
    )
    scores: str = setting(
        "logits", "logit difference, or the paper's P(member)", choices=("logits", "softmax")
    )
    test_holdout: float = setting(
        0.0, "share of photos and controls that each seed leaves out of its AUC", low=0, high=0.5
    )
    codec: str = setting(
        "on", "pass photos through the model's codec, as generated images", choices=("on", "off")
    )
    precision: str = setting(
        "float32",
        "of the training; bfloat16 is up to 3 times faster where the processor has it",
        choices=("float32", "bfloat16"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.selection == "best" and not self.holdout:
            raise InputError(
                "BAD_SETTING",
                "selection is best and holdout is 0; hold some images out, or take the last epoch",
            )


_PAPER_ATTACK = AttackSpec(
    images=2500,
    cfgs=(7.5,),
    steps=100,
    epochs=20,
    learning_rate=1e-3,
    side=224,
    augment="none",
    holdout=0.0,
    selection="last",
    scores="softmax",
    test_holdout=0.15,
    codec="off",
)
ATTACK_PRESETS: dict[str, AttackSpec] = {
    "recommended": AttackSpec(images=500, cfgs=(7.5,)),
    # The membership paper's code, arXiv 2502.11619. Its sampler is not among ours: ddim.
    "paper": _PAPER_ATTACK,
    # Zhang et al., arXiv 2310.19410: label 0 is a folder of real photos that were not used.
    "zhang": replace(_PAPER_ATTACK, learning_rate=1e-5, minibatch=256, test_holdout=0.0),
}


@dataclass(frozen=True)
class FinetuneSpec(Spec):
    """Fine-tuning of a base: targets, shadow models, null models, counterfactuals."""

    method: str = setting("lora", "what is trained", choices=("lora", "full"))
    layers: str = setting("all", "layers that a LoRA changes", choices=("attention", "all"))
    rank: int = setting(8, "rank of a LoRA", low=1, high=1024)
    alpha: float = setting(0.0, "alpha of a LoRA; 0 = its rank", low=0, high=1e6)
    steps: int = setting(500, "optimiser steps", low=1, high=10_000_000)
    batch: int = setting(4, "images in one forward pass", low=1, high=4096)
    accumulation: int = setting(1, "forward passes in one optimiser step", low=1, high=4096)
    learning_rate: float = setting(5e-4, "peak AdamW step size", low=1e-9, high=1.0)
    warmup: int = setting(0, "steps of linear warm-up", low=0, high=10_000_000)
    decay: str = setting("constant", "after the warm-up", choices=("constant", "linear", "cosine"))
    weight_decay: float = setting(0.01, "AdamW weight decay", low=0, high=1)
    clip: float = setting(1.0, "largest gradient norm", low=1e-6, high=1e6)
    flip: float = setting(0.5, "share of views that are mirrored", low=0, high=1)
    crop: str = setting(
        "random", "square of a photo that is not square", choices=("random", "center")
    )
    caption_dropout: float = setting(0.0, "share of empty captions", low=0, high=1)
    save_every: int = setting(200, "steps between two states kept for resume", low=1, high=10**6)
    seed: int = setting(0, "seed of weights, order, noise and views", low=0, high=2**31 - 1)


FINETUNE_PRESETS: dict[str, FinetuneSpec] = {
    "quick": FinetuneSpec(),
    # The membership paper's code: the whole UNet, 400 epochs of 1,120 photos.
    "paper": FinetuneSpec(
        method="full", steps=89_600, batch=5, learning_rate=1e-5, warmup=2000, decay="linear"
    ),
}


@dataclass(frozen=True)
class CanonicalSpec(Spec):
    """What photos and controls pass through alike before they are compared."""

    codec: str = setting("off", "encode and decode by the model's codec", choices=("on", "off"))
    jpeg: int = setting(0, "quality of one JPEG pass; 0 = none", low=0, high=100)


@dataclass(frozen=True)
class DecoySpec(Spec):
    """Exchangeable variants of a photo set, of which one is published."""

    kind: str = setting("mark", "what differs", choices=("mark", "subset", "token"))
    decoys: int = setting(99, "variants kept secret; 99 allow p = .01", low=1, high=9999)
    amplitude: int = setting(3, "largest change of a mark, in 8-bit steps", low=1, high=32)
    grid: int = setting(16, "cells on each side of a mark", low=2, high=256)


@dataclass(frozen=True)
class RepaintSpec(Spec):
    """RePaint: inpainting by a model that was not trained for it."""

    steps: int = setting(50, "noise levels (T)", low=1, high=1000)
    jump_length: int = setting(5, "levels that a jump climbs (j)", low=1, high=1000)
    resamples: int = setting(3, "passes over each stretch (r); 1 never jumps", low=1, high=100)
    eta: float = setting(1.0, "noise of a step: 1 is DDPM's, 0 is deterministic", low=0, high=1)
    cfg: float = setting(1.0, "guidance scale of the prompt", low=0, high=50)
    model: str = setting("tuned", "which model repaints", choices=("tuned", "base"))
    mask_cells: str = setting(
        "any",
        "latents repainted: any that a marked pixel touches, or by their nearest pixel",
        choices=("any", "nearest"),
    )
    batch: int = setting(16, "photos in one batch", low=1, high=4096)
    seed: int = setting(0, "run seed; each photo derives its own from it", low=0, high=2**31 - 1)


REPAINT_PRESETS: dict[str, RepaintSpec] = {
    "practical": RepaintSpec(),
    # Lugmayr et al. 2022: 2,410 forward passes per photo.
    "paper": RepaintSpec(steps=250, jump_length=10, resamples=10),
}


@dataclass(frozen=True)
class VerdictSpec(Spec):
    """What a verdict needs; fixed before any result. Levels can be made stricter, never laxer."""

    alpha: float = setting(0.05, "level of verdicts B and C", low=1e-6, high=0.05)
    alpha_strong: float = setting(0.01, "level of verdict A", low=1e-6, high=0.01)
    probe_limit: float = setting(0.60, "blind-probe AUC above which sets differ", low=0.5, high=0.6)
    power: float = setting(0.8, "power that 'enough photos' stands for", low=0.5, high=0.999)


@dataclass(frozen=True)
class ScreenSpec:
    """All settings of a screening."""

    membership: MembershipSpec = field(default_factory=MembershipSpec)
    signals: SignalSpec = field(default_factory=SignalSpec)
    extract: ExtractSpec = field(default_factory=ExtractSpec)
    canonical: CanonicalSpec = field(default_factory=CanonicalSpec)
    attack: AttackSpec = field(default_factory=AttackSpec)
    verdict: VerdictSpec = field(default_factory=VerdictSpec)


_STANDARD = ScreenSpec(membership=MembershipSpec(nulls=19))
LINES = ("membership", "extraction", "attack")  # of evidence, in the order of the report
PRESETS: dict[str, ScreenSpec] = {
    "quick": ScreenSpec(
        membership=MembershipSpec(signals="grid"),
        extract=ExtractSpec(images=60, pilot=(1.5, 2.0, 3.0), pilot_images=16),
        attack=AttackSpec(images=64, epochs=4),
    ),
    "standard": _STANDARD,
    "deep": ScreenSpec(
        membership=replace(_STANDARD.membership, noises=16, nulls=99, signals="deep"),
        extract=ExtractSpec(images=500, steps=50, pilot_images=50),
        attack=AttackSpec(images=2500, steps=50, epochs=20),
    ),
}
