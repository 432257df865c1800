"""Fine-tuning of a base on images with captions: a LoRA on its UNet, or the whole UNet.

The loss is the mean squared error in the model's own prediction units, as in diffusers'
``train_text_to_image`` scripts (`specs/mia.md` 3). Every random choice is a function of the seed
and the step, so a run that was interrupted and resumed gives the weights of one that was not.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .backends.diffusers import DiffusersPair
from .backends.networks import Networks
from .errors import InputError, NotEnoughDataError, RunError
from .optimiser import Optimiser
from .protocols import NoProgress, Progress
from .sampling import column, seed_of
from .specs import FinetuneSpec
from .storage import CaseFolder, digest_of, sha256_bytes
from .trained import Finetuned, save_checkpoint, save_lora, save_losses
from .trainee import Trainee, trainee_of
from .types import BASE, Conditioning
from .views import Views, fitted

_PRECISIONS = {torch.float32: "no", torch.float16: "fp16", torch.bfloat16: "bf16"}
_ORDER, _DRAWS = -1, -2
_KEPT_STATES = 2


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
    """Everything that a batch's loss is made of, beside the network in training.

    Attributes:
        pair: the base, for its schedule and shapes.
        spec: of the training.
        views: of the images.
        states: text states; row 0 is the empty prompt.
        rows: row of `states` for each image.
    """

    pair: DiffusersPair
    spec: FinetuneSpec
    views: Views
    states: Conditioning
    rows: Tensor

    def draws(self, number: int) -> Draws:
        """See `draw`."""
        levels, shape = len(self.pair.sigmas), self.pair.latent_shape
        return draw(self.spec, len(self.rows), number, levels=levels, shape=shape)

    def loss(self, trainee: Trainee, drawn: Draws) -> Tensor:
        """Mean squared error of one batch, float32."""
        device = self.pair.device
        noisy, target = noised_target(self.pair, self._latents(drawn), drawn.noise, drawn.timesteps)
        with autocast_of(self.pair):
            made = trainee.unet(
                noisy.to(device), drawn.timesteps.to(device), **self._condition(drawn)
            )[0]
        return F.mse_loss(made.float(), target.to(device))

    def _latents(self, drawn: Draws) -> Tensor:
        mirror, _, *corner = drawn.chances
        corners = torch.stack(corner, dim=1)
        rows = zip(drawn.index.tolist(), drawn.posterior, mirror.tolist(), corners, strict=True)
        return torch.stack(
            [
                self.views.latent(i, noise, mirrored=u < self.spec.flip, corner=place)
                for i, noise, u, place in rows
            ]
        )

    def _condition(self, drawn: Draws) -> dict[str, Any]:
        dropped = drawn.chances[1] < self.spec.caption_dropout
        rows = torch.where(dropped, 0, self.rows[drawn.index])
        embeds, pooled = self.states.embeds, self.states.pooled
        inputs: dict[str, Any] = {
            "encoder_hidden_states": embeds[rows.to(embeds.device)],
            "return_dict": False,
        }
        if self.pair.family == "sdxl" and pooled is not None:
            size = [self.pair.resolution] * 2
            ids = torch.tensor([*size, 0, 0, *size], device=pooled.device, dtype=pooled.dtype)
            inputs["added_cond_kwargs"] = {
                "text_embeds": pooled[rows.to(pooled.device)],
                "time_ids": ids.expand(len(rows), 6),
            }
        return inputs


def noised_target(
    pair: DiffusersPair, clean: Tensor, noise: Tensor, timesteps: Tensor
) -> tuple[Tensor, Tensor]:
    """Noisy latents and what the model shall answer: the noise, or v of a v-prediction model.

    Args:
        pair: says which, and holds the noise levels.
        clean: ``[N, C, h, w]`` scaled latents.
        noise: like `clean`.
        timesteps: ``[N]`` training timesteps.
    """
    sigma = pair.sigmas.cpu()[timesteps].double()
    signal = column((1 / (sigma**2 + 1).sqrt()).float(), clean)
    spread = column((sigma / (sigma**2 + 1).sqrt()).float(), clean)
    noisy = signal * clean + spread * noise
    return noisy, noise if pair.prediction == "epsilon" else signal * noise - spread * clean


def autocast_of(pair: DiffusersPair) -> AbstractContextManager[Any]:
    """Forward passes in a half base's precision; float32 needs none."""
    if pair.dtype == torch.float32:
        return nullcontext()
    return torch.autocast(pair.device.type, dtype=pair.dtype)


def finetune(
    networks: Networks,
    images: Sequence[Tensor],
    captions: Sequence[str],
    spec: FinetuneSpec,
    *,
    case: CaseFolder | None = None,
    unit: str = "finetune",
    progress: Progress | None = None,
) -> Finetuned:
    """Train on images with their captions; the base stays exactly as it was.

    With a case, the state is kept every ``spec.save_every`` steps (the last two of them), and the
    same call resumes: on a CPU to the bit, on CUDA as far as its kernels repeat themselves. A
    finished run is read, not repeated.

    Args:
        networks: the base.
        images: each ``[3, H, W]`` in 0..1; the short side is brought to the native resolution.
        captions: one an image.
        spec: all settings.
        case: where states and the result are kept.
        unit: name of the result in the case.
        progress: counts optimiser steps.

    Raises:
        NotEnoughDataError: NO_PHOTOS.
        InputError: CAPTION_COUNT, BAD_SHAPE, BAD_PIXELS, NO_LAYERS.
        RunError: DIVERGED, NOT_WRITABLE.
    """
    check_counts(len(images), len(captions))
    pair = DiffusersPair(networks, tuned_sha256=networks.sha256)
    views = Views([fitted(i, pair.resolution) for i in images], pair.resolution, spec.crop,
                  networks.vae)  # fmt: skip
    store = _Store(case, f"{unit}/{_identity(networks, views, captions, spec)}")
    done = store.result()
    if done is None:
        done = _train(_lesson(pair, views, captions, spec), store, progress or NoProgress())
    clock, losses = done.pop("clock").tolist(), done.pop("losses").tolist()
    distinct = Counter(captions)
    return Finetuned(
        spec=spec,
        losses=tuple(losses),
        weights=done,
        base_sha256=networks.sha256,
        captions=tuple(distinct),
        counts=tuple(distinct.values()),
        images=len(images),
        family=pair.family,
        prediction=pair.prediction,
        resolution=pair.resolution,
        precision=_PRECISIONS[pair.dtype],
        started=clock[0],
        finished=clock[1],
    )


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
            "CAPTION_COUNT", f"{images} images and {captions} captions; give one caption an image"
        )


def _lesson(
    pair: DiffusersPair, views: Views, captions: Sequence[str], spec: FinetuneSpec
) -> Lesson:
    prompts = ["", *(c for c in dict.fromkeys(captions) if c)]
    row = {prompt: i for i, prompt in enumerate(prompts)}
    states = pair.condition(prompts, [BASE] * len(prompts))
    return Lesson(pair, spec, views, states, torch.tensor([row[c] for c in captions]))


def _train(lesson: Lesson, store: _Store, progress: Progress) -> dict[str, Tensor]:
    spec = lesson.spec
    trainee = trainee_of(lesson.pair.networks.unet, spec)
    optimiser = Optimiser(trainee.weights, spec, lesson.pair.dtype)
    losses, started = store.resume(optimiser)
    progress.start("fine-tuning", spec.steps, len(losses))
    while len(losses) < spec.steps:
        losses.append(_step(lesson, trainee, optimiser, len(losses)))
        if len(losses) % spec.save_every == 0 and len(losses) < spec.steps:
            store.keep(optimiser, losses, started)
        progress.step()
    made = {**trainee.result(), **_log(losses, started)}
    store.finish(made)
    return made


def _step(lesson: Lesson, trainee: Trainee, optimiser: Optimiser, number: int) -> float:
    parts = lesson.spec.accumulation
    total = 0.0
    for part in range(parts):
        loss = lesson.loss(trainee, lesson.draws(number * parts + part))
        total += loss.item() / parts
        optimiser.backward(loss / parts)
    if not total < float("inf"):
        raise RunError(
            "DIVERGED",
            f"the loss of step {number} is {total}; lower the learning rate, warm up longer, or "
            "use float32",
        )
    optimiser.step(number)
    return total


def _log(losses: Sequence[float], started: float) -> dict[str, Tensor]:
    clock = torch.tensor([started, time.time()], dtype=torch.float64)
    return {"clock": clock, "losses": torch.tensor(losses, dtype=torch.float64)}


def _identity(networks: Networks, views: Views, captions: Sequence[str], spec: FinetuneSpec) -> str:
    """What decides the result; states of another run are not taken up."""
    settings = asdict(spec)
    del settings["save_every"]
    weight = next(networks.unet.parameters())
    pixels = [sha256_bytes(i.contiguous().cpu().numpy().tobytes()) for i in views.images]
    facts = [settings, networks.sha256, str(weight.dtype), weight.device.type, pixels]
    return digest_of([*facts, list(captions)])[:12]


@dataclass(frozen=True, slots=True)
class _Store:
    """States and result of one run in a case, if there is one."""

    case: CaseFolder | None
    stem: str

    def result(self) -> dict[str, Tensor] | None:
        unit = f"{self.stem}/result"
        return self.case.read_tensors(unit) if self.case and self.case.has(unit) else None

    def resume(self, optimiser: Optimiser) -> tuple[list[float], float]:
        """Losses so far and the time of the start; the optimiser takes up the newest state."""
        units = self._states()
        if self.case is None or not units:
            return [], time.time()
        state = self.case.read_tensors(units[-1])
        optimiser.load(state)
        return state["losses"].tolist(), float(state["clock"][0])

    def keep(self, optimiser: Optimiser, losses: Sequence[float], started: float) -> None:
        if self.case is None:
            return
        state = {**optimiser.state(), **_log(losses, started)}
        self.case.put_tensors(f"{self.stem}/state-{len(losses):08d}", state)
        self._drop(_KEPT_STATES)

    def finish(self, made: dict[str, Tensor]) -> None:
        if self.case is not None:
            self.case.put_tensors(f"{self.stem}/result", made)
            self._drop(0)

    def _states(self) -> list[str]:
        done = self.case.done if self.case else ()
        return sorted(u for u in done if u.startswith(f"{self.stem}/state-"))

    def _drop(self, kept: int) -> None:
        assert self.case is not None
        units = self._states()
        for unit in units[: len(units) - kept]:
            (self.case.root / self.case.done.pop(unit)["file"]).unlink(missing_ok=True)


__all__ = [
    "Draws",
    "Finetuned",
    "Lesson",
    "draw",
    "finetune",
    "noised_target",
    "save_checkpoint",
    "save_lora",
    "save_losses",
]
