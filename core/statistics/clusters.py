"""Independent units: images of one person, or of one photo session, change label together."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .samples import Array

Indices = npt.NDArray[np.intp]

BLOCK_ELEMENTS = 2_000_000  # random numbers held at once by any resampling


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """Which images of two groups belong together; no unit is in both groups.

    Attributes:
        first: ``[n]`` unit of each image of the first group, from 0.
        second: ``[m]`` unit of each image of the second group, from 0 again.
    """

    first: Indices
    second: Indices

    @property
    def n_first(self) -> int:
        """Units of the first group."""
        return int(self.first.max(initial=-1)) + 1

    @property
    def n_second(self) -> int:
        """Units of the second group."""
        return int(self.second.max(initial=-1)) + 1

    @property
    def of_all(self) -> Indices:
        """``[n + m]`` unit of each image; units of the second group are numbered on."""
        return np.concatenate([self.first, self.second + self.n_first])

    def weights(self, draws: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """How often each image comes up in bootstrap samples of whole units, group by group.

        Args:
            draws: bootstrap samples.
            rng: source of randomness.

        Returns:
            ``[draws, n]`` and ``[draws, m]``.
        """
        first = resample_counts(self.n_first, draws, rng)[:, self.first]
        return first, resample_counts(self.n_second, draws, rng)[:, self.second]


def units(clusters: npt.ArrayLike | None, n_first: int, n_second: int = 0) -> Units:
    """Number the independent units (person, photo session) that images belong to.

    Args:
        clusters: one id per image, the first group before the second; None makes each its own unit.
        n_first: images in the first group.
        n_second: images in the second group.

    Raises:
        InputError: WRONG_SHAPE when the count differs, MIXED_CLUSTER when a unit is in both groups.

    Example:
        >>> units(["anna", "anna", "ben"], 2, 1).of_all
        array([0, 0, 1])
    """
    total = n_first + n_second
    if clusters is None:
        return Units(np.arange(n_first), np.arange(n_second))
    ids = np.asarray(clusters)
    if ids.shape != (total,):
        message = f"clusters: expected {total} ids (first group, then second), got {ids.shape}."
        raise InputError("WRONG_SHAPE", message)
    first_names, first = np.unique(ids[:n_first], return_inverse=True)
    second_names, second = np.unique(ids[n_first:], return_inverse=True)
    if np.intersect1d(first_names, second_names).size:
        message = "clusters: a person or session is in both groups; move it to one of them."
        raise InputError("MIXED_CLUSTER", message)
    return Units(first, second)


def resample_counts(n_units: int, draws: int, rng: np.random.Generator) -> Array:
    """Draw how often each unit comes up in each bootstrap sample.

    Args:
        n_units: independent units.
        draws: bootstrap samples.
        rng: source of randomness.

    Returns:
        Counts ``[draws, n_units]``; every row sums to n_units.

    Example:
        >>> resample_counts(4, 2, np.random.default_rng(0)).sum(axis=1)
        array([4., 4.])
    """
    return rng.multinomial(n_units, np.full(n_units, 1.0 / n_units), size=draws).astype(np.float64)


def blocks(draws: int, width: int) -> list[int]:
    """Split ``draws`` resamples of ``width`` numbers into blocks that fit in memory.

    Args:
        draws: resamples wanted.
        width: numbers in one resample.

    Returns:
        Sizes of the blocks; they sum to draws.

    Example:
        >>> blocks(5, 1_000_000)
        [2, 2, 1]
    """
    size = max(1, BLOCK_ELEMENTS // max(1, width))
    return [min(size, draws - start) for start in range(0, draws, size)]
