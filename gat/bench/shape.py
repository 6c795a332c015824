"""What a layer is measured at: operator, heads and channels, graph, device; and the inputs to it.

Only the edge part is measured: features come projected, as the operators of `gat.ops` take them.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from gat.bench import graphs
from gat.checks import check_sizes, one_of
from gat.graph import Graph

__all__ = ["DEVICES", "DTYPES", "OPERATORS", "Inputs", "Shape", "make_inputs"]

# The tensors of each operator, and the first letter of their shape: N nodes, or none.
OPERATORS = {
    "gat": {"value": "NHC", "score_src": "NH", "score_dst": "NH"},
    "gatv2": {"key": "NHC", "query": "NHC", "att": "HC"},
    "dot": {"query": "NHC", "key": "NHC", "value": "NHC"},
}

DEVICES = ("cpu", "cuda")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# What a shape that says nothing else is measured in.
_USUAL = {"device": "cpu", "dtype": "float32"}


@dataclass(frozen=True)
class Shape:
    """``heads`` x ``channels`` of ``operator`` on a fraction of the edges of ``graph``; the tensors
    are of ``dtype`` on ``device``."""

    operator: str = "gat"
    heads: int = 8
    channels: int = 32
    graph: str = "arxiv-size"
    fraction: float = 1.0
    device: str = _USUAL["device"]
    dtype: str = _USUAL["dtype"]

    def __post_init__(self) -> None:
        one_of("operator", self.operator, OPERATORS)
        one_of("device", self.device, DEVICES)
        one_of("dtype", self.dtype, DTYPES)
        check_sizes(heads=self.heads, channels=self.channels)

    def __str__(self) -> str:
        where = graphs.shown(self.graph, self.fraction)
        return f"{self.operator} {self.heads}x{self.channels} on {where}{self.how}"

    @property
    def how(self) -> str:
        """What a title adds where device or dtype is not the usual one."""
        usual = (self.device, self.dtype) == tuple(_USUAL.values())
        return "" if usual else f", {self.dtype} on {self.device}"

    def to_dict(self) -> dict[str, Any]:
        """The fields, without a device and dtype that are the usual ones: records of before there
        were others have neither."""
        return {k: v for k, v in asdict(self).items() if _USUAL.get(k) != v}


@dataclass(frozen=True)
class Inputs:
    """Tensors by name, which require gradients, and the gradient of the output."""

    graph: Graph
    tensors: dict[str, Tensor]
    grad_out: Tensor


def make_inputs(
    graph: Graph, operator: str, heads: int, channels: int, dtype: torch.dtype = torch.float32
) -> Inputs:
    """Normal values on the graph's device, the same each time and on each device but for the
    rounding to ``dtype``; scores are of the order of 1 for any C."""
    draw = torch.Generator().manual_seed(0)
    sizes = {"N": graph.num_src, "H": heads, "C": channels}

    def normal(letters: str) -> Tensor:
        return torch.randn([sizes[letter] for letter in letters], generator=draw)

    tensors = {name: normal(letters) for name, letters in OPERATORS[operator].items()}
    if "att" in tensors:
        tensors["att"] *= channels**-0.5
    grad_out = normal("NHC").to(graph.device, dtype)
    given = {k: v.to(graph.device, dtype).requires_grad_() for k, v in tensors.items()}
    return Inputs(graph, given, grad_out)
