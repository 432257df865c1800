"""Classical inpainting (OpenCV): a generator without any diffusion model, to test on.

Source: Telea 2004; Bertalmio, Bertozzi, Sapiro 2001, as OpenCV implements them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, MissingDependencyError
from ..images.photos import to_uint8
from .examples import Tick

METHODS = ("telea", "navier_stokes")
RADIUS = 3.0  # pixels that a new one is made of


@dataclass(frozen=True, slots=True)
class ClassicalInpainter:
    """An `Inpainter` of OpenCV.

    Attributes:
        method: ``telea`` or ``navier_stokes``.
    """

    method: str = "telea"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError("BAD_SETTING", f"no method {self.method!r}; choose one of {METHODS}")

    @property
    def name(self) -> str:
        """Of the generator."""
        return f"opencv_{self.method}"

    @property
    def cost(self) -> int:
        """See `Inpainter`."""
        return 1

    def facts(self) -> dict[str, object]:
        """What decides the result."""
        return {"name": self.name, "radius": RADIUS}

    def inpaint(self, pixels: Tensor, masks: Tensor, seeds: Sequence[int], tick: Tick) -> Tensor:
        """See `Inpainter`; seeds change nothing.

        Raises:
            MissingDependencyError: OpenCV is not installed (MISSING_OPENCV).
        """
        try:
            import cv2
        except ImportError as error:
            raise MissingDependencyError(
                "MISSING_OPENCV",
                "classical inpainting needs OpenCV: pip install opencv-python-headless",
            ) from error
        flag = {"telea": cv2.INPAINT_TELEA, "navier_stokes": cv2.INPAINT_NS}[self.method]
        pictures = [
            cv2.inpaint(picture, hole, RADIUS, flag)
            for picture, hole in zip(
                to_uint8(pixels), (masks[:, 0] > 0).numpy().astype(np.uint8), strict=True
            )
        ]
        tick(len(pictures))
        return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255

    def round_trip(self, pixels: Tensor) -> Tensor | None:
        """There is no codec."""
        return None
