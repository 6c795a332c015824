"""What a layer is measured at: operator, heads and channels, graph; and the inputs to it.

Only the edge part is measured: features come projected, as the operators of `gat.ops` take them.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from gat.bench import graphs
from gat.checks import check_sizes, one_of
from gat.graph import Graph

__all__ = ["OPERATORS", "Inputs", "Shape", "make_inputs"]

# The tensors of each operator, and the first letter of their shape: N nodes, or none.
OPERATORS = {
    "gat": {"value": "NHC", "score_src": "NH", "score_dst": "NH"},
    "gatv2": {"key": "NHC", "query": "NHC", "att": "HC"},
    "dot": {"query": "NHC", "key": "NHC", "value": "NHC"},
}


@dataclass(frozen=True)
class Shape:
    """``heads`` x ``channels`` of ``operator`` on a fraction of the edges of ``graph``."""

    operator: str = "gat"
    heads: int = 8
    channels: int = 32
    graph: str = "arxiv-size"
    fraction: float = 1.0

    def __post_init__(self) -> None:
        one_of("operator", self.operator, OPERATORS)
        check_sizes(heads=self.heads, channels=self.channels)

    def __str__(self) -> str:
        where = graphs.shown(self.graph, self.fraction)
        return f"{self.operator} {self.heads}x{self.channels} on {where}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Inputs:
    """float32 tensors by name, which require gradients, and the gradient of the output."""

    graph: Graph
    tensors: dict[str, Tensor]
    grad_out: Tensor


def make_inputs(graph: Graph, operator: str, heads: int, channels: int) -> Inputs:
    """Normal values, the same each time; scores are of the order of 1 for any C."""
    draw = torch.Generator().manual_seed(0)
    sizes = {"N": graph.num_src, "H": heads, "C": channels}

    def normal(letters: str) -> Tensor:
        return torch.randn([sizes[letter] for letter in letters], generator=draw)

    tensors = {name: normal(letters) for name, letters in OPERATORS[operator].items()}
    if "att" in tensors:
        tensors["att"] *= channels**-0.5
    grad_out = normal("NHC")
    return Inputs(graph, {k: v.requires_grad_() for k, v in tensors.items()}, grad_out)
