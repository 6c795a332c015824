"""Masks and biases on the scores, as a caller gives them: one row per edge passed."""

import torch
from torch import Tensor

from gat.errors import ArgumentTypeError, InputError
from gat.graph import Graph
from gat.nn.batched import repeat_heads

__all__ = ["edge_bias"]


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
    listed = total
    if graph.origin is not None:
        # A loop that was added has no origin, -1: the row of zeros at the end.
        listed = torch.cat([total, total.new_zeros((1, total.size(1)))])[graph.origin]
    return listed if listed.size(1) == 1 else repeat_heads(listed, batch)


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
