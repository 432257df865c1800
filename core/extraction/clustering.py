"""FineXtract's clusters: groups of generated images that all resemble each other.

A complete-linkage cluster cut at distance ``1 - tau`` is a clique of the graph that joins images of
similarity ``tau`` and above, so one dendrogram answers for every ``tau``.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.cluster import hierarchy
from scipy.sparse import csgraph

from ..errors import InputError
from ..statistics.samples import Array, at_least, finite

TauPolicy = Literal["auto", "fixed"]
Indices = npt.NDArray[np.intp]

DENSE_LIMIT = 5000  # images that one dendrogram holds
COMPONENT_LIMIT = 8000  # the same for one connected component of a larger set
BLOCK_ROWS = 512  # rows of the similarity matrix held at once
SCAN = tuple(round(0.90 - 0.01 * step, 2) for step in range(61))  # 0.90 down to 0.30


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Groups of images, best first.

    Attributes:
        labels: cluster of each image, -1 for none [N].
        medoids: index of the image nearest each cluster's mean descriptor [K].
        sizes: images in each cluster [K].
        intra: mean similarity within each cluster; 0 for a single image, which has no pair [K].
        tau: every two images of a cluster are at least this similar.
        method: how it was found, with the floor that a large set needed.
        n_filled: single images at the end that only fill the output budget.
    """

    labels: Indices
    medoids: Indices
    sizes: Indices
    intra: Array
    tau: float
    method: str
    n_filled: int = 0

    def __len__(self) -> int:
        """Count the clusters."""
        return len(self.medoids)

    def members(self, k: int) -> Indices:
        """Return the images of cluster ``k``."""
        return np.flatnonzero(self.labels == k)


class _Group(NamedTuple):
    """One candidate cluster, in canonical row numbers."""

    rows: Indices
    medoid: int
    intra: float


class _Tree(NamedTuple):
    """Dendrogram of some of the rows."""

    rows: Indices
    linkage: Array


def cluster(
    embeddings: npt.ArrayLike,
    *,
    n_clusters: int,
    tau_policy: TauPolicy = "auto",
    tau: float = 0.5,
    min_size: int | None = None,
    duplicate_similarity: float = 0.5,
    fill: bool = False,
) -> Clusters:
    """Find the groups of images that resemble each other most, and one image for each.

    Clusters are ranked by size, then mean similarity. One whose medoid is at least
    ``duplicate_similarity`` similar to a better one's is a fragment of the same picture and
    dropped. The answer depends on the images, not on their order.

    Args:
        embeddings: unit-norm descriptors [N, D].
        n_clusters: clusters wanted; fewer are returned if fewer exist.
        tau_policy: "auto" takes the highest tau of 0.90, 0.89 ... 0.30 with enough clusters, else
            the one with most; "fixed" takes ``tau``.
        tau: similarity of the "fixed" policy.
        min_size: smallest cluster; None is 3, or 2 under 200 images.
        duplicate_similarity: raise it for a descriptor under which strangers look alike; above 1
            drops nothing.
        fill: top up to n_clusters with the most central images outside the clusters, so that arms
            can be compared at equal output budget; fewer only if every image is used up.

    Returns:
        The clusters, best first.

    Raises:
        InputError: bad numbers or settings; NOT_UNIT_NORM; COMPONENT_TOO_LARGE.

    Source:
        FineXtract section 4.3 with complete linkage in place of greedy cliques.

    Example:
        >>> a, b = [1.0, 0.0], [0.0, 1.0]
        >>> found = cluster([a, b, a, b, a], n_clusters=2)
        >>> found.labels.tolist(), found.sizes.tolist(), found.tau
        ([0, 1, 0, 1, 0], [3, 2], 0.9)
    """
    vectors = _unit_rows(embeddings)
    n_clusters = at_least(n_clusters, 1, "n_clusters")
    smallest = at_least(
        (2 if len(vectors) < 200 else 3) if min_size is None else min_size, 1, "min_size"
    )
    if tau_policy not in ("auto", "fixed"):
        raise InputError("OUT_OF_RANGE", f"tau_policy: auto or fixed, got {tau_policy!r}.")
    if not (0.0 <= tau <= 1.0 and duplicate_similarity >= 0.0):
        message = f"tau 0 to 1, duplicate_similarity 0 or more: got {tau}, {duplicate_similarity}."
        raise InputError("OUT_OF_RANGE", message)
    order = _canonical_order(vectors)
    rows = np.ascontiguousarray(vectors[order])
    taus = SCAN if tau_policy == "auto" else (tau,)
    trees, floor = _dendrograms(rows, min(taus), may_rise=tau_policy == "auto")
    method = "complete linkage" if floor is None else f"components at {floor:.2f}, complete linkage"
    taus = taus if floor is None else tuple(t for t in taus if t >= floor)
    groups, best_tau = _scan(rows, trees, taus, (n_clusters, smallest, duplicate_similarity))
    n_groups = len(groups)
    if fill:
        groups = _fill(rows, groups, n_clusters, duplicate_similarity)
    return _as_clusters(groups, order, best_tau, method, len(groups) - n_groups)


def _unit_rows(embeddings: npt.ArrayLike) -> Array:
    vectors = finite(embeddings, "embeddings", ndim=2)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if np.abs(norms - 1.0).max() > 1e-2:
        message = (
            f"embeddings: expected rows of length 1, got {norms.min():.3g} to {norms.max():.3g}."
        )
        raise InputError("NOT_UNIT_NORM", message)
    return vectors / norms + 0.0  # + 0.0 turns -0.0 into 0.0: equal rows get equal bytes


def _canonical_order(vectors: Array) -> Indices:
    """Sort the rows by their bytes, equal rows by index: sums and ties then ignore input order."""
    raw = np.ascontiguousarray(vectors).view(np.dtype((np.void, vectors.shape[1] * 8))).ravel()
    return np.argsort(raw, kind="stable")


def _dendrograms(rows: Array, tau: float, *, may_rise: bool) -> tuple[list[_Tree], float | None]:
    """One dendrogram for a small set; one a connected component, above a floor, for a large one."""
    if len(rows) <= DENSE_LIMIT:
        return [_tree(rows, np.arange(len(rows)))], None
    forest = _similarity_forest(rows, tau)
    floors = [t for t in reversed(SCAN) if t >= tau] if may_rise else [tau]
    for floor in floors:
        kept = forest.multiply(forest >= 1.0 + floor)
        _, component = csgraph.connected_components(kept, directed=False)
        if np.bincount(component).max() <= COMPONENT_LIMIT:
            by_component = np.argsort(component, kind="stable")
            parts = np.split(by_component, np.flatnonzero(np.diff(component[by_component])) + 1)
            return [_tree(rows, part) for part in parts], floor
    message = (
        f"over {COMPONENT_LIMIT} images hang together at similarity {floors[-1]:.2f}; raise tau."
    )
    raise InputError("COMPONENT_TOO_LARGE", message)


def _similarity_forest(rows: Array, tau: float) -> sparse.csr_array:
    """Spanning forest of the tau graph with the most similar edges, stored as 1 + similarity.

    Its edges at any higher tau have the same connected components as the graph itself.
    """
    n = len(rows)
    forest = sparse.csr_array((n, n))
    for start in range(0, n, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, n)
        similarity = rows[start:stop] @ rows[start:].T
        similarity[np.tril_indices(stop - start, m=n - start)] = -np.inf
        i, j = np.nonzero(similarity >= tau)
        weights = 1.0 + similarity[i, j]
        old = forest.tocoo()
        forest = _heaviest_forest(
            np.concatenate([weights, np.asarray(old.data, dtype=np.float64)]),
            np.concatenate([i + start, old.row]),
            np.concatenate([j + start, old.col]),
            n,
        )
    return forest


def _heaviest_forest(weights: Array, i: Indices, j: Indices, n: int) -> sparse.csr_array:
    costs = sparse.csr_array((3.0 - weights, (i, j)), shape=(n, n))  # never 0: that is not an edge
    lightest = csgraph.minimum_spanning_tree(costs).tocoo()
    return sparse.csr_array((3.0 - lightest.data, (lightest.row, lightest.col)), shape=(n, n))


def _tree(rows: Array, part: Indices) -> _Tree:
    n = len(part)
    if n < 2:
        return _Tree(part, np.empty((0, 4)))
    own = rows[part]
    distances = np.empty(n * (n - 1) // 2)
    at = 0
    for start in range(0, n, BLOCK_ROWS):
        similarity = own[start : start + BLOCK_ROWS] @ own[start:].T
        for i, line in enumerate(similarity):
            distances[at : at + len(line) - i - 1] = line[i + 1 :]
            at += len(line) - i - 1
    np.clip(1.0 - distances, 0.0, 2.0, out=distances)
    return _Tree(part, hierarchy.linkage(distances, "complete"))


def _scan(
    rows: Array, trees: list[_Tree], taus: tuple[float, ...], wanted: tuple[int, int, float]
) -> tuple[list[_Group], float]:
    """Return the clusters of the first tau with enough of them, else of the tau with most."""
    best: list[_Group] = []
    best_tau, seen_merges = taus[0], -1
    for tau in taus:
        merges = sum(int(np.searchsorted(t.linkage[:, 2], 1.0 - tau, side="right")) for t in trees)
        if merges == seen_merges:
            continue
        seen_merges = merges
        groups = _distinct_groups(rows, _cut(trees, tau, len(rows)), wanted)
        if len(groups) > len(best):
            best, best_tau = groups, tau
        if len(best) == wanted[0]:
            break
    return best, best_tau


def _cut(trees: list[_Tree], tau: float, n: int) -> Indices:
    """Label every row by its clique at ``tau``."""
    labels = np.empty(n, dtype=np.intp)
    used = 0
    for part, linkage in trees:
        if len(part) == 1:
            own = np.ones(1, dtype=np.intp)
        else:
            own = hierarchy.fcluster(linkage, 1.0 - tau, criterion="distance")
        labels[part] = own - 1 + used
        used += int(own.max())
    return labels


def _distinct_groups(rows: Array, labels: Indices, wanted: tuple[int, int, float]) -> list[_Group]:
    """Rank the groups of enough size and drop fragments of better ones."""
    n_clusters, smallest, duplicate = wanted
    kept: list[_Group] = []
    medoids = np.empty((n_clusters, rows.shape[1]))
    for group in _ranked(rows, labels, smallest):
        vector = rows[group.medoid]
        if kept and (medoids[: len(kept)] @ vector).max() >= duplicate:
            continue
        medoids[len(kept)] = vector
        kept.append(group)
        if len(kept) == n_clusters:
            break
    return kept


def _ranked(rows: Array, labels: Indices, smallest: int) -> list[_Group]:
    sizes = np.bincount(labels)
    by_label = np.argsort(labels, kind="stable")
    parts = np.split(by_label, np.cumsum(sizes)[:-1])
    groups = [_group(rows, part) for part in parts if len(part) >= smallest]
    return sorted(groups, key=lambda g: (-len(g.rows), -g.intra, g.rows[0]))


def _group(rows: Array, part: Indices) -> _Group:
    own = rows[part]
    total = own.sum(axis=0)
    size = len(part)
    pairs = size * (size - 1)
    intra = float((total @ total - size) / pairs) if pairs else 0.0
    return _Group(part, int(part[np.argmax(own @ total)]), intra)


def _fill(rows: Array, groups: list[_Group], n_clusters: int, duplicate: float) -> list[_Group]:
    """Add single images: the most central first, near-copies of what is there only at the end."""
    taken = np.zeros(len(rows), dtype=bool)
    for group in groups:
        taken[group.rows] = True
    nearest = np.full(len(rows), -np.inf)
    for group in groups:
        np.maximum(nearest, rows @ rows[group.medoid], out=nearest)
    central = np.argsort(-(rows @ rows.sum(axis=0)), kind="stable")
    filled = list(groups)
    for limit in (duplicate, np.inf):
        for row in central:
            if len(filled) >= n_clusters:
                return filled
            if taken[row] or nearest[row] >= limit:
                continue
            taken[row] = True
            filled.append(_Group(np.array([row]), int(row), 0.0))
            np.maximum(nearest, rows @ rows[row], out=nearest)
    return filled


def _as_clusters(
    groups: list[_Group], order: Indices, tau: float, method: str, n_filled: int
) -> Clusters:
    labels = np.full(len(order), -1, dtype=np.intp)
    for k, group in enumerate(groups):
        labels[order[group.rows]] = k
    medoids = order[np.array([g.medoid for g in groups], dtype=np.intp)]
    sizes = np.array([len(g.rows) for g in groups], dtype=np.intp)
    intra = np.array([g.intra for g in groups], dtype=np.float64)
    return Clusters(labels, medoids, sizes, intra, float(tau), method, n_filled)
