"""A training step of PyG's own GAT model, before and after `gat.accelerate`."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gat.bench.case import Plan
from gat.bench.record import Record
from gat.bench.whole import Given, Kind, Whole, drawn
from gat.graph import Graph
from gat.nn.accelerate import accelerate

__all__ = ["ModelShape", "check", "measure_model", "memory", "samples", "times"]


@dataclass(frozen=True, kw_only=True)
class ModelShape(Whole):
    """``layers`` of ``heads`` x ``channels``, the last of which averages its heads over the
    ``classes``. v2: of GATv2Conv rather than GATConv."""

    heads: int = 4
    layers: int = 3
    classes: int = 40
    v2: bool = False

    peers: ClassVar = ("accelerated", "pyg")
    # Which holds no [E, H, C] tensors, so that the whole graph can be checked.
    backend: ClassVar = "blockwise"
    checked_most: ClassVar = 2_000_000_000

    def __str__(self) -> str:
        name = "GAT of GATv2Conv" if self.v2 else "GAT"
        return f"PyG's {name}, {self.layers} layers of {self.heads}x{self.channels} on {self.where}"

    @property
    def width(self) -> int:
        return self.heads * ((self.layers - 1) * self.channels + self.classes)

    def module(self, peer: str) -> nn.Module:
        from torch_geometric.nn.models import GAT

        # PyG divides the hidden channels among the heads.
        sizes = (self.features, self.heads * self.channels, self.layers, self.classes)
        model = drawn(lambda: GAT(*sizes, heads=self.heads, v2=self.v2))
        if peer == "accelerated":
            accelerate(model)
        return model

    def twin(self, peer: str) -> nn.Module:
        return self.module("accelerated")

    def given(self, graph: Graph) -> Given:
        draw = torch.Generator().manual_seed(0)
        x = torch.randn(graph.num_src, self.features, generator=draw)
        labels = torch.randint(self.classes, (graph.num_src,), generator=draw)
        return Given(x, graph.edge_index, labels)

    def backward(self, out: Tensor, goal: Tensor) -> None:
        F.cross_entropy(out, goal).backward()

    def optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(module.parameters())

    def facts(self) -> dict[str, int]:
        return {"features": self.features, "classes": self.classes}


def measure_model(shape: ModelShape, plan: Plan) -> Record:
    """Check, then measure memory and time of the plan's peers at ``shape``."""
    return KIND.measure(shape, plan)


KIND = Kind("model", ModelShape)
check, times, samples, memory = KIND.check, KIND.times, KIND.samples, KIND.memory
