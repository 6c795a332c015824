"""`graph_of`: the Graph of whatever a layer was handed as its edges, traced or not."""

from typing import Any

import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from gat.errors import InputError
from gat.graph.cache import remembered
from gat.graph.door import Sizes, as_pair
from gat.graph.structure import Graph
from gat.graph.traced import TracedGraph

__all__ = ["graph_of"]


def graph_of(
    edges: Any,
    sizes: Sizes = None,
    *,
    flow: str = "source_to_target",
    self_loops: bool = False,
) -> Graph:
    """The `Graph` of ``edges`` (a Graph is taken as it is), with or without self-loops.

    Arguments as in `gat.graph.read_edges`. Calling again with the same tensor sorts nothing.
    torch.compile and torch.export trace an ``edge_index`` tensor whose sizes are given, and a
    Graph; anything else is a graph break.
    """
    sizes = as_pair(sizes)
    if isinstance(edges, Graph):
        _check_sizes(edges, sizes)
        return edges.with_self_loops() if self_loops else edges
    if not torch.compiler.is_compiling():
        return remembered(edges, sizes, flow, self_loops)
    num_src, num_dst = sizes
    if num_src is None or num_dst is None or not _is_dense(edges):
        return _untraced(edges, sizes, flow, self_loops)
    return TracedGraph(edges, num_src, num_dst, flow, self_loops)


def _is_dense(edges: Any) -> bool:
    if not isinstance(edges, Tensor) or isinstance(edges, EdgeIndex):
        return False
    return edges.layout is torch.strided


# Traced, the sort would be part of the compiled code and run at every call.
_untraced = torch.compiler.disable(remembered)


def _check_sizes(graph: Graph, sizes: tuple[int | None, int | None]) -> None:
    for role, given, known in zip(
        ("source", "target"), sizes, (graph.num_src, graph.num_dst), strict=True
    ):
        if given is not None and given != known:
            raise InputError(
                f"the graph has {known} {role} nodes, but the features have {given} rows; pass "
                f"the Graph that belongs to these features"
            )
