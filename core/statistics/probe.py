"""The model-blind probe: can claimed photos and controls be told apart without the model?

If they can, a difference in scores may come from the photos themselves, not from their use.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg, stats
from threadpoolctl import threadpool_limits

from ..errors import InputError, NotEnoughDataError, plural
from .auc import AucEstimate, delong
from .clusters import Indices, units
from .samples import Array, at_least, finite, open_share

MIN_UNITS = 4  # independent photos (or sessions) on each side
MAX_COMPONENTS = 16
MAX_CELLS = 10  # two cells are held out at a time
REPEATS = 6  # ways to pair the cells
CHANCE_P = 0.10  # above it a high area may be luck


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindProbe:
    """How well a model-blind classifier separates claimed photos from controls.

    Attributes:
        auc: out-of-fold area under the ROC curve.
        low: lower end, DeLong 95%; it leaves out the variation of the training folds.
        high: upper end.
        p: share of relabellings with an area as high, times the number of probes made.
        n: claimed photos.
        m: controls.
        fails: area above the limit and not by luck: the verdict is capped at "source similarity".
        inconclusive: area above the limit, but small sets reach that by luck.
        reason: the finding with its figures, one sentence for reports.
    """

    auc: float
    low: float
    high: float
    p: float
    n: int
    m: int
    fails: bool
    inconclusive: bool
    reason: str


def blind_probe(
    *views: Sequence[npt.ArrayLike],
    seed: int = 0,
    clusters: npt.ArrayLike | None = None,
    limit: float = 0.60,
    permutations: int = 199,
) -> BlindProbe:
    """Separate claimed photos from controls without the model, out of fold.

    Two linear classifiers vote: a ridge discriminant on the leading principal components, which
    finds a shift of look, and the difference of means of the standardized features, which finds a
    single tell-tale column such as file size. Scaling and components are fitted inside the fold.
    The p-value relabels photos (whole clusters) within the cells that folds are made of, so that
    every relabelling is stratified like the real one and the test is exact.

    Each view is a probe of its own, since a tell-tale column drowns among a hundred others. The
    strongest is returned, its p times their number (Bonferroni).

    Args:
        views: claimed photos ``[n, F]`` and controls ``[m, F]``: descriptors, or file facts.
        seed: makes the answer repeatable.
        clusters: one id per photo, claimed first; a cluster is never on both sides of a fold.
        limit: area above which the probe may fail.
        permutations: relabellings, 99 or more.

    Returns:
        Area, interval, p-value, and what they mean for the verdict.

    Raises:
        InputError: bad numbers or ids, or WRONG_SHAPE when the columns differ.
        NotEnoughDataError: FEW_PHOTOS, under four independent photos on a side.

    Source:
        Specification mia.md, section 11, gate 3; membership_sota.md, section 2, point 5.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> sizes = rng.normal(2, 1, (16, 5)), rng.normal(0, 1, (40, 5))
        >>> looks = rng.normal(0, 1, (16, 9)), rng.normal(0, 1, (40, 9))
        >>> blind_probe(sizes).p, blind_probe(sizes, looks).p
        (0.005, 0.01)
    """
    open_share(limit, "limit")
    permutations = at_least(permutations, 99, "permutations")
    probes = [_probe(a, b, seed, clusters, permutations) for a, b in views]
    area, p = min(probes, key=lambda probe: (probe[1], -probe[0].auc))
    return _judged(area, min(1.0, len(probes) * p), limit)


def _probe(
    claimed_features: npt.ArrayLike,
    control_features: npt.ArrayLike,
    seed: int,
    clusters: npt.ArrayLike | None,
    permutations: int,
) -> tuple[AucEstimate, float]:
    """Out-of-fold area of one view, and its p."""
    claimed = finite(claimed_features, "claimed_features", ndim=2)
    control = finite(control_features, "control_features", ndim=2)
    if claimed.shape[1] != control.shape[1]:
        message = (
            f"features differ in columns: {claimed.shape[1]} claimed, {control.shape[1]} control."
        )
        raise InputError("WRONG_SHAPE", message)
    groups = units(clusters, len(claimed), len(control))
    n, m, unit = groups.n_first, groups.n_second, groups.of_all
    if min(n, m) < MIN_UNITS:
        given = f"{n} claimed and {plural(m, 'control')}"
        raise NotEnoughDataError("FEW_PHOTOS", f"{given}; the probe needs {MIN_UNITS} of each.")
    rng = np.random.default_rng(seed)
    cells = _cells(n, m, rng)
    labels = _relabellings(n, cells, permutations, rng)[unit]
    features = np.concatenate([claimed, control])
    components = max(1, min(n // 2, MAX_COMPONENTS))
    scores = _out_of_fold(features, labels, cells[unit], components, rng)
    areas = _areas(scores, labels)
    p = (1 + int(np.count_nonzero(areas[1:] >= areas[0] - 1e-12))) / (permutations + 1)
    return delong(scores[: len(claimed), 0], scores[len(claimed) :, 0]), p


def _judged(area: AucEstimate, p: float, limit: float) -> BlindProbe:
    """Everything that is said of a probe, from one area and one p."""
    above = area.auc > limit
    fails, inconclusive = above and p <= CHANCE_P, above and p > CHANCE_P
    figures = f"AUC {area.auc:.2f} ({area.low:.2f} to {area.high:.2f})"
    if fails:
        finding = f"photos and controls differ without any model, out-of-fold {figures}"
    elif inconclusive:
        finding = (
            f"undecided, out-of-fold {figures} is above {limit:.2f}, but sets this small reach "
            "that by luck"
        )
    else:
        finding = (
            f"photos and controls are not told apart without the model, out-of-fold {figures} is "
            f"not above {limit:.2f}"
        )
    return BlindProbe(
        auc=area.auc, low=area.low, high=area.high, p=p, n=area.n_members, m=area.n_nonmembers,
        fails=fails, inconclusive=inconclusive, reason=f"Blind probe: {finding}; p = {p:.3g}.",
    )  # fmt: skip


def _cells(n_units: int, m_units: int, rng: np.random.Generator) -> Indices:
    """Deal the units of each class evenly into cells; an even number where cells are paired."""
    n_cells = min(MAX_CELLS, n_units, m_units)
    if n_cells >= 6:
        n_cells -= n_cells % 2
    own = rng.permutation(n_units) % n_cells
    other = rng.permutation(m_units) % n_cells
    return np.concatenate([own, other])


def _relabellings(
    n_units: int, cells: Indices, permutations: int, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Real labels in column 0, then labels shuffled within each cell [units, 1 + permutations]."""
    labels = np.zeros((len(cells), permutations + 1), dtype=bool)
    labels[:n_units] = True
    for cell in range(int(cells.max()) + 1):
        rows = np.flatnonzero(cells == cell)
        labels[rows, 1:] = rng.permuted(labels[rows, 1:], axis=0)
    return labels


def _folds(cells: Indices, rng: np.random.Generator) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield the held-out photos: each cell once, or pairs of cells in several pairings."""
    n_cells = int(cells.max()) + 1
    if n_cells < 6:
        for cell in range(n_cells):
            yield cells == cell
        return
    for _ in range(REPEATS):
        for pair in rng.permutation(n_cells).reshape(-1, 2):
            yield np.isin(cells, pair)


def _out_of_fold(
    features: Array,
    labels: npt.NDArray[np.bool_],
    cells: Indices,
    n_components: int,
    rng: np.random.Generator,
) -> Array:
    """Sum the held-out scores of both classifiers for every labelling [photos, labellings]."""
    scores = np.zeros(labels.shape)
    with threadpool_limits(limits=1, user_api="blas"):  # small matrices: threads only wait
        for held in _folds(cells, rng):
            train, test = _standardise(features[~held], features[held])
            axes, variances = _components(train, n_components)
            views = ((train @ axes, test @ axes, variances), (train, test, np.ones(train.shape[1])))
            for fit, judge, spread in views:
                scores[held] += _discriminant(fit, judge, spread, labels[~held])
    return scores


def _standardise(train: Array, test: Array) -> tuple[Array, Array]:
    mean, sd = train.mean(axis=0), train.std(axis=0)
    sd[sd <= 1e-12 * (1.0 + np.abs(mean))] = np.inf  # a constant column says nothing
    return (train - mean) / sd, (test - mean) / sd


def _components(train: Array, n_components: int) -> tuple[Array, Array]:
    """Leading principal axes of centred rows [F, d] and the variance along each."""
    n, n_features = train.shape
    # X X' and X' X have the same positive eigenvalues; the smaller of the two is solved.
    gram = train @ train.T if n <= n_features else train.T @ train
    top = min(n_components, len(gram))
    values, vectors = linalg.eigh(gram, subset_by_index=[len(gram) - top, len(gram) - 1])
    positive = values > 1e-10 * max(float(values.max()), 1e-300)
    values, vectors = values[positive], vectors[:, positive]
    # An eigenvector u of X X' gives the axis X' u, of length sqrt(eigenvalue).
    axes = train.T @ vectors / np.sqrt(values) if n <= n_features else vectors
    return axes, values / n


def _discriminant(
    train: Array, test: Array, variances: Array, labels: npt.NDArray[np.bool_]
) -> Array:
    """Ridge discriminant of centred, uncorrelated columns for all labellings at once.

    ``w = delta / (variance + mean variance)`` with the total scatter; by Sherman and Morrison it
    has the direction of Fisher's discriminant with the within scatter, and of ridge regression.
    By hand, since it fits 200 labellings in two matrix products: scikit-learn's scaler, components
    and ridge, whose order of photos a test compares with this one, take three times as long.
    """
    if not variances.size:
        return np.zeros((len(test), labels.shape[1]))
    own = labels / labels.sum(axis=0)
    other = ~labels / (~labels).sum(axis=0)
    weights = (train.T @ (own - other)) / (variances + variances.mean())[:, None]
    # Scores of different folds and of both classifiers are summed: on one scale, from one middle.
    fitted = train @ weights
    middle = ((own + other) * fitted).sum(axis=0) / 2
    spread = fitted.std(axis=0)
    spread[spread <= 1e-12] = np.inf
    return (test @ weights - middle) / spread


def _areas(scores: Array, labels: npt.NDArray[np.bool_]) -> Array:
    """Area under the ROC curve of each column."""
    ranks = stats.rankdata(scores, axis=0)
    n = labels.sum(axis=0)
    return ((ranks * labels).sum(axis=0) - n * (n + 1) / 2) / (n * (len(labels) - n))
