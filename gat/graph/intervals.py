"""`IntervalGraph`: a Graph in which each target's sources are consecutive numbers.

Chains, windows, bipartite graphs and complete ones, each a block of a batch, are of this kind. Two
numbers per target describe them, so nothing is sorted, and arrays of the size of the edges are made
only for those who ask: where every block is complete, dense attention does not.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gat.graph.compact import CompactEdges, index_dtype
from gat.graph.compact_graph import CompactGraph
from gat.graph.structure import lazy

__all__ = ["Blocks", "IntervalGraph", "consecutive"]


@dataclass(frozen=True)
class Blocks:
    """Complete blocks on the diagonal: every target of a block is entered from all its sources, or,
    if ``causal`` (blocks are square then), from those up to its own number.

    sources, targets: how many each block has.
    """

    sources: tuple[int, ...]
    targets: tuple[int, ...]
    causal: bool = False


class IntervalGraph(CompactGraph):
    """Target i is entered from sources first[i] .. first[i] + count[i] - 1, once from each.

    first, count: int64 [num_dst]; neither ``first`` nor ``first + count`` may ever fall from one
    target to the next. blocks: what the graph is, where it is complete blocks; None elsewhere.
    """

    def __init__(
        self, first: Tensor, count: Tensor, num_src: int, blocks: Blocks | None = None
    ) -> None:
        self.first, self.count, self.num_src, self.blocks = first, count, num_src, blocks
        self.num_dst = count.numel()
        self.num_loops = 0
        self.num_caller_edges = int(count.sum())
        self.origin = None

    @property
    def num_edges(self) -> int:
        return self.num_caller_edges

    @property
    def device(self) -> torch.device:
        return self.count.device

    @lazy
    def by_target(self) -> CompactEdges:
        """The edges for a kernel that walks over targets."""
        rowptr, col = consecutive(self.first, self.count, self._index)
        return CompactEdges(rowptr, col, None)

    @lazy
    def by_source(self) -> CompactEdges:
        """The edges for a kernel that walks over sources: of a source the targets are consecutive
        too."""
        sources = torch.arange(self.num_src, device=self.device)
        # Targets without edges may stand anywhere: they are left out of the bounds.
        kept = self.count.nonzero().squeeze(1)
        first = self.first[kept]
        low = torch.searchsorted(first + self.count[kept], sources, right=True)
        count = torch.searchsorted(first, sources, right=True) - low
        rowptr, rank = consecutive(low, count, self._index)
        target = kept[rank.long()]
        source = sources.repeat_interleave(count, output_size=self.num_edges)
        number = source + (self.by_target.rowptr[:-1].long() - self.first)[target]
        place = torch.arange(self.num_edges, dtype=self._index, device=self.device)
        self.transposed = torch.empty_like(place).index_copy_(0, number, place)
        return CompactEdges(rowptr, target.to(self._index), number.to(self._index))

    @property
    def _index(self) -> torch.dtype:
        return index_dtype(self.num_edges, self.num_src, self.num_dst)


def consecutive(
    first: Tensor, count: Tensor, dtype: torch.dtype = torch.int64
) -> tuple[Tensor, Tensor]:
    """The CSR arrays of rows that hold first, first + 1, ... each, ``count`` of them."""
    rowptr = torch.zeros(count.numel() + 1, dtype=torch.int64, device=count.device)
    rowptr[1:] = count.cumsum(0)
    total = int(rowptr[-1])
    col = torch.arange(total, device=count.device)
    col += (first - rowptr[:-1]).repeat_interleave(count, output_size=total)
    return rowptr.to(dtype), col.to(dtype)
