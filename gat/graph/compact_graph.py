"""`CompactGraph`: a Graph known by what kernels read; int64 arrays are worked out if asked."""

import torch
from torch import Tensor

from gat.graph.compact import CompactEdges
from gat.graph.structure import Graph, lazy

__all__ = ["CompactGraph"]


class CompactGraph(Graph):
    """A Graph that begins with `by_target`; a subclass says how it comes by the rest."""

    by_target: CompactEdges

    @property
    def num_edges(self) -> int:
        # Traced, a size may be a symbol.
        return self.by_target.col.size(0)

    @property
    def device(self) -> torch.device:
        return self.by_target.col.device

    @lazy
    def rowptr(self) -> Tensor:
        """As `Graph.rowptr`."""
        return self.by_target.rowptr.long()

    @lazy
    def col(self) -> Tensor:
        """As `Graph.col`."""
        return self.by_target.col.long()

    @lazy
    def perm(self) -> Tensor | None:
        """As `Graph.perm`."""
        number = self.by_target.number
        return None if number is None else number.long()
