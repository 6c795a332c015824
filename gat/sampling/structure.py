"""`SampledGraph`: a Graph whose transpose and self-loops are counted out rather than sorted.

A sampled graph is used once or twice, so what a Graph works out once and keeps is half the cost of
it. The compiled library does it in passes over the edges; without it the Graph's own code serves.
"""

import torch
from torch import Tensor

from gat.graph import CompactEdges, Graph
from gat.graph.compact import LARGEST
from gat.graph.structure import lazy
from gat.ops import cpu
from gat.ops.cpu.sampling import add_loops, transpose

__all__ = ["SampledGraph"]


class SampledGraph(Graph):
    """A Graph of int32 edges grouped by target; within a target in the order they were drawn.

    Where it has fewer targets than sources, the targets are the first of the sources.
    """

    @classmethod
    def of(cls, rowptr: Tensor, col: Tensor, num_src: int) -> "SampledGraph":
        """From rowptr [num_dst + 1] and col [E], int32; the caller's edges are in this order."""
        graph = cls(rowptr.long(), col.long(), num_src, rowptr.numel() - 1)
        graph.by_target = CompactEdges(rowptr, col, None)
        return graph

    @lazy
    def by_source(self) -> CompactEdges:
        """The edges for a kernel that walks over sources."""
        if not _counts(self):
            return Graph.by_source.compute(self)
        edges = self.by_target
        rowptr, col, number, place = transpose(edges.rowptr, edges.col, edges.number, self.num_src)
        self.transposed = place
        return CompactEdges(rowptr, col, number)

    @lazy
    def _looped(self) -> Graph:
        """`with_self_loops`: every target's loop last in its row."""
        if not _counts(self) or self.num_dst > self.num_src:
            return Graph._looped.compute(self)
        rowptr, col, number, origin = add_loops(self.by_target.rowptr, self.by_target.col)
        graph = type(self).of(rowptr, col, self.num_src)
        graph.perm, graph.origin = number.long(), origin
        graph.num_loops, graph.num_caller_edges = self.num_dst, self.num_edges
        graph.by_target = CompactEdges(rowptr, col, number)
        return graph

    def prepare(self, self_loops: bool = False) -> "SampledGraph":
        """Work out now, say in the background, what a layer will ask for; returns the graph."""
        graph = self.with_self_loops() if self_loops else self
        _ = graph.by_source
        return self


def _counts(graph: Graph) -> bool:
    """Whether the library can: it has int32 edges on the CPU."""
    fits = graph.num_edges + graph.num_dst < LARGEST and graph.by_target.col.dtype == torch.int32
    return fits and graph.device.type == "cpu" and cpu.library() is not None
