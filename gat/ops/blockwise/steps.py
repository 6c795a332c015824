"""The steps of attention over blocks of edges; [E, H] tensors are made whole.

Signatures and meaning as in `gat.ops.steps`, whose checks come first.
"""

from typing import Any

import torch
from torch import Tensor

from gat.graph import Graph
from gat.ops.blockwise import blocks
from gat.ops.blockwise.hidden import hidden_scores
from gat.ops.blockwise.terms import term_scores
from gat.ops.precision import finite, result_dtype, wide

__all__ = [
    "additive_scores",
    "aggregate",
    "aggregate_gradients",
    "dot_scores",
    "gatv2_scores",
    "segment_softmax",
    "softmax_of_finite",
]


def additive_scores(
    graph: Graph,
    score_src: Tensor,
    score_dst: Tensor | None,
    score_edge: Tensor | None,
    *,
    negative_slope: float,
) -> Tensor:
    dtype = result_dtype(score_src, score_dst, score_edge)
    given = (wide(score_src, dtype), wide(score_dst, dtype), wide(score_edge, dtype))
    score = term_scores(*given, graph.edge_index, negative_slope)
    # Narrowing is where a score may overflow once more; a mask stays one.
    return score if score.dtype is dtype else _narrow(score, dtype)


def gatv2_scores(
    graph: Graph,
    key: Tensor,
    query: Tensor,
    att: Tensor,
    edge: Tensor | None,
    *,
    activation: str,
    negative_slope: float,
) -> Tensor:
    dtype = result_dtype(key, query, att, edge)
    inputs = (wide(key, dtype), wide(query, dtype), wide(att, dtype), wide(edge, dtype))
    score = hidden_scores(*inputs, graph.col, graph.row, graph.perm, activation, negative_slope)
    return finite(score, dtype)


def dot_scores(
    graph: Graph, query: Tensor, key: Tensor, edge_key: Tensor | None, *, scale: float
) -> Tensor:
    dtype = result_dtype(query, key, edge_key)
    query, key = wide(query, dtype), wide(key, dtype)
    edges = graph.num_edges
    score = blocks.products(query, key, graph.row, graph.col, graph.perm, edges)
    if edge_key is not None:
        terms = (query, wide(edge_key, dtype), graph.row, None, graph.perm, edges)
        score = score + blocks.products(*terms)
    return finite(score * scale, dtype)


def segment_softmax(graph: Graph, scores: Tensor) -> Tensor:
    score = wide(scores).clamp(max=torch.finfo(scores.dtype).max)
    return softmax_of_finite(graph, score).to(scores.dtype)


def softmax_of_finite(graph: Graph, scores: Tensor) -> Tensor:
    """`segment_softmax` of scores in float32 or wider, of which none is +inf."""
    return _softmax(scores, graph.edge_index[1], graph.num_dst)


def aggregate(graph: Graph, weights: Tensor, value: Tensor, edge_value: Tensor | None) -> Tensor:
    dtype = result_dtype(weights, value, edge_value)
    weights, value = wide(weights, dtype), wide(value, dtype)
    out = blocks.weighted_sum(weights, value, graph.col, graph.row, graph.perm, graph.num_dst)
    if edge_value is not None:
        terms = (weights, wide(edge_value, dtype), None, graph.row, graph.perm, graph.num_dst)
        out = out + blocks.weighted_sum(*terms)
    return out.to(dtype)


def aggregate_gradients(
    graph: Graph,
    weights: Tensor,
    value: Tensor,
    edge_value: Tensor | None,
    grad: Tensor,
    needs: tuple[bool, ...],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients by weights, value and edge_value, where needed, without the output.

    What autograd would give after computing `aggregate`, which a backward pass has no use for.
    """
    dtype = result_dtype(weights, value, edge_value)
    wide_weights, wide_grad = wide(weights, dtype), wide(grad, dtype)
    source, target, order, edges = graph.col, graph.row, graph.perm, graph.num_edges
    d_weights = d_value = d_edge_value = None
    if needs[0]:
        d_weights = blocks.products(wide(value, dtype), wide_grad, source, target, order, edges)
        if edge_value is not None:
            terms = (wide(edge_value, dtype), wide_grad, None, target, order, edges)
            d_weights = d_weights + blocks.products(*terms)
        d_weights = d_weights.to(weights.dtype)
    if needs[1]:
        terms = (wide_weights, wide_grad, target, source, order, graph.num_src)
        d_value = blocks.weighted_sum(*terms).to(value.dtype)
    if edge_value is not None and needs[2]:
        terms = (wide_weights, wide_grad, target, None, order, edges)
        d_edge_value = blocks.weighted_sum(*terms).to(edge_value.dtype)
    return d_weights, d_value, d_edge_value


def _narrow(score: Tensor, dtype: torch.dtype) -> Tensor:
    """The score as ``dtype``, where -inf is a mask and nothing else becomes infinite."""
    return finite(score, dtype).masked_fill(score == -torch.inf, -torch.inf)


@torch.library.custom_op("gat_blockwise::softmax", mutates_args=())
def _softmax(score: Tensor, index: Tensor, segments: int) -> Tensor:
    """Softmax of ``score`` [E, H] over the entries with the same ``index`` [E]."""
    lanes = index.unsqueeze(1).expand_as(score)
    top = score.new_full((segments, score.size(1)), -torch.inf)
    top = top.scatter_reduce_(0, lanes, score, "amax").masked_fill_(top == -torch.inf, 0)
    weight = (score - top.index_select(0, index)).exp_()
    total = torch.zeros_like(top).index_add_(0, index, weight)
    # A segment without weight would divide 0 by 0.
    total.masked_fill_(total == 0, 1)
    return weight.div_(total.index_select(0, index))


@_softmax.register_fake
def _(score: Tensor, index: Tensor, segments: int) -> Tensor:
    return torch.empty_like(score)


def _keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(output, inputs[1])
    ctx.segments = inputs[2]


def _softmax_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    weight, index = ctx.saved_tensors
    flow = weight * grad
    total = flow.new_zeros((ctx.segments, flow.size(1))).index_add(0, index, flow)
    return flow.addcmul(weight, total.index_select(0, index), value=-1), None, None


_softmax.register_autograd(_softmax_backward, setup_context=_keep)
