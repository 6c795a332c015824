"""What each operator and step may be asked for: arguments left out, options, other channels."""

import itertools

import torch
from torch import Tensor

from gat.graph import Graph
from tests.ops.inputs import OPERATORS, inputs

# Of each call: the arguments that may be left out, and its own options.
OPTIONAL = {
    "additive": ("score_dst", "score_edge"),
    "gatv2": ("edge",),
    "dot": ("edge_key", "edge_value"),
    "additive_scores": ("score_dst", "score_edge"),
    "gatv2_scores": ("edge",),
    "dot_scores": ("edge_key",),
    "segment_softmax": (),
    "segment_entmax": (),
    "aggregate": ("edge_value",),
}
OWN = {
    "additive": [{"negative_slope": 0.2}, {"negative_slope": 0.0}],
    "gatv2": [{"activation": "leaky_relu"}, {"activation": "tanh"}, {"negative_slope": 0.01}],
    "dot": [{}, {"scale": 0.1}],
    "additive_scores": [{"negative_slope": 0.2}, {"negative_slope": 0.0}],
    "gatv2_scores": [{"activation": "leaky_relu"}, {"activation": "tanh"}],
    "dot_scores": [{}, {"scale": 0.1}],
    "segment_softmax": [{}],
    "segment_entmax": [{}],
    "aggregate": [{}],
}
DROPOUT = [{}, {"dropout": 0.6, "seed": 11}]
WEIGHTS = [{}, {"return_weights": True}]
OTHER_CHANNELS = 5


def subsets(names):
    return [set(some) for n in range(len(names) + 1) for some in itertools.combinations(names, n)]


def variants(call):
    """(arguments left out, options, whether the values have channels of their own)."""
    whole = call in OPERATORS
    return list(
        itertools.product(
            subsets(OPTIONAL[call]),
            [
                own | dropout | weights
                for own in OWN[call]
                for dropout in (DROPOUT if whole else [{}])
                for weights in (WEIGHTS if whole else [{}])
            ],
            [False, True] if call in ("gatv2", "dot") else [False],
        )
    )


def arguments(
    call: str, on: Graph, size: tuple[int, int], dtype: torch.dtype, variant: tuple
) -> tuple[dict[str, Tensor], dict]:
    left_out, options, own_channels = variant
    t = inputs(call, on, *size, dtype)
    if own_channels:
        heads = size[0]
        t["value"] = torch.randn(on.num_src, heads, OTHER_CHANNELS).to(dtype)
        if "edge_value" in t:
            t["edge_value"] = torch.randn(on.num_edges, heads, OTHER_CHANNELS).to(dtype)
    return {name: x for name, x in t.items() if name not in left_out}, options
