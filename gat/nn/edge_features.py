"""Edge features of an attention layer, projected only as far as they are asked for."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gat.graph import Graph
from gat.nn.batched import repeat_heads, split_heads
from gat.nn.features import is_plain_linear
from gat.ops import aggregate
from gat.ops.precision import result_dtype

__all__ = ["EdgeFeatures", "edge_features"]


class EdgeFeatures(ABC):
    """W e of the edges in listed order, [E, H, C], as far as a score or a sum needs it.

    For a batch (`gat.nn.batched`) H is B*H, of which each H see the same edges.
    """

    @abstractmethod
    def vectors(self) -> Tensor:
        """W e of each edge: [E, H, C]."""

    @abstractmethod
    def against(self, vector: Tensor) -> Tensor:
        """vector . (W e) of each edge: [E, H]; vector [H, C] of the layer's own heads."""

    @abstractmethod
    def summed(self, graph: Graph, weights: Tensor) -> Tensor:
        """Sum of a_e * (W e) over the edges entering i, weights [E, H]: [num_dst, H, C]."""


@dataclass(frozen=True)
class ProjectedEdges(EdgeFeatures):
    """Projected already, by what is no plain linear layer: ``given`` [E, H, C] of the layer's own
    heads. batch: B, or None."""

    given: Tensor
    batch: int | None = None

    def vectors(self) -> Tensor:
        return repeat_heads(self.given, self.batch)

    def against(self, vector: Tensor) -> Tensor:
        return repeat_heads((self.given * vector).sum(-1), self.batch)

    def summed(self, graph: Graph, weights: Tensor) -> Tensor:
        vectors = self.vectors()
        nothing = vectors.new_zeros((graph.num_src, *vectors.shape[1:]))
        return aggregate(graph, weights, nothing, vectors)


@dataclass(frozen=True)
class LinearEdges(EdgeFeatures):
    """attr [E, D] in listed order and the weight [H, C, D] that projects it to heads."""

    attr: Tensor
    weight: Tensor
    batch: int | None = None

    def vectors(self) -> Tensor:
        heads, channels, _ = self.weight.shape
        projected = self.attr @ self.weight.flatten(0, 1).t()
        return repeat_heads(projected.view(-1, heads, channels), self.batch)

    def against(self, vector: Tensor) -> Tensor:
        folded = (self.weight * vector.unsqueeze(-1)).sum(1)
        dtype = result_dtype(self.attr, folded)
        # As elementwise products would be, also under autocast.
        with torch.autocast(self.attr.device.type, enabled=False):
            scores = self.attr.to(dtype) @ folded.to(dtype).t()
        return repeat_heads(scores, self.batch)

    def summed(self, graph: Graph, weights: Tensor) -> Tensor:
        """The features are summed as they are, head by head, and projected after: [num_dst, H, D]
        takes the place of [E, H, C]."""
        attr, sources = self.attr.unsqueeze(1), graph.edges_as_sources
        sums = [aggregate(sources, each.contiguous(), attr) for each in weights.split(1, dim=1)]
        weight = repeat_heads(self.weight, self.batch, dim=0)
        return torch.einsum("nhd,hcd->nhc", torch.cat(sums, dim=1), weight)


def edge_features(
    lin: nn.Module, attr: Tensor, heads: int, batch: int | None = None
) -> EdgeFeatures:
    """Features attr [E, D] in listed order and the layer that projects them to [E, H*C].

    What is more than a product (hooked, replaced, with a bias, or not yet of a known size) does
    what its own code says.
    """
    if not is_plain_linear(lin) or lin.bias is not None:
        return ProjectedEdges(split_heads(lin(attr), heads), batch)
    weight: Tensor = lin.weight
    return LinearEdges(attr, weight.unflatten(0, (heads, weight.size(0) // heads)), batch)
