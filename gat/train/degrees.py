"""The whole graph's degrees, for layers that weight messages by them on a part of the graph."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gat.graph import Graph

__all__ = ["WholeDegrees"]


@dataclass(frozen=True, eq=False)
class WholeDegrees:
    """Of each node, int64 [N]: how many edges leave and enter it, with or without self-loops.

    ``symmetric_norm`` weights a message by both degrees. In a sampled graph most nodes have sent to
    one target alone and none has more neighbours than were drawn: by such degrees a network would
    be trained on other weights than it is used with.
    """

    leaving: Tensor
    entering: Tensor
    self_loops: bool

    @classmethod
    def of(cls, graph: Graph, self_loops: bool) -> "WholeDegrees":
        """Of a square graph; self_loops: as after `Graph.with_self_loops`."""
        edges, count = graph.by_target, graph.num_dst
        entering = edges.rowptr.diff().long()
        leaving = torch.bincount(edges.col, minlength=count)
        if self_loops:
            nodes = torch.arange(count, dtype=edges.col.dtype, device=graph.device)
            target = nodes.repeat_interleave(edges.rowptr.diff(), output_size=graph.num_edges)
            own = torch.bincount(target[edges.col == target], minlength=count)
            entering, leaving = entering - own + 1, leaving - own + 1
        return cls(leaving, entering, self_loops)

    def give(self, graph: Graph, nodes: Tensor) -> None:
        """Let a part of the graph answer with these; nodes: int64, its sources' whole numbers, of
        which the targets are the first."""
        if self.self_loops:
            graph = graph.with_self_loops()
        graph.out_degree = self.leaving[nodes[: graph.num_src]]
        graph.in_degree = self.entering[nodes[: graph.num_dst]]
