"""The training loop that every kind of model shares: draws, loss, AdamW, states for resume.

What a model must give is `Learner`: a loss of drawn latents, and the weights that learn. Every
random choice is a function of the seed and the step, so a run that was interrupted and resumed
gives the weights of one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import InputError, NotEnoughDataError, RunError, plural
from ..protocols import ModelPair, Progress
from ..sampling.plans import seed_of
from ..specs import FinetuneSpec
from ..storage import digest_of, sha256_bytes
from .optimizer import Optimizer
from .store import Store
from .views import Views

_ORDER, _DRAWS = -1, -2


class Trainee(Protocol):
    """What is trained."""

    @property
    def weights(self) -> Mapping[str, nn.Parameter]:
        """By name, float32 on one device."""
        ...

    def result(self) -> dict[str, Tensor]:
        """Copies on the CPU of what training made."""
        ...


class Learner(Protocol):
    """What the loop asks of a model in training."""

    @property
    def pair(self) -> ModelPair:
        """The base, for its noise levels and latent shape."""
        ...

    @property
    def trainee(self) -> Trainee:
        """What is trained on it."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the forward passes; gradients of float16 are scaled."""
        ...

    def loss(self, clean: Tensor, noise: Tensor, timesteps: Tensor, texts: Tensor) -> Tensor:
        """Mean squared error in the model's own prediction units, float32.

        Args:
            clean: ``[N, C, h, w]`` scaled latents.
            noise: like `clean`, standard normal.
            timesteps: ``[N]`` training timesteps.
            texts: ``[N]`` text state of each row; 0 is the empty prompt.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """What chance decides in one batch of ``N`` rows.

    Attributes:
        index: ``[N]`` image of each row.
        chances: ``[4, N]`` in 0..1: for the mirror, the caption dropout, the crop's top and left.
        timesteps: ``[N]`` training timesteps.
        posterior: ``[N, C, h, w]`` noise of the codec's posterior.
        noise: ``[N, C, h, w]`` noise that the model shall predict.
    """

    index: Tensor
    chances: Tensor
    timesteps: Tensor
    posterior: Tensor
    noise: Tensor


def draw(
    spec: FinetuneSpec, images: int, number: int, *, levels: int, shape: Sequence[int]
) -> Draws:
    """The draws of batch `number` (from 0): each image once an epoch, in a shuffled order.

    Args:
        spec: seed and batch.
        images: how many there are.
        number: of the batch; batches go on from one epoch into the next.
        levels: training timesteps of the model.
        shape: ``(C, h, w)`` of a latent.
    """
    places = torch.arange(number * spec.batch, (number + 1) * spec.batch)
    orders = {e: _order(spec.seed, int(e), images) for e in (places // images).unique().tolist()}
    index = [int(orders[p // images][p % images]) for p in places.tolist()]
    generator = _generator(spec.seed, _DRAWS, number)
    full = (spec.batch, *shape)
    return Draws(
        index=torch.tensor(index),
        chances=torch.rand(4, spec.batch, generator=generator),
        timesteps=torch.randint(0, levels, (spec.batch,), generator=generator),
        posterior=torch.randn(full, generator=generator),
        noise=torch.randn(full, generator=generator),
    )


def _order(seed: int, epoch: int, images: int) -> Tensor:
    return torch.randperm(images, generator=_generator(seed, _ORDER, epoch))


def _generator(seed: int, purpose: int, number: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(seed_of(seed, purpose), number))


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """Everything that a batch's loss is made of.

    Attributes:
        learner: the model in training.
        spec: of the training.
        views: of the images.
        rows: text state of each image; state 0 is the empty prompt.
    """

    learner: Learner
    spec: FinetuneSpec
    views: Views
    rows: Tensor

    def draws(self, number: int) -> Draws:
        """See `draw`."""
        pair = self.learner.pair
        levels = len(pair.sigmas)
        return draw(self.spec, len(self.rows), number, levels=levels, shape=pair.latent_shape)

    def loss(self, draws: Draws) -> Tensor:
        """Mean squared error of one batch, float32."""
        dropped = draws.chances[1] < self.spec.caption_dropout
        texts = torch.where(dropped, 0, self.rows[draws.index])
        return self.learner.loss(self._latents(draws), draws.noise, draws.timesteps, texts)

    def _latents(self, draws: Draws) -> Tensor:
        mirror, _, *corner = draws.chances
        corners = torch.stack(corner, dim=1)
        rows = zip(draws.index.tolist(), draws.posterior, mirror.tolist(), corners, strict=True)
        return torch.stack(
            [
                self.views.latent(i, noise, mirrored=u < self.spec.flip, corner=place)
                for i, noise, u, place in rows
            ]
        )


def text_rows(captions: Sequence[str]) -> tuple[list[str], Tensor]:
    """Different prompts, the empty one first, and the row of each caption among them.

    >>> text_rows(["a face", "", "a face"])
    (['', 'a face'], tensor([1, 0, 1]))
    """
    prompts = ["", *(c for c in dict.fromkeys(captions) if c)]
    row = {prompt: i for i, prompt in enumerate(prompts)}
    return prompts, torch.tensor([row[c] for c in captions])


def check_counts(images: int, captions: int) -> None:
    """There is something to learn, and each image has its caption.

    Raises:
        NotEnoughDataError: NO_PHOTOS.
        InputError: CAPTION_COUNT.
    """
    if images < 1:
        raise NotEnoughDataError("NO_PHOTOS", "no image was given; training needs at least one")
    if images != captions:
        raise InputError(
            "CAPTION_COUNT",
            f"{plural(images, 'image')}, {plural(captions, 'caption')}; give one caption per image",
        )


def identity(
    spec: FinetuneSpec, views: Views, captions: Sequence[str], model: Sequence[Any]
) -> str:
    """What decides the result; states of another run are not taken up.

    Args:
        spec: of the training.
        views: of the images.
        captions: one per image.
        model: facts of the base in JSON's types: its hash, precision, device.
    """
    settings = asdict(spec)
    del settings["save_every"]
    pixels = [sha256_bytes(i.contiguous().cpu().numpy().tobytes()) for i in views.images]
    return digest_of([settings, *model, pixels, list(captions)])[:12]


def learn(lesson: Lesson, store: Store, progress: Progress) -> dict[str, Tensor]:
    """Train to the end of the spec's steps, from the newest kept state on.

    Args:
        lesson: learner, images and captions.
        store: keeps the state every ``spec.save_every`` steps, and the result.
        progress: counts optimizer steps.

    Returns:
        The learner's result, with ``losses`` one per step and ``clock`` (start and end, Unix
        seconds) beside.

    Raises:
        RunError: DIVERGED, NOT_WRITABLE.
    """
    spec, learner = lesson.spec, lesson.learner
    optimizer = Optimizer(learner.trainee.weights, spec, learner.dtype)
    state = store.resume(optimizer)
    losses = state["losses"].tolist() if state else []
    started = float(state["clock"][0]) if state else time.time()
    progress.start("fine-tuning", spec.steps, len(losses))
    while len(losses) < spec.steps:
        losses.append(_step(lesson, optimizer, len(losses)))
        if len(losses) % spec.save_every == 0 and len(losses) < spec.steps:
            store.keep(optimizer, len(losses), _log(losses, started))
        progress.step()
    result = {**learner.trainee.result(), **_log(losses, started)}
    store.finish(result)
    return result


def _step(lesson: Lesson, optimizer: Optimizer, number: int) -> float:
    parts = lesson.spec.accumulation
    total = 0.0
    for part in range(parts):
        loss = lesson.loss(lesson.draws(number * parts + part))
        total += loss.item() / parts
        optimizer.backward(loss / parts)
    if not total < float("inf"):
        raise RunError(
            "DIVERGED",
            f"the loss of step {number} is {total}; lower the learning rate, warm up longer, or "
            "use float32",
        )
    optimizer.step(number)
    return total


def _log(losses: Sequence[float], started: float) -> dict[str, Tensor]:
    clock = torch.tensor([started, time.time()], dtype=torch.float64)
    return {"clock": clock, "losses": torch.tensor(losses, dtype=torch.float64)}
