"""`Sample`: the neighbourhood of some seeds, as the graph of each layer."""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from gat.graph import CompactEdges, Graph
from gat.sampling.structure import SampledGraph

__all__ = ["Sample", "layer_graphs"]


@dataclass(eq=False)
class Sample:
    """What was sampled around S seeds in L hops: n nodes, e edges.

    nodes      int64 [n]: their numbers in the whole graph, seeds first, then in order of first
               occurrence, hop by hop
    rowptr     int32 [m + 1], col int32 [e]: the edges that enter each of the first m nodes, those
               that were expanded, by local numbers
    positions  [e]: the edges' sorted numbers in the whole graph; numbers [E] or None: which of the
               caller's edges those are
    num_nodes  L + 1 numbers: nodes found in each hop, the seeds first; num_edges: L numbers
    """

    nodes: Tensor
    rowptr: Tensor
    col: Tensor
    positions: Tensor
    numbers: Tensor | None
    num_nodes: list[int]
    num_edges: list[int]

    @property
    def num_seeds(self) -> int:
        return self.num_nodes[0]

    @cached_property
    def edges(self) -> Tensor:
        """The caller's numbers of the edges, columns of the whole graph's edge_index, int64 [e]."""
        if self.numbers is None:
            return self.positions.long()
        return self.numbers.index_select(0, self.positions).long()

    @cached_property
    def edge_index(self) -> Tensor:
        """Sources and targets of the edges by local numbers, int64 [2, e]."""
        targets = torch.arange(self.rowptr.numel() - 1)
        row = targets.repeat_interleave(self.rowptr.diff(), output_size=self.col.numel())
        return torch.stack([self.col.long(), row])

    @cached_property
    def graph(self) -> SampledGraph:
        """All edges between all nodes: for networks whose layers all compute every node."""
        last = self.rowptr[-1:].expand(self.nodes.numel() + 1 - self.rowptr.numel())
        edges = CompactEdges(torch.cat([self.rowptr, last]), self.col, None)
        return SampledGraph.of(edges, self.nodes.numel())

    @cached_property
    def graphs(self) -> list[Graph]:
        """One graph for each layer, the first layer's first.

        Layer l of L, counted from 0, gives the nodes within L - l - 1 hops what the layers above
        need, from those within L - l: the targets are the first of the sources. Its caller's edges
        are the first of ``edges``.
        """
        return layer_graphs(self.rowptr, self.col, self.num_nodes, self.num_edges)

    def prepare(self, self_loops: bool = False) -> "Sample":
        """Work out now, say in the background, what layers will ask of the graphs."""
        for graph in self.graphs:
            graph.prepare(self_loops)  # type: ignore[attr-defined]
        return self


def layer_graphs(
    rowptr: Tensor, col: Tensor, num_nodes: list[int], num_edges: list[int]
) -> list[Graph]:
    """As `Sample.graphs`; arguments as its fields."""
    within, upto = list(accumulate(num_nodes)), list(accumulate(num_edges))
    return [
        SampledGraph.of(
            CompactEdges(rowptr[: within[hop] + 1], col[: upto[hop]], None), within[hop + 1]
        )
        for hop in reversed(range(len(num_edges)))
    ]
