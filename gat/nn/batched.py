"""Many feature matrices on one graph: x [B, N, F] beside x [N, F].

To the operators a batch is more heads: B matrices with H heads are B*H heads over one graph, so its
edges are neither copied nor sorted again. Weights are dropped for each of the B anew.
"""

from typing import overload

from torch import Tensor

__all__ = ["batch_size", "repeat_heads", "split_batch", "split_heads"]


def batch_size(x: Tensor) -> int | None:
    """B of features [B, N, F]; None for [N, F]."""
    return x.size(0) if x.dim() == 3 else None


def split_heads(projected: Tensor, heads: int) -> Tensor:
    """Projected features [N, H*C] as [N, H, C], and [B, N, H*C] as [N, B*H, C]."""
    split = projected.unflatten(-1, (heads, projected.size(-1) // heads))
    return split if projected.dim() == 2 else split.movedim(0, 1).flatten(1, 2)


@overload
def repeat_heads(per_head: Tensor, batch: int | None, dim: int = ...) -> Tensor: ...
@overload
def repeat_heads(per_head: None, batch: int | None, dim: int = ...) -> None: ...
def repeat_heads(per_head: Tensor | None, batch: int | None, dim: int = 1) -> Tensor | None:
    """What belongs to H heads, along ``dim``, for the B*H of a batch."""
    if per_head is None or batch is None:
        return per_head
    sizes = [1] * per_head.dim()
    sizes[dim] = batch
    return per_head.repeat(sizes)


def split_batch(out: Tensor, batch: int | None) -> Tensor:
    """What an operator gave, [N, B*H, ...], as [B, N, H, ...]; as it is without a batch."""
    if batch is None:
        return out
    return out.unflatten(1, (batch, out.size(1) // batch)).movedim(1, 0)
