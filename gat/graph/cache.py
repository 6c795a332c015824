"""One sort per edge_index: graphs remembered for as long as the caller's tensor lives.

An entry is found by the tensor object itself, never by its values, and holds no reference to it, so
it goes when the tensor goes. It is thrown away when torch says the tensor was changed in place
(its version counter), resized or moved. What torch cannot see is not noticed: writing through
``edge_index.numpy()`` or ``edge_index.data``. Tensors made under ``torch.inference_mode`` carry no
version and are not remembered.

Compiled code is another matter: it may write into a buffer of its own again, which no version
counts. Edges that it asks for are compared with what was sorted (`remembered_by_value`).
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary
from torch_geometric import EdgeIndex

from gat.graph.door import Sizes, read_edges
from gat.graph.structure import Graph

__all__ = ["remember", "remembered", "remembered_by_value", "stamp"]

_REMEMBERED = WeakTensorKeyDictionary()
# What edges held that compiled code asked for.
_VALUES = WeakTensorKeyDictionary()
# Of a sparse matrix, which says itself how large it is: see the key in `remembered`.
NO_SIZES = ((None, None), None)


@torch.compiler.disable
def remember(edges: Tensor, graph: Graph) -> None:
    """Let `graph_of` give ``graph``, with self-loops if asked, for a sparse matrix or an
    ``edge_index`` [2, E] that was made with its structure."""
    now = stamp(edges)
    sizes = ((graph.num_src, graph.num_dst), None)
    key = (*(sizes if edges.layout is torch.strided else NO_SIZES), "source_to_target", False)
    if now is not None:
        _REMEMBERED[edges] = (now, {key: graph})


def remembered(
    edges: Any, sizes: tuple[int | None, int | None], flow: str, self_loops: bool
) -> Graph:
    """The `Graph` of ``edges``, built if need be; arguments as in `gat.graph.graph_of`."""
    # PyG's EdgeIndex is a wrapper; the tensor inside is what may change.
    wrapped = isinstance(edges, EdgeIndex)
    tensor = edges.as_tensor() if wrapped else edges
    key = (sizes, edges.sparse_size() if wrapped else None, flow, self_loops)
    now = stamp(tensor)
    if now is None:
        return _build(edges, sizes, flow, self_loops)
    graphs = _graphs(tensor, now)
    graph = graphs.get(key)
    if graph is None:
        plain = graphs.get((*key[:-1], False))
        if plain is not None:
            graph = plain.with_self_loops()
        else:
            graph = _build(edges, sizes, flow, self_loops)
        graphs[key] = graph
    return graph


def remembered_by_value(
    edges: Tensor, sizes: tuple[int, int], flow: str, self_loops: bool, *, compare: bool
) -> Graph:
    """As `remembered`, for compiled code; ``compare`` whenever its edges may be new."""
    if compare:
        _forget_if_changed(edges)
    key = (sizes, None, flow, self_loops)
    graphs = _graphs(edges, stamp(edges))
    graph = graphs.get(key)
    if graph is None:
        graph = graphs[key] = _build(edges, sizes, flow, self_loops)
    return graph


def _forget_if_changed(edges: Tensor) -> None:
    seen = _VALUES.get(edges)
    if seen is not None and seen.dtype == edges.dtype and torch.equal(seen, edges):
        return
    # What was never compared is eager code's, whose changes the stamp tells.
    if seen is not None or edges.is_inference():
        _REMEMBERED.pop(edges, None)
    _VALUES[edges] = edges.clone()


def _graphs(tensor: Any, now: tuple | None) -> dict[tuple, Graph]:
    """The graphs remembered for a tensor, by what else was asked."""
    entry = _REMEMBERED.get(tensor)
    if entry is None or entry[0] != now:
        entry = (now, {})
        _REMEMBERED[tensor] = entry
    return entry[1]


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
