"""Which nodes and edges of a neighbourhood are drawn, and where: rings by hops around the node."""

from dataclasses import dataclass

import numpy as np

from gat.errors import InputError
from gat.inspection.record import AttentionRecord, check_node

__all__ = ["Hood", "gather", "place"]


@dataclass(frozen=True)
class Hood:
    """The drawn part of a node's neighbourhood: n nodes, the node itself first, and e edges.

    nodes: int64 [n], node numbers: sources, but for the first.
    hop: int64 [n], how many edges away; parent: int64 [n], the place in ``nodes`` of the node over
    which the most attention comes (of the first: 0).
    rows: int64 [e], the record's edges between two different drawn nodes that carry messages to
    the first; start, end: int64 [e], the places of their nodes.
    loops: bool [n], whether the node's own attention is known, its weight on itself with it.
    num_left_out: nodes within the hops that are not drawn.
    """

    nodes: np.ndarray
    hop: np.ndarray
    parent: np.ndarray
    rows: np.ndarray
    start: np.ndarray
    end: np.ndarray
    loops: np.ndarray
    num_left_out: int


def gather(record: AttentionRecord, node: int, hops: int, max_nodes: int) -> Hood:
    """The ``max_nodes`` most attended nodes within ``hops`` of ``node``.

    A node counts by its best path: the product of mean weights along it.
    """
    _check(record, node, hops, max_nodes)
    attended, hop, parent = _best_paths(record, node, hops)
    reached = np.nonzero(hop > 0)[0]
    # A node never comes before the one it is reached over: no path is cut.
    order = reached[np.lexsort((reached, hop[reached], -attended[reached]))]
    kept = order[: max_nodes - 1]
    spot = np.full(record.num_src, -1)
    spot[kept] = np.arange(1, len(kept) + 1)
    if record.same_nodes:
        spot[node] = 0
    target = record.target.cpu().numpy()
    end = spot[target] if record.same_nodes else np.where(target == node, 0, -1)
    start = spot[record.source.cpu().numpy()]
    hop_of = np.concatenate([[0], hop[kept]])
    inside = (start >= 0) & (end >= 0) & ~record.is_loop.cpu().numpy()
    rows = np.nonzero(inside & (hop_of[end] < hops))[0]
    return Hood(
        nodes=np.concatenate([[node], kept]),
        hop=hop_of,
        parent=np.concatenate([[0], spot[parent[kept]] if record.same_nodes else 0 * kept]),
        rows=rows,
        start=start[rows],
        end=end[rows],
        loops=(hop_of < hops) & record.same_nodes,
        num_left_out=len(order) - len(kept),
    )


def _check(record: AttentionRecord, node: int, hops: int, max_nodes: int) -> None:
    check_node("node", node, record.num_dst)
    if record.seen is not None and not bool(record.seen[node]):
        raise InputError(f"{record.name} has no record of node {node}; record a batch that has it")
    if hops < 1 or max_nodes < 2:
        raise InputError(
            f"hops is {hops} and max_nodes {max_nodes}; expected at least 1 hop and 2 nodes"
        )
    if hops > 1 and not record.same_nodes:
        raise InputError(
            f"hops is {hops}; {record.name} goes from one kind of node to another, so that no "
            f"second hop follows the first: pass hops=1"
        )


def _best_paths(
    record: AttentionRecord, node: int, hops: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each source: the weight of its best path to ``node``, its hops (-1: too far; 0: the node
    itself) and the node that follows on that path."""
    weight = record.weights.detach().abs().mean(1).clamp(max=1).double().cpu().numpy()
    source, target = record.source.cpu().numpy(), record.target.cpu().numpy()
    attended = np.zeros(record.num_src)
    hop, parent = np.full(record.num_src, -1), np.full(record.num_src, -1)
    rows, before = np.nonzero(target == node)[0], np.ones(1)
    if record.same_nodes:
        hop[node], attended[node] = 0, 1.0
    for number in range(1, hops + 1):
        if number > 1:
            rows = np.nonzero(hop[target] == number - 1)[0]
            before = attended[target[rows]]
        new = hop[source[rows]] == -1
        rows, value = rows[new], (weight[rows] * before)[new]
        # Of several assignments to one node the last, the greatest, stays.
        rows, value = rows[np.argsort(value, kind="stable")], np.sort(value)
        attended[source[rows]], parent[source[rows]] = value, target[rows]
        hop[source[rows]] = number
    return attended, hop, parent


def place(hood: Hood) -> np.ndarray:
    """Where to draw the nodes, [n, 2] in a circle of radius 1.

    One ring per hop; each node stands in the middle of a sector shared by those that reach the
    centre over it, as wide as they are many. The first is at the top, the others follow clockwise.
    """
    count = len(hood.nodes)
    leaves = _leaves(hood)
    # Where the sector of the next child begins, and each node's own angle, in turns.
    begin, angle, width = np.zeros(count), np.zeros(count), leaves / leaves[0]
    for one in range(1, count):
        parent = hood.parent[one]
        angle[one] = begin[parent] + width[one] / 2
        begin[one], begin[parent] = begin[parent], begin[parent] + width[one]
    if count > 1:
        angle -= angle[1]
    radius = _radii(hood)[hood.hop]
    turned = np.pi / 2 - 2 * np.pi * angle
    return radius[:, None] * np.stack([np.cos(turned), np.sin(turned)], axis=1)


def _radii(hood: Hood) -> np.ndarray:
    """The radius of each ring, 1 the last's: evenly apart, but an inner one that has many of the
    nodes is wider."""
    count = np.bincount(hood.hop)
    hops = len(count) - 1
    ring = np.arange(hops + 1)
    crowded = np.minimum(count / count[1:].max(initial=1), 1 - 0.22 * (hops - ring))
    even = ring / max(1, hops)
    return np.where(ring == 0, 0.0, np.maximum(even, crowded))


def _leaves(hood: Hood) -> np.ndarray:
    """How many outermost nodes stand behind each, [n]; itself counts for more on a smaller ring,
    where it needs a wider sector."""
    outermost = max(1, hood.hop.max())
    leaves = np.zeros(len(hood.nodes))
    for one in range(len(leaves) - 1, 0, -1):
        leaves[one] = max(leaves[one], outermost / hood.hop[one])
        leaves[hood.parent[one]] += leaves[one]
    return np.maximum(leaves, 1.0)
