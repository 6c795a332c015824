"""Operator calls on any graph, with inputs drawn to fit, for the operator tests."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gat.graph import Graph
from gat.ops import (
    additive_attention,
    additive_scores,
    aggregate,
    dot_attention,
    dot_scores,
    gatv2_attention,
    gatv2_scores,
    segment_entmax,
    segment_softmax,
)
from gat.ops.backend import why_not
from tests.device import DEVICE
from tests.graphs import GRAPHS

OPERATORS: dict[str, Callable[..., Any]] = {
    "additive": additive_attention,
    "gatv2": gatv2_attention,
    "dot": dot_attention,
}
STEPS: dict[str, Callable[..., Any]] = {
    "additive_scores": additive_scores,
    "gatv2_scores": gatv2_scores,
    "dot_scores": dot_scores,
    "segment_softmax": segment_softmax,
    "segment_entmax": segment_entmax,
    "aggregate": aggregate,
}
CALLS = OPERATORS | STEPS

# The fast paths that can run here: the compiled library need not be built.
# Triton's interpreter is too slow for them: `test_triton.py`.
FAST = [
    name
    for name in ("blockwise", "cpu", "triton")
    if not (why_not(name, "additive", DEVICE.type) or (name == "triton" and DEVICE.type == "cpu"))
]


def graph(name: str) -> Graph:
    edge_index, num_src, num_dst = GRAPHS[name]
    return Graph.from_edge_index(edge_index, (num_src, num_dst))


def inputs(
    operator: str, on: Graph, heads: int, channels: int, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    """Every tensor argument of an operator or a step in its order, edge terms included."""
    S, D, E, H, C = on.num_src, on.num_dst, on.num_edges, heads, channels
    shapes: dict[str, dict[str, tuple[int, ...]]] = {
        "additive_scores": {"score_src": (S, H), "score_dst": (D, H), "score_edge": (E, H)},
        "gatv2_scores": {"key": (S, H, C), "query": (D, H, C), "att": (H, C), "edge": (E, H, C)},
        "dot_scores": {"query": (D, H, C), "key": (S, H, C), "edge_key": (E, H, C)},
        "segment_softmax": {"scores": (E, H)},
        "segment_entmax": {"scores": (E, H), "alpha": (H,)},
        "aggregate": {"weights": (E, H), "value": (S, H, C), "edge_value": (E, H, C)},
    }
    shapes["additive"] = {"value": (S, H, C)} | shapes["additive_scores"]
    shapes["gatv2"] = shapes["gatv2_scores"]
    shapes["dot"] = {"query": (D, H, C), "key": (S, H, C), "value": (S, H, C)}
    shapes["dot"] |= {"edge_key": (E, H, C), "edge_value": (E, H, C)}
    drawn = {name: torch.randn(s, dtype=torch.float64) for name, s in shapes[operator].items()}
    if operator == "segment_entmax":
        # Up to 1.5: above, where a weight reaches 0 its gradient jumps or has no bounds.
        drawn["alpha"] = 1.2 + 0.3 * torch.special.ndtr(drawn["alpha"])
    return {name: tensor.to(dtype) for name, tensor in drawn.items()}
