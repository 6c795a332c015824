"""One whole layer: `AttentionConv` of any score and normaliser, beside PyG's with its softmax."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch_geometric.nn as pyg
from torch import Tensor, nn

import gat.nn
from gat.bench.case import Plan
from gat.bench.record import Record
from gat.bench.whole import Given, Kind, Whole, drawn
from gat.errors import InputError
from gat.graph import Graph
from gat.nn.normalizers import NORMALIZERS
from gat.nn.scores import SCORES

__all__ = ["ConvShape", "check", "measure_conv", "memory", "samples", "times"]

# PyG's layer for a score, and what makes it one of the same size. The graphs have their loops.
LAYERS: dict[str, tuple[str, dict[str, Any]]] = {
    "additive": ("GATConv", {"add_self_loops": False}),
    "gatv2": ("GATv2Conv", {"add_self_loops": False}),
    "dot": ("TransformerConv", {"root_weight": False, "bias": False}),
    "scaled_dot": ("TransformerConv", {"root_weight": False, "bias": False}),
}


@dataclass(frozen=True, kw_only=True)
class ConvShape(Whole):
    """``heads`` x ``channels`` of a score and a normaliser, by the names of `gat.nn`."""

    score: str = "additive"
    normalizer: str = "softmax"

    peers: ClassVar = ("gat", "pyg")
    # Which holds several [E, H, C] tensors in float64.
    backend: ClassVar = "reference"
    checked_most: ClassVar = 50_000_000

    def __post_init__(self) -> None:
        super().__post_init__()
        SCORES.make(self.score)
        NORMALIZERS.make(self.normalizer)

    def __str__(self) -> str:
        parts = f"{self.score} and {self.normalizer}"
        return f"AttentionConv of {parts}, {self.heads}x{self.channels} on {self.where}"

    def check(self, peers: tuple[str, ...]) -> None:
        super().check(peers)
        if "pyg" in peers and self.score not in LAYERS:
            raise InputError(
                f"PyG has no layer with the score {self.score!r} to measure beside ours; leave it "
                f"out with --peers gat, or choose one of {', '.join(LAYERS)}"
            )

    @property
    def width(self) -> int:
        return self.heads * self.channels

    def module(self, peer: str) -> nn.Module:
        return self._layer(peer, pyg)

    def twin(self, peer: str) -> nn.Module:
        return self._layer(peer, gat.nn)

    def _layer(self, peer: str, room: Any) -> nn.Module:
        name, options = LAYERS.get(self.score, ("", {}))
        if peer == "gat":
            room, name = gat.nn, "AttentionConv"
            options = {"score": self.score, "normalizer": self.normalizer}
        sizes = (self.features, self.channels, self.heads)
        return drawn(lambda: getattr(room, name)(*sizes, **options))

    def given(self, graph: Graph) -> Given:
        draw = torch.Generator().manual_seed(0)
        x = torch.randn(graph.num_src, self.features, generator=draw)
        grad_out = torch.randn(graph.num_dst, self.width, generator=draw)
        # As in the middle of a network, whose first layers want the gradient of x.
        return Given(x.requires_grad_(), graph.edge_index, grad_out)

    def backward(self, out: Tensor, goal: Tensor) -> None:
        out.backward(goal)

    def facts(self) -> dict[str, Any]:
        name, _ = LAYERS.get(self.score, ("none", {}))
        return {"features": self.features, "PyG's layer": name}


def measure_conv(shape: ConvShape, plan: Plan) -> Record:
    """Check, then measure memory and time of the plan's peers at ``shape``."""
    return KIND.measure(shape, plan)


KIND = Kind("conv", ConvShape)
check, times, samples, memory = KIND.check, KIND.times, KIND.samples, KIND.memory
