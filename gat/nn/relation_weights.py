"""Products with a weight for each relation, for the (relation, node) pairs that occur."""

import torch
from torch import Tensor

from gat.errors import IndexRangeError
from gat.nn.relations import Pairs

__all__ = ["by_relation", "fold"]


def by_relation(x: Tensor, pairs: Pairs, weight: Tensor) -> Tensor:
    """Each pair's node times its relation's weight: [P, K], or [B, P, K] of a batch.

    x [N, F] or [B, N, F], or node numbers [N], which stand for rows of the weight; weight
    [R, F, K], or [R, blocks, F / blocks, K / blocks], the blocks on a diagonal.
    """
    if x.dim() == 1:
        return _rows(x, pairs, weight)
    parts = x.index_select(-2, pairs.node).split(pairs.counts, dim=-2)
    multiply = torch.matmul if weight.dim() == 3 else _by_block
    # Unbound once: a slice for each relation would each have a gradient of the whole weight's size.
    products = [multiply(part, one) for part, one in zip(parts, weight.unbind(0), strict=True)]
    return torch.cat(products, dim=-2)


def _by_block(x: Tensor, blocks: Tensor) -> Tensor:
    """x [..., P, F] times the matrix with ``blocks`` [blocks, f, k] on its diagonal."""
    parts = x.unflatten(-1, blocks.shape[:2])
    return torch.einsum("...bf,bfk->...bk", parts, blocks).flatten(-2)


def _rows(x: Tensor, pairs: Pairs, weight: Tensor) -> Tensor:
    """Row x[node] of the relation's weight for each pair, [P, K]."""
    wrong = (x < 0) | (x >= weight.size(1))
    if bool(wrong.any()):
        position = int(wrong.nonzero()[0])
        raise IndexRangeError(
            f"x, position {position}, is node number {int(x[position])}, outside "
            f"[0, {weight.size(1)}), the layer's in_channels"
        )
    counts = torch.tensor(pairs.counts, device=x.device)
    relation = torch.arange(counts.numel(), device=x.device).repeat_interleave(counts)
    return weight.flatten(0, 1)[relation * weight.size(1) + x.index_select(0, pairs.node)]


def fold(weight: Tensor, vectors: Tensor) -> Tensor:
    """Each relation's weight times ``vectors`` [H*C, K]: [R, in, K]."""
    if weight.dim() == 3:
        return weight @ vectors
    blocks = vectors.unflatten(0, (weight.size(1), weight.size(3)))
    return torch.einsum("rbfc,bck->rbfk", weight, blocks).flatten(1, 2)
