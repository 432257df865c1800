"""Descriptors of images in batches, with the encoder that made them."""

from __future__ import annotations

import torch

from ..protocols import ImageEncoder
from ..types import Embeddings, ImageBatch


@torch.no_grad()
def embed(images: ImageBatch, encoder: ImageEncoder, *, batch: int = 64) -> Embeddings:
    """Unit-norm descriptors of images.

    Args:
        images: ``N`` images of one size.
        encoder: the descriptor network.
        batch: images in one forward pass.

    Returns:
        Embeddings ``[N, D]``.
    """
    parts = [encoder(chunk).cpu().float() for chunk in images.pixels.split(batch)]
    vectors = torch.cat(parts) if parts else torch.empty(0, encoder.id.dim)
    return Embeddings(vectors, encoder.id, images.sources)
