"""Tests that need no distribution: permutation, conformal and rank p-values, and their families."""

import math
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..errors import InputError, NotEnoughDataError
from .intervals import Array, at_least, blocks, finite_vector, open_share, units

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


@dataclass(frozen=True, slots=True)
class NullRank:
    """Rank of a result among the same result of null models or decoys.

    Attributes:
        p: (1 + nulls at or above) / (nulls + 1).
        floor: smallest p-value this number of nulls can give.
        n_nulls: nulls.
        contrast_only: one null gives a contrast, not a test.
    """

    p: float
    floor: float
    n_nulls: int
    contrast_only: bool


@dataclass(frozen=True, slots=True, eq=False)
class Adjusted:
    """A family of p-values after correction for their number.

    Attributes:
        p: adjusted p-values, in the order given.
        rejected: which of them pass the wanted rate.
    """

    p: Array
    rejected: npt.NDArray[np.bool_]


def conformal_p(scores: npt.ArrayLike, calibration: npt.ArrayLike) -> Array:
    """P-value of each score against held-out controls.

    Args:
        scores: scores to judge, higher means member.
        calibration: scores of controls that no threshold or model was fitted on.

    Returns:
        One p-value a score; none is below ``1 / (m + 1)``.

    Raises:
        InputError: bad numbers.

    Source:
        ``p_i = (1 + #{c: d(c) >= d(x_i)}) / (m + 1)``, Vovk et al. 2005.

    Example:
        >>> conformal_p([3.0, 0.0], [1.0, 2.0, 2.5]).tolist()
        [0.25, 1.0]
    """
    s = finite_vector(scores, "scores")
    c = np.sort(finite_vector(calibration, "calibration"))
    at_or_above = len(c) - np.searchsorted(c, s, side="left")
    return np.asarray((1.0 + at_or_above) / (len(c) + 1.0), dtype=np.float64)


def benjamini_hochberg(p: npt.ArrayLike, q: float = 0.10) -> Adjusted:
    """Keep the expected share of false finds in a shortlist under ``q``.

    Args:
        p: p-values; independent or positively dependent, as conformal ones are.
        q: false discovery rate.

    Returns:
        Adjusted p-values and the shortlist.

    Raises:
        InputError: bad numbers, or p outside 0..1.

    Source:
        Benjamini and Hochberg 1995: ``min over j >= i of p_(j) N / j``.

    Example:
        >>> benjamini_hochberg([0.01, 0.04, 0.5], 0.10).rejected.tolist()
        [True, True, False]
    """
    values = _probabilities(p)
    open_share(q, "q")
    order = np.argsort(values, kind="stable")
    n = len(values)
    scaled = values[order] * n / np.arange(1, n + 1)
    adjusted = np.empty(n)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return Adjusted(adjusted, adjusted <= q)


def holm(p: npt.ArrayLike, alpha: float = 0.05) -> Adjusted:
    """Keep the chance of any false find under ``alpha``, whatever the dependence.

    Args:
        p: p-values.
        alpha: family-wise error rate.

    Returns:
        Adjusted p-values and which are rejected.

    Raises:
        InputError: bad numbers, or p outside 0..1.

    Source:
        Holm 1979: ``max over j <= i of (N - j + 1) p_(j)``.

    Example:
        >>> holm([0.01, 0.04, 0.03]).p.round(3).tolist()
        [0.03, 0.06, 0.06]
    """
    values = _probabilities(p)
    open_share(alpha, "alpha")
    order = np.argsort(values, kind="stable")
    n = len(values)
    adjusted = np.empty(n)
    scaled = values[order] * np.arange(n, 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return Adjusted(adjusted, adjusted <= alpha)


def _probabilities(p: npt.ArrayLike) -> Array:
    values = finite_vector(p, "p")
    if values.min() < 0.0 or values.max() > 1.0:
        raise InputError("OUT_OF_RANGE", "p: a p-value lies between 0 and 1.")
    return values


def null_rank_p(value: float, nulls: npt.ArrayLike) -> NullRank:
    """Rank one result among those of null models, or of decoys drawn at random.

    Args:
        value: result of the suspect model (or of the released variant).
        nulls: the same result, same full pipeline, of each null (or decoy).

    Returns:
        The p-value and the smallest one attainable: 19 nulls for .05, 99 for .01.

    Raises:
        InputError: bad numbers.
        NotEnoughDataError: NO_NULLS.

    Source:
        ``p = (1 + #{j: T_j >= T}) / (r + 1)``.

    Example:
        >>> null_rank_p(0.9, [0.5] * 19).p
        0.05
    """
    if np.size(np.asarray(nulls)) == 0:
        raise NotEnoughDataError("NO_NULLS", "A rank needs null models: 19 for .05, 99 for .01.")
    own = finite_vector([value], "value")[0]
    r = finite_vector(nulls, "nulls")
    p = (1 + int(np.count_nonzero(r >= own))) / (len(r) + 1)
    return NullRank(p, 1 / (len(r) + 1), len(r), contrast_only=len(r) < 2)


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
        clusters: one id an image, claimed first; no id may be on both sides.

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
    x, y = finite_vector(claimed, "claimed"), finite_vector(control, "control")
    permutations = at_least(permutations, 1, "permutations")
    if statistic not in ("mean", "rank"):
        raise InputError("OUT_OF_RANGE", f"statistic: mean or rank, got {statistic!r}.")
    unit = units(clusters, len(x), len(y))
    pooled = np.concatenate([x, y])
    values = stats.rankdata(pooled) if statistic == "rank" else pooled
    observed = float(values[: len(x)].mean() - values[len(x) :].mean())
    values = values - values.mean()
    values = values / (np.abs(values).max() or 1.0)
    sums = np.bincount(unit, weights=values).astype(np.float64)
    sizes = np.bincount(unit).astype(np.float64)
    n_claimed = int(unit[: len(x)].max()) + 1
    table = _Units(sums, sizes, n_claimed)
    n_relabellings = math.comb(len(sums), n_claimed)
    if n_relabellings <= EXACT_LIMIT:
        p = table.count_all() / n_relabellings
        return PermutationTest(observed, p, True, n_relabellings, 1 / n_relabellings)
    hits = table.count_drawn(permutations, np.random.default_rng(seed))
    floor = 1 / (permutations + 1)
    return PermutationTest(observed, (1 + hits) * floor, False, permutations, floor)


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
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
