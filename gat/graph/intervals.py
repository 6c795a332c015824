"""`IntervalGraph`: a Graph in which each target's sources are consecutive numbers.

Chains, windows, bipartite graphs and complete ones, each a block of a batch, are of this kind. Two
numbers per target describe them, so nothing is sorted, and arrays of the size of the edges are made
only for those who ask, as dense attention (`gat.ops.dense`) does not.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gat.graph.compact import CompactEdges, index_dtype
from gat.graph.compact_graph import CompactGraph
from gat.graph.structure import Transpose, lazy

__all__ = [
    "Blocks",
    "IntervalGraph",
    "consecutive",
    "places",
    "pointer",
    "ranges",
    "rows_of_blocks",
]


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
    target to the next, targets without sources included. blocks: what the graph is, where it is
    complete blocks; None elsewhere.
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

    @property
    def is_symmetric(self) -> bool:
        """As `Graph.is_symmetric`, of the intervals alone."""
        return self._is_turned(*self._targets())

    @lazy
    def by_target(self) -> CompactEdges:
        """The edges for a kernel that walks over targets."""
        return CompactEdges(*self._rows(self.first, self.count), None)

    @lazy
    def ends_by_source(self) -> CompactEdges:
        """As `Graph.ends_by_source`: of a source the targets are consecutive too. rowptr and col
        are shared with `by_target` if the graph is symmetric."""
        first, count = self._targets()
        # torch.compile cannot trace a decision that depends on values.
        if not torch.compiler.is_compiling() and self._is_turned(first, count):
            return self.by_target
        return CompactEdges(*self._rows(first, count), None)

    @lazy
    def by_source(self) -> CompactEdges:
        """The edges for a kernel that walks over sources."""
        ends, (_, count) = self.ends_by_source, self._targets()
        before = self.by_target.rowptr[:-1] - self.first.to(self._index)
        number = before.index_select(0, ends.col)
        number += self._each(torch.arange(self.num_src, device=self.device), count)
        return CompactEdges(ends.rowptr, ends.col, number)

    @lazy
    def transposed(self) -> Tensor:
        """As `Graph.transposed`."""
        first, _ = self._targets()
        before = self.ends_by_source.rowptr[:-1] - first.to(self._index)
        place = before.index_select(0, self.by_target.col)
        place += self._each(torch.arange(self.num_dst, device=self.device), self.count)
        return place

    @lazy
    def transpose(self) -> Transpose:
        """As `Graph.transpose`, without its sort."""
        turned = self.by_source
        assert turned.number is not None
        edge = turned.number.long()
        if turned.col is self.by_target.col:
            return Transpose(self.rowptr, self.col, edge)
        return Transpose(turned.rowptr.long(), turned.col.long(), edge)

    def _targets(self) -> tuple[Tensor, Tensor]:
        """The first target of each source, and how many it has, int64 [num_src] each."""
        sources = torch.arange(self.num_src, device=self.device)
        # Targets whose interval ends before the source, and those whose does not begin after it.
        first = torch.searchsorted(self.first + self.count, sources, right=True)
        return first, torch.searchsorted(self.first, sources, right=True) - first

    def _is_turned(self, first: Tensor, count: Tensor) -> bool:
        """Whether these are the intervals of the graph itself; one without nodes may begin
        anywhere."""
        return torch.equal(count, self.count) and torch.equal(
            first[count > 0], self.first[count > 0]
        )

    def _rows(self, first: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        rowptr = pointer(count).to(self._index)
        return rowptr, consecutive(rowptr, first.to(self._index), self.num_edges)

    def _each(self, rows: Tensor, count: Tensor) -> Tensor:
        return rows.to(self._index).repeat_interleave(count, output_size=self.num_edges)

    @property
    def _index(self) -> torch.dtype:
        return index_dtype(self.num_edges, self.num_src, self.num_dst)


def pointer(count: Tensor) -> Tensor:
    """The CSR pointer of rows with ``count`` entries each, int64 [rows + 1]."""
    rowptr = torch.zeros(count.numel() + 1, dtype=torch.int64, device=count.device)
    rowptr[1:] = count.cumsum(0)
    return rowptr


def consecutive(rowptr: Tensor, first: Tensor, total: int) -> Tensor:
    """The entries first, first + 1, ... of each row of a CSR pointer, [total]; in the dtype of the
    arguments."""
    # One more than the entry before but where a row begins, and summed in place: of the largest
    # tensors of a graph there is no second one for a while.
    steps = torch.ones(total + 1, dtype=first.dtype, device=first.device)
    if first.numel():
        begins = first.clone()
        begins[1:] -= first[:-1] + rowptr[1:-1] - rowptr[:-2]
        begins[0] -= 1
        steps.index_add_(0, rowptr[:-1], begins)
    return steps.cumsum_(0).narrow(0, 0, total)


def ranges(first: Tensor, count: Tensor) -> Tensor:
    """The numbers first, first + 1, ..., ``count`` of them, of each entry, one after the other."""
    return consecutive(pointer(count), first, int(count.sum()))


def places(sizes: Tensor) -> Tensor:
    """Where in its block each row stands, of blocks of ``sizes`` one after the other: int64
    [sum(sizes)]."""
    return ranges(torch.zeros_like(sizes), sizes)


def rows_of_blocks(sizes: Tensor, blocks: Tensor) -> Tensor:
    """The rows of ``blocks``, int64 [m], in this order and repeats allowed, where blocks of
    ``sizes`` [n] stand one after the other."""
    first = sizes.cumsum(0) - sizes
    return ranges(first[blocks], sizes[blocks])
