"""Training of a localizer: an endless shuffled stream, validation each epoch, the best kept.

Every random choice is a function of the seed and the step, so a training that was interrupted and
resumed on a CPU gives the weights of one that was not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..devices import torch_device
from ..errors import InputError, NotEnoughDataError, RunError, plural
from ..inpainting.examples import Example, ExampleSet
from ..protocols import Progress
from ..sampling.plans import seed_of
from ..storage import UNKEPT, Work, digest_of, sha256_bytes
from ..training.store import Store
from .foreign import own_names
from .losses import loss_of
from .networks import Network, build, layout
from .settings import LocalizerSpec
from .views import cell_targets, degraded, normalized, resized

_ORDER, _VIEWS, _STATISTICS, _WEIGHTS = -11, -12, -13, -14
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_CACHED_BYTES = 2**30
XAVIER_GAIN = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A finished training.

    Attributes:
        network: on the CPU, in evaluation mode.
        spec: how it was trained.
        losses: mean training loss of each epoch.
        validation: validation loss of each epoch; empty without validation pictures.
        epoch: whose weights were kept, from 1.
    """

    network: Network
    spec: LocalizerSpec
    losses: tuple[float, ...]
    validation: tuple[float, ...]
    epoch: int


@torch.inference_mode(False)
@torch.enable_grad()
def train_localizer(
    examples: ExampleSet,
    spec: LocalizerSpec,
    *,
    start: Mapping[str, Tensor] | None = None,
    work: Work = UNKEPT,
    unit: str = "localizer",
    device: str = "cpu",
) -> Trained:
    """Train on the ``train`` rows, choose the epoch on the ``val`` rows.

    Args:
        examples: pictures with masks, of the variants wanted.
        spec: network and training.
        start: first weights by name, such as ImageNet's; those of another shape or name are left
            out, and a start that fits nowhere is refused.
        work: keeps finished parts, is told of steps.
        unit: name in the case.
        device: where it is trained.

    Raises:
        NotEnoughDataError: fewer training pictures than two, or labels of one kind only
            (TOO_FEW_EXAMPLES).
        InputError: see `start` (WRONG_WEIGHTS).
        RunError: DIVERGED, NOT_WRITABLE.
    """
    stream = Stream(examples.pick(split="train"), spec)
    _check(stream.examples, spec)
    store = Store(work.case, f"{unit}/{_identity(examples, spec, start, device)}")
    state = store.result()
    if state is None:
        trainee = LocalizerTrainee(spec, start, device)
        watched = examples.pick(split="val")
        state = _learn(trainee, stream, watched, store, work.progress)
    network = build(spec.method, spec.supervision, spec.width)
    network.load_state_dict(_part(state, "weight/"))
    curve = [tuple(state[k].tolist()) for k in ("losses", "validation")]
    return Trained(network.eval(), spec, *curve, epoch=int(state["epoch"]))


def _check(examples: ExampleSet, spec: LocalizerSpec) -> None:
    fakes = sum(r.fake for r in examples.rows)
    untouched = plural(len(examples) - fakes, "untouched training picture")
    kinds = f"{fakes} repainted and {untouched}"
    if len(examples) < 2 or not fakes:
        raise NotEnoughDataError("TOO_FEW_EXAMPLES", f"{kinds}; give more photos")
    if spec.supervision == "labels" and fakes == len(examples):
        raise NotEnoughDataError(
            "TOO_FEW_EXAMPLES", f"{kinds}; labels of images need both kinds, masks do not"
        )


def _identity(
    examples: ExampleSet, spec: LocalizerSpec, start: Mapping[str, Tensor] | None, device: str
) -> str:
    first = {
        k: sha256_bytes(v.detach().cpu().contiguous().float().numpy().tobytes())
        for k, v in (start or {}).items()
    }
    return digest_of([asdict(spec), examples.digest(), first, device])[:16]


class Stream:
    """Batches of training pictures by number.

    Args:
        examples: of the training split.
        spec: sizes, views and seed.
    """

    def __init__(self, examples: ExampleSet, spec: LocalizerSpec) -> None:
        self.examples, self.spec = examples, spec
        size = len(examples) * spec.side**2 * 3
        self._kept: dict[int, Any] | None = {} if size <= _CACHED_BYTES else None

    def index(self, number: int) -> list[int]:
        """Which pictures batch `number` holds: each once a pass, passes shuffled anew."""
        count, batch = len(self.examples), self.spec.batch
        places = [divmod(p, count) for p in range(number * batch, (number + 1) * batch)]
        orders = {p: self._rng(_ORDER, p).permutation(count) for p in {p for p, _ in places}}
        return [int(orders[p][i]) for p, i in places]

    def batch(self, number: int, grid: tuple[int, int] | None) -> Batch:
        """Batch `number` with its views.

        Args:
            number: from 0.
            grid: of the network's cells; None where masks are not asked for.
        """
        rng = self._rng(_VIEWS, number)
        rows, pixels, mirrored = self.index(number), [], []
        for i in rows:
            picture, mirror = self._picture(i), rng.random() < self.spec.flip
            if rng.random() < self.spec.degrade:
                picture = degraded(picture, rng)
            image = normalized(picture)
            pixels.append(image.flip(-1) if mirror else image)
            mirrored.append(mirror)
        chosen = [self.examples.rows[i] for i in rows]
        cells = None if grid is None else self._cells(chosen, mirrored, grid)
        labels = torch.tensor([float(r.fake) for r in chosen])
        return Batch(torch.stack(pixels), labels, cells)

    def plain(self, rows: Sequence[int], grid: tuple[int, int] | None) -> Batch:
        """These pictures as they are, for validation."""
        chosen = [self.examples.rows[i] for i in rows]
        pixels = torch.stack([normalized(self._picture(i)) for i in rows])
        cells = None if grid is None else self._cells(chosen, [False] * len(rows), grid)
        return Batch(pixels, torch.tensor([float(r.fake) for r in chosen]), cells)

    def _picture(self, i: int) -> Any:
        if self._kept is not None and i in self._kept:
            return self._kept[i]
        row = self.examples.rows[i]
        picture = resized(self.examples.picture(row), self.spec.side, lanczos=self.spec.lanczos)
        if self._kept is not None:
            self._kept[i] = picture
        return picture

    def _cells(
        self, rows: Sequence[Example], mirrored: Sequence[bool], grid: tuple[int, int]
    ) -> Tensor:
        masks = [self.examples.mask(r) for r in rows]
        seen = [m[:, ::-1] if mirror else m for m, mirror in zip(masks, mirrored, strict=True)]
        bilinear = self.spec.method == "attention"
        return torch.cat([cell_targets(m[None], grid, bilinear=bilinear) for m in seen])

    def _rng(self, purpose: int, number: int) -> np.random.Generator:
        return np.random.default_rng(seed_of(seed_of(self.spec.seed, purpose), number))


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Pictures ``[N, 3, side, side]`` in -1..1, labels ``[N]``, cells ``[N, h, w]`` or None."""

    pixels: Tensor
    labels: Tensor
    cells: Tensor | None


class LocalizerTrainee:
    """A network and its Adam; `store.Stateful`.

    Args:
        spec: network and training.
        start: see `train_localizer`.
        device: where it is.
    """

    def __init__(self, spec: LocalizerSpec, start: Mapping[str, Tensor] | None, device: str):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(spec.seed, _WEIGHTS) % 2**63)
            network = build(spec.method, spec.supervision, spec.width)
            if spec.start == "xavier":
                _xavier(network)
        if start is not None:
            _take(network, own_names(start))
        self.spec, self.device = spec, torch_device(device)
        self.network, self._half = network.to(self.device), spec.precision == "bfloat16"
        self.adam = torch.optim.Adam(self.network.parameters(), lr=spec.learning_rate, fused=True)
        self.best: dict[str, Tensor] = {}
        self.grid = self._grid()

    def _grid(self) -> tuple[int, int] | None:
        if self.spec.supervision == "labels":
            return None
        self.network.eval()
        with torch.no_grad():
            blank = torch.zeros(1, 3, self.spec.side, self.spec.side, device=self.device)
            cells = self.network(blank).cells
        assert cells is not None
        return (cells.shape[1], cells.shape[2])

    def loss(self, batch: Batch) -> Tensor:
        """Of one batch."""
        cells = None if batch.cells is None else batch.cells.to(self.device)
        pixels = batch.pixels.to(self.device, memory_format=layout(self.spec.width))
        answer = self.network(pixels)
        labels = batch.labels.to(self.device)
        return loss_of(answer, labels, cells, map_weight=self.spec.map_weight)

    def step(self, batch: Batch, number: int) -> float:
        """One optimiser step."""
        self.network.train()
        # Dropout's draws belong to the step, too.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self.spec.seed, number))
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._half):
                loss = self.loss(batch)
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        value = loss.item()
        if not value < float("inf"):
            raise RunError(
                "DIVERGED", f"the loss of step {number} is {value}; lower the learning rate"
            )
        return value

    def state(self) -> dict[str, Tensor]:
        """See `Stateful`."""
        tensors = {f"weight/{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"best/{k}": v for k, v in self.best.items()}
        for name, weight in self.network.named_parameters():
            moments = self.adam.state.get(weight, {})
            tensors |= {f"{k}/{name}": moments[k] for k in _MOMENTS if k in moments}
        return tensors

    def load(self, state: Mapping[str, Tensor]) -> None:
        """See `Stateful`."""
        self.network.load_state_dict(_part(state, "weight/"))
        self.best = _part(state, "best/")
        for name, weight in self.network.named_parameters():
            if f"step/{name}" in state:
                kept = {k: state[f"{k}/{name}"].to(self.device, copy=True) for k in _MOMENTS}
                # Laid out like their weight, as the fused step expects.
                laid = {k: torch.empty_like(weight).copy_(kept[k]) for k in _MOMENTS[1:]}
                self.adam.state[weight] = kept | laid

    def remember(self) -> None:
        """The weights of this moment are the best so far."""
        self.best = {k: v.detach().cpu().clone() for k, v in self.network.state_dict().items()}


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _xavier(network: nn.Module) -> None:
    """Patch-Forensics' start: Xavier-normal of gain 0.02, batch-norm weights around 1."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_normal_(module.weight, gain=XAVIER_GAIN)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, XAVIER_GAIN)
            nn.init.zeros_(module.bias)


def _take(network: nn.Module, start: Mapping[str, Tensor]) -> None:
    wanted = network.state_dict()
    fitting = {k: v for k, v in start.items() if k in wanted and v.shape == wanted[k].shape}
    if len(fitting) < len(wanted) / 2:
        raise InputError(
            "WRONG_WEIGHTS",
            f"the file has {len(fitting)} of the {plural(len(wanted), 'tensor')} of the network; "
            "give weights of the same network, such as timm's legacy_xception at width 1",
        )
    network.load_state_dict(fitting, strict=False)


def _learn(
    trainee: LocalizerTrainee, stream: Stream, watched: ExampleSet, store: Store, progress: Progress
) -> dict[str, Tensor]:
    spec = trainee.spec
    state = store.resume(trainee)
    losses = state["losses"].tolist() if state else []
    curve = state["validation"].tolist() if state else []
    best = int(state["epoch"]) if state else 0
    validation = Stream(watched, spec)
    progress.start("training", spec.epochs * spec.iterations, len(losses) * spec.iterations)
    while len(losses) < spec.epochs:
        losses.append(_epoch(trainee, stream, len(losses), progress))
        recalibrate(trainee.network, _statistics(trainee, stream, len(losses)))
        if len(watched):
            curve.append(validation_loss(trainee, validation))
        if not curve or min(curve) == curve[-1]:
            best = len(losses)
            trainee.remember()
        if len(losses) < spec.epochs:
            store.keep(trainee, len(losses), _log(losses, curve, best))
    weights = {f"weight/{k}": v for k, v in trainee.best.items()}
    made = {**weights, **_log(losses, curve, best)}
    store.finish(made)
    return made


def _log(losses: Sequence[float], curve: Sequence[float], best: int) -> dict[str, Tensor]:
    return {
        "losses": torch.tensor(losses, dtype=torch.float64),
        "validation": torch.tensor(curve, dtype=torch.float64),
        "epoch": torch.tensor(best),
    }


def _epoch(trainee: LocalizerTrainee, stream: Stream, epoch: int, progress: Progress) -> float:
    spec, total = trainee.spec, 0.0
    for number in range(epoch * spec.iterations, (epoch + 1) * spec.iterations):
        total += trainee.step(stream.batch(number, trainee.grid), number)
        progress.step()
    return total / spec.iterations


def _statistics(trainee: LocalizerTrainee, stream: Stream, epoch: int) -> Iterator[Tensor]:
    first = seed_of(_STATISTICS, epoch) % 10**6
    for k in range(trainee.spec.recalibration):
        yield stream.batch(first + k, None).pixels.to(trainee.device)


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Iterator[Tensor]) -> None:
    """Measure batch-norm statistics anew; those of a short training lag behind its weights.

    Args:
        network: changed in place; left as it is when there is no batch.
        batches: inputs as in training.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [m.momentum for m in norms]
    network.eval()
    for number, pixels in enumerate(batches):
        for norm in norms if number == 0 else ():
            norm.reset_running_stats()
            norm.momentum = None  # cumulative mean
            norm.train()
        network(pixels)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


@torch.no_grad()
def validation_loss(trainee: LocalizerTrainee, stream: Stream) -> float:
    """Mean loss over all pictures of a stream, as they are."""
    trainee.network.eval()
    total, count = 0.0, len(stream.examples)
    for at in range(0, count, trainee.spec.batch):
        rows = range(at, min(at + trainee.spec.batch, count))
        total += float(trainee.loss(stream.plain(rows, trainee.grid))) * len(rows)
    return total / count
