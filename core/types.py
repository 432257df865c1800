"""What flows between the steps: frozen data, each with the provenance that a report needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .errors import InputError, ProvenanceError, plural

BASE, TUNED = 0.0, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where one image came from; nothing without a source enters a report.

    Attributes:
        kind: what the image is to the case.
        sha256: of the canonical pixels (uint8 RGB, height x width x 3).
        name: file name or index, shown to people.
        file_sha256: of the file's bytes, for photos.
        prompt: prompt of a generated image.
        seed: noise seed of a generated image.
        guidance: label of the guidance that made it, such as ``model w=2``.
    """

    kind: Literal["photo", "control", "generated"]
    sha256: str
    name: str
    file_sha256: str = ""
    prompt: str = ""
    seed: int = -1
    guidance: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ImageBatch:
    """Images of one size.

    Attributes:
        pixels: ``[N, 3, H, W]`` float32 in 0..1.
        sources: one for each image.
    """

    pixels: Tensor
    sources: tuple[Source, ...]

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.shape[1] != 3:
            raise InputError("BAD_SHAPE", f"images are [N, 3, H, W], got {list(self.pixels.shape)}")
        if len(self.pixels) != len(self.sources):
            images, sources = plural(len(self.pixels), "image"), plural(len(self.sources), "source")
            raise ProvenanceError("NO_SOURCE", f"{images} came with {sources}")

    def __len__(self) -> int:
        return len(self.sources)

    def select(self, index: Sequence[int]) -> ImageBatch:
        """The images at `index`, in that order."""
        return ImageBatch(self.pixels[list(index)], tuple(self.sources[i] for i in index))


@dataclass(frozen=True, slots=True)
class EncoderId:
    """Which encoder made embeddings: two different ones are never compared.

    Attributes:
        name: short name, such as ``sscd``.
        sha256: of its weights file.
        dim: length of a vector.
        copy_threshold: cosine above which two images count as copies (strict).
        lenient_threshold: the same, lenient.
        note: the limits of its validity, in words.
    """

    name: str
    sha256: str
    dim: int
    copy_threshold: float
    lenient_threshold: float
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Unit-norm descriptors ``[N, D]`` float32, one per source."""

    vectors: Tensor
    encoder: EncoderId
    sources: tuple[Source, ...]

    def __len__(self) -> int:
        return len(self.sources)

    def similarity(self, other: Embeddings) -> Tensor:
        """Cosine matrix ``[len(self), len(other)]``.

        Raises:
            ProvenanceError: the two were made by different encoders.
        """
        if self.encoder != other.encoder:
            raise ProvenanceError(
                "MIXED_ENCODERS",
                f"embeddings of {self.encoder.name} and {other.encoder.name} are not comparable; "
                "embed both with one encoder",
            )
        return self.vectors @ other.vectors.T

    def select(self, index: Sequence[int]) -> Embeddings:
        """The embeddings at `index`, in that order."""
        chosen = tuple(self.sources[i] for i in index)
        return Embeddings(self.vectors[list(index)], self.encoder, chosen)


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """What each row of a batch is conditioned on, and which of the two models answers it.

    Attributes:
        embeds: ``[N, T, D]`` text states for cross-attention.
        strength: ``[N]``, 0 for a base row, 1 for a tuned row (any value scales the adapter).
        pooled: ``[N, P]`` pooled text states (SDXL), else None.
    """

    embeds: Tensor
    strength: Tensor
    pooled: Tensor | None = None

    def __len__(self) -> int:
        return len(self.embeds)

    @property
    def device(self) -> torch.device:
        """Where the text states are."""
        return self.embeds.device

    def select(self, index: Sequence[int] | Tensor) -> Conditioning:
        """The rows at `index`, in that order."""
        index = torch.as_tensor(index, device=self.embeds.device)
        pooled = None if self.pooled is None else self.pooled[index]
        return Conditioning(self.embeds[index], self.strength[index], pooled)

    def repeat(self, n: int) -> Conditioning:
        """Each row `n` times in a row."""
        return self.select([i for i in range(len(self)) for _ in range(n)])

    @staticmethod
    def cat(parts: Sequence[Conditioning]) -> Conditioning:
        """Rows of all parts, one after another."""
        pooled = None
        if parts[0].pooled is not None:
            pooled = torch.cat([p.pooled for p in parts if p.pooled is not None])
        return Conditioning(
            torch.cat([p.embeds for p in parts]), torch.cat([p.strength for p in parts]), pooled
        )


@dataclass(frozen=True, slots=True)
class ModelHashes:
    """SHA-256 of the two models' files: ``tuned`` is the adapter's or the tuned checkpoint's."""

    base: str
    tuned: str


__all__ = [
    "BASE",
    "TUNED",
    "Conditioning",
    "Embeddings",
    "EncoderId",
    "ImageBatch",
    "ModelHashes",
    "Source",
]
