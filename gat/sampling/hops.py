"""One hop: some nodes' incoming edges chosen, their sources numbered in order of first occurrence.

By the compiled library, or by `reference.py`, which is the definition and serves without it.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from gat.graph import CompactEdges
from gat.ops import cpu
from gat.ops.cpu.sampling import Hop, enter_nodes, forget_nodes

__all__ = ["Expansion", "Known", "Rule", "Tables", "expand"]


@dataclass(frozen=True)
class Rule:
    """How edges are chosen. Per-edge tensors are in sorted order.

    fanout: how many of a node's edges, -1 all. replace: the same may be drawn again. weight:
    float64 [E], not negative; an edge is drawn in proportion to it, never where it is 0.
    edge_time int64 [E] or node_time int64 [num_src]: only edges not newer than the seed of the
    node's tree; last: of these the newest, rather than any.
    """

    fanout: int
    replace: bool = False
    weight: Tensor | None = None
    edge_time: Tensor | None = None
    node_time: Tensor | None = None
    last: bool = False


class Tables:
    """Tables [num_nodes] of -1, made when none is free: a sampler may serve several threads."""

    def __init__(self, num_nodes: int) -> None:
        self.num_nodes = num_nodes
        self._free: deque[Tensor] = deque()

    def take(self) -> Tensor:
        try:
            return self._free.pop()
        except IndexError:
            return torch.full((self.num_nodes,), -1, dtype=torch.int32)

    def put_back(self, table: Tensor) -> None:
        self._free.append(table)

    def __getstate__(self) -> int:
        return self.num_nodes

    def __setstate__(self, num_nodes: int) -> None:
        self.__init__(num_nodes)  # type: ignore[misc]


@dataclass
class Known:
    """The nodes of one type found so far, in the order of their local numbers.

    nodes: int64, in pieces; trees: the tree of each, where trees are kept apart; table: local
    number of every node of the type, -1 for unknown ones, where they are not.
    """

    nodes: list[Tensor]
    trees: list[Tensor] | None = None
    table: Tensor | None = None
    count: int = field(init=False)

    def __post_init__(self) -> None:
        self.count = sum(piece.numel() for piece in self.nodes)

    def enter(self) -> int:
        """Enter the seeds into the table; the place of the first double, or -1."""
        if self.table is None or not self.count:
            return -1
        if cpu.library() is not None:
            return enter_nodes(self.table, self.nodes[0])
        for place, node in enumerate(self.nodes[0].tolist()):
            if self.table[node] >= 0:
                return place
            self.table[node] = place
        return -1

    def add(self, nodes: Tensor, trees: Tensor | None) -> None:
        self.nodes.append(nodes)
        if self.trees is not None and trees is not None:
            self.trees.append(trees)
        self.count += nodes.numel()

    def leave(self) -> None:
        """Make the table as it was."""
        if self.table is None:
            return
        for nodes in self.nodes:
            if cpu.library() is not None:
                forget_nodes(self.table, nodes)
            else:
                self.table[nodes] = -1


class Expansion(NamedTuple):
    """Edges chosen for some nodes, in their order.

    ends: int64 [count + 1], node i's are ends[i] .. ends[i+1]-1; source: int32, their sources'
    local numbers; edge: their sorted numbers in the whole graph. The tensors may be views of larger
    ones: what is kept, or sent to another process, should be copied.
    """

    ends: Tensor
    source: Tensor
    edge: Tensor


def expand(
    edges: CompactEdges,
    frontier: Tensor,
    known: Known,
    rule: Rule,
    key: int,
    tree: Tensor | None = None,
    tree_time: Tensor | None = None,
) -> Expansion:
    """Choose edges of the targets ``frontier`` and add the sources found to ``known``.

    tree: the tree of each, where each seed has one to itself; tree_time: its seed's time.
    """
    if not cpu.notice_if_missing():
        from gat.sampling.reference import expand_slowly

        return expand_slowly(edges, frontier, known, rule, key, tree, tree_time)
    return _expand(edges, frontier, known, rule, key, tree, tree_time)


def _expand(
    edges: CompactEdges,
    frontier: Tensor,
    known: Known,
    rule: Rule,
    key: int,
    tree: Tensor | None,
    tree_time: Tensor | None,
) -> Expansion:
    most = _most(edges, frontier, rule)
    ends = torch.empty(frontier.numel() + 1, dtype=torch.int64)
    source = torch.empty(most, dtype=torch.int32)
    edge = torch.empty(most, dtype=edges.col.dtype)
    found = torch.empty(most, dtype=torch.int64)
    found_trees = None if known.trees is None else torch.empty(most, dtype=torch.int64)
    # By trees the numbers are looked up among the nodes themselves.
    nodes = trees = None
    if known.trees is not None:
        nodes, trees = torch.cat(known.nodes), torch.cat(known.trees)
    hop = Hop(
        wide=edges.col.dtype == torch.int64,
        count=frontier.numel(),
        fanout=rule.fanout,
        replace=rule.replace,
        last=rule.last,
        key=key,
        known=known.count,
    )
    hop.point(rowptr=edges.rowptr, col=edges.col, frontier=frontier, tree=tree)
    hop.point(tree_time=tree_time, weight=rule.weight)
    hop.point(edge_time=rule.edge_time, node_time=rule.node_time, table=known.table)
    hop.point(known_nodes=nodes, known_trees=trees, ends=ends, source=source, edge=edge)
    hop.point(found=found, found_trees=found_trees)
    hop.run()
    count = int(ends[-1])
    known.add(found[: hop.num_found], None if found_trees is None else found_trees[: hop.num_found])
    return Expansion(ends, source[:count], edge[:count])


def _most(edges: CompactEdges, frontier: Tensor, rule: Rule) -> int:
    """How many edges may be chosen at most."""
    most = frontier.numel() * max(rule.fanout, 0)
    if rule.fanout >= 0 and (rule.replace or most <= edges.col.numel()):
        return most
    return int((edges.rowptr[frontier + 1] - edges.rowptr[frontier]).sum())
