"""Masks and biases on the scores, as a caller gives them: one row per edge passed."""

import torch
from torch import Tensor

from gat.errors import ArgumentTypeError, InputError
from gat.graph import Graph, loop_features
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
    gets -inf; a loop that was added is neither masked nor biased.
    """
    total = None if bias is None else _rows("score_bias", bias, heads)
    if mask is not None:
        if mask.dtype is not torch.bool:
            raise ArgumentTypeError(
                f"mask has dtype {mask.dtype}; expected torch.bool, True where to attend"
            )
        left_out = ~_rows("mask", mask, heads)
        total = torch.zeros((), dtype=dtype, device=mask.device) if total is None else total
        total = total.expand(torch.broadcast_shapes(total.shape, left_out.shape))
        total = total.masked_fill(left_out, -torch.inf)
    if total is None:
        return None
    listed = loop_features(graph, total, 0.0)
    return listed if listed.size(1) == 1 else repeat_heads(listed, batch)


def _rows(name: str, given: Tensor, heads: int) -> Tensor:
    given = given.unsqueeze(1) if given.dim() == 1 else given
    if given.dim() != 2 or given.size(1) not in (1, heads):
        raise InputError(f"{name} has shape {list(given.shape)}; expected [E] or [E, {heads}]")
    return given
