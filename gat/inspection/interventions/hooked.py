"""PyG's FAConv and HGTConv under interventions: hooks that make their messages of other weights.

gat has no layers like them, so they stay PyG's, [E, C] messages and all.
"""

import math
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gat.errors import InputError
from gat.graph import Graph, graph_of
from gat.inspection.record import EdgeType
from gat.nn.changes import Weighing

__all__ = ["CHANGED_WEIGHTS", "SignedHooks", "TypedHooks"]

# Where an HGTConv, which keeps its weights to itself, has the changed ones for who records them.
CHANGED_WEIGHTS = "_gat_changed_weights"


class SignedHooks:
    """The hooks of one FAConv, for as long as a change is in force at it. Its weights are the tanh
    of scores, and not normalised."""

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
        weights = _changed(layer, weighing).squeeze(1)
        layer._alpha = weights
        used = F.dropout(weights, layer.dropout, layer.training) * given["edge_weight"]
        return given["x_j"] * used.view(-1, 1)


class TypedHooks:
    """The hooks of one HGTConv, for as long as a change is in force at it. Its weights are a
    softmax over all edges that enter a node, whatever their type."""

    def __init__(self, layer: Any) -> None:
        self.given: tuple[Any, Any] = {}, {}
        self.layer = layer
        self.handles = (
            layer.register_forward_pre_hook(self._hear, with_kwargs=True),
            layer.register_message_forward_hook(self._change),
        )
        # Before those of who records, whoever came first.
        layer._message_forward_hooks.move_to_end(self.handles[1].id, last=False)

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.layer.__dict__.pop(CHANGED_WEIGHTS, None)

    def _hear(self, layer: Any, args: Any, kwargs: Any) -> None:
        named = dict(zip(("x_dict", "edge_index_dict"), args, strict=False)) | kwargs
        self.given = named["x_dict"], named["edge_index_dict"]

    def _change(self, layer: Any, inputs: Any, message: Tensor) -> Tensor:
        """The message with other weights (Hu et al. 2020, "Heterogeneous Graph Transformer",
        eq. 3-5)."""
        (given,) = inputs
        query, key, value = given["q_i"], given["k_j"], given["v_j"]
        target = given["index"]
        # Who sends is all one to the softmax.
        edges = torch.stack([torch.arange(target.numel(), device=target.device), target])
        graph = Graph.from_edge_index(edges, (target.numel(), given["size_i"]))
        weighing = _Joint(
            graph,
            value,
            lambda: (query * key).sum(-1) * given["edge_attr"] / math.sqrt(query.size(-1)),
        )
        x_dict, edge_index_dict = self.given
        weighing.types = {
            kind: (pair, graph_of(pair, (x_dict[kind[0]].size(0), x_dict[kind[2]].size(0))))
            for kind, pair in edge_index_dict.items()
        }
        weights = _changed(layer, weighing)
        layer.__dict__[CHANGED_WEIGHTS] = weights.detach()
        return (value * weights.unsqueeze(-1)).flatten(1)


class _Joint(Weighing):
    """Edges of several types, weighed against one another. types: of each its edges and graph."""

    types: dict[EdgeType, tuple[Any, Graph]]

    def parts(self) -> list[Weighing]:
        parts, start = [], 0
        for kind, (pair, graph) in self.types.items():
            rows = slice(start, start + graph.num_edges)
            # Its weights are a part of the joint ones, worked out if somebody asks.
            own = partial(self._part, rows)
            call = {"edge_index": pair, "edge_type": kind, "normalize": _same}
            parts.append(Weighing(graph, self.value[rows], own, **call))
            start = rows.stop
        return parts

    def _part(self, rows: slice) -> Tensor:
        return self.weights[rows]


def _changed(layer: Any, weighing: Weighing) -> Tensor:
    for change in layer.__dict__["_changes"]:
        weighing = change(weighing)
    return weighing.weights


def _same(weights: Tensor) -> Tensor:
    return weights


def _tanh(scores: Tensor) -> Tensor:
    return torch.tanh(scores).masked_fill(scores == -torch.inf, 0.0)
