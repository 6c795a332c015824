"""Whether heads agree: Jensen-Shannon divergence between them, and how many differ in effect."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gat.inspection.measures.shares import Shares, shares_of
from gat.inspection.record import AttentionRecord

__all__ = ["HeadAgreement", "head_agreement", "mean_divergence"]

# Edges at a time: bounds the pairs of heads that are held at once.
BLOCK = 1 << 16
LARGEST = math.log(2)


@dataclass(frozen=True, eq=False)
class HeadAgreement:
    """How alike the heads of a layer are; means are over targets with two edges or more.

    divergence: float64 [H, H], the mean Jensen-Shannon divergence between two heads' distributions,
    in nats: 0 the same, log 2 no edge in common. NaN where no target has both.
    nearest: float64 [H], each head's smallest divergence from another; NaN without another.
    nearest_head: that other head's number in the layer, or None.
    effective_heads: how many different heads this amounts to, from 1 to H.
    """

    divergence: Tensor
    nearest: Tensor
    nearest_head: tuple[int | None, ...]
    effective_heads: float


@torch.no_grad()
def head_agreement(record: AttentionRecord | Shares) -> HeadAgreement:
    """The divergences between all pairs of heads, each head's nearest, the effective number.

    JS(p, q) = (KL(p | m) + KL(q | m)) / 2 with m = (p + q) / 2, summed over a target's edges.
    """
    shares = shares_of(record)
    heads = shares.record.num_heads
    left, right = torch.triu_indices(heads, heads, 1, device=shares.edges.device)
    pairs = mean_divergence(shares, shares, left, right)
    divergence = pairs.new_zeros(heads, heads)
    divergence[left, right] = pairs
    divergence[right, left] = pairs
    divergence.diagonal()[~(shares.defined & shares.chooses.unsqueeze(1)).any(0)] = torch.nan
    nearest, names = _nearest(divergence, shares.record.heads)
    return HeadAgreement(divergence, nearest, names, _effective_heads(divergence))


def mean_divergence(one: Shares, other: Shares, left: Tensor, right: Tensor) -> Tensor:
    """The mean Jensen-Shannon divergence of P pairs of heads, [P] in nats.

    left: int64 [P], heads (columns) of ``one``; right: of ``other``, over the same edges. The mean
    is over targets with two edges or more that have both distributions; NaN where none has.
    """
    chooses = one.chooses
    total = one.edges.new_zeros(left.numel())
    # The mean over targets of sums over their edges is one sum over all edges.
    for mine, theirs, kept in (
        (one.edges, other.edges, chooses[one.record.target]),
        (one.loops, other.loops, chooses),
    ):
        for rows in kept.nonzero().squeeze(1).split(BLOCK):
            total += _terms(mine[rows][:, left], theirs[rows][:, right]).nansum(0)
    both = one.defined[:, left] & other.defined[:, right] & chooses.unsqueeze(1)
    return (total / both.sum(0)).clamp(0, LARGEST)


def _terms(p: Tensor, q: Tensor) -> Tensor:
    """What each edge adds to the divergence; NaN where either is."""
    middle = ((p + q) / 2).clamp(min=torch.finfo(p.dtype).tiny)
    return (torch.special.xlogy(p, p / middle) + torch.special.xlogy(q, q / middle)) / 2


def _nearest(divergence: Tensor, heads: tuple[int, ...]) -> tuple[Tensor, tuple[int | None, ...]]:
    if divergence.size(0) < 2:
        return divergence.new_full((divergence.size(0),), torch.nan), (None,) * len(heads)
    others = divergence.clone()
    others.fill_diagonal_(torch.inf)
    least, at = others.nan_to_num(nan=torch.inf, posinf=torch.inf).min(1)
    known = least.isfinite()
    names = tuple(
        heads[i] if there else None for i, there in zip(at.tolist(), known.tolist(), strict=True)
    )
    return least.where(known, torch.nan), names


def _effective_heads(divergence: Tensor) -> float:
    """exp(-sum l log l) over the eigenvalues l of K / H, with similarities K = 1 - JS / log 2.

    The Vendi score (Friedman & Dieng 2023, arXiv 2210.02410). log 2 - JS is a positive
    semi-definite kernel (Martins et al. 2009), so the eigenvalues are 0 or more but for rounding.
    """
    if not divergence.numel() or bool(divergence.isnan().any()):
        return math.nan
    similarity = 1 - divergence / LARGEST
    values = torch.linalg.eigvalsh(similarity / similarity.size(0)).clamp(min=0)
    return float((-torch.special.xlogy(values, values)).sum().exp())
