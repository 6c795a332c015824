"""PyG's FAConv under interventions: its weights, tanh of a score, changed by hooks in its messages.

gat has no layer like it, so it stays PyG's, [E, C] messages and all.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gat.errors import InputError
from gat.graph import Graph, graph_of
from gat.nn.changes import Weighing

__all__ = ["Hooks"]


class Hooks:
    """The hooks of one FAConv, for as long as a change is in force at it."""

    def __init__(self, layer: Any) -> None:
        self.edge_index: Any = None
        self.graph: Graph | None = None
        self.handles = (
            layer.register_forward_pre_hook(self._hear_caller, with_kwargs=True),
            layer.register_propagate_forward_pre_hook(self._hear_edges),
            layer.register_message_forward_hook(self._change),
        )

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()

    def _hear_caller(self, layer: Any, args: Any, kwargs: Any) -> None:
        self.edge_index = kwargs["edge_index"] if "edge_index" in kwargs else args[2]

    def _hear_edges(self, layer: Any, inputs: Any) -> None:
        listed, _, kwargs = inputs
        nodes = kwargs["x"].size(0)
        loops = layer.add_self_loops and layer.normalize
        self.graph = graph_of(self.edge_index, (nodes, nodes), flow=layer.flow, self_loops=loops)
        ours = self.graph.edge_index
        ours = ours if layer.flow == "source_to_target" else ours.flip(0)
        dense = isinstance(listed, Tensor) and listed.layout is torch.strided
        if not dense or not torch.equal(ours, listed):
            raise InputError(
                "the attention of FAConv can be changed over an edge_index [2, E] that it is given "
                "itself; a sparse matrix, or edges that it keeps (cached=True), are none"
            )

    def _change(self, layer: Any, inputs: Any, message: Tensor) -> Tensor:
        """The message with other weights (Bo et al. 2021, "Beyond Low-Frequency Information in
        Graph Convolutional Networks", eq. 7-8)."""
        (given,) = inputs
        assert self.graph is not None
        weighing = Weighing(
            self.graph,
            given["x_j"].unsqueeze(1),
            lambda: given["alpha_j"] + given["alpha_i"],
            normalize=_tanh,
            edge_index=self.edge_index,
            flow=layer.flow,
        )
        for change in layer.__dict__["_changes"]:
            weighing = change(weighing)
        weights = weighing.weights.squeeze(1)
        layer._alpha = weights
        used = F.dropout(weights, layer.dropout, layer.training) * given["edge_weight"]
        return given["x_j"] * used.view(-1, 1)


def _tanh(scores: Tensor) -> Tensor:
    return torch.tanh(scores).masked_fill(scores == -torch.inf, 0.0)
