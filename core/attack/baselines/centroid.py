"""The baseline without training: how near is an image to the mean of what the model makes?

Source: the CLIP baseline of the membership paper, arXiv 2502.11619. The paper calls it zero-shot
classification but uses no text: the image features (CLIP ViT-L/14, not normalised) of all images
that the tuned model made are averaged, and an image scores the cosine of that mean with its own
feature. Negatives play no part, nothing is fitted, so there is no seed and no interval over seeds.
The paper reports only the AUC of members against non-members on the full test set.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .vectors import check_vectors, directions


@torch.no_grad()
def centroid_scores(generated: Tensor, queries: Tensor) -> Tensor:
    """Cosine of each query with the centroid of the generated images, higher meaning member.

    Any encoder will do, if one encoder made both. Rows are averaged as they come, as in the
    paper: raw features let long vectors weigh more; the unit rows of `Embeddings` weigh alike.
    The score sees content, not use: pictures of one source come near for their likeness alone.
    Subtract the same score from images of a null model to remove what the base already knew.

    Args:
        generated: ``[P, D]`` embeddings of the tuned model's images, P >= 1.
        queries: ``[N, D]`` embeddings of photos and controls.

    Returns:
        ``[N]`` float64 cosines, -1 to 1.

    Raises:
        InputError: BAD_SHAPE (not two-dimensional, other D, no generated row), NON_FINITE, or
            OUT_OF_RANGE (a query or the centroid has no direction).

    Example:
        >>> centroid_scores(torch.eye(2), torch.tensor([[3.0, 3.0], [0.0, -1.0]]))
        tensor([ 1.0000, -0.7071], dtype=torch.float64)
    """
    check_vectors(generated, queries)
    centroid = directions(generated.double().mean(0), "the centroid")
    return (directions(queries, "a query") @ centroid).clamp(-1, 1)
