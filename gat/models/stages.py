"""A `gat.models.GAT` layer by layer: its stages, and the graph of each.

A network is run over the whole graph, over the layers' graphs of a sample of neighbours, or one
layer after the other over all nodes (layer-wise inference), always by the same stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from gat.errors import ArgumentTypeError, InputError
from gat.graph import Graph
from gat.nn.features import drop_features

if TYPE_CHECKING:
    from gat.models.gat import GAT

__all__ = ["Stage", "edge_rows", "layer_graphs"]


@dataclass(frozen=True)
class Stage:
    """One attention layer of a model, with what comes between it and the layer before.

    Of nodes alone, so once for each is enough, is `prepare`: dropout and, in the first stage, the
    linear input. `attend` does the rest: attention, skip, normalisation, activation. ``forward`` is
    both. Stages hold nothing of their own; they follow the model's parameters and its mode.
    """

    model: GAT
    number: int

    @property
    def layer(self) -> nn.Module:
        """The hidden layer, or the attention layer that gives the classes."""
        hidden = self.model.hidden
        return hidden[self.number] if self.number < len(hidden) else self.model.output

    @property
    def width(self) -> int:
        """How many numbers `attend` gives a node."""
        layer = self.layer
        conv: Any = getattr(layer, "conv", layer)
        return conv.out_channels * (conv.heads if conv.concat else 1)

    def prepare(self, x: Tensor) -> Tensor:
        """What enters the layer [N, .], of what the stage before gave; of the first the features,
        dense or sparse CSR."""
        model = self.model
        if self.number > 0:
            return model.drop(x)
        x = drop_features(x, model.input_dropout, model.training)
        return x if model.input is None else model.drop(model.input(x))

    def attend(self, x: Tensor, edges: Any, edge_attr: Tensor | None = None) -> Tensor:
        """x [num_src, .] as `prepare` gives it; edges as `GAT.forward` takes those of one layer,
        edge_attr [E, edge_dim] in their caller's order. Returns [num_dst, width]."""
        if edge_attr is not None and len(self.model.edge_encoders):
            edge_attr = self.model.edge_encoders[self.number](edge_attr)
        return self.layer(x, edges, edge_attr)

    def forward(self, x: Tensor, edges: Any, edge_attr: Tensor | None = None) -> Tensor:
        """`prepare` and `attend`: x [num_src, .] to [num_dst, width]."""
        return self.attend(self.prepare(x), edges, edge_attr)

    __call__ = forward


def layer_graphs(edges: Any, count: int) -> Sequence[Any]:
    """The edges of each of ``count`` attention layers: one for all, or a list of Graphs in which
    each has as many sources as the one before has targets."""
    if not isinstance(edges, list | tuple):
        return [edges] * count
    if len(edges) != count:
        raise InputError(
            f"edges is a list of {len(edges)}; expected {count}, the gat.Graph of each attention "
            f"layer, the first layer's first: sample as many hops as the model has such layers"
        )
    for number, graph in enumerate(edges, start=1):
        if not isinstance(graph, Graph):
            raise ArgumentTypeError(
                f"edges of layer {number} are of type {type(graph).__name__}; expected a gat.Graph "
                f"for each layer, or one edge_index or Graph, not in a list, for all"
            )
    for number, (graph, following) in enumerate(pairwise(edges), start=1):
        if graph.num_dst != following.num_src:
            raise InputError(
                f"layer {number} has a graph with {graph.num_dst} targets and layer {number + 1} "
                f"one with {following.num_src} sources; expected the same nodes. Graphs come in "
                f"the order of the layers, the widest first"
            )
    return edges


def edge_rows(edges: Any, number: int, edge_attr: Tensor | None) -> Tensor | None:
    """Of edge_attr [E, D] the rows of layer ``number``, counted from 0: the first of them, as many
    as its graph in a list ``edges`` has; else all."""
    if edge_attr is None or not isinstance(edges, list | tuple):
        return edge_attr
    first, count = edges[0].num_caller_edges, edges[number].num_caller_edges
    if edge_attr.size(0) != first:
        raise InputError(
            f"edge_attr has {edge_attr.size(0)} rows; expected {first}, one for each edge of the "
            f"first layer's graph"
        )
    if count > first:
        raise InputError(
            f"the graph of layer {number + 1} has {count} edges, more than the {first} of the "
            f"first layer's, whose edge_attr is given; expected its edges to be the first of those"
        )
    return edge_attr.narrow(0, 0, count)
