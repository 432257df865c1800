"""LaMa (Suvorov et al., WACV 2022) from weights that the user brings, through spandrel.

LaMa is usually shipped as TorchScript, which is never opened here: convert its generator's state
dict to safetensors. It pastes the originals back outside the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..devices import torch_device
from ..errors import InputError, MissingDependencyError, MissingWeightsError
from ..lora.header import load_tensors, sha256_file
from .examples import Tick
from .shapes import padded, trimmed

NAME = "lama"
_MULTIPLE = 8


class LamaInpainter:
    """An `Inpainter` of LaMa.

    Args:
        path: safetensors with the generator's weights under its authors' names.
        device: where it runs.

    Raises:
        MissingWeightsError: no file there (MISSING_WEIGHTS).
        MissingDependencyError: spandrel is not installed (MISSING_SPANDREL).
        InputError: other weights (WRONG_WEIGHTS).
    """

    name, cost = NAME, 1

    def __init__(self, path: Path, device: str = "cpu") -> None:
        if not path.is_file():
            raise MissingWeightsError(
                "MISSING_WEIGHTS",
                f"{path} does not exist. LaMa (Apache-2.0): save the state dict of the generator "
                "from its authors' big-lama checkpoint as safetensors and give its path",
            )
        self._device = torch_device(device)
        self._network = _loaded(path).to(self._device).eval()
        self._sha256 = sha256_file(path)

    def facts(self) -> dict[str, object]:
        """What decides the result."""
        return {"name": self.name, "weights": self._sha256}

    @torch.no_grad()
    def inpaint(self, pixels: Tensor, masks: Tensor, seeds: Sequence[int], tick: Tick) -> Tensor:
        """See `Inpainter`; seeds change nothing."""
        image, mask = (padded(t, _MULTIPLE).to(self._device) for t in (pixels, masks))
        filled = self._network(image, mask.to(image)).float().cpu().clamp(0, 1)
        tick(len(filled))
        return torch.where(masks > 0, trimmed(filled, pixels), pixels)

    def round_trip(self, pixels: Tensor) -> Tensor | None:
        """There is no codec."""
        return None


def _loaded(path: Path) -> Any:
    try:
        from spandrel import MaskedImageModelDescriptor, ModelLoader, UnsupportedModelError
    except ImportError as error:
        raise MissingDependencyError(
            "MISSING_SPANDREL", "LaMa is built by spandrel: pip install spandrel"
        ) from error
    try:
        descriptor = ModelLoader(device="cpu").load_from_state_dict(load_tensors(path))
    except (UnsupportedModelError, RuntimeError, KeyError) as error:
        raise InputError(
            "WRONG_WEIGHTS", f"{path} is not a model that spandrel knows: {str(error)[:200]}"
        ) from error
    if not isinstance(descriptor, MaskedImageModelDescriptor):
        raise InputError(
            "WRONG_WEIGHTS", f"{path} is a {descriptor.architecture.name}, no inpainting model"
        )
    return descriptor.model
