"""torch's kernel as both roads call it, and the definition, for gradients of gradients."""

import functools
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from gat.graph import Graph
from gat.ops import reference
from gat.ops.second_order import gradients
from gat.ops.watchers import is_batched

__all__ = ["attend_rows", "define", "defined_gradients"]


def attend_rows(
    rows: Sequence[Tensor],
    scale: float,
    *,
    blocks: int = 1,
    causal: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    """The output [targets, H, Cv] of the rows of query, key and value of so many blocks of equal
    lengths, one after the other. mask: bool [targets, sources], of a single block."""
    query, key, value = rows
    if key.size(0) == 0 or query.size(0) * query.size(1) == 0:
        return query.new_zeros((query.size(0), *value.shape[1:]))
    q, k, v = (x.unflatten(0, (blocks, -1)).transpose(1, 2) for x in rows)
    with _no_autocast(query.device.type):
        out = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=scale)
    return out.transpose(1, 2).flatten(0, 1)


def _no_autocast(device: str) -> AbstractContextManager[None]:
    """Under autocast torch would compute in fewer bits than the other backends do."""
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def define(graph: Graph, scale: float, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """By the definition, which can be differentiated any number of times and transformed."""
    terms = (query, key, value, None, None)
    result = reference.dot(graph, *terms, scale=scale, dropout=0.0, seed=None, return_weights=False)
    return result[0]


def defined_gradients(
    graph: Graph, scale: float, inputs: Sequence[Tensor], grad: Tensor
) -> list[Tensor | None] | None:
    """The definition's, where a gradient must itself be differentiable or several come at once;
    else None: torch's kernel has its own, which can be neither."""
    if not torch.is_grad_enabled() and not is_batched(grad):
        return None
    return gradients(functools.partial(define, graph, scale), inputs, (grad,))
