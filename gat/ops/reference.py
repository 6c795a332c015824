"""The definition of attention over a graph, in plain torch, to be held against the papers.

For target i, incoming edge e = (j -> i) and head h: score s_e, then a_e = softmax of s over the
edges entering i, then out_i = sum of a_e * value_j. Any device; float64 stays float64, everything
narrower computes in float32; results have the inputs' common dtype; differentiable twice; traceable
by torch.compile. Every faster path is measured against this file. It holds [E, H, C] tensors, which
the faster paths do not. Shapes and meaning are checked before (`gat.ops.attention`).
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from gat.graph import Graph
from gat.ops.dropout import dropout_factor

__all__ = ["additive", "aggregate", "dot", "gatv2", "segment_softmax"]


def additive(
    graph: Graph,
    value: Tensor,
    score_src: Tensor,
    score_dst: Tensor | None,
    score_edge: Tensor | None,
    *,
    negative_slope: float,
    dropout: float,
    seed: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """GAT (Velickovic et al. 2018, eq. 3-4), the score split into source and target parts:

    s_e = LeakyReLU(score_src_j + score_dst_i + score_edge_e).
    """
    source, target = graph.edge_index
    terms = [_wide(score_src).index_select(0, source)]
    if score_dst is not None:
        terms.append(_wide(score_dst).index_select(0, target))
    if score_edge is not None:
        terms.append(_wide(score_edge))
    score = F.leaky_relu(_finite(sum(terms[1:], terms[0])), negative_slope)
    # A mask is a term of -inf, not a sum that overflowed.
    masked = functools.reduce(torch.logical_or, (term == -torch.inf for term in terms))
    dtype = _result_dtype(value, score_src, score_dst, score_edge)
    score = score.masked_fill(masked, -torch.inf)
    return _attend(graph, score, _wide(value), None, dropout, seed, dtype)


def gatv2(
    graph: Graph,
    key: Tensor,
    query: Tensor,
    att: Tensor,
    edge: Tensor | None,
    value: Tensor,
    *,
    activation: str,
    negative_slope: float,
    dropout: float,
    seed: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """GATv2 (Brody et al. 2022, eq. 7): s_e = att . activation(query_i + key_j + edge_e)."""
    source, target = graph.edge_index
    hidden = _wide(query).index_select(0, target) + _wide(key).index_select(0, source)
    if edge is not None:
        hidden = hidden + _wide(edge)
    hidden = torch.tanh(hidden) if activation == "tanh" else F.leaky_relu(hidden, negative_slope)
    score = _finite((hidden * _wide(att)).sum(dim=-1))
    dtype = _result_dtype(value, key, query, att, edge)
    return _attend(graph, score, _wide(value), None, dropout, seed, dtype)


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
) -> tuple[Tensor, Tensor]:
    """Scaled dot product (Vaswani et al. 2017, eq. 1) over the edges, with edge terms where given

    (Shi et al. 2021, eq. 3-4): s_e = scale * query_i . (key_j + edge_key_e), summing
    value_j + edge_value_e.
    """
    source, target = graph.edge_index
    keys = _wide(key).index_select(0, source)
    if edge_key is not None:
        keys = keys + _wide(edge_key)
    score = _finite((_wide(query).index_select(0, target) * keys).sum(dim=-1) * scale)
    dtype = _result_dtype(value, query, key, edge_key, edge_value)
    return _attend(graph, score, _wide(value), edge_value, dropout, seed, dtype)


def segment_softmax(score: Tensor, index: Tensor, num_segments: int) -> Tensor:
    """Softmax of ``score`` [E, H] over the entries with the same ``index`` [E].

    A score of -inf gives weight 0; a segment whose scores are all -inf gets zeros.
    """
    lanes = index.unsqueeze(1).expand_as(score)
    lowest = score.new_full((num_segments, score.size(1)), -torch.inf)
    top = lowest.scatter_reduce(0, lanes, score.detach(), "amax")
    top = top.masked_fill(top == -torch.inf, 0)
    weight = torch.exp(score - top.index_select(0, index))
    total = torch.zeros_like(lowest).scatter_add(0, lanes, weight)
    # A segment without weight would divide 0 by 0, here and in the gradient.
    return weight / total.masked_fill(total == 0, 1).index_select(0, index)


def aggregate(
    graph: Graph, weight: Tensor, value: Tensor, edge_value: Tensor | None = None
) -> Tensor:
    """out_i = sum of weight_e * (value_j + edge_value_e): [num_dst, H, C]."""
    source, target = graph.edge_index
    message = value.flatten(1).index_select(0, source).view(-1, *value.shape[1:])
    if edge_value is not None:
        message = message + edge_value
    message = (weight.unsqueeze(-1) * message).flatten(1)
    lanes = target.unsqueeze(1).expand_as(message)
    out = message.new_zeros((graph.num_dst, message.size(1))).scatter_add(0, lanes, message)
    return out.view(graph.num_dst, *value.shape[1:])


def _attend(
    graph: Graph,
    score: Tensor,
    value: Tensor,
    edge_value: Tensor | None,
    dropout: float,
    seed: Tensor | None,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Normalise, drop, aggregate: the output [num_dst, H, C] and the weights [E, H] it used."""
    weight = segment_softmax(score, graph.edge_index[1], graph.num_dst)
    if dropout > 0:
        assert seed is not None
        weight = weight * dropout_factor(seed, weight, dropout)
    edge_value = None if edge_value is None else _wide(edge_value)
    return aggregate(graph, weight, value, edge_value).to(dtype), weight.to(dtype)


def _finite(score: Tensor) -> Tensor:
    """A score that overflowed counts as the largest of its sign, so that weights stay finite."""
    largest = torch.finfo(score.dtype).max
    return score.clamp(-largest, largest)


def _result_dtype(*tensors: Tensor | None) -> torch.dtype:
    """The inputs' common dtype, as if each step were torch's own."""
    given = [tensor.dtype for tensor in tensors if tensor is not None]
    return functools.reduce(torch.promote_types, given)


def _wide(tensor: Tensor) -> Tensor:
    """At least float32, in which statistics and sums are kept."""
    return tensor if tensor.dtype is torch.float64 else tensor.float()
