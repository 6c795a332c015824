"""Attention as one would write it in plain torch for speed: a sparse matrix product per head.

No tensor of size [E, H, C] is made for GAT and dot-product attention; GATv2's score needs one.
Edges are taken sorted by target, with the transpose at hand.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gat.bench.shape import Shape
from gat.graph import Graph

__all__ = ["OPERATORS", "why_not"]

Tensors = dict[str, Tensor]


def _csr(graph: Graph, values: Tensor) -> Tensor:
    return torch.sparse_csr_tensor(
        graph.rowptr,
        graph.col,
        values,
        (graph.num_dst, graph.num_src),
        check_invariants=False,
    )


def _turned(graph: Graph, values: Tensor) -> Tensor:
    turned = graph.transpose
    return torch.sparse_csr_tensor(
        turned.rowptr,
        turned.col,
        values[turned.edge],
        (graph.num_src, graph.num_dst),
        check_invariants=False,
    )


def _at_edges(graph: Graph, left: Tensor, right: Tensor) -> Tensor:
    """<left_i, right_j> of each edge j -> i: [E]. left [num_dst, C], right [num_src, C]."""
    pattern = _csr(graph, left.new_zeros(graph.num_edges))
    return torch.sparse.sampled_addmm(pattern, left, right.t(), beta=0.0).values()


class _Sum(torch.autograd.Function):
    """sum of weight_e * value_j over the edges entering i, of one head: [num_dst, C]."""

    @staticmethod
    def forward(ctx: Any, graph: Graph, weight: Tensor, value: Tensor) -> Tensor:
        ctx.graph = graph
        ctx.save_for_backward(weight, value)
        return _csr(graph, weight) @ value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,), (weight, value) = grads, ctx.saved_tensors
        grad = grad.contiguous()
        return None, _at_edges(ctx.graph, grad, value), _turned(ctx.graph, weight) @ grad


class _Dots(torch.autograd.Function):
    """<query_i, key_j> of each edge, of one head: [E]."""

    @staticmethod
    def forward(ctx: Any, graph: Graph, query: Tensor, key: Tensor) -> Tensor:
        ctx.graph = graph
        ctx.save_for_backward(query, key)
        return _at_edges(graph, query, key)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,), (query, key) = grads, ctx.saved_tensors
        return None, _csr(ctx.graph, grad) @ key, _turned(ctx.graph, grad) @ query


def _attend(graph: Graph, score: Tensor, value: Tensor) -> Tensor:
    """Softmax of ``score`` [E, H] over the edges entering each target, then a product per head."""
    lanes = graph.row.unsqueeze(1).expand_as(score)
    lowest = score.new_full((graph.num_dst, score.size(1)), -torch.inf)
    top = lowest.scatter_reduce(0, lanes, score.detach(), "amax")
    weight = torch.exp(score - top.index_select(0, graph.row))
    total = torch.zeros_like(lowest).scatter_add(0, lanes, weight)
    weight = weight / total.index_select(0, graph.row)
    heads = zip(_heads(weight), _heads(value), strict=True)
    return torch.stack([_Sum.apply(graph, w, v) for w, v in heads], dim=1)


def _heads(tensor: Tensor) -> list[Tensor]:
    """[., H, ...] as H contiguous tensors."""
    return [tensor[:, head].contiguous() for head in range(tensor.size(1))]


def _gat(graph: Graph, given: Tensors) -> Tensor:
    score = given["score_src"].index_select(0, graph.col)
    score = score + given["score_dst"].index_select(0, graph.row)
    return _attend(graph, F.leaky_relu(score, 0.2), given["value"])


def _gatv2(graph: Graph, given: Tensors) -> Tensor:
    key, query = given["key"].flatten(1), given["query"].flatten(1)
    hidden = key.index_select(0, graph.col) + query.index_select(0, graph.row)
    hidden = F.leaky_relu(hidden, 0.2).view(-1, *given["key"].shape[1:])
    return _attend(graph, (hidden * given["att"]).sum(-1), given["key"])


def _dot(graph: Graph, given: Tensors) -> Tensor:
    heads = zip(_heads(given["query"]), _heads(given["key"]), strict=True)
    score = torch.stack([_Dots.apply(graph, q, k) for q, k in heads], dim=1)
    return _attend(graph, score * given["key"].size(-1) ** -0.5, given["value"])


OPERATORS: dict[str, Callable[[Graph, Tensors], Tensor]] = {
    "gat": _gat,
    "gatv2": _gatv2,
    "dot": _dot,
}


def why_not(shape: Shape) -> str:
    """Why plain torch is left out at ``shape``; "" if it is not."""
    if shape.dtype == "float32":
        return ""
    return f"is left out: torch's sampled_addmm does not compute in {shape.dtype}"
