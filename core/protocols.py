"""What the core asks of a host: a denoiser, an encoder, a progress bar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from .types import Conditioning, EncoderId, ModelHashes


class Denoiser(Protocol):
    """The k-diffusion contract (Karras et al. 2022, eq. 7) for base and tuned rows at once."""

    def __call__(self, x: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        """Predict the clean latent.

        Args:
            x: ``[N, C, h, w]`` noisy latent, ``x = x0 + sigma * eps``.
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
        latent_shape: ``(C, h, w)`` at the native resolution.
        resolution: native image side in pixels.
        sigmas: ``[T]`` noise level of each training timestep, rising.
        hashes: SHA-256 of both models' files.
        family: ``sd1``, ``sd2``, ``sdxl``.
        prediction: ``epsilon`` or ``v_prediction``.
    """

    latent_shape: tuple[int, int, int]
    resolution: int
    sigmas: Tensor
    hashes: ModelHashes
    family: str
    prediction: str

    def __call__(self, x: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        """See `Denoiser`."""
        ...

    def condition(self, prompts: Sequence[str], strengths: Sequence[float]) -> Conditioning:
        """Encode one prompt a row with the text encoder of that row's model."""
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
    """Turns images into descriptors."""

    id: EncoderId

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


class NoProgress:
    """Draws nothing."""

    def start(self, task: str, total: int, done: int = 0) -> None:
        """Ignore."""

    def step(self, n: int = 1) -> None:
        """Ignore."""
