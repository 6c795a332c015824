"""Who looks at whom and how much, each pair once: what tables, matrices and maps are drawn from."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gat.errors import InputError
from gat.inspection.record import AttentionRecord

__all__ = ["Pairs", "check_finite", "pairs_of"]


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs (target, source) of a record that have an edge, P of them, by target and source.

    source, target: int64 [P]; weights: float64 [P, H], copies of an edge and the layer's own loop
    summed; first: int64 [num_dst + 1], where the pairs of each target begin. All on the CPU.
    """

    source: Tensor
    target: Tensor
    weights: Tensor
    first: Tensor
    num_src: int

    def row(self, target: int) -> Tensor:
        """What one target gives each source, [H, num_src]; NaN where it has no edge."""
        return self.rows(target, target + 1)[:, 0]

    def rows(self, start: int, stop: int) -> Tensor:
        """What the targets in [start, stop) give each source, [H, stop - start, num_src]; NaN where
        there is no edge."""
        heads = self.weights.size(1)
        here = slice(int(self.first[start]), int(self.first[stop]))
        matrix = self.weights.new_full((heads, stop - start, self.num_src), float("nan"))
        matrix[:, self.target[here] - start, self.source[here]] = self.weights[here].T
        return matrix

    def matrix(self) -> Tensor:
        """What all targets give each source, [H, num_dst, num_src]; NaN where there is no edge."""
        return self.rows(0, self.first.numel() - 1)


def pairs_of(record: AttentionRecord) -> Pairs:
    """The pairs of a record. Raises InputError for weights that are not finite."""
    check_finite(record)
    record = record.to("cpu")
    looped = record.loops.detach().any(1).nonzero().squeeze(1)
    source, target = (torch.cat([end, looped]) for end in (record.source, record.target))
    weights = torch.cat([record.weights.detach(), record.loops.detach()[looped]]).double()
    key = target * record.num_src + source
    if not bool((key[1:] > key[:-1]).all()):
        key, place = key.unique(return_inverse=True)
        weights = weights.new_zeros(key.numel(), record.num_heads).index_add(0, place, weights)
        target, source = key // record.num_src, key % record.num_src
    first = torch.searchsorted(target, torch.arange(record.num_dst + 1))
    return Pairs(source, target, weights, first, record.num_src)


def check_finite(record: AttentionRecord) -> None:
    """Refuse weights that are no numbers."""
    if not (record.weights.isfinite().all() and record.loops.isfinite().all()):
        raise InputError(
            f"the weights of {record.name} are not all finite; expected numbers: look for what "
            f"made them NaN or infinite in the forward pass"
        )
