"""What an attribution gives: scores of input nodes, or scores of edges, of the nodes asked for."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gat.errors import InputError

__all__ = ["EdgeScores", "NodeAttribution", "NodeScores"]


@dataclass(frozen=True, eq=False, repr=False)
class NodeScores:
    """The input nodes that node ``node``'s result rests on.

    nodes: int64 [n], the one with the highest score first; values: [n], their scores. Nodes that
    are not listed have 0.
    """

    node: int
    nodes: Tensor
    values: Tensor

    def __repr__(self) -> str:
        return f"NodeScores(node={self.node}, {self.nodes.numel()} input nodes)"


@dataclass(frozen=True, eq=False, repr=False)
class NodeAttribution:
    """The scores of all input nodes for each of the nodes asked for.

    targets: int64 [K], the nodes asked for; matrix: [K, N] sparse COO, coalesced: row k has the
    scores of the input nodes for targets[k].
    """

    targets: Tensor
    matrix: Tensor

    def __repr__(self) -> str:
        targets, nodes = self.matrix.shape
        return f"NodeAttribution({targets} targets, {nodes} nodes, {self.matrix._nnz()} scores)"

    def of(self, node: int) -> NodeScores:
        """The scores for one of the nodes asked for."""
        found = (self.targets == node).nonzero()
        if not found.numel():
            raise InputError(
                f"node {node} is not among the {self.targets.numel()} nodes of this attribution; "
                f"pass it in nodes= and compute it again"
            )
        rows, nodes = self.matrix.indices()
        ends = torch.stack([found[0, 0], found[0, 0] + 1])
        first, last = torch.searchsorted(rows.contiguous(), ends).tolist()
        return most_first(int(node), nodes[first:last], self.matrix.values()[first:last])


@dataclass(frozen=True, eq=False, repr=False)
class EdgeScores:
    """The edges that node ``node``'s result rests on.

    E recorded edges, N nodes, L layers, first layer first.

    by_layer: [L, E], the score of each edge in each layer, in the order of the records' edges;
    loops_by_layer: [L, N], the scores of the loops that the layers added.
    """

    node: int
    by_layer: Tensor
    loops_by_layer: Tensor

    def __repr__(self) -> str:
        layers, edges = self.by_layer.shape
        return f"EdgeScores(node={self.node}, {edges} edges, {layers} layers)"

    @property
    def edges(self) -> Tensor:
        """The score of each edge, summed over layers: [E]."""
        return self.by_layer.sum(0)

    @property
    def loops(self) -> Tensor:
        """The score of each node's added loop, summed over layers: [N]."""
        return self.loops_by_layer.sum(0)


def most_first(node: int, nodes: Tensor, values: Tensor) -> NodeScores:
    """Scores in descending order; equal ones in the order given."""
    values, order = torch.sort(values, descending=True, stable=True)
    return NodeScores(node, nodes[order], values)
