"""Fine-tuning of a diffusers base on images with captions: a LoRA on its UNet, or the whole UNet.

The loss is the mean squared error in the model's own prediction units, as in diffusers'
``train_text_to_image`` scripts (`specs/mia.md` 3). The loop is `learner`'s.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save as save_safetensors
from torch import Tensor

from ..backends.diffusers import DiffusersPair
from ..backends.networks import Networks
from ..errors import InputError
from ..sampling.plans import column
from ..specs import FinetuneSpec
from ..storage import UNKEPT, Work, write_atomic
from ..types import BASE, Conditioning
from .learner import Lesson, check_counts, identity, learn, text_rows
from .store import Store
from .trained import Finetuned, Training, finetuned
from .trainee import Trainee, trainee_of
from .views import Views, fitted


@dataclass(frozen=True, slots=True, eq=False)
class UnetLearner:
    """`learner.Learner` on a diffusers UNet.

    Attributes:
        pair: the base, for its schedule and shapes.
        trainee: the network in training.
        states: text states; row 0 is the empty prompt.
    """

    pair: DiffusersPair
    trainee: Trainee
    states: Conditioning

    @property
    def dtype(self) -> torch.dtype:
        """See `Learner`."""
        return self.pair.dtype

    def loss(self, clean: Tensor, noise: Tensor, timesteps: Tensor, texts: Tensor) -> Tensor:
        """See `Learner`."""
        device, family = self.pair.device, self.pair.networks.family
        inputs = family.inputs(self.states.select(texts), [self.pair.resolution] * 2)
        noisy, target = noised_target(self.pair, clean, noise, timesteps)
        with autocast_of(self.pair):
            out = family.call(self.trainee.unet, noisy.to(device), timesteps.to(device), *inputs)[0]
        return F.mse_loss(out.float(), target.to(device))


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
    work: Work = UNKEPT,
    unit: str = "finetune",
) -> Finetuned:
    """Train on images with their captions; the base stays exactly as it was.

    With a case, the state is kept every ``spec.save_every`` steps (the last two of them), and the
    same call resumes: on a CPU to the bit, on CUDA as far as its kernels repeat themselves. A
    finished run is read, not repeated.

    Args:
        networks: the base.
        images: each ``[3, H, W]`` in 0..1; the short side is brought to the native resolution.
        captions: one per image.
        spec: all settings.
        work: keeps finished parts, is told of steps.
        unit: name of the result in the case.

    Raises:
        NotEnoughDataError: NO_PHOTOS.
        InputError: CAPTION_COUNT, BAD_SHAPE, BAD_PIXELS, NO_LAYERS.
        RunError: DIVERGED, NOT_WRITABLE.
    """
    check_counts(len(images), len(captions))
    pair = DiffusersPair(networks, tuned_sha256=networks.sha256)
    views = Views([fitted(i, pair.resolution) for i in images], pair.resolution, spec.crop,
                  networks.vae)  # fmt: skip
    weight = next(networks.unet.parameters())
    model = [networks.sha256, str(weight.dtype), weight.device.type]
    store = Store(work.case, f"{unit}/{identity(spec, views, captions, model)}")
    done = store.result()
    if done is None:
        done = learn(_lesson(pair, views, captions, spec), store, work.progress)
    training = Training(
        spec=spec,
        captions=tuple(captions),
        base_sha256=networks.sha256,
        family=pair.family,
        prediction=pair.prediction,
        resolution=pair.resolution,
        dtype=pair.dtype,
    )
    return finetuned(training, done)


def _lesson(
    pair: DiffusersPair, views: Views, captions: Sequence[str], spec: FinetuneSpec
) -> Lesson:
    prompts, rows = text_rows(captions)
    states = pair.condition(prompts, [BASE] * len(prompts))
    trainee = trainee_of(pair.networks, spec)
    return Lesson(UnetLearner(pair, trainee, states), spec, views, rows)


def save_checkpoint(trained: Finetuned, networks: Networks, folder: Path) -> Path:
    """Write a fully trained UNet as ``folder/unet``; what is not there is the base's.

    Open it with ``backends.loading.open_pair(base, folder)``.

    Args:
        trained: by method ``full``.
        networks: the base, for the UNet's config.
        folder: made if missing.

    Returns:
        The folder.

    Raises:
        InputError: NOT_A_CHECKPOINT after low-rank training; WRONG_BASE if `networks` is another.
    """
    if trained.training.spec.method != "full":
        raise InputError(
            "NOT_A_CHECKPOINT", "a LoRA was trained; save it with save_lora, or train with full"
        )
    if networks.sha256 != trained.training.base_sha256:
        raise InputError("WRONG_BASE", "the base is another than the one that was trained")
    unet: Any = networks.unet
    config = json.dumps(dict(unet.config), indent=2, sort_keys=True, default=str) + "\n"
    write_atomic(folder / "unet" / "config.json", config.encode())
    data = save_safetensors(trained.weights, {"format": "pt"})
    write_atomic(folder / "unet" / "diffusion_pytorch_model.safetensors", data)
    return folder
