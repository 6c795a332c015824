"""Attention flow: the most that can flow from a node at the top to an input node, weights being
the widths of the pipes.

Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers" (arXiv 2005.00928).
"""

from typing import Any

import numpy as np

from gat.errors import InputError
from gat.inspection.attribution.layers import Heads, Layers, Recorded, read_layers, read_nodes
from gat.inspection.attribution.paths import Walk, reached, walk
from gat.inspection.attribution.scores import NodeScores, most_first

__all__ = ["attention_flow"]

# scipy's capacities are int32: what leaves the node at the top becomes this.
UNITS = 2**30


def attention_flow(
    attention: Recorded,
    node: int,
    hops: int | None = None,
    residual: float = 0.0,
    heads: Heads = "mean",
) -> NodeScores:
    """The maximum flow from node ``node`` after the last layer to each input node.

    The network has every node once per layer and once as input; an edge's weight in a layer, its
    copies' and the residual's added, is the capacity between its target above and its source
    below. Each input node is asked for on its own, so the flows do not sum to 1. Unlike in
    `rollout`, a path counts by its narrowest link, not by the product.

    hops: keep to the nodes this near; None: as many as there are layers, which is no restriction.
    residual, heads and errors are `rollout`'s; InputError for negative weights too.

    Of one or two layers no two paths to an input node share a link, so the flow is the sum of the
    paths' narrowest links, in float64. Of more, scipy works out the flows: it is compiled, and
    networkx took hundreds of times as long on the 4,000 links of a large neighbourhood. Its
    capacities are integers. Each is rounded by at most 2^-31 of all that leaves the node, and a
    flow is off by at most that times the number of links of its smallest cut (5e-10 for each link,
    where weights sum to 1). It takes a computation for each input node: give fewer ``hops`` where
    that is too long.
    """
    layers = read_layers(attention, heads)
    targets = read_nodes([node], layers.num_nodes)
    steps = _network(layers, walk(layers, targets, residual), hops)
    nodes, flows = _narrowest(steps, node) if len(steps) < 3 else _by_scipy(steps, node)
    has = flows > 0
    return most_first(int(node), layers.to_torch(nodes[has]), layers.to_torch(flows[has]))


def _network(layers: Layers, done: Walk, hops: int | None) -> list[Any]:
    """The capacities between the levels, from the top: sparse [N, N] (above, below) each."""
    for links, record in zip(done.links, reversed(layers.records), strict=True):
        if (links.weight < 0).any():
            raise InputError(
                f"{record.name} has negative weights, which cannot be capacities; use rollout or "
                f"gatt for such layers"
            )
    if hops is None:
        return done.steps
    if hops < 0:
        raise InputError(f"hops is {hops}; expected 0 or more, or None for one per layer")
    near = np.any([reached(paths) for paths in done.paths[: hops + 1]], axis=0)
    return [_only_to(step, near) for step in done.steps]


def _only_to(step: Any, nodes: np.ndarray) -> Any:
    kept = step.copy()
    kept.data = kept.data * nodes[kept.indices]
    kept.eliminate_zeros()
    return kept


def _narrowest(steps: list[Any], node: int) -> tuple[np.ndarray, np.ndarray]:
    """Input nodes and the flows to them through one or two layers."""
    first = steps[0][[node]]
    if len(steps) == 1:
        return first.indices, first.data
    second = steps[1][first.indices]
    second.data = np.minimum(second.data, np.repeat(first.data, np.diff(second.indptr)))
    flows = second.sum(axis=0)
    nodes = np.flatnonzero(flows)
    return nodes, flows[nodes]


def _by_scipy(steps: list[Any], node: int) -> tuple[np.ndarray, np.ndarray]:
    """Input nodes and the flows to them through any number of layers."""
    from scipy.sparse.csgraph import maximum_flow

    total = float(steps[0][[node]].sum())
    if total == 0:
        return np.empty(0, dtype=np.int64), np.empty(0)
    network, top, bottom, nodes = _levels(steps, node, total)
    units = [maximum_flow(network, top, sink).flow_value for sink in bottom]
    return nodes, np.array(units) * (total / UNITS)


def _levels(steps: list[Any], node: int, total: float) -> tuple[Any, int, list[int], np.ndarray]:
    """All levels as one network: its capacities in units, the number of the node at the top, those
    of the inputs, and which nodes the inputs are."""
    from scipy.sparse import csr_matrix

    count = steps[0].shape[0]
    ends = []
    for level, step in enumerate(steps):
        above, below = step.tocoo().coords
        ends.append(np.stack([above + level * count, below + (level + 1) * count]))
    places, (above, below) = np.unique(np.concatenate(ends, axis=1), return_inverse=True)
    # No more can flow than leaves the top: wider links are as good as that wide.
    capacity = np.minimum(np.concatenate([step.data for step in steps]), total)
    units = np.rint(capacity * (UNITS / total)).astype(np.int32)
    network = csr_matrix((units, (above, below)), shape=(places.size, places.size))
    bottom = np.flatnonzero(places >= len(steps) * count)
    top = int(np.searchsorted(places, node))
    return network, top, bottom.tolist(), places[bottom] - len(steps) * count
