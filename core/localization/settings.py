"""Settings of a localizer: what is trained on what, as the paper did it and as one should."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import InputError
from ..inpainting.variants import ORIGINAL, REGENERATED, ROUND_TRIP, SPLICED, WHOLE
from ..specs import Spec, setting

METHOD_NAMES = ("patches", "gradcam", "attention")


@dataclass(frozen=True, kw_only=True)
class LocalizerSpec(Spec):
    """A network and its training."""

    method: str = setting("patches", "which network", choices=METHOD_NAMES)
    supervision: str = setting(
        "masks", "learn from masks, or from labels of whole images", choices=("masks", "labels")
    )
    width: float = setting(1.0, "share of Xception's channels", low=0.05, high=1.0)
    side: int = setting(299, "input side in pixels", low=64, high=1024)
    flip: float = setting(0.5, "share of pictures mirrored", low=0, high=1)
    degrade: float = setting(
        0.5, "share of pictures recompressed or resized, real and fake alike", low=0, high=1
    )
    batch: int = setting(32, "pictures in one step", low=2, high=4096)
    iterations: int = setting(500, "steps per epoch", low=1, high=10**6)
    epochs: int = setting(20, "epochs, each followed by validation", low=1, high=10**5)
    learning_rate: float = setting(1e-3, "Adam step size", low=1e-7, high=1.0)
    precision: str = setting(
        "float32", "of training steps: bfloat16 is faster on many machines",
        choices=("float32", "bfloat16"),
    )  # fmt: skip
    map_weight: float = setting(1.0, "weight of the attention map's loss", low=0, high=100)
    start: str = setting(
        "default", "first weights: torch's own, or Xavier with gain 0.02",
        choices=("default", "xavier"),
    )  # fmt: skip
    pooling: str = setting(
        "top",
        "image score from cells: their mean, or the mean of their highest 5%",
        choices=("mean", "top"),
    )
    recalibration: int = setting(
        50, "steps that measure batch-norm statistics anew after training; 0 = none",
        low=0, high=10**5,
    )  # fmt: skip
    alarm: float = setting(
        0.05, "share of untouched pictures that the score gate lets through", low=0, high=0.5
    )
    seed: int = setting(0, "of weights, order and views", low=0, high=2**31 - 1)

    @property
    def lanczos(self) -> bool:
        """The authors resize by Lanczos where labels of images are learnt, but for attention."""
        return self.supervision == "labels" and self.method != "attention"


@dataclass(frozen=True)
class LocalizeSpec(Spec):
    """How a picture is looked at."""

    views: int = setting(2, "the picture, and its mirror image", low=1, high=2)
    overlap: float = setting(0.25, "share of a tile that the next one repeats", low=0, high=0.75)
    batch: int = setting(8, "tiles in one forward pass", low=1, high=1024)
    gate: str = setting(
        "on", "blank the map of a picture if untouched ones of its size score as high too often",
        choices=("on", "off"),
    )  # fmt: skip
    threshold: float = setting(0.5, "map value above which a pixel counts", low=0, high=1)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a training sees.

    Attributes:
        supervision: ``masks`` or ``labels``.
        variants: kinds of pictures.
    """

    supervision: str
    variants: tuple[str, ...]


SETUPS: dict[str, Setup] = {
    "A": Setup("labels", (ORIGINAL, WHOLE)),
    "B": Setup("labels", (ORIGINAL, SPLICED)),
    "C": Setup("masks", (SPLICED,)),
    # Ours: untouched and decoded photos too, with empty masks.
    "practical": Setup("masks", (ORIGINAL, ROUND_TRIP, SPLICED, REGENERATED)),
}

_PAPER = LocalizerSpec(
    flip=0.0, degrade=0.0, batch=16, epochs=50, pooling="mean", recalibration=0
)  # fmt: skip
_PAPER_RUNS: dict[tuple[str, str], LocalizerSpec] = {
    ("gradcam", "labels"): replace(_PAPER, flip=0.5, batch=32, epochs=100),
    ("gradcam", "masks"): _PAPER,
    ("patches", "labels"): replace(_PAPER, flip=0.5, batch=64, epochs=100, start="xavier"),
    ("patches", "masks"): _PAPER,
    ("attention", "labels"): replace(_PAPER, learning_rate=1e-4, epochs=15),
    ("attention", "masks"): replace(_PAPER, learning_rate=3e-4, epochs=15),
}


def paper_spec(method: str, setup: str) -> LocalizerSpec:
    """The authors' hyper-parameters for a method in setup A, B or C.

    Raises:
        InputError: an unknown method or setup (BAD_SETTING).

    Source:
        Specification localization.md, section 2.5.

    Example:
        >>> paper_spec("patches", "C").batch, paper_spec("patches", "B").start
        (16, 'xavier')
    """
    if setup not in SETUPS or setup == "practical" or method not in METHOD_NAMES:
        raise InputError(
            "BAD_SETTING",
            f"no published settings for {method!r} in setup {setup!r}; methods are "
            f"{', '.join(METHOD_NAMES)}, setups A, B and C",
        )
    supervision = SETUPS[setup].supervision
    return replace(_PAPER_RUNS[method, supervision], method=method, supervision=supervision)
