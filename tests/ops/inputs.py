"""Operator calls on any graph, with inputs drawn to fit, for the operator tests."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gat.graph import Graph
from gat.ops import additive_attention, dot_attention, gatv2_attention
from tests.graphs import GRAPHS

OPERATORS: dict[str, Callable[..., Any]] = {
    "additive": additive_attention,
    "gatv2": gatv2_attention,
    "dot": dot_attention,
}


def graph(name: str) -> Graph:
    edge_index, num_src, num_dst = GRAPHS[name]
    return Graph.from_edge_index(edge_index, (num_src, num_dst))


def inputs(
    operator: str, on: Graph, heads: int, channels: int, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    """Every tensor argument of ``operator``, edge terms included."""
    S, D, E, H, C = on.num_src, on.num_dst, on.num_edges, heads, channels
    shapes: dict[str, dict[str, tuple[int, ...]]] = {
        "additive": {
            "value": (S, H, C), "score_src": (S, H), "score_dst": (D, H), "score_edge": (E, H),
        },
        "gatv2": {"key": (S, H, C), "query": (D, H, C), "att": (H, C), "edge": (E, H, C)},
        "dot": {
            "query": (D, H, C), "key": (S, H, C), "value": (S, H, C),
            "edge_key": (E, H, C), "edge_value": (E, H, C),
        },
    }  # fmt: skip
    return {
        name: torch.randn(shape, dtype=torch.float64).to(dtype)
        for name, shape in shapes[operator].items()
    }
