"""What each network learns from labels of images, and from masks.

Source: specification localization.md, sections 2.2 to 2.4. Two-class cross-entropy of a cell is
written on the difference of its two logits.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from .networks import NetworkAnswer


def loss_of(
    answer: NetworkAnswer, labels: Tensor, cells: Tensor | None, *, map_weight: float = 1.0
) -> Tensor:
    """The loss of a batch.

    Args:
        answer: of a network.
        labels: ``[N]`` float, 1 where anything was repainted.
        cells: ``[N, h, w]`` float targets of the cells; None learns from labels alone.
        map_weight: of the attention map's loss beside the image's.

    Returns:
        From masks: mean cross-entropy over cells (an attention network's classifier learns
        nothing). From labels: of the image, if the network judges images, plus the cross-entropy
        of the map's highest cell; else each cell takes the image's label.
    """
    if cells is not None:
        assert answer.cells is not None
        return F.binary_cross_entropy_with_logits(answer.cells, cells)
    if answer.image is None:
        assert answer.cells is not None
        copied = labels[:, None, None].expand_as(answer.cells)
        return F.binary_cross_entropy_with_logits(answer.cells, copied)
    loss = F.cross_entropy(answer.image, labels.long())
    if answer.cells is None:
        return loss
    highest = answer.cells.amax((1, 2))
    return loss + map_weight * F.binary_cross_entropy_with_logits(highest, labels)
