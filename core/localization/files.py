"""A localizer as a file: safetensors, and a card of what it is and what it was measured to do."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import save as save_safetensors
from torch import Tensor

from .. import __version__
from ..devices import torch_device
from ..errors import InputError, plural
from ..lora.header import load_tensors, read_header, sha256_file
from ..records import Reader
from ..storage import write_atomic
from .networks import Network, build, layout
from .settings import LocalizerSpec
from .xception import OFFSET, STRIDE

KEY = "lora_forensics.localizer"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How well a localizer did on one kind of picture.

    Attributes:
        name: what was tested, such as ``repaint_latent, spliced``.
        domain: ``in`` for generators and sources of its training, else ``out``.
        pictures: repainted ones.
        iou: mean, at the pictures' size and threshold 0.5, as are the others.
        f1: mean.
        pbca: mean.
        all_fake_iou: IoU of calling every pixel repainted.
        all_real_pbca: PBCA of calling none.
        found: share of repainted pictures whose score passes the gate.
    """

    name: str
    domain: str
    pictures: int
    iou: float
    f1: float
    pbca: float
    all_fake_iou: float
    all_real_pbca: float
    found: float


@dataclass(frozen=True, slots=True)
class Untouched:
    """How often a localizer marked something on pictures of which nothing was repainted.

    Attributes:
        name: which pictures, such as ``original`` or ``repaint_latent, round_trip``.
        domain: as in `Accuracy`.
        marked: how many passed the gate, of
        pictures: so many.
    """

    name: str
    domain: str
    marked: int
    pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a localizer is.

    Attributes:
        method: ``patches``, ``gradcam`` or ``attention``.
        supervision: ``masks`` or ``labels``.
        width: of the network.
        side: pixels of its input, while it was trained.
        source_side: pixels of the training pictures: 299 / 256 enlarges by 1.17.
        pooling: how the score is made of cells.
        alarm: share of untouched pictures that may be marked.
        trained_on: in words.
        pictures: training pictures.
        seed: of the training.
        epoch: whose weights these are.
        tool: version that trained it.
        nulls: scores of untouched photos, falling; of each photo the highest among its untouched
            variants, so that the gate holds for decoded ones too.
        measured: its figures on repainted pictures that it was not trained on.
        untouched: its false alarms.
        limits: what a reader must know.
    """

    method: str
    supervision: str
    width: float
    side: int
    source_side: int
    pooling: str
    alarm: float
    trained_on: str
    pictures: int
    seed: int
    epoch: int
    tool: str = __version__
    nulls: tuple[float, ...] = ()
    measured: tuple[Accuracy, ...] = ()
    untouched: tuple[Untouched, ...] = ()
    limits: tuple[str, ...] = ()

    @property
    def gate(self) -> float | None:
        """Score that a picture of one tile must exceed; None where too few photos set it."""
        allowed = math.floor(self.alarm * (len(self.nulls) + 1)) - 1
        return self.nulls[allowed] if allowed >= 0 else None

    def p_value(self, score: float, tiles: int = 1) -> float | None:
        """How often an untouched picture of so many tiles scores as high: at most this share.

        The rank of the highest tile among untouched photos, times the number of tiles
        (Bonferroni): an untouched picture of hundreds of tiles has a high one by chance.

        Returns:
            In 0..1; None without untouched photos.

        Example:
            >>> size = {"width": 1.0, "side": 128, "source_side": 64}
            >>> trained = {"trained_on": "", "pictures": 0, "seed": 0, "epoch": 1, "alarm": 0.05}
            >>> card = Card(method="patches", supervision="masks", pooling="top", **size, **trained,
            ...             nulls=(0.4, 0.3, 0.2))
            >>> card.p_value(0.35), card.p_value(0.35, tiles=3)
            (0.5, 1.0)
        """
        if not self.nulls:
            return None
        above = sum(null >= score for null in self.nulls)
        return min(1.0, tiles * (1 + above) / (len(self.nulls) + 1))

    @property
    def stride(self) -> int:
        """Input pixels between two cells."""
        return STRIDE if self.method == "patches" else 2 * STRIDE

    @property
    def offset(self) -> int:
        """Input pixel at the centre of the first cell."""
        return OFFSET

    @property
    def scale(self) -> float:
        """How far pictures are enlarged before the network sees them."""
        return self.side / self.source_side


@dataclass(frozen=True, slots=True, eq=False)
class Localizer:
    """A network, its card, and the SHA-256 of its file."""

    network: Network
    card: Card
    sha256: str


def save_localizer(network: Network, card: Card, path: Path) -> Path:
    """Write a localizer; returns the path."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    facts = {"schema_version": SCHEMA_VERSION, **asdict(card)}
    write_atomic(path, save_safetensors(tensors, {KEY: json.dumps(facts, allow_nan=False)}))
    return path


@torch.inference_mode(False)  # Grad-CAM needs weights that autograd may keep
def load_localizer(path: Path, device: str = "cpu") -> Localizer:
    """Read a localizer.

    Raises:
        InputError: the file is something else, such as a LoRA (NOT_A_LOCALIZER), of a newer
            version (LOCALIZER_SCHEMA), or its tensors do not fit its card (WRONG_WEIGHTS).
    """
    card = read_card(path)
    tensors = load_tensors(path)
    with torch.device("meta"):
        network = build(card.method, card.supervision, card.width)
    _check_tensors(path, network.state_dict(), tensors)
    network.load_state_dict(tensors, assign=True)
    network.to(torch_device(device)).eval().requires_grad_(False)
    network.to(memory_format=layout(card.width))  # type: ignore[call-overload]
    return Localizer(network, card, sha256_file(path))


def read_card(path: Path) -> Card:
    """The card of a localizer's file; errors as `load_localizer`."""
    text = read_header(path, allow_zero_size=True).metadata.get(KEY)
    if text is None:
        raise InputError(
            "NOT_A_LOCALIZER",
            f"{path} is not a localizer: it has no card. Give a file that `localizer train` wrote; "
            "a LoRA or checkpoint is asked about with `screen`",
        )
    reader = Reader(f"the card of {path}", "NOT_A_LOCALIZER", "train the localizer again")
    facts = reader.parse(text.encode())
    newer = "update the tool, or train the localizer with this version"
    replace(reader, code="LOCALIZER_SCHEMA", fix=newer).check_schema(facts, SCHEMA_VERSION)
    card = reader.record(Card, {k: v for k, v in facts.items() if k != "schema_version"})
    try:
        LocalizerSpec(
            method=card.method,
            supervision=card.supervision,
            width=card.width,
            side=card.side,
            pooling=card.pooling,
            alarm=card.alarm,
        )
    except InputError as error:
        reader.refuse(error)
    if not 16 <= card.source_side <= 4096:
        reader.refuse(f"source_side is {card.source_side}, expected 16 to 4096")
    if any(a < b for a, b in pairwise(card.nulls)):
        reader.refuse("its scores of untouched photos do not fall")
    return card


def misfits(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Names that one of both lacks, or whose shapes differ."""
    return sorted(
        k
        for k in wanted.keys() | found.keys()
        if k not in found or k not in wanted or wanted[k].shape != found[k].shape
    )


def _check_tensors(path: Path, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    wrong = misfits(wanted, found)
    if wrong:
        raise InputError(
            "WRONG_WEIGHTS",
            f"{path} does not fit its card in {plural(len(wrong), 'tensor')}, such as "
            f"{wrong[0]!r}; the file was changed",
        )
