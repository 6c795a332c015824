"""Dot attention by torch's dense kernel, on graphs whose sources are consecutive numbers.

`torch.nn.functional.scaled_dot_product_attention` multiplies whole matrices, which is the faster
road where many targets share their sources, and nothing of the size of the edges is made. Complete
blocks go through it as they are (`blocks.py`), windows and other intervals tile by tile under masks
(`tiles.py`). Where we differ from the definition: a score that overflows may give NaN.
"""

import torch
from torch import Tensor

from gat.errors import BackendError
from gat.graph import Graph, IntervalGraph
from gat.ops.dense import blocks, tiles
from gat.ops.dense.kernel import define
from gat.ops.precision import result_dtype
from gat.ops.watchers import is_plain, is_transformed

__all__ = ["dot", "is_faster", "why_not"]


def why_not(
    graph: Graph,
    edge_key: Tensor | None,
    edge_value: Tensor | None,
    dropout: float,
    return_weights: bool,
) -> str:
    """Why torch's kernel cannot run such a call; "" if it can."""
    if not isinstance(graph, IntervalGraph):
        return (
            "the graph's sources are not consecutive numbers, as those of gat.topology's complete, "
            "causal, bipartite and window are"
        )
    if edge_key is not None or edge_value is not None:
        return "edge_key and edge_value are of single edges, which it does not know"
    if dropout > 0:
        return "dropout here is a function of (seed, edge, head), and it would draw its own"
    if return_weights:
        return "it does not keep the weights, which are asked for"
    if graph.blocks is None and torch.compiler.is_compiling():
        return "torch.compile would unroll the tiles that it computes a window in"
    return ""


def is_faster(graph: Graph, query: Tensor) -> bool:
    """Whether it is the faster road for a call that it can run."""
    assert isinstance(graph, IntervalGraph)
    if query.device.type == "cpu" and query.dtype not in (torch.float32, torch.float64):
        # Of 16 bits its products are slower than sums over edges.
        return False
    return (tiles if graph.blocks is None else blocks).is_faster(graph, query)


def dot(
    graph: Graph,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    edge_key: Tensor | None,
    edge_value: Tensor | None,
    *,
    scale: float,
    dropout: float,
    seed: Tensor | None,
    return_weights: bool,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention; BackendError where torch's kernel cannot run it."""
    if reason := why_not(graph, edge_key, edge_value, dropout, return_weights):
        raise BackendError(
            f"backend 'dense', torch's kernel, cannot run this dot attention: {reason}; use "
            f"backend='auto'"
        )
    assert isinstance(graph, IntervalGraph)
    dtype = result_dtype(value, query, key)
    query, key, value = (x.to(dtype) for x in (query, key, value))
    if scale <= 0:
        # torch scales what it has masked: -inf times this would be no mask.
        query, scale = query * scale, 1.0
    compiling = torch.compiler.is_compiling()
    if not compiling and is_transformed():
        return define(graph, scale, query, key, value), None
    road = tiles if graph.blocks is None else blocks
    training = torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value))
    if training and not compiling and is_plain((query, key, value)):
        return road.Attend.apply(graph, scale, query, key, value), None
    return road.attend(graph, scale, query, key, value), None
