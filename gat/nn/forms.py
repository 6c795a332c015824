"""What a score comes down to: the few shapes for which there are fused operators.

A score of the layer (`gat.nn.scores`) does its arithmetic on nodes and ends in one of these, which
can give the scores of all edges, or attend at once: softmax and weighted sum in one operator.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from gat.graph import Graph
from gat.ops import (
    additive_attention,
    additive_scores,
    dot_attention,
    dot_scores,
    gatv2_attention,
    gatv2_scores,
    out_and_weights,
)

__all__ = ["Additive", "Attended", "Dot", "Edgewise", "Form", "Hidden"]

Factor = float | Tensor
Attended = tuple[Tensor, Tensor | None]


class Form(ABC):
    """Scores of edges, not yet worked out."""

    @abstractmethod
    def scores(self, graph: Graph) -> Tensor:
        """The scores [E, H] in listed order."""

    @abstractmethod
    def attend(self, graph: Graph, value: Tensor, dropout: float, return_weights: bool) -> Attended:
        """Softmax over the edges entering each target, and the sum of value [num_src, H, C] by it:
        [num_dst, H, C], and the weights [E, H] after dropout, None if they are not asked for."""

    @abstractmethod
    def scaled(self, factor: Factor) -> "Form":
        """The same with every score times ``factor`` > 0, a number or a scalar tensor."""

    def masked(self, graph: Graph, left_out: Tensor) -> "Form":
        """The same without the edges where left_out, bool [E, 1] in listed order, is true."""
        return Edgewise(self.scores(graph).masked_fill(left_out, -torch.inf))


@dataclass(frozen=True)
class Additive(Form):
    """LeakyReLU(score_src_j + score_dst_i + score_edge_e): [num_src, H], [num_dst, H], [E, H]."""

    score_src: Tensor
    score_dst: Tensor | None = None
    score_edge: Tensor | None = None
    negative_slope: float = 0.2

    def scores(self, graph: Graph) -> Tensor:
        terms = (self.score_src, self.score_dst, self.score_edge)
        return additive_scores(graph, *terms, negative_slope=self.negative_slope)

    def attend(self, graph: Graph, value: Tensor, dropout: float, return_weights: bool) -> Attended:
        result = additive_attention(
            graph,
            value,
            self.score_src,
            self.score_dst,
            self.score_edge,
            negative_slope=self.negative_slope,
            dropout=dropout,
            return_weights=return_weights,
        )
        return out_and_weights(result)

    def scaled(self, factor: Factor) -> "Additive":
        # LeakyReLU(c x) = c LeakyReLU(x) for c > 0.
        return Additive(
            self.score_src * factor,
            None if self.score_dst is None else self.score_dst * factor,
            None if self.score_edge is None else self.score_edge * factor,
            self.negative_slope,
        )

    def masked(self, graph: Graph, left_out: Tensor) -> "Additive":
        term = self.score_edge
        if term is None:
            term = self.score_src.new_zeros((graph.num_edges, self.score_src.size(1)))
        return replace(self, score_edge=term.masked_fill(left_out, -torch.inf))


@dataclass(frozen=True)
class Hidden(Form):
    """att . activation(query_i + key_j + edge_e): att [H, C], edge [E, H, C] or None."""

    query: Tensor
    key: Tensor
    att: Tensor
    edge: Tensor | None = None
    activation: str = "leaky_relu"
    negative_slope: float = 0.2

    def scores(self, graph: Graph) -> Tensor:
        return gatv2_scores(
            graph,
            self.key,
            self.query,
            self.att,
            self.edge,
            activation=self.activation,
            negative_slope=self.negative_slope,
        )

    def attend(self, graph: Graph, value: Tensor, dropout: float, return_weights: bool) -> Attended:
        result = gatv2_attention(
            graph,
            self.key,
            self.query,
            self.att,
            self.edge,
            value=value,
            activation=self.activation,
            negative_slope=self.negative_slope,
            dropout=dropout,
            return_weights=return_weights,
        )
        return out_and_weights(result)

    def hidden(self, graph: Graph) -> Tensor:
        """activation(query_i + key_j + edge_e) of each edge in listed order, [E, H, C]."""
        source, target = graph.edge_index
        hidden = self.query[target] + self.key[source]
        hidden = hidden if self.edge is None else hidden + self.edge
        if self.activation == "tanh":
            return torch.tanh(hidden)
        return F.leaky_relu(hidden, self.negative_slope)

    def scaled(self, factor: Factor) -> "Hidden":
        return replace(self, att=self.att * factor)


@dataclass(frozen=True)
class Dot(Form):
    """scale * query_i . (key_j + edge_e): edge [E, H, C] or None."""

    query: Tensor
    key: Tensor
    edge: Tensor | None = None
    scale: float = 1.0

    def scores(self, graph: Graph) -> Tensor:
        return dot_scores(graph, self.query, self.key, self.edge, scale=self.scale)

    def attend(self, graph: Graph, value: Tensor, dropout: float, return_weights: bool) -> Attended:
        result = dot_attention(
            graph,
            self.query,
            self.key,
            value,
            self.edge,
            scale=self.scale,
            dropout=dropout,
            return_weights=return_weights,
        )
        return out_and_weights(result)

    def scaled(self, factor: Factor) -> "Dot":
        if isinstance(factor, Tensor):
            return replace(self, query=self.query * factor)
        return replace(self, scale=self.scale * factor)


@dataclass(frozen=True)
class Edgewise(Form):
    """Scores [E, H] that were worked out already."""

    given: Tensor

    def scores(self, graph: Graph) -> Tensor:
        return self.given

    def attend(self, graph: Graph, value: Tensor, dropout: float, return_weights: bool) -> Attended:
        # Additive attention in which only the edges speak.
        silent = self.given.new_zeros((graph.num_src, self.given.size(1)))
        form = Additive(silent, score_edge=self.given, negative_slope=1.0)
        return form.attend(graph, value, dropout, return_weights)

    def scaled(self, factor: Factor) -> "Edgewise":
        return Edgewise(self.given * factor)
