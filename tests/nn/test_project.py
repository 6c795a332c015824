"""Layers on features that are mostly zero: their linear layers are honoured, changed or not."""

import pytest
import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import nn

from gat.nn import GATConv, GATv2Conv, drop_features
from gat.nn.features import Linear, project
from gat.ops import cpu

pytestmark = pytest.mark.filterwarnings("ignore:Sparse")
compiled = pytest.mark.skipif(not cpu.status().available, reason="needs the compiled library")


def matrix():
    dense = torch.rand(60, 50) + 1
    return (dense * (torch.rand(60, 50) < 0.2)).to_sparse_csr()


class Doubled(pyg.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def hooked(layer):
    layer.register_forward_hook(lambda module, args, out: 2 * out)
    return layer


def rebound(layer):
    layer.forward = lambda x: 2 * F.linear(x, layer.weight)
    return layer


def parametrized(layer):
    class Twice(nn.Module):
        def forward(self, weight):
            return 2 * weight

    nn.utils.parametrize.register_parametrization(layer, "weight", Twice())
    return layer


CHANGED = {
    "subclass": lambda: Doubled(50, 3, bias=False),
    "hook": lambda: hooked(pyg.Linear(50, 3, bias=False)),
    "forward": lambda: rebound(pyg.Linear(50, 3, bias=False)),
    "parametrized": lambda: parametrized(pyg.Linear(50, 3, bias=False)),
}


@pytest.mark.parametrize("name", CHANGED)
def test_layers_that_were_changed_do_what_they_say(name):
    torch.manual_seed(0)
    layer, x = CHANGED[name](), matrix()
    torch.manual_seed(0)
    plain = pyg.Linear(50, 3, bias=False)
    torch.testing.assert_close(project(layer, x), 2 * plain(x.to_dense()))


@pytest.mark.parametrize("layer", [pyg.Linear(-1, 3), pyg.Linear(50, 3), Linear(50, 3)])
def test_layers_take_sparse_features(layer):
    x = matrix()
    for _ in range(2):
        out = project(layer, x)
        torch.testing.assert_close(out, F.linear(x.to_dense(), layer.weight, layer.bias))


@compiled
@pytest.mark.parametrize("conv", [GATConv, GATv2Conv])
def test_layers_in_bfloat16(conv):
    x, edge_index = matrix(), torch.randint(60, (2, 200))
    layer = conv(50, 4, heads=2, residual=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x, edge_index)
        dense = layer(x.to_dense(), edge_index)
    torch.testing.assert_close(out, dense, rtol=0.05, atol=0.05)


def test_linear_is_torchs_by_name():
    layer = Linear(4, 3)
    assert repr(layer) == repr(nn.Linear(4, 3))
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_compiled_models_take_sparse_features():
    x, edge_index = matrix(), torch.randint(60, (2, 200))
    layer = GATConv(50, 4, heads=2)
    compiled = torch.compile(layer, backend="eager")
    torch.testing.assert_close(compiled(x, edge_index), layer(x.to_dense(), edge_index))
    compiled(drop_features(x, 0.5, training=True), edge_index).sum().backward()
    assert layer.lin.weight.grad is not None
