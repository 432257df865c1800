"""What the core asks of a host: a denoiser, an encoder, a progress bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from .types import EncoderId, ModelHashes


class Rows(Protocol):
    """What each row of a batch is conditioned on; `types.Conditioning` is the headless one."""

    @property
    def strength(self) -> Tensor:
        """``[N]``, 0 for a base row, 1 for a tuned row."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the networks want their inputs."""
        ...

    def __len__(self) -> int: ...

    def select(self, index: Sequence[int]) -> Rows:
        """The rows at `index`, in that order."""
        ...

    def repeat(self, n: int) -> Rows:
        """Each row `n` times in a row."""
        ...


class Denoiser(Protocol):
    """The k-diffusion contract (Karras et al. 2022, eq. 7) for base and tuned rows at once."""

    def __call__(self, x: Tensor, sigma: Tensor, cond: Rows) -> Tensor:
        """Predict the clean latent.

        Args:
            x: ``[N, C, h, w]`` noisy latent, as `sampling.noised` makes it.
            sigma: ``[N]`` noise levels.
            cond: ``N`` rows; ``cond.strength`` says which model answers each.

        Returns:
            ``[N, C, h, w]`` denoised latent.
        """
        ...


@runtime_checkable
class ModelPair(Protocol):
    """Base and tuned model with their codec and text encoders.

    Attributes:
        latent_shape: ``(C, h, w)`` at the native resolution; a video model has ``(C, t, h, w)``.
        resolution: native image side in pixels.
        sigmas: ``[T]`` noise level of each training timestep, rising.
        hashes: SHA-256 of both models' files.
        family: as the backend or the host calls it.
        prediction: ``epsilon``, ``v_prediction`` or ``flow`` (rectified flow).
    """

    latent_shape: tuple[int, ...]
    resolution: int
    sigmas: Tensor
    hashes: ModelHashes
    family: str
    prediction: str

    @property
    def scalable(self) -> bool:
        """Whether the tuned model is an adapter, whose strength may be any number."""
        ...

    def __call__(self, x: Tensor, sigma: Tensor, cond: Rows) -> Tensor:
        """See `Denoiser`."""
        ...

    def condition(self, prompts: Sequence[str], strengths: Sequence[float]) -> Rows:
        """Encode one prompt per row with the text encoder of that row's model."""
        ...

    def encode(self, pixels: Tensor) -> Tensor:
        """Latent means ``[N, C, h, w]`` (scaled) of pixels ``[N, 3, H, W]`` in 0..1."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels ``[N, 3, H, W]`` in 0..1 (clamped, float32, CPU) of scaled latents."""
        ...

    def null(self, seed: int) -> ModelPair | None:
        """The same base with a random change as strong as the suspect's; None if there is none."""
        ...

    def close(self) -> None:
        """Give back what the pair holds in the host's networks."""
        ...


class ImageEncoder(Protocol):
    """Turns images into descriptors, on the device that its network is on.

    Attributes:
        id: which encoder, with its thresholds.
    """

    id: EncoderId

    @property
    def network(self) -> nn.Module:
        """The module that runs."""
        ...

    def __call__(self, pixels: Tensor) -> Tensor:
        """Unit-norm descriptors ``[N, D]`` of pixels ``[N, 3, H, W]`` in 0..1."""
        ...


class Progress(Protocol):
    """A bar that a host draws; raising from `step` interrupts the work."""

    def start(self, task: str, total: int, done: int = 0) -> None:
        """Begin a task of `total` units, of which `done` were there already."""
        ...

    def step(self, n: int = 1) -> None:
        """Report `n` more units."""
        ...

    def show(self, pixels: Tensor) -> None:
        """Offer images just made, ``[N, 3, H, W]`` in 0..1, for a preview."""
        ...


class NoProgress:
    """Draws nothing."""

    def start(self, task: str, total: int, done: int = 0) -> None:
        """Ignore."""

    def step(self, n: int = 1) -> None:
        """Ignore."""

    def show(self, pixels: Tensor) -> None:
        """Ignore."""


QUIET = NoProgress()
"""For work that nobody watches."""
