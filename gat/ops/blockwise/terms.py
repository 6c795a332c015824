"""GAT's scores over blocks of edges: the operator gat_blockwise::term_scores.

In one piece, autograd would keep a handful of [E, H] tensors for it; here it keeps none.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gat.ops.blockwise.blocks import spans
from gat.ops.precision import finite

__all__ = ["term_scores"]


def raw_rows(
    src: Tensor, dst: Tensor | None, edge: Tensor | None, ends: Tensor, span: slice
) -> tuple[Tensor, Tensor]:
    """The sum of a block's terms before LeakyReLU, and where a term is a mask: [block, H] each."""
    total = src.index_select(0, ends[0, span])
    masked = total == -torch.inf
    others = [] if dst is None else [dst.index_select(0, ends[1, span])]
    for term in others if edge is None else [*others, edge[span]]:
        total, masked = total + term, masked | (term == -torch.inf)
    return total, masked


@torch.library.custom_op("gat_blockwise::term_scores", mutates_args=())
def term_scores(
    src: Tensor, dst: Tensor | None, edge: Tensor | None, ends: Tensor, slope: float
) -> Tensor:
    """LeakyReLU(src_j + dst_i + edge_e), -inf where masked: [E, H] in listed order.

    src [num_src, H]; dst [num_dst, H] and edge [E, H] or None, all of one dtype; ends [2, E].
    """
    out = src.new_empty((ends.size(1), src.size(1)))
    for span in spans(ends.size(1), src.size(1), src.device):
        total, masked = raw_rows(src, dst, edge, ends, span)
        score = F.leaky_relu(finite(total, total.dtype), slope)
        out[span] = score.masked_fill_(masked, -torch.inf)
    return out


@torch.library.custom_op("gat_blockwise::term_slopes", mutates_args=())
def term_slopes(
    src: Tensor, dst: Tensor | None, edge: Tensor | None, ends: Tensor, slope: float
) -> Tensor:
    """The derivative of `term_scores` by the sum of the terms: [E, H], 0 where masked."""
    out = src.new_empty((ends.size(1), src.size(1)))
    largest = torch.finfo(src.dtype).max
    for span in spans(ends.size(1), src.size(1), src.device):
        total, masked = raw_rows(src, dst, edge, ends, span)
        out[span] = slope
        out[span].masked_fill_(total > 0, 1).masked_fill_(masked | (total.abs() > largest), 0)
    return out


def _empty(src: Tensor, dst: Any, edge: Any, ends: Tensor, slope: float) -> Tensor:
    return src.new_empty((ends.size(1), src.size(1)))


term_scores.register_fake(_empty)
term_slopes.register_fake(_empty)


def _keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
    *tensors, ctx.slope = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    src, dst, edge, ends = ctx.saved_tensors
    # Piecewise constant, so a second derivative goes through ``grad`` alone.
    given = (None if term is None else term.detach() for term in (src, dst, edge))
    d_total = grad * term_slopes(*given, ends, ctx.slope)
    needs = ctx.needs_input_grad
    d_src = torch.zeros_like(src).index_add(0, ends[0], d_total) if needs[0] else None
    d_dst = torch.zeros_like(dst).index_add(0, ends[1], d_total) if needs[1] else None
    return d_src, d_dst, d_total if needs[2] else None, None, None


term_scores.register_autograd(_backward, setup_context=_keep)
