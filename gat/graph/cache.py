"""One sort per edge_index: graphs remembered for as long as the caller's tensor lives.

An entry is found by the tensor object itself, never by its values, and holds no reference to it, so
it goes when the tensor goes. It is thrown away when torch says the tensor was changed in place
(its version counter), resized or moved. What torch cannot see is not noticed: writing through
``edge_index.numpy()`` or ``edge_index.data``. Tensors made under ``torch.inference_mode`` carry no
version and are not remembered.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary
from torch_geometric import EdgeIndex

from gat.errors import InputError
from gat.graph.door import Sizes, as_pair, read_edges
from gat.graph.structure import Graph

__all__ = ["graph_of", "remember", "stamp"]

_REMEMBERED = WeakTensorKeyDictionary()
# Of a sparse matrix, which says itself how large it is: see the key in `_remembered`.
NO_SIZES = ((None, None), None)


def graph_of(
    edges: Any,
    sizes: Sizes = None,
    *,
    flow: str = "source_to_target",
    self_loops: bool = False,
) -> Graph:
    """The `Graph` of ``edges`` (a Graph is taken as it is), with or without self-loops.

    Arguments as in `gat.graph.read_edges`. Calling again with the same tensor sorts nothing. Under
    torch.compile this is a graph break, unless ``edges`` is a Graph.
    """
    sizes = as_pair(sizes)
    if isinstance(edges, Graph):
        _check_sizes(edges, sizes)
        return edges.with_self_loops() if self_loops else edges
    return _remembered(edges, sizes, flow, self_loops)


@torch.compiler.disable
def remember(matrix: Tensor, graph: Graph) -> None:
    """Let `graph_of` give ``graph`` for a sparse ``matrix`` that was made with its structure."""
    now = stamp(matrix)
    if now is not None:
        _REMEMBERED[matrix] = (now, {(*NO_SIZES, "source_to_target", False): graph})


# Traced, the sort would be part of the compiled code and run at every call.
@torch.compiler.disable
def _remembered(
    edges: Any, sizes: tuple[int | None, int | None], flow: str, self_loops: bool
) -> Graph:
    # PyG's EdgeIndex is a wrapper; the tensor inside is what may change.
    wrapped = isinstance(edges, EdgeIndex)
    tensor = edges.as_tensor() if wrapped else edges
    key = (sizes, edges.sparse_size() if wrapped else None, flow, self_loops)
    now = stamp(tensor)
    if now is None:
        return _build(edges, sizes, flow, self_loops)
    entry = _REMEMBERED.get(tensor)
    if entry is None or entry[0] != now:
        entry = (now, {})
        _REMEMBERED[tensor] = entry
    graph = entry[1].get(key)
    if graph is None:
        graph = entry[1][key] = _build(edges, sizes, flow, self_loops)
    return graph


def _build(edges: Any, sizes: Sizes, flow: str, self_loops: bool) -> Graph:
    # Made in inference mode, the graph could not serve a training step later.
    with torch.inference_mode(False):
        return Graph.from_edge_list(read_edges(edges, sizes, flow=flow), self_loops=self_loops)


def stamp(edges: Any) -> tuple | None:
    """What changes when the tensor's values may have; None if that cannot be known."""
    if not isinstance(edges, Tensor) or edges.is_inference():
        return None
    if edges.layout is torch.strided:
        return edges._version, edges.data_ptr(), edges.shape, edges.device
    return edges._version, edges.shape, edges.device


def _check_sizes(graph: Graph, sizes: tuple[int | None, int | None]) -> None:
    for role, given, known in zip(
        ("source", "target"), sizes, (graph.num_src, graph.num_dst), strict=True
    ):
        if given is not None and given != known:
            raise InputError(
                f"the graph has {known} {role} nodes, but the features have {given} rows; pass "
                f"the Graph that belongs to these features"
            )
