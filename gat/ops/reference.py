"""The definition of attention over a graph, in plain torch, to be held against the papers.

For target i, incoming edge e = (j -> i) and head h: score s_e, then a_e = softmax of s over the
edges entering i, then out_i = sum of a_e * value_j. First the three steps, then the operators made
of them. Any device; float64 stays float64, everything narrower computes in float32; results have
the inputs' common dtype; differentiable twice; traceable by torch.compile. Every faster path is
measured against this file. It holds [E, H, C] tensors, which the faster paths do not. Shapes and
meaning are checked before (`gat.ops.attention`, `gat.ops.steps`).
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from gat.graph import Graph
from gat.ops.dropout import dropout_factor
from gat.ops.precision import finite, result_dtype, wide

__all__ = [
    "additive",
    "additive_scores",
    "aggregate",
    "dot",
    "dot_scores",
    "gatv2",
    "gatv2_scores",
    "segment_entmax",
    "segment_softmax",
]

# Halvings of a bracket within [0, 1], before Newton's steps.
HALVINGS = 48

# The steps: scores [E, H], weights [E, H], output [num_dst, H, C] -----------------------------


def additive_scores(
    graph: Graph,
    score_src: Tensor,
    score_dst: Tensor | None,
    score_edge: Tensor | None,
    *,
    negative_slope: float,
) -> Tensor:
    """GAT (Velickovic et al. 2018, eq. 3), the score split into source and target parts:

    s_e = LeakyReLU(score_src_j + score_dst_i + score_edge_e).
    """
    source, target = graph.edge_index
    terms = [wide(score_src).index_select(0, source)]
    if score_dst is not None:
        terms.append(wide(score_dst).index_select(0, target))
    if score_edge is not None:
        terms.append(wide(score_edge))
    total = sum(terms[1:], terms[0])
    score = F.leaky_relu(finite(total, total.dtype), negative_slope)
    # A mask is a term of -inf, not a sum that overflowed.
    masked = functools.reduce(torch.logical_or, (term == -torch.inf for term in terms))
    score = finite(score, result_dtype(score_src, score_dst, score_edge))
    return score.masked_fill(masked, -torch.inf)


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
    """GATv2 (Brody et al. 2022, eq. 7): s_e = att . activation(query_i + key_j + edge_e)."""
    source, target = graph.edge_index
    hidden = wide(query).index_select(0, target) + wide(key).index_select(0, source)
    if edge is not None:
        hidden = hidden + wide(edge)
    hidden = torch.tanh(hidden) if activation == "tanh" else F.leaky_relu(hidden, negative_slope)
    return finite((hidden * wide(att)).sum(dim=-1), result_dtype(key, query, att, edge))


def dot_scores(
    graph: Graph, query: Tensor, key: Tensor, edge_key: Tensor | None, *, scale: float
) -> Tensor:
    """Scaled dot product (Vaswani et al. 2017, eq. 1; edge term: Shi et al. 2021, eq. 3):

    s_e = scale * query_i . (key_j + edge_key_e).
    """
    source, target = graph.edge_index
    keys = wide(key).index_select(0, source)
    if edge_key is not None:
        keys = keys + wide(edge_key)
    score = (wide(query).index_select(0, target) * keys).sum(dim=-1) * scale
    return finite(score, result_dtype(query, key, edge_key))


def segment_softmax(graph: Graph, scores: Tensor) -> Tensor:
    """a_e = exp(s_e) / sum of exp(s) over the edges that enter the same target.

    A score of -inf gives weight 0; a target whose scores are all -inf gives zeros. One of +inf is
    an overflow and counts as the largest number.
    """
    target = graph.edge_index[1]
    weight = torch.exp(_below_highest(graph, scores))
    total = _sum_by_target(graph, weight)
    # A segment without weight would divide 0 by 0, here and in the gradient.
    weight = weight / total.masked_fill(total == 0, 1).index_select(0, target)
    return weight.to(scores.dtype)


def segment_entmax(graph: Graph, scores: Tensor, alpha: Tensor) -> Tensor:
    """alpha-entmax (Peters et al. 2019, "Sparse Sequence-to-Sequence Models", eq. 10-14):

    p_e = [(alpha - 1) s_e - tau_i]_+^(1 / (alpha - 1)), tau_i such that those entering i sum to 1.

    The unknown here is q_i, the weight of the highest score m_i, for which tau_i stands:
    (alpha - 1) m_i - tau_i = q_i^(alpha - 1). So p_e = q_i r_e with
    r_e = [1 + (alpha - 1) (s_e - m_i) / q_i^(alpha - 1)]_+^(1 / (alpha - 1)): nothing cancels as
    alpha nears 1, where this is softmax, and no tau underflows on a hub. alpha [H].
    """
    target = graph.edge_index[1]
    below, power = _below_highest(graph, scores), wide(alpha, scores.dtype) - 1
    highest = _weight_of_highest(graph, below.detach(), power.detach())
    # A step of Newton from the solution has its first derivative, a second one its second too.
    for _ in range(2):
        ratio, slope = _ratios(graph, below, power, highest)
        total, slope = _sum_by_target(graph, ratio), _sum_by_target(graph, slope)
        highest = highest - (highest * total - 1) / slope.masked_fill(slope == 0, 1)
    ratio, _ = _ratios(graph, below, power, highest)
    weight = highest.index_select(0, target) * ratio
    # Rounding alone keeps the sum from 1: little, but for weights near 0 and alpha above 2.
    total = _sum_by_target(graph, weight.detach())
    return (weight / total.masked_fill(total == 0, 1).index_select(0, target)).to(scores.dtype)


def _weight_of_highest(graph: Graph, below: Tensor, power: Tensor) -> Tensor:
    """q [num_dst, H], by bisection: with it the weights of a target grow."""
    z, inverse, largest = power * below, 1 / power, torch.finfo(below.dtype).max
    low = 1 / _sum_by_target(graph, torch.ones_like(below)).clamp(min=1)
    high = torch.ones_like(low)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        scale = (middle**-power).clamp(max=largest).index_select(0, graph.edge_index[1])
        ratio = (1 + z * scale).clamp(min=0) ** inverse
        enough = middle * _sum_by_target(graph, ratio) >= 1
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return (low + high) / 2


def _ratios(graph: Graph, below: Tensor, power: Tensor, highest: Tensor) -> tuple[Tensor, Tensor]:
    """r [E, H], and the derivative of q r by q: r / [1 + ...], at most 1 for alpha up to 2."""
    target = graph.edge_index[1]
    # Equal scores are 0 below the highest, whatever that is multiplied with.
    scale = (highest**-power).clamp(max=torch.finfo(below.dtype).max).index_select(0, target)
    # Not "above 0": a NaN stays. What is off enters as 0, so that no gradient is NaN.
    off = 1 + power * below * scale <= 0
    inner = power * below.masked_fill(off, 0) * scale
    ratio = torch.exp(torch.log1p(inner) / power).masked_fill(off, 0)
    return ratio, ratio / (1 + inner)


def _below_highest(graph: Graph, scores: Tensor) -> Tensor:
    """How far each score is below the highest of its target, which has no gradient; masks -inf."""
    target = graph.edge_index[1]
    score = wide(scores).clamp(max=torch.finfo(scores.dtype).max)
    top = score.new_full((graph.num_dst, score.size(1)), -torch.inf)
    top = top.scatter_reduce(0, target.unsqueeze(1).expand_as(score), score.detach(), "amax")
    return score - top.masked_fill(top == -torch.inf, 0).index_select(0, target)


def _sum_by_target(graph: Graph, numbers: Tensor) -> Tensor:
    """Sums [num_dst, H] of numbers [E, H]."""
    sums = numbers.new_zeros((graph.num_dst, numbers.size(1)))
    return sums.scatter_add(0, graph.edge_index[1].unsqueeze(1).expand_as(numbers), numbers)


def aggregate(graph: Graph, weights: Tensor, value: Tensor, edge_value: Tensor | None) -> Tensor:
    """out_i = sum of a_e * (value_j + edge_value_e) over the edges that enter i."""
    source, target = graph.edge_index
    message = wide(value).flatten(1).index_select(0, source).view(-1, *value.shape[1:])
    if edge_value is not None:
        message = message + wide(edge_value)
    message = (wide(weights).unsqueeze(-1) * message).flatten(1)
    lanes = target.unsqueeze(1).expand_as(message)
    out = message.new_zeros((graph.num_dst, message.size(1))).scatter_add(0, lanes, message)
    out = out.view(graph.num_dst, *value.shape[1:])
    return out.to(result_dtype(weights, value, edge_value))


# The operators: (output, weights if asked for) ------------------------------------------------


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
    return_weights: bool,
) -> tuple[Tensor, Tensor | None]:
    """GAT (Velickovic et al. 2018, eq. 3-4)."""
    dtype = result_dtype(value, score_src, score_dst, score_edge)
    terms = (wide(score_src), wide(score_dst), wide(score_edge))
    scores = additive_scores(graph, *terms, negative_slope=negative_slope)
    return _attend(graph, scores, value, None, dropout, seed, return_weights, dtype)


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
    return_weights: bool,
) -> tuple[Tensor, Tensor | None]:
    """GATv2 (Brody et al. 2022, eq. 7)."""
    dtype = result_dtype(value, key, query, att, edge)
    terms = (wide(key), wide(query), wide(att), wide(edge))
    scores = gatv2_scores(graph, *terms, activation=activation, negative_slope=negative_slope)
    return _attend(graph, scores, value, None, dropout, seed, return_weights, dtype)


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
) -> tuple[Tensor, Tensor | None]:
    """Scaled dot product over the edges (Shi et al. 2021, eq. 3-4, with edge terms)."""
    dtype = result_dtype(value, query, key, edge_key, edge_value)
    scores = dot_scores(graph, wide(query), wide(key), wide(edge_key), scale=scale)
    return _attend(graph, scores, value, edge_value, dropout, seed, return_weights, dtype)


def _attend(
    graph: Graph,
    scores: Tensor,
    value: Tensor,
    edge_value: Tensor | None,
    dropout: float,
    seed: Tensor | None,
    return_weights: bool,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor | None]:
    """Normalise, drop, aggregate: the output [num_dst, H, C] and the weights [E, H] it used."""
    weights = segment_softmax(graph, scores)
    if dropout > 0:
        assert seed is not None
        weights = weights * dropout_factor(seed, weights, dropout)
    out = aggregate(graph, weights, wide(value), wide(edge_value)).to(dtype)
    return out, weights.to(dtype) if return_weights else None
