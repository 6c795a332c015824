"""The walk that all attributions share: from nodes at the last layer down to the input.

Only links that enter nodes already reached are looked at, so one node costs a look at each edge's
target and layer, and otherwise only its neighbourhood.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gat.errors import InputError
from gat.inspection.attribution.layers import Layers, Links
from gat.inspection.attribution.scores import EdgeScores

__all__ = ["Walk", "edge_scores", "reached", "walk"]

# So many nodes' scores are worked out together.
GROUP = 64


@dataclass(frozen=True, eq=False)
class Walk:
    """K nodes' computation trees, summed by node; everything from the top, the last layer, down.

    paths: L + 1 sparse matrices [K, N]: the weight of all paths from a target down to a node, a
    path's weight being the product of its links'; links: L, those that enter nodes reached above;
    steps: L sparse matrices [N, N] (target, source): those links, and the residual.
    """

    paths: list[Any]
    links: list[Links]
    steps: list[Any]


def walk(layers: Layers, targets: np.ndarray, residual: float = 0.0) -> Walk:
    """Down through all layers from ``targets`` [K], each layer being (1 - residual) weights +
    residual identity."""
    if not 0 <= residual <= 1:
        raise InputError(f"residual is {residual!r}; expected a share in [0, 1], 0.5 in the paper")
    start = _sparse(np.ones(targets.size), np.arange(targets.size), targets, layers.num_nodes)
    done = Walk([start], [], [])
    for layer in reversed(range(len(layers.records))):
        nodes = reached(done.paths[-1])
        links = layers.entering(layer, nodes)
        done.links.append(links)
        done.steps.append(_step(links, nodes, residual))
        done.paths.append(done.paths[-1] @ done.steps[-1])
    return done


def reached(paths: Any) -> np.ndarray:
    """The nodes to which any path leads, bool [N]."""
    found = np.zeros(paths.shape[1], dtype=bool)
    found[paths.indices] = True
    return found


def edge_scores(
    layers: Layers, targets: np.ndarray, *, residual: float = 0.0, arriving: bool = False
) -> Iterator[EdgeScores]:
    """For each target in turn, the weight of the paths from it down to and through each link.

    arriving: only paths that go on to the input count, by the weight with which they arrive there.
    """
    for start in range(0, targets.size, GROUP):
        group = targets[start : start + GROUP]
        done = walk(layers, group, residual)
        shares = _shares(layers, done, residual, arriving)[::-1]
        for row, node in enumerate(group.tolist()):
            yield _dense(layers, node, [share[[row]] for share in shares])


def _shares(layers: Layers, done: Walk, residual: float, arriving: bool) -> list[Any]:
    """Sparse [K, E + N] for each layer, the last first: what passes each link."""
    width = layers.num_edges + layers.num_nodes
    below = _arriving(layers, done) if arriving else None
    shares = []
    for depth, (paths, links) in enumerate(zip(done.paths, done.links, strict=False)):
        weight = links.weight if residual == 0 else (1 - residual) * links.weight
        if below is not None:
            weight = weight * below[depth][links.source]
        by_link = _sparse(weight, links.target, links.number, width, rows=layers.num_nodes)
        shares.append(paths @ by_link)
    return shares


def _arriving(layers: Layers, done: Walk) -> list[np.ndarray]:
    """From the top down, of what comes out of a layer's links, how much arrives at the input:
    [N] each."""
    below = [np.ones(layers.num_nodes)]
    for step in done.steps[:0:-1]:
        below.append(step @ below[-1])
    return below[::-1]


def _dense(layers: Layers, node: int, shares: list[Any]) -> EdgeScores:
    scores = np.zeros((len(shares), layers.num_edges + layers.num_nodes))
    for layer, share in enumerate(shares):
        scores[layer, share.indices] = share.data
    by_link = layers.to_torch(scores)
    return EdgeScores(node, by_link[:, : layers.num_edges], by_link[:, layers.num_edges :])


def _step(links: Links, nodes: np.ndarray, residual: float) -> Any:
    count = nodes.size
    step = _sparse(links.weight, links.target, links.source, count, rows=count)
    if residual == 0:
        return step
    own = np.flatnonzero(nodes)
    kept = _sparse(np.full(own.size, residual), own, own, count, rows=count)
    return kept if residual == 1 else (1 - residual) * step + kept


def _sparse(
    values: np.ndarray, row: np.ndarray, column: np.ndarray, width: int, rows: int | None = None
) -> Any:
    """A scipy CSR matrix; values at the same place add up."""
    from scipy.sparse import csr_array

    height = row.size if rows is None else rows
    return csr_array((values, (row, column)), shape=(height, width))
