"""What attention does with [E, H, C], a block of edges at a time: three torch operators.

    weighted_sum   out_p[h] = sum over the edges of weight_e[h] * x_t[h]      (an SpMM per head)
    products       s_e[h]   = <x_t[h], y_p[h]>                                (an SDDMM per head)
    hidden_scores  s_e[h]   = att[h] . activation(query_i[h] + key_j[h] + edge_e[h])

The gradients of the first two are the first two again, so they can be differentiated any number of
times. As torch.library operators torch.compile sees each as one node and never the loop.

Edges are walked in the order of the index tensors, best by target. Per-edge tensors are in listed
order: ``order`` [E] is the listed number of each edge walked, None if it is the same. An index of
None means the edge's own row, in listed order. All floating tensors of a call have one dtype.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["products", "spans", "weighted_sum"]

# Elements of a block: on the CPU what the cache holds; elsewhere enough to keep the device busy.
ELEMENTS_CPU = 1 << 18
ELEMENTS = 1 << 24


def spans(count: int, width: int, device: torch.device) -> Iterator[slice]:
    """Slices that cover ``count`` rows of ``width`` elements, a block each."""
    elements = ELEMENTS_CPU if device.type == "cpu" else ELEMENTS
    step = max(elements // max(width, 1), 1)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def rows(values: Tensor, index: Tensor | None, span: slice) -> Tensor:
    """Rows of ``values`` for a block of edges: those that ``index`` names, or the edges' own."""
    return values[span] if index is None else values.index_select(0, index[span])


def put_rows(into: Tensor, index: Tensor | None, span: slice, values: Tensor) -> None:
    """Write a block's per-edge results to their listed rows."""
    if index is None:
        into[span] = values
    else:
        into.index_copy_(0, index[span], values)


@torch.library.custom_op("gat_blockwise::weighted_sum", mutates_args=())
def weighted_sum(
    weights: Tensor,
    x: Tensor,
    take: Tensor | None,
    put: Tensor | None,
    order: Tensor | None,
    size: int,
) -> Tensor:
    """Row ``put[k]`` of the result [size, H, C] gathers weight_e * x[take[k]], e = order[k].

    weights [E, H]; x [rows, H, C]; take and put [E] or None for the edge's own row.
    """
    heads, channels = x.shape[1:]
    out, flat = x.new_zeros((size, heads * channels)), x.reshape(x.size(0), heads * channels)
    take, put = own_rows(take, order), own_rows(put, order)
    for span in spans(weights.size(0), heads * channels, x.device):
        message = rows(flat, take, span).unflatten(1, (heads, channels))
        message = (message * rows(weights, order, span).unsqueeze(-1)).flatten(1)
        if put is None:
            out[span] = message
        else:
            out.index_add_(0, put[span], message)
    return out.view(size, heads, channels)


@torch.library.custom_op("gat_blockwise::products", mutates_args=())
def products(
    x: Tensor, y: Tensor, take: Tensor | None, put: Tensor | None, order: Tensor | None, edges: int
) -> Tensor:
    """Products [E, H] in listed order of x[take[k]] and y[put[k]], summed over channels.

    x and y [rows, H, C]; take and put [E] or None for the edge's own row; edges = E.
    """
    out = x.new_empty((edges, x.size(1)))
    take, put = own_rows(take, order), own_rows(put, order)
    for span in spans(edges, x.size(1) * x.size(2), x.device):
        put_rows(out, order, span, (rows(x, take, span) * rows(y, put, span)).sum(dim=-1))
    return out


def own_rows(index: Tensor | None, order: Tensor | None) -> Tensor | None:
    """The rows to touch: an index of None stands for the edges' own, which ``order`` lists."""
    return order if index is None else index


@weighted_sum.register_fake
def _(weights: Tensor, x: Tensor, take: Any, put: Any, order: Any, size: int) -> Tensor:
    return x.new_empty((size, x.size(1), x.size(2)))


@products.register_fake
def _(x: Tensor, y: Tensor, take: Any, put: Any, order: Any, edges: int) -> Tensor:
    return x.new_empty((edges, x.size(1)))


def _keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:5])


def _weighted_sum_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    weights, x, take, put, order = ctx.saved_tensors
    need_weights, need_x = ctx.needs_input_grad[:2]
    d_weights = products(x, grad, take, put, order, weights.size(0)) if need_weights else None
    d_x = weighted_sum(weights, grad, put, take, order, x.size(0)) if need_x else None
    return d_weights, d_x, None, None, None, None


def _products_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, y, take, put, order = ctx.saved_tensors
    need_x, need_y = ctx.needs_input_grad[:2]
    d_x = weighted_sum(grad, y, put, take, order, x.size(0)) if need_x else None
    d_y = weighted_sum(grad, x, take, put, order, y.size(0)) if need_y else None
    return d_x, d_y, None, None, None, None


weighted_sum.register_autograd(_weighted_sum_backward, setup_context=_keep)
products.register_autograd(_products_backward, setup_context=_keep)
