"""No layer makes a tensor as large as edges times heads times channels, in neither direction."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gat.ops import cpu
from tests.nn.twins import EDGE_DIM, NAMES, features, ours, twins

# Of edge features projected for every head such a tensor is the operator's own argument.
CASES = [
    *((name, {}) for name in NAMES),
    ("SuperGATConv", {"attention_type": "SD"}),
    ("GATConv", {"edge_dim": EDGE_DIM}),
]
HEADS, CHANNELS = 4, 16


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor had that any operation gave."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        made = [t.numel() for t in tree_leaves(out) if isinstance(t, torch.Tensor)]
        self.numbers = max(self.numbers, *made, 0)
        return out


def largest(layer, x, edge_index, *rest):
    x = x.clone().requires_grad_()
    with Largest() as seen:
        out = layer.train()(x, edge_index, *rest)
        loss = layer.get_attention_loss() if hasattr(layer, "get_attention_loss") else 0
        (out.square().sum() + loss).backward()
    return seen.numbers


@pytest.mark.skipif(not cpu.status().available, reason="needs the compiled library")
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_nothing_is_as_large_as_edges_times_channels(name, options):
    width = HEADS * CHANNELS if name == "AGNNConv" else 6
    edge_index, x, edge_attr, _ = features("random", width)
    rest = [edge_attr] if "edge_dim" in options else []
    theirs, mine = twins(name, 6, CHANNELS, heads=HEADS, **options)
    each = edge_index.size(1) * HEADS * CHANNELS
    assert largest(theirs, x, edge_index, *rest) >= each
    # The features themselves, or a few numbers for each edge and head.
    assert largest(mine, x, edge_index, *rest) < each / 3


def test_projected_edge_features_are_made_once():
    """Key and value of a TransformerConv share them: nothing larger than one [E, H, C]."""
    edge_index, x, edge_attr, _ = features("random")
    layer = ours("TransformerConv", 6, CHANNELS, heads=HEADS, edge_dim=EDGE_DIM)
    assert largest(layer, x, edge_index, edge_attr) == edge_index.size(1) * HEADS * CHANNELS
