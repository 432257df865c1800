"""Pictures that something else repainted, as a generator: another tool's, or a graph's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import InputError
from ..images.photos import pixels_sha256, to_uint8
from .examples import Tick


@dataclass(frozen=True, eq=False)
class GivenInpainter:
    """An `Inpainter` that only hands over what was made before.

    Attributes:
        name: of the generator that made them.
        originals: ``[N, 3, H, W]`` in 0..1.
        drawn: their repainted twins, originals outside the masks or not.
        decoded: their round trips through the generator's codec; None where there are none.
    """

    name: str
    originals: Tensor
    drawn: Tensor
    decoded: Tensor | None = None
    _index: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        for other in (self.drawn, *([] if self.decoded is None else [self.decoded])):
            if other.shape != self.originals.shape:
                raise InputError(
                    "BAD_SHAPE",
                    f"{list(self.originals.shape)} originals and {list(other.shape)} pictures of "
                    f"{self.name}; give as many, of one size",
                )
        hashes = [pixels_sha256(p) for p in to_uint8(self.originals)]
        object.__setattr__(self, "_index", {h: i for i, h in enumerate(hashes)})

    @property
    def cost(self) -> int:
        """See `Inpainter`."""
        return 1

    def facts(self) -> dict[str, object]:
        """What decides the result."""
        parts = (self.drawn, *([] if self.decoded is None else [self.decoded]))
        return {
            "name": self.name,
            "pixels": [[pixels_sha256(p) for p in to_uint8(t)] for t in parts],
        }

    def inpaint(self, pixels: Tensor, masks: Tensor, seeds: Sequence[int], tick: Tick) -> Tensor:
        """See `Inpainter`; photos that it does not know are refused."""
        tick(len(pixels))
        return self.drawn[self._rows(pixels)]

    def round_trip(self, pixels: Tensor) -> Tensor | None:
        """See `Inpainter`."""
        return None if self.decoded is None else self.decoded[self._rows(pixels)]

    def _rows(self, pixels: Tensor) -> Tensor:
        hashes = [pixels_sha256(p) for p in to_uint8(pixels)]
        unknown = [h for h in hashes if h not in self._index]
        if unknown:
            raise InputError(
                "UNKNOWN_PHOTO", f"{self.name} has no picture for {len(unknown)} of the photos"
            )
        return torch.tensor([self._index[h] for h in hashes])
