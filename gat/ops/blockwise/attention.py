"""The operators over blocks of edges: the weights are computed anew in the backward pass.

Signatures and meaning as in `gat.ops.reference`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gat.graph import Graph
from gat.ops.blockwise import steps
from gat.ops.dropout import dropout_factor
from gat.ops.precision import result_dtype, wide
from gat.ops.second_order import aliases

__all__ = ["additive", "dot", "gatv2"]


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
    """GAT's attention."""
    dtype = result_dtype(value, score_src, score_dst, score_edge)
    options = {"negative_slope": negative_slope}
    weigh = Weigh(graph, steps.additive_scores, options, dropout, seed)
    terms = (score_src, score_dst, score_edge)
    return _attend(weigh, terms, value, None, return_weights, dtype)


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
    """GATv2's attention."""
    dtype = result_dtype(value, key, query, att, edge)
    options = {"activation": activation, "negative_slope": negative_slope}
    weigh = Weigh(graph, steps.gatv2_scores, options, dropout, seed)
    return _attend(weigh, (key, query, att, edge), value, None, return_weights, dtype)


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
    """Scaled dot-product attention."""
    dtype = result_dtype(value, query, key, edge_key, edge_value)
    weigh = Weigh(graph, steps.dot_scores, {"scale": scale}, dropout, seed)
    return _attend(weigh, (query, key, edge_key), value, edge_value, return_weights, dtype)


@dataclass(frozen=True)
class Weigh:
    """From the terms of the scores to the weights used, after dropout, [E, H] in float32 or wider.

    It holds no tensor but the graph's and the seed, so it may be kept for the backward pass.
    """

    graph: Graph
    scores: Callable[..., Tensor]
    options: dict[str, Any]
    dropout: float
    seed: Tensor | None

    def __call__(self, *terms: Tensor | None) -> Tensor:
        scores = self.scores(self.graph, *(wide(term) for term in terms), **self.options)
        weights = steps.softmax_of_finite(self.graph, scores)
        if self.dropout > 0:
            assert self.seed is not None
            weights = weights * dropout_factor(self.seed, weights, self.dropout)
        return weights


def _attend(
    weigh: Weigh,
    terms: tuple[Tensor | None, ...],
    value: Tensor,
    edge_value: Tensor | None,
    return_weights: bool,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor | None]:
    if not torch.compiler.is_compiling():
        return _Attend.apply(weigh, return_weights, dtype, value, edge_value, *terms)
    weights = weigh(*terms)
    out = steps.aggregate(weigh.graph, weights, wide(value), wide(edge_value))
    return out.to(dtype), weights.to(dtype) if return_weights else None


class _Attend(torch.autograd.Function):
    """(output, weights or None); keeps its inputs only."""

    @staticmethod
    def forward(
        ctx: Any,
        weigh: Weigh,
        return_weights: bool,
        dtype: torch.dtype,
        value: Tensor,
        edge_value: Tensor | None,
        *terms: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        ctx.weigh = weigh
        ctx.save_for_backward(value, edge_value, *terms)
        # A gradient of zeros for the weights would be an [E, H] made for nothing.
        ctx.set_materialize_grads(False)
        weights = weigh(*terms)
        out = steps.aggregate(weigh.graph, weights, wide(value), wide(edge_value))
        return out.to(dtype), weights.to(dtype) if return_weights else None

    @staticmethod
    def backward(ctx: Any, d_out: Tensor | None, d_weights: Tensor | None) -> tuple[Any, ...]:
        value, edge_value, *terms = ctx.saved_tensors
        again = aliases(terms)
        wanted = [term for term in again if term is not None and term.requires_grad]
        with torch.enable_grad():
            weights = ctx.weigh(*again)
        d_value = d_edge_value = None
        if d_out is not None:
            needs = (bool(wanted), *ctx.needs_input_grad[3:5])
            inputs = (ctx.weigh.graph, weights, value, edge_value)
            grads = steps.aggregate_gradients(*inputs, d_out, needs)
            d_weights = _sum(grads[0], d_weights)
            d_value, d_edge_value = grads[1:]
        d_terms = _term_gradients(weights, again, d_weights)
        return None, None, None, d_value, d_edge_value, *d_terms


def _term_gradients(
    weights: Tensor, terms: list[Tensor | None], grad: Tensor | None
) -> list[Tensor | None]:
    """The gradient of each term, from that of the weights; None where none is needed."""
    wanted = [term for term in terms if term is not None and term.requires_grad]
    if grad is None or not wanted:
        return [None] * len(terms)
    create_graph = torch.is_grad_enabled()
    grad = grad.to(weights.dtype)
    found = iter(torch.autograd.grad(weights, wanted, grad, create_graph=create_graph))
    return [next(found) if term is not None and term.requires_grad else None for term in terms]


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return a if b is None else b if a is None else a + b
