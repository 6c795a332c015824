"""GATv2's scores over blocks of edges, with their gradients: gat_blockwise::hidden_scores.

Tensors and edge numberings as in `gat.ops.blockwise.blocks`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gat.ops.blockwise.blocks import put_rows, rows, spans
from gat.ops.second_order import gradients

__all__ = ["hidden_scores"]


def activate(hidden: Tensor, activation: str, slope: float) -> Tensor:
    return torch.tanh(hidden) if activation == "tanh" else F.leaky_relu(hidden, slope)


def pull_back(
    grad: Tensor, hidden: Tensor, active: Tensor, activation: str, slope: float
) -> Tensor:
    """``grad`` times the derivative of the activation at ``hidden``, where it gave ``active``."""
    # torch's own backward operators: in other words leaky_relu's took a third of the time.
    if activation == "tanh":
        return torch.ops.aten.tanh_backward(grad, active)
    return torch.ops.aten.leaky_relu_backward(grad, hidden, slope, False)


def hidden_rows(
    key: Tensor,
    query: Tensor,
    edge: Tensor | None,
    source: Tensor,
    target: Tensor,
    order: Tensor | None,
    span: slice,
) -> Tensor:
    """query_i + key_j + edge_e of a block of edges: [block, H, C]."""
    hidden = rows(query, target, span) + rows(key, source, span)
    return hidden if edge is None else hidden + rows(edge, order, span)


@torch.library.custom_op("gat_blockwise::hidden_scores", mutates_args=())
def hidden_scores(
    key: Tensor,
    query: Tensor,
    att: Tensor,
    edge: Tensor | None,
    source: Tensor,
    target: Tensor,
    order: Tensor | None,
    activation: str,
    slope: float,
) -> Tensor:
    """att . activation(query_i + key_j + edge_e): [E, H] in listed order.

    key [num_src, H, C]; query [num_dst, H, C]; att [H, C]; edge [E, H, C] or None; source, target
    and order [E].
    """
    out = key.new_empty((source.numel(), key.size(1)))
    for span in spans(source.numel(), att.numel(), key.device):
        hidden = hidden_rows(key, query, edge, source, target, order, span)
        put_rows(out, order, span, (activate(hidden, activation, slope) * att).sum(dim=-1))
    return out


@torch.library.custom_op("gat_blockwise::hidden_gradients", mutates_args=())
def hidden_gradients(
    grad: Tensor,
    key: Tensor,
    query: Tensor,
    att: Tensor,
    edge: Tensor | None,
    source: Tensor,
    target: Tensor,
    order: Tensor | None,
    activation: str,
    slope: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `hidden_scores` by key, query, att and edge (empty without one).

    grad [E, H]: that of the scores, in listed order.
    """
    d_key, d_query, d_att = (t.new_zeros(t.shape) for t in (key, query, att))
    d_edge = key.new_empty(0) if edge is None else edge.new_empty(edge.shape)
    # torch adds rows of matrices several times faster than those of three-dimensional tensors.
    into_key, into_query = d_key.flatten(1), d_query.flatten(1)
    for span in spans(source.numel(), att.numel(), key.device):
        hidden = hidden_rows(key, query, edge, source, target, order, span)
        active = activate(hidden, activation, slope)
        d_score = rows(grad, order, span).unsqueeze(-1)
        d_att += (d_score * active).sum(dim=0)
        d_hidden = pull_back(d_score * att, hidden, active, activation, slope)
        into_key.index_add_(0, source[span], d_hidden.flatten(1))
        into_query.index_add_(0, target[span], d_hidden.flatten(1))
        if edge is not None:
            put_rows(d_edge, order, span, d_hidden)
    return d_key, d_query, d_att, d_edge


@hidden_scores.register_fake
def _(key: Tensor, query: Any, att: Any, edge: Any, source: Tensor, *rest: Any) -> Tensor:
    return key.new_empty((source.numel(), key.size(1)))


@hidden_gradients.register_fake
def _(
    grad: Tensor, key: Tensor, query: Tensor, att: Tensor, edge: Tensor | None, *rest: Any
) -> tuple[Tensor, ...]:
    d_edge = key.new_empty(0) if edge is None else edge.new_empty(edge.shape)
    return *(t.new_empty(t.shape) for t in (key, query, att)), d_edge


def _keep(ctx: Any, inputs: tuple, output: Any) -> None:
    *tensors, ctx.activation, ctx.slope = inputs
    ctx.save_for_backward(*tensors)


def _scores_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    d_key, d_query, d_att, d_edge = hidden_gradients(
        grad, *ctx.saved_tensors, ctx.activation, ctx.slope
    )
    return d_key, d_query, d_att, None if ctx.saved_tensors[3] is None else d_edge, *[None] * 5


def _gradients_backward(ctx: Any, *incoming: Tensor) -> tuple[Tensor | None, ...]:
    """The second derivative, through plain torch: this alone holds all edges at once."""
    grad, key, query, att, edge, source, target, order = ctx.saved_tensors
    everything = slice(0, source.numel())

    def again(grad: Tensor, key: Tensor, query: Tensor, att: Tensor, edge: Any) -> list[Any]:
        hidden = hidden_rows(key, query, edge, source, target, order, everything)
        active = activate(hidden, ctx.activation, ctx.slope)
        d_score = rows(grad, order, everything).unsqueeze(-1)
        d_hidden = pull_back(d_score * att, hidden, active, ctx.activation, ctx.slope)
        d_edge = torch.zeros_like(hidden)
        return [
            torch.zeros_like(key).index_add(0, source, d_hidden),
            torch.zeros_like(query).index_add(0, target, d_hidden),
            (d_score * active).sum(dim=0),
            None if edge is None else d_edge.index_copy(0, own(order, source), d_hidden),
        ]

    inputs = (grad, key, query, att, edge)
    create_graph = torch.is_grad_enabled()
    return (*gradients(again, inputs, incoming, create_graph=create_graph), *[None] * 5)


def own(order: Tensor | None, source: Tensor) -> Tensor:
    """The listed number of each edge walked."""
    return torch.arange(source.numel(), device=source.device) if order is None else order


hidden_scores.register_autograd(_scores_backward, setup_context=_keep)
hidden_gradients.register_autograd(_gradients_backward, setup_context=_keep)
