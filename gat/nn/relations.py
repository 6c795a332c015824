"""Edges of several relations: which (relation, node) pairs occur at their ends.

A node's projection depends on the relation it is seen through, so what an edge carries belongs to
the pair (relation, source). There are at most E such pairs, mostly far fewer. Messages then run
over a bipartite `gat.graph.Graph` from pairs to nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.graph import EdgeList, Graph, graph_of
from gat.graph.cache import stamp
from gat.graph.structure import lazy

__all__ = ["Pairs", "Relations", "relations_of"]

INDEX_DTYPES = (torch.int64, torch.int32)

_REMEMBERED = WeakTensorKeyDictionary()


@dataclass(frozen=True, eq=False)
class Pairs:
    """The (relation, node) pairs at one end of the edges, P of them, ordered by relation.

    node [P] int64; edge [E] int64: the pair of each edge, in listed order; counts: how many pairs
    each of the R relations has.
    """

    node: Tensor
    edge: Tensor
    counts: tuple[int, ...]

    @classmethod
    def of(cls, edge_type: Tensor, node: Tensor, num_nodes: int, num_relations: int) -> Pairs:
        size = max(num_nodes, 1)
        pair, edge = torch.unique(edge_type * size + node, return_inverse=True)
        counts = torch.bincount(pair // size, minlength=num_relations)
        return cls(pair % size, edge, tuple(counts.tolist()))

    @classmethod
    def every(cls, edge_type: Tensor, node: Tensor, num_nodes: int, num_relations: int) -> Pairs:
        """All pairs there could be, so that no size depends on values."""
        nodes = torch.arange(num_nodes, device=node.device).repeat(num_relations)
        return cls(nodes, edge_type * num_nodes + node, (num_nodes,) * num_relations)

    def __len__(self) -> int:
        return self.node.numel()


@dataclass(eq=False)
class Relations:
    """The edges of a graph as the relational layers use them; E edges in the graph's listed order.

    source, target: the pairs at the edges' ends; graph: the edges from source pairs to nodes.
    Make one with `Relations.of` and pass it as ``edge_type`` to compiled code, which given a tensor
    sorts the edges at every call and projects every node by every relation.
    """

    source: Pairs
    target: Pairs
    graph: Graph

    @classmethod
    def of(cls, graph: Graph, edge_type: Tensor, num_relations: int) -> Relations:
        """Of a graph and the relation of each edge, [E] int64 or int32 in listed order.

        Raises ArgumentTypeError, InputError or IndexRangeError, naming the first bad entry.
        """
        relations = _build(graph, edge_type, num_relations)
        _ = relations.within  # later may be while torch.compile traces, which would sort each time
        return relations

    @classmethod
    def _of(cls, graph: Graph, edge_type: Tensor, num_relations: int) -> Relations:
        _check(edge_type, graph, num_relations)
        edge_type = edge_type.long()
        source, target = graph.edge_index
        start = Pairs.of(edge_type, source, graph.num_src, num_relations)
        end = Pairs.of(edge_type, target, graph.num_dst, num_relations)
        edges = EdgeList(start.edge, target, len(start), graph.num_dst)
        return cls(start, end, Graph.from_edge_list(edges))

    @classmethod
    def _traced(cls, graph: Graph, edge_type: Tensor, num_relations: int) -> Relations:
        """For code that is traced: of every pair, since which of them occur depends on values."""
        edge_type = edge_type.long()
        source, target = graph.edge_index
        start = Pairs.every(edge_type, source, graph.num_src, num_relations)
        end = Pairs.every(edge_type, target, graph.num_dst, num_relations)
        sizes = start.node.numel(), graph.num_dst
        return cls(start, end, graph_of(torch.stack([start.edge, target]), sizes))

    @lazy
    def within(self) -> Graph:
        """The edges from source pairs to target pairs: each relation's edges on their own."""
        sizes = self.source.node.numel(), self.target.node.numel()
        return graph_of(torch.stack([self.source.edge, self.target.edge]), sizes)


def relations_of(graph: Graph, edge_type: Any, num_relations: int, key: Tensor) -> Relations:
    """The `Relations`, remembered for as long as the graph and ``key`` live.

    ``key``: the tensor whose values the types are: ``edge_type``, or the sparse matrix it is in.
    What torch cannot see is not noticed, as in `gat.graph.graph_of`.
    """
    if isinstance(edge_type, Relations):
        _check_fit(graph, edge_type, num_relations)
        return edge_type
    if torch.compiler.is_compiling():
        _check_form(edge_type, graph)
        return Relations._traced(graph, edge_type, num_relations)
    return _remembered(graph, edge_type, num_relations, key)


def _remembered(graph: Graph, edge_type: Tensor, num_relations: int, key: Tensor) -> Relations:
    now = stamp(key)
    if now is None:
        return _build(graph, edge_type, num_relations)
    entry = _REMEMBERED.get(key)
    if entry is None or entry[0] != now:
        entry = (now, WeakKeyDictionary())
        _REMEMBERED[key] = entry
    built = entry[1].setdefault(graph, {})
    if num_relations not in built:
        built[num_relations] = _build(graph, edge_type, num_relations)
    return built[num_relations]


def _build(graph: Graph, edge_type: Tensor, num_relations: int) -> Relations:
    # Made in inference mode, they could not serve a training step later.
    with torch.inference_mode(False):
        return Relations._of(graph, edge_type, num_relations)


def _check_form(edge_type: Any, graph: Graph) -> None:
    if not isinstance(edge_type, Tensor):
        raise ArgumentTypeError(
            f"edge_type is of type {type(edge_type).__name__}; expected a tensor with the relation "
            f"of each edge, torch.int64 [{graph.num_edges}]"
        )
    if edge_type.dtype not in INDEX_DTYPES:
        raise ArgumentTypeError(
            f"edge_type has dtype {edge_type.dtype}; expected torch.int64 or torch.int32 relation "
            f"numbers (convert with edge_type.long())"
        )
    if edge_type.shape != (graph.num_edges,):
        raise InputError(
            f"edge_type has shape {list(edge_type.shape)}; expected one relation per edge, "
            f"[{graph.num_edges}]"
        )


def _check(edge_type: Any, graph: Graph, num_relations: int) -> None:
    _check_form(edge_type, graph)
    wrong = (edge_type < 0) | (edge_type >= num_relations)
    if bool(wrong.any()):
        position = int(wrong.nonzero()[0])
        raise IndexRangeError(
            f"edge_type, position {position}, is relation {int(edge_type[position])}, outside "
            f"[0, {num_relations}). Check that relations are counted from 0 and that the layer was "
            f"made with the right num_relations"
        )


def _check_fit(graph: Graph, relations: Relations, num_relations: int) -> None:
    """Refuse Relations made of another graph or for another layer, as far as sizes tell."""
    known = (relations.graph.num_edges, relations.graph.num_dst, len(relations.source.counts))
    asked = (graph.num_edges, graph.num_dst, num_relations)
    if known != asked:
        raise InputError(
            f"the Relations given as edge_type have {known[0]} edges, {known[1]} target nodes and "
            f"{known[2]} relations, but graph and layer have {asked[0]}, {asked[1]} and "
            f"{asked[2]}; pass the Relations made of this graph"
        )
