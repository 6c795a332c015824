"""What each target's distribution is: its weights divided by their sum, and over how many edges.

Every measure of this room is of these shares, so all of them treat these cases alike:

- A target that was not seen, or has no edge, or whose weights are all 0 at a head (dropped or
  masked), has no distribution there: NaN, and no mean counts it.
- A target with one edge has a distribution, but no choice: whatever the head does, that edge gets
  everything. Means over targets leave such targets out and count them.
- Weights that do not sum to 1 (a sigmoid's; after dropout) are divided by their sum; the sums are
  kept beside. Negative weights (FAConv's) are no shares of anything and are refused.
- Copies of an edge are edges of their own. The loop that a layer added is one more edge; a second
  copy of a self-loop that the layer left out is none.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gat.errors import InputError
from gat.inspection.record import AttentionRecord

__all__ = ["Shares", "shares_of"]


@dataclass(frozen=True, eq=False)
class Shares:
    """A record's weights as one distribution per target and head.

    record: where they come from.
    edges: float64 [E, H], each edge's share of what its target gives out.
    loops: float64 [num_dst, H], the share of the loop that the layer added.
    degree: int64 [num_dst], the edges each target attends over, the added loop among them; 0 for
    one that was not seen.
    own: int64 [num_dst], how many of these are its own loop.
    sums: float64 [num_dst, H], what the weights summed to.
    """

    record: AttentionRecord
    edges: Tensor
    loops: Tensor
    degree: Tensor
    own: Tensor
    sums: Tensor

    @property
    def defined(self) -> Tensor:
        """Where there is a distribution, bool [num_dst, H]."""
        return (self.degree > 0).unsqueeze(1) & (self.sums > 0)

    @property
    def chooses(self) -> Tensor:
        """The targets with two edges or more, bool [num_dst]."""
        return self.degree >= 2

    @property
    def to_self(self) -> Tensor:
        """The share of each target's own loops, [num_dst, H]."""
        own = self.record.is_loop
        return self.loops.index_add(0, self.record.target[own], self.edges[own])

    def mean(self, values: Tensor) -> Tensor:
        """The mean per head [H] over targets with two edges or more that have a distribution.

        values: [num_dst, H], or [num_dst], which is averaged over each head's targets.
        """
        values = values if values.dim() == 2 else values.unsqueeze(1)
        counted = self.defined & self.chooses.unsqueeze(1)
        return torch.where(counted, values.double(), torch.nan).nanmean(0)


@torch.no_grad()
def shares_of(record: AttentionRecord | Shares) -> Shares:
    """The distributions of ``record``. InputError for weights that are negative or not finite."""
    if isinstance(record, Shares):
        return record
    _check(record)
    attended = ~record.left_out
    own = record.is_loop & attended
    weights, loops = record.weights.detach().double(), record.loops.detach().double()
    sums = loops.index_add(0, record.target, weights)
    added = _added(record, own)
    degree = _count(record.target[attended], record.num_dst) + added
    if record.seen is not None:
        degree = degree.where(record.seen, 0)
    # 0 / 0 where there is no distribution.
    divisors = sums.where((degree > 0).unsqueeze(1), torch.nan)
    return Shares(
        record=record,
        edges=weights / divisors[record.target],
        loops=loops / divisors,
        degree=degree,
        own=(_count(record.target[own], record.num_dst) + added).where(degree > 0, 0),
        sums=sums,
    )


def _check(record: AttentionRecord) -> None:
    for name, part in (("edge", record.weights), ("the loop of node", record.loops)):
        if not part.numel():
            continue
        # NaN and infinities survive in the least and the largest: no [E, H] mask is needed.
        for value in part.aminmax():
            if not bool(value.isfinite()):
                raise InputError(
                    f"{record.name} has an attention weight of {float(value)}; expected finite "
                    f"weights. Check the model's parameters and features for NaN and infinity"
                )
        least = part.min()
        if least < 0:
            row, column = divmod(int(part.argmin()), part.size(1))
            raise InputError(
                f"{record.name} ({record.layer_type}) has negative weights, such as "
                f"{float(least):.3g} for {name} {row} at head {record.heads[column]}; expected "
                f"shares of attention, which are 0 or more. Measure the other layers: pass a list "
                f"of records without this one"
            )


def _added(record: AttentionRecord, own: Tensor) -> Tensor:
    """The targets at which the layer added a loop, bool [num_dst]."""
    weighted = (record.loops != 0).any(1)
    if not record.same_nodes or not bool(weighted.any()):
        return weighted
    # A layer that adds loops has one at every node, also where dropout or sparsemax made it 0.
    return _count(record.target[own], record.num_dst) == 0


def _count(nodes: Tensor, size: int) -> Tensor:
    return torch.bincount(nodes, minlength=size)
