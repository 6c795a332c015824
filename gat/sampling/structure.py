"""`SampledGraph`: a Graph whose transpose and self-loops are counted out rather than sorted.

A sampled graph is used once or twice, so what a Graph works out once and keeps is half its cost.
The compiled library does it in passes over the edges; without it the Graph's own code serves.
"""

import torch
from torch import Tensor

from gat.graph import CompactEdges, Graph
from gat.graph.compact import LARGEST
from gat.graph.compact_graph import CompactGraph
from gat.graph.structure import lazy
from gat.ops import cpu
from gat.ops.cpu.sampling import add_loops, transpose

__all__ = ["SampledGraph"]


class SampledGraph(CompactGraph):
    """A Graph of int32 edges grouped by target; within a target in the order they were drawn.

    Where it has fewer targets than sources, the targets are the first of the sources. The int64
    arrays are worked out only where they are asked for: kernels read `by_target` and `by_source`.
    """

    # `origin` as it came; None where no loops were added.
    origin_compact: Tensor | None = None

    @classmethod
    def of(cls, edges: CompactEdges, num_src: int) -> "SampledGraph":
        """From edges int32 whose listed order, but for loops that were added, is the caller's."""
        graph = object.__new__(cls)
        graph.by_target, graph.num_src, graph.num_dst = edges, num_src, edges.rows
        graph.num_loops, graph.num_caller_edges = 0, edges.col.numel()
        return graph

    @lazy
    def origin(self) -> Tensor | None:
        """As `Graph.origin`."""
        return None if self.origin_compact is None else self.origin_compact.long()

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
        graph = type(self).of(CompactEdges(rowptr, col, number), self.num_src)
        graph.origin_compact = origin
        graph.num_loops, graph.num_caller_edges = self.num_dst, self.num_edges
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
