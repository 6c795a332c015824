"""What is recorded inside an intervention is the changed attention, and can be frozen later."""

import pytest
import torch
import torch_geometric.nn as pyg

import gat
import gat.nn
from gat.errors import InputError
from gat.inspection import change_attention, freeze_attention, switch_off_heads, uniform_attention
from tests.graphs import GRAPHS

EDGES, NODES, _ = GRAPHS["loops_and_duplicates"]
KINDS = [("a", "to", "a"), ("a", "near", "a")]
# name -> the layer of a library
LAYERS = {
    "GATConv": lambda library: library.GATConv(6, 4, heads=2),
    "GATv2Conv": lambda library: library.GATv2Conv(6, 4, heads=2, concat=False),
    "TransformerConv": lambda library: library.TransformerConv(6, 4, heads=2),
    "SuperGATConv": lambda library: library.SuperGATConv(6, 4, heads=2),
    "AGNNConv": lambda library: library.AGNNConv(),
    "RGATConv": lambda library: library.RGATConv(6, 4, 2, heads=2),
    "HANConv": lambda library: library.HANConv(6, 4, (["a"], KINDS), heads=2),
    "FAConv": lambda library: library.FAConv(6),
    "HGTConv": lambda library: library.HGTConv(6, 4, (["a"], KINDS), heads=2),
}
ONLY_PYGS = ("FAConv", "HGTConv")
# PyG's layers that are heard by hooks inside message passing, which ours refuse to be changed with.
HOOKED = ("SuperGATConv", "AGNNConv", "HANConv")
CASES = [(name, gat.nn) for name in LAYERS if name not in ONLY_PYGS] + [(n, pyg) for n in LAYERS]


class Network(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.conv = layer

    def forward(self, *inputs):
        out = self.conv(*inputs)
        return out["a"] if isinstance(out, dict) else out


def case(name, library):
    model, x = Network(LAYERS[name](library)).double().eval(), torch.randn(NODES, 6).double()
    if name in ("HANConv", "HGTConv"):
        return model, ({"a": x}, dict.fromkeys(KINDS, EDGES))
    rest = (torch.arange(EDGES.size(1)) % 2,) if name == "RGATConv" else ()
    return model, ((x, x, EDGES) if name == "FAConv" else (x, EDGES, *rest))


def record(model, given):
    with gat.record_attention(model) as attention:
        model(*given)
    return attention


@pytest.mark.parametrize(("name", "library"), CASES, ids=lambda one: getattr(one, "__name__", one))
def test_the_changed_weights_are_recorded_and_frozen(name, library):
    model, given = case(name, library)
    plain, out = record(model, given), model(*given)
    for enter in (
        uniform_attention,
        lambda model: switch_off_heads(model, {"conv": [0]}),
        lambda model: change_attention(model, lambda r: r.weights.flip(0)),
    ):
        with enter(model):
            attention, changed = record(model, given), model(*given)
        assert list(attention) == list(plain)
        for key in attention:
            assert not torch.allclose(attention[key].weights, plain[key].weights)
        off = attention[next(iter(attention))].weights[:, 0].any()
        with freeze_attention(model, attention):
            # Heads that are off take their bias along, which weights of 0 do not.
            if off:
                torch.testing.assert_close(model(*given), changed)
    with freeze_attention(model, plain):
        torch.testing.assert_close(model(*given), out)
    assert vars(model.conv).keys() == vars(case(name, library)[0].conv).keys()


@pytest.mark.parametrize(("name", "library"), CASES, ids=lambda one: getattr(one, "__name__", one))
def test_an_intervention_that_begins_while_recording_is_recorded_or_refused(name, library):
    model, given = case(name, library)
    with uniform_attention(model):
        expected = record(model, given)
    if library is pyg and name in HOOKED:
        with pytest.raises(InputError, match="has hooks inside mess"), gat.record_attention(model):
            in_uniform(model, given)
        return
    with gat.record_attention(model) as attention:
        in_uniform(model, given)
    for key in expected:
        torch.testing.assert_close(attention[key].weights, expected[key].weights)


def in_uniform(model, given):
    with uniform_attention(model):
        model(*given)
