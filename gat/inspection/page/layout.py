"""Where the nodes of a page lie: a tree around the centre, drawn out by springs.

Forces as in Fruchterman and Reingold, "Graph drawing by force-directed placement" (1991): edges
pull with d^2 / k, nodes push with k^2 / d. Here k = 1, and far nodes push by the cells of a grid
that they lie in, so a round costs about N x CELLS^2 and not N^2. Nothing is drawn by lot.
"""

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order
from scipy.spatial import cKDTree

__all__ = ["layout"]

Points = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
ROUNDS = 150
CELLS = 14
# Nodes this near push each other one by one.
NEAR = 1.6
PULL_TO_CENTRE = 0.04


def layout(num_nodes: int, source: Numbers, target: Numbers, centre: int) -> Points:
    """Places [N, 2], the same for the same graph; nodes without edges in rows underneath."""
    pairs = np.unique(np.sort(np.stack([source, target], 1), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    joined = np.zeros(num_nodes, dtype=bool)
    joined[pairs.ravel()] = True
    joined[centre] = True
    number = np.cumsum(joined) - 1
    places = np.zeros((num_nodes, 2))
    inner = _springs(_tree(int(joined.sum()), number[pairs], int(number[centre])), number[pairs])
    places[joined] = inner
    places[~joined] = _rows(int((~joined).sum()), inner)
    return places


def _tree(num_nodes: int, pairs: Numbers, centre: int) -> Points:
    """A tree of each component on rings around its root, a wedge of the rings for each child as
    wide as it has leaves; the components side by side, that of the centre first."""
    parents, order, depth = _spanning(num_nodes, pairs, centre)
    leaves = np.zeros(num_nodes)
    for node in reversed(order):
        leaves[node] = max(leaves[node], 1.0)
        if parents[node] >= 0:
            leaves[parents[node]] += leaves[node]
    total = sum(leaves[node] for node in order if parents[node] < 0)
    begin, free, angle = 0.0, np.zeros(num_nodes), np.zeros(num_nodes)
    for node in order:
        share = 2 * np.pi * leaves[node] / total
        if parents[node] < 0:
            start, begin = begin, begin + share
        else:
            start, free[parents[node]] = free[parents[node]], free[parents[node]] + share
        free[node], angle[node] = start, start + share / 2
    spread = depth * max(1.0, np.sqrt(num_nodes) / (1 + depth.max()))
    return np.stack([spread * np.cos(angle), spread * np.sin(angle)], 1)


def _spanning(
    num_nodes: int, pairs: Numbers, centre: int
) -> tuple[Numbers, list[int], npt.NDArray[np.float64]]:
    """Parents (-1 for a root), nodes from roots to leaves, and depths; other roots than the
    centre begin one ring out."""
    ones = np.ones(len(pairs))
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(num_nodes, num_nodes)).tocsr()
    degree = np.bincount(pairs.ravel(), minlength=num_nodes)
    parents, depth = np.full(num_nodes, -1), np.full(num_nodes, -1.0)
    order: list[int] = []
    for root in [centre, *np.argsort(-degree, kind="stable").tolist()]:
        if depth[root] >= 0:
            continue
        depth[root] = 0.0 if root == centre else 1.0
        found, before = breadth_first_order(graph, root, directed=False)
        for node in found[1:].tolist():
            parents[node] = before[node]
            depth[node] = depth[before[node]] + 1
        order += found.tolist()
    return parents, order, depth


def _springs(places: Points, pairs: Numbers) -> Points:
    if len(places) < 2:
        return places
    hottest = 0.1 * np.sqrt(len(places)) + 0.1
    for turn in range(ROUNDS):
        force = _push_far(places) + _push_near(places) - PULL_TO_CENTRE * places
        gap = places[pairs[:, 0]] - places[pairs[:, 1]]
        pull = gap * np.linalg.norm(gap, axis=1, keepdims=True)
        np.add.at(force, pairs[:, 0], -pull)
        np.add.at(force, pairs[:, 1], pull)
        length = np.linalg.norm(force, axis=1, keepdims=True)
        step = np.minimum(length, hottest * (1 - turn / ROUNDS))
        places = places + force / np.maximum(length, 1e-9) * step
    return places


def _push_far(places: Points) -> Points:
    """The push of all nodes on each, those of a cell taken as one at their mean place."""
    low, high = places.min(0), places.max(0)
    cell = ((places - low) / np.maximum(high - low, 1e-9) * (CELLS - 1e-6)).astype(np.int64)
    flat = cell[:, 0] * CELLS + cell[:, 1]
    count = np.bincount(flat, minlength=CELLS**2)
    used = np.flatnonzero(count)
    sums = np.stack([np.bincount(flat, places[:, i], CELLS**2) for i in (0, 1)], 1)
    middle = sums[used] / count[used, None]
    gap = places[:, None] - middle
    squared = (gap**2).sum(-1)
    # Softened, so that the middle of a node's own cell does not throw it out.
    return (gap * (count[used] / (squared + NEAR))[..., None]).sum(1)


def _push_near(places: Points) -> Points:
    near = cKDTree(places).query_pairs(NEAR, output_type="ndarray")
    gap = places[near[:, 0]] - places[near[:, 1]]
    # Two nodes in one place are told apart by their numbers.
    gap += 1e-3 * np.sign(near[:, :1] - near[:, 1:]) * (np.linalg.norm(gap, axis=1) < 1e-6)[:, None]
    push = gap / np.maximum((gap**2).sum(1, keepdims=True), 1e-2)
    force = np.zeros_like(places)
    np.add.at(force, near[:, 0], push)
    np.add.at(force, near[:, 1], -push)
    return force


def _rows(count: int, above: Points) -> Points:
    """``count`` places in rows under the others."""
    width = max(float(np.ptp(above[:, 0])) if len(above) else 0.0, np.sqrt(count), 4.0)
    each = max(int(width), 1)
    left = above[:, 0].mean() - (min(each, count) - 1) / 2
    row, column = np.divmod(np.arange(count), each)
    return np.stack([left + column, above[:, 1].min() - 2.0 - row], 1)
