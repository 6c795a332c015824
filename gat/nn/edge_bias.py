"""Masks and biases on the scores, and factors on the weights, as a caller gives them: one row per
edge passed."""

import torch
from torch import Tensor

from gat.errors import ArgumentTypeError, InputError
from gat.graph import Graph
from gat.nn.batched import repeat_heads

__all__ = ["edge_bias", "edge_factor"]


def edge_bias(
    graph: Graph,
    mask: Tensor | None,
    bias: Tensor | None,
    heads: int,
    dtype: torch.dtype,
    batch: int | None,
) -> Tensor | None:
    """What is added to the scores, [E, 1] or [E, H] in listed order; None if nothing is.

    mask, bias: [E] or [E, H] in the caller's order, bool (True: attend) and floating. A masked edge
    gets -inf; a loop that was added, and is none of the caller's, is neither masked nor biased.
    """
    total = None
    if bias is not None:
        if not isinstance(bias, Tensor) or not bias.is_floating_point():
            raise ArgumentTypeError(f"score_bias is {_kind(bias)}; expected a floating tensor")
        total = _rows(graph, "score_bias", bias, heads).to(dtype)
    if mask is not None:
        if not isinstance(mask, Tensor) or mask.dtype is not torch.bool:
            raise ArgumentTypeError(
                f"mask is {_kind(mask)}; expected a tensor of torch.bool, True where to attend"
            )
        left_out = ~_rows(graph, "mask", mask, heads)
        total = torch.zeros((), dtype=dtype, device=mask.device) if total is None else total
        total = total.expand(torch.broadcast_shapes(total.shape, left_out.shape))
        total = total.masked_fill(left_out, -torch.inf)
    if total is None:
        return None
    return _listed(graph, total, 0.0, batch)


def edge_factor(
    graph: Graph, factor: Tensor | None, heads: int, dtype: torch.dtype, batch: int | None
) -> Tensor | None:
    """What the weights are multiplied by, [E, 1] or [E, H] in listed order; None if by nothing.

    factor: floating, [E] or [E, H] in the caller's order; a loop that was added has 1.
    """
    if factor is None:
        return None
    if not isinstance(factor, Tensor) or not factor.is_floating_point():
        raise ArgumentTypeError(f"weight_factor is {_kind(factor)}; expected a floating tensor")
    rows = _rows(graph, "weight_factor", factor, heads).to(dtype)
    return _listed(graph, rows, 1.0, batch)


def _listed(graph: Graph, rows: Tensor, added: float, batch: int | None) -> Tensor:
    """Rows in the caller's order as listed, ``added`` for a loop that was added."""
    if graph.origin is not None:
        # Such a loop has no origin, -1: the row at the end.
        rows = torch.cat([rows, rows.new_full((1, rows.size(1)), added)])[graph.origin]
    return rows if rows.size(1) == 1 else repeat_heads(rows, batch)


def _rows(graph: Graph, name: str, given: Tensor, heads: int) -> Tensor:
    rows = given.unsqueeze(1) if given.dim() == 1 else given
    count = graph.num_caller_edges
    if rows.dim() != 2 or rows.size(0) != count or (rows.size(1) != 1 and rows.size(1) != heads):
        raise InputError(
            f"{name} has shape {list(given.shape)}; expected one row per edge, [{count}] or "
            f"[{count}, {heads}]"
        )
    return rows


def _kind(given: object) -> str:
    return f"a tensor of {given.dtype}" if isinstance(given, Tensor) else repr(given)
