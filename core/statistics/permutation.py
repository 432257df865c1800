"""The permutation test: do claimed images score higher than controls, whatever the distribution?"""

import math
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import InputError
from .clusters import blocks, units
from .samples import Array, at_least, finite

Statistic = Literal["mean", "rank"]

EXACT_LIMIT = 100_000  # most relabellings that are enumerated


@dataclass(frozen=True, slots=True)
class PermutationTest:
    """One-sided test that the claimed images score higher than the controls.

    Attributes:
        statistic: mean of claimed minus mean of control (of scores, or of midranks).
        p: p-value; valid only if claimed and control are exchangeable when nothing was used.
        exact: all relabellings were enumerated.
        n_permutations: relabellings looked at.
        floor: smallest p-value this design can give.
    """

    statistic: float
    p: float
    exact: bool
    n_permutations: int
    floor: float


def permutation_test(
    claimed: npt.ArrayLike,
    control: npt.ArrayLike,
    statistic: Statistic = "mean",
    permutations: int = 9999,
    *,
    seed: int = 0,
    clusters: npt.ArrayLike | None = None,
) -> PermutationTest:
    """Test whether claimed images score higher than controls, by relabelling.

    All relabellings are enumerated when there are at most 100,000 of them; otherwise they are
    drawn, and the observed one counts as one of them. With clusters, whole clusters change label.

    Args:
        claimed: scores of the claimed images, higher means member.
        control: scores of the controls.
        statistic: "mean" of the scores, or "rank" for the mean midrank.
        permutations: relabellings drawn when they are too many to enumerate.
        seed: makes the draw repeatable.
        clusters: one id per image, claimed first; no id may be on both sides.

    Returns:
        Statistic, p-value, and the smallest p-value the design can give.

    Raises:
        InputError: bad numbers, ids or statistic.

    Source:
        ``p = #{T_b >= T} / C`` exact; ``(1 + #{T_b >= T}) / (B + 1)`` drawn (Phipson, Smyth 2010).

    Example:
        >>> t = permutation_test([2.1, 1.4, 0.9, 0.3, -0.2], [1, 0.3, -0.1, -0.8, -1.5, -2])
        >>> round(t.statistic, 7), round(t.p * 462), t.exact
        (1.4166667, 16, True)
    """
    x, y = finite(claimed, "claimed"), finite(control, "control")
    permutations = at_least(permutations, 1, "permutations")
    if statistic not in ("mean", "rank"):
        raise InputError("OUT_OF_RANGE", f"statistic: mean or rank, got {statistic!r}.")
    groups = units(clusters, len(x), len(y))
    pooled = np.concatenate([x, y])
    values = stats.rankdata(pooled) if statistic == "rank" else pooled
    observed = float(values[: len(x)].mean() - values[len(x) :].mean())
    # Near 0 and at most 1, so that the tolerance for ties below means the same for every score.
    values = values - values.mean()
    values = values / (np.abs(values).max() or 1.0)
    sums = np.bincount(groups.of_all, weights=values).astype(np.float64)
    sizes = np.bincount(groups.of_all).astype(np.float64)
    table = _Relabelling(sums, sizes, groups.n_first)
    n_relabellings = math.comb(len(sums), groups.n_first)
    if n_relabellings <= EXACT_LIMIT:
        p = table.count_all() / n_relabellings
        return PermutationTest(observed, p, True, n_relabellings, 1 / n_relabellings)
    hits = table.count_drawn(permutations, np.random.default_rng(seed))
    floor = 1 / (permutations + 1)
    return PermutationTest(observed, (1 + hits) * floor, False, permutations, floor)


@dataclass(frozen=True, slots=True, eq=False)
class _Relabelling:
    """Sums and sizes of the units; the first ``n_claimed`` carry the claim."""

    sums: Array
    sizes: Array
    n_claimed: int

    def count_all(self) -> int:
        """Count relabellings at or above the observed one, the observed one included."""
        n, k = len(self.sums), self._picked()
        flat = chain.from_iterable(combinations(range(n), k))
        picks = np.fromiter(flat, dtype=np.intp, count=math.comb(n, k) * k).reshape(-1, k)
        return self._at_or_above(picks)

    def count_drawn(self, permutations: int, rng: np.random.Generator) -> int:
        """Count drawn relabellings at or above the observed one."""
        n, k = len(self.sums), self._picked()
        hits = 0
        for size in blocks(permutations, n):
            # The k smallest of n random keys are k units drawn without replacement.
            keys = rng.random((size, n))
            hits += self._at_or_above(np.argpartition(keys, k - 1, axis=1)[:, :k])
        return hits

    def _picked(self) -> int:
        """Relabel by choosing the smaller side."""
        return min(self.n_claimed, len(self.sums) - self.n_claimed)

    def _at_or_above(self, picks: npt.NDArray[np.intp]) -> int:
        claimed_is_picked = self._picked() == self.n_claimed
        own = slice(0, self.n_claimed) if claimed_is_picked else slice(self.n_claimed, None)
        observed = self._difference(self.sums[own].sum(), self.sizes[own].sum())
        drawn = self._difference(self.sums[picks].sum(axis=1), self.sizes[picks].sum(axis=1))
        sign = 1.0 if claimed_is_picked else -1.0
        # Equal statistics may differ in the last digits; a tie counts against the claim.
        return int(np.count_nonzero(sign * drawn >= sign * observed - 1e-12))

    def _difference(self, part: Array, size: Array) -> Array:
        return part / size - (self.sums.sum() - part) / (self.sizes.sum() - size)
