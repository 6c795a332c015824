"""Computation trees walked path by path, in float64: what attributions are held to."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gat.inspection import Attention
from gat.inspection.record import in_order

__all__ = ["Tree", "Trees"]


class Tree(NamedTuple):
    """Of one node. edges [L, E] and loops [L, N]: the weight of all paths from the node down to and
    through each of them; inputs [N]: of all paths that end at each input node."""

    edges: Tensor
    loops: Tensor
    inputs: Tensor


class Trees:
    """The trees of the nodes of one graph, by the mean of each layer's heads."""

    def __init__(self, attention: Attention) -> None:
        records = in_order(attention)
        first, self.nodes = records[0], records[0].num_dst
        own = torch.arange(self.nodes)
        self.source = torch.cat([first.source, own]).numpy()
        target = torch.cat([first.target, own]).numpy()
        self.weights = [torch.cat([r.weights, r.loops]).double().mean(1).numpy() for r in records]
        self.by_target = np.argsort(target, kind="stable")
        self.starts = np.searchsorted(target[self.by_target], np.arange(self.nodes + 1))

    def of(self, node: int) -> Tree:
        passed = np.zeros((len(self.weights), len(self.source)))
        inputs = np.zeros(self.nodes)

        def down(layer: int, at: int, arrived: float) -> None:
            if layer < 0:
                inputs[at] += arrived
                return
            for link in self.by_target[self.starts[at] : self.starts[at + 1]]:
                weight = arrived * self.weights[layer][link]
                passed[layer, link] += weight
                down(layer - 1, self.source[link], weight)

        down(len(self.weights) - 1, node, 1.0)
        edges = len(self.source) - self.nodes
        links = torch.from_numpy(passed)
        return Tree(links[:, :edges], links[:, edges:], torch.from_numpy(inputs))
