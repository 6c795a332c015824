"""How much of its attention a node keeps to itself."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gat.inspection.measures.shares import Shares, shares_of
from gat.inspection.record import AttentionRecord

__all__ = ["SelfWeight", "self_weight"]


@dataclass(frozen=True, eq=False)
class SelfWeight:
    """The share of attention on the target itself; float64.

    weight: [num_dst, H], by the target's own self-loops or the loop that the layer added; 0 for a
    target without, NaN for one without a distribution.
    uniform: [num_dst], what an even spread would leave there: 1 / degree where there is one loop.
    mean, mean_uniform: [H], over targets with two edges or more; both over the same targets.
    """

    weight: Tensor
    uniform: Tensor
    mean: Tensor
    mean_uniform: Tensor


@torch.no_grad()
def self_weight(record: AttentionRecord | Shares) -> SelfWeight:
    """The share of its attention that each target keeps, beside that of an even spread."""
    shares = shares_of(record)
    weight = shares.to_self
    # 0 / 0 for a target without edges.
    uniform = shares.own.double() / shares.degree
    return SelfWeight(weight, uniform, shares.mean(weight), shares.mean(uniform))
