"""What a trained network says of pictures: a map at its own grid, a score, a probability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .gradcam import grad_cam
from .networks import CAM_LAYER, NetworkAnswer

TOP = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Of ``N`` pictures.

    Attributes:
        maps: ``[N, h, w]`` in 0..1, higher where repainted. Grad-CAM's is relative: its highest
            cell is 1 even on an untouched photo.
        scores: ``[N]``, higher for repainted pictures; of cells, or the raw logit.
        probabilities: ``[N]`` in 0..1, of the same.
    """

    maps: Tensor
    scores: Tensor
    probabilities: Tensor


def judge(
    network: nn.Module, x: Tensor, *, supervision: str = "masks", pooling: str = "mean"
) -> Judgement:
    """Judge pictures.

    Args:
        network: of `networks`, in evaluation mode.
        x: ``[N, 3, H, W]`` in -1..1 on the network's device.
        supervision: what it learnt from. An attention network that learnt from masks has an
            untrained classifier: its score is made of cells.
        pooling: of cells into a score, see `pooled`.
    """
    with torch.no_grad():
        answer: NetworkAnswer = network(x)
    cells = None if answer.cells is None else torch.sigmoid(answer.cells.float())
    if answer.image is None or supervision == "masks":
        assert cells is not None
        scores = pooled(cells, pooling)
        return Judgement(cells.cpu(), scores.cpu(), scores.cpu())
    if cells is None:
        cells = grad_cam(network, CAM_LAYER, x, 1, logits_of=_image_logits)
    fake = answer.image[:, 1].float()
    probability = answer.image.float().softmax(1)[:, 1]
    return Judgement(cells.cpu(), fake.cpu(), probability.cpu())


def _image_logits(network: nn.Module, x: Tensor) -> Tensor:
    return network(x).image


def pooled(cells: Tensor, pooling: str) -> Tensor:
    """One score per picture from its cells ``[N, h, w]``.

    ``mean`` is the authors': a small repainted region hardly moves it. ``top`` is the mean of the
    highest 5% of the cells.

    >>> pooled(torch.tensor([[[0.0, 1.0], [0.0, 0.0]]]), "top").tolist()
    [1.0]
    """
    return POOLINGS[pooling](cells.flatten(1))


def _top(cells: Tensor) -> Tensor:
    count = max(1, round(TOP * cells.shape[1]))
    return cells.topk(count, dim=1).values.mean(1)


POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {"mean": lambda c: c.mean(1), "top": _top}
