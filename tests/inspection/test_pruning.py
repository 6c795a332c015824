"""prune_heads: the smaller model computes what the model does with those heads off."""

import copy
import json

import pytest
import safetensors
import safetensors.torch
import torch
import torch_geometric.nn as pyg
from torch import nn

import gat.nn
from gat.errors import CheckpointMismatchError, CorruptDataError, InputError
from gat.inspection.interventions.contexts import switch_off_heads, uniform_attention
from gat.inspection.pruning.files import load_pruned, save_pruned
from gat.inspection.pruning.heads import prune_heads
from gat.models import GAT
from tests.graphs import GRAPHS

EDGES, NODES, _ = GRAPHS["random"]
WIDTH, EDGE_DIM = 6, 3


def drawn(model):
    """The model in float64 with every parameter drawn, biases too."""
    model = model.double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model


def features():
    return torch.randn(NODES, WIDTH, dtype=torch.float64)


class Chain(nn.Module):
    """A layer, then another, with edge features."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x, edge_index, edge_attr=None):
        attr = [edge_attr] if getattr(self.first, "lin_edge", None) is not None else []
        x = torch.nn.functional.elu(self.first(x, edge_index, *attr))
        return self.second(x) if isinstance(self.second, nn.Linear) else self.second(x, edge_index)


SECONDS = {
    "GATConv": lambda width: gat.nn.GATConv(width, 4, heads=2, residual=True),
    "GATv2Conv": lambda width: pyg.GATv2Conv(width, 4, heads=2, residual=True),
    "TransformerConv": lambda width: gat.nn.TransformerConv(width, 4, heads=2, beta=True),
    "SuperGATConv": lambda width: gat.nn.SuperGATConv(width, 4, heads=2),
    "linear": lambda width: nn.Linear(width, 4),
}
FIRSTS = {
    "GATConv": {"edge_dim": EDGE_DIM},
    "GATConv_residual": {"residual": True},
    "GATv2Conv": {"edge_dim": EDGE_DIM},
    "GATv2Conv_shared": {"share_weights": True, "residual": True},
    "TransformerConv": {"edge_dim": EDGE_DIM},
    "TransformerConv_plain": {"root_weight": False, "bias": False},
    "SuperGATConv": {},
    "SuperGATConv_SD": {"attention_type": "SD"},
}


def first(name, library, **options):
    kind = name.partition("_")[0]
    return getattr(library, kind)(WIDTH, 5, heads=4, **FIRSTS[name], **options)


def check_same(model, smaller, heads, *given):
    with switch_off_heads(model, heads):
        expected = model(*given)
    torch.testing.assert_close(smaller(*given), expected)
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())
    assert all(p.requires_grad and p.is_leaf for p in smaller.parameters())


@pytest.mark.parametrize("library", [gat.nn, pyg], ids=["gat", "pyg"])
@pytest.mark.parametrize("name", FIRSTS)
def test_joined_heads_and_the_inputs_of_what_follows(name, library):
    for make in SECONDS.values():
        model = drawn(Chain(first(name, library), make(20)))
        before = copy.deepcopy(model.state_dict())
        heads = {"first": [2, 0]}
        smaller = prune_heads(model, heads, following={"first": "second"})
        given = features(), EDGES, torch.randn(EDGES.size(1), EDGE_DIM, dtype=torch.float64)
        check_same(model, smaller, heads, *given)
        torch.testing.assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)
        assert (smaller.first.heads, model.first.heads) == (2, 4)
        assert type(smaller.first) is type(model.first)


@pytest.mark.parametrize("library", [gat.nn, pyg], ids=["gat", "pyg"])
@pytest.mark.parametrize("name", [name for name in FIRSTS if not name.startswith("SuperGAT")])
def test_averaged_heads(name, library):
    layer = drawn(first(name, library, concat=False))
    attr = FIRSTS[name].get("edge_dim") and torch.randn(EDGES.size(1), EDGE_DIM).double()
    given = (features(), EDGES) if attr is None else (features(), EDGES, attr)
    for heads in ({"": [1]}, {"": [0, 1, 3]}):
        check_same(layer, prune_heads(layer, heads), heads, *given)


def test_averaged_heads_of_a_gate_and_of_a_bipartite_graph():
    gated = drawn(gat.nn.TransformerConv(WIDTH, 5, heads=3, concat=False, beta=True))
    check_same(gated, prune_heads(gated, {"": [1]}), {"": [1]}, features(), EDGES)
    edges, num_src, num_dst = GRAPHS["bipartite_wide"]
    x = torch.randn(num_src, 6).double(), torch.randn(num_dst, 3).double()
    for kind in (gat.nn.GATConv, gat.nn.GATv2Conv, gat.nn.TransformerConv):
        options = {} if kind is gat.nn.TransformerConv else {"add_self_loops": False}
        layer = drawn(kind((6, 3), 5, heads=3, concat=False, **options))
        check_same(layer, prune_heads(layer, {"": [0]}), {"": [0]}, x, edges)


def test_the_last_layer_may_give_its_channels_away():
    model = drawn(Chain(first("GATConv_residual", gat.nn), SECONDS["GATConv"](20)))
    heads = {"first": [1], "second": [0]}
    smaller = prune_heads(model, heads, following={"first": ["second"], "second": []})
    with switch_off_heads(model, heads):
        expected = model(features().fill_(1), EDGES)
    assert not expected[:, :4].any()
    torch.testing.assert_close(smaller(features().fill_(1), EDGES), expected[:, 4:])


NETWORKS = {
    "paper": {},
    "v2": {"attention": "gatv2", "edge_dim": EDGE_DIM},
    "cat": {"jumping_knowledge": "cat", "heads": [4, 3, 2]},
    "linear_ends": {"linear_input": True, "linear_output": True},
    "averaged": {"concat": False, "norm": "batch", "residual": "linear"},
    "no_loops": {"add_self_loops": False, "symmetric_norm": True, "activation": "gelu"},
}


def network(name, **options):
    options = {"num_layers": 3, "heads": 4, "output_heads": 3, **NETWORKS[name], **options}
    model = drawn(GAT(WIDTH, 5, **options))
    heads = {"hidden.0.conv": [0, 3], "hidden.1.conv": [2]}
    if not isinstance(model.output, nn.Linear):
        heads["output"] = [1]
    attr = torch.randn(EDGES.size(1), EDGE_DIM).double() if "edge_dim" in options else None
    return model, heads, (features(), EDGES, attr)


@pytest.mark.parametrize("name", NETWORKS)
def test_our_network_knows_what_follows_what_and_comes_back_from_a_file(name, tmp_path):
    model, heads, given = network(name)
    smaller = prune_heads(model, heads)
    check_same(model, smaller, heads, *given)
    path = save_pruned(smaller, tmp_path / "smaller.safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["smaller.safetensors"]
    loaded = load_pruned(path)
    assert not loaded.training
    assert torch.equal(loaded(*given), smaller(*given))
    assert repr(loaded) == repr(smaller)
    again = load_pruned(save_pruned(prune_heads(loaded, {"hidden.0.conv": [0]}), path))
    with switch_off_heads(smaller, {"hidden.0.conv": [0]}):
        torch.testing.assert_close(again(*given), smaller(*given))
    # Its weights fit the same cut of any such model.
    other = prune_heads(network(name)[0], heads)
    other.load_state_dict(smaller.state_dict())
    assert torch.equal(other(*given), smaller(*given))


def test_a_network_that_was_pruned_can_be_trained():
    model, heads, given = network("paper")
    smaller = prune_heads(model, heads).train()
    torch.optim.SGD(smaller.parameters(), 0.1).zero_grad()
    smaller(*given).square().sum().backward()
    assert all(p.grad is not None for p in smaller.parameters())
    assert all(p.grad is None for p in model.parameters())


def test_other_models_come_back_from_a_file_and_a_model_of_their_kind(tmp_path):
    def build():
        return drawn(Chain(first("GATv2Conv_shared", pyg), SECONDS["GATConv"](20)))

    model, fresh = build(), build()
    smaller = prune_heads(model, {"first": [1]}, following={"first": "second"})
    path = save_pruned(smaller.float(), tmp_path / "smaller.safetensors")
    before = copy.deepcopy(fresh.state_dict())
    loaded = load_pruned(path, fresh)
    x = features().float()
    assert torch.equal(loaded(x, EDGES), smaller(x, EDGES))
    torch.testing.assert_close(dict(fresh.state_dict()), dict(before), rtol=0, atol=0)
    with pytest.raises(InputError, match=r"is of a model that is no gat.models.GAT; pass model="):
        load_pruned(path)
    with pytest.raises(CheckpointMismatchError, match="does not fit the model"):
        load_pruned(path, drawn(Chain(first("GATConv", gat.nn), SECONDS["GATConv"](20))))


def test_files_that_are_none_of_ours_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(InputError, match=r"x.safetensors is not there; save_pruned writes such"):
        load_pruned(path)
    for data in (b"", b"pickle", safetensors.torch.save({"a": torch.ones(1)})):
        path.write_bytes(data)
        with pytest.raises(CorruptDataError, match="is no file of save_pruned"):
            load_pruned(path)
    entry = {"gat_pruned": json.dumps({"format": 99, "pruned": [], "options": None})}
    path.write_bytes(safetensors.torch.save({"a": torch.ones(1)}, entry))
    with pytest.raises(CorruptDataError, match="format 99, expected 1"):
        load_pruned(path)
    with pytest.raises(InputError, match="Chain was not made by prune_heads"):
        save_pruned(Chain(nn.Identity(), nn.Identity()), path)


def test_a_whole_network_may_be_saved_as_well(tmp_path):
    model, _, given = network("paper")
    loaded = load_pruned(save_pruned(model, tmp_path / "whole.safetensors"))
    assert torch.equal(loaded(*given), model(*given))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"residual": "linear"}, "a residual fills the channels of a head that is off"),
        ({"residual": "identity"}, "a residual fills the channels of a head that is off"),
        ({"norm": "batch"}, "its norm makes other numbers of the zeros of a head that is off"),
        ({"norm": "layer"}, "its norm makes other numbers of the zeros of a head that is off"),
        ({"jumping_knowledge": "max"}, "jumping_knowledge='max' needs hidden layers of one width"),
        ({"jumping_knowledge": "attention"}, "'attention' needs hidden layers of one width"),
    ],
)
def test_networks_that_would_compute_something_else_are_refused(options, why):
    model, heads, _ = network("paper", **options)
    with pytest.raises(InputError, match=f"heads of hidden.1.conv cannot be removed .*{why}"):
        prune_heads(model, {"hidden.1.conv": heads["hidden.1.conv"]})


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (gat.nn.GATConv(6, 5, heads=3), "joins its heads, and what their channels go into is unkn"),
        (gat.nn.SuperGATConv(6, 5, heads=3, concat=False), "it averages heads, and its scores are"),
        (gat.nn.GATConv(6, 5, heads=1, concat=False), "would have no head left of 1; leave at"),
        (gat.nn.GATConv(-1, 5, heads=2, concat=False), "is no parameter of a known size; call the"),
        (gat.nn.AttentionConv(6, 5, heads=2, concat=False), r"\(AttentionConv\) cannot be removed"),
    ],
)
def test_layers_that_cannot_lose_heads_are_refused(layer, message):
    with pytest.raises(InputError, match=message):
        prune_heads(layer, {"": [0]})


def test_what_follows_must_be_there_and_fit():
    model = Chain(gat.nn.GATConv(6, 5, heads=2), nn.Linear(10, 3))
    with pytest.raises(InputError, match="following names 'third', and the model has no such"):
        prune_heads(model, {"first": [0]}, following={"first": "third"})
    model.second = nn.Linear(11, 3)
    with pytest.raises(InputError, match=r"second \(Linear\) has 11 inputs and the layer said to"):
        prune_heads(model, {"first": [0]}, following={"first": "second"})
    model.second = nn.LayerNorm(10)
    with pytest.raises(InputError, match=r"second \(LayerNorm\) follows a layer that loses heads"):
        prune_heads(model, {"first": [0]}, following={"first": "second"})
    gated = gat.nn.TransformerConv(6, 5, heads=2, beta=True)
    with pytest.raises(InputError, match="gate of beta=True looks at the channels of all heads"):
        prune_heads(gated, {"": [0]}, following={"": []})
    with pytest.raises(InputError, match="has no head 2"):
        prune_heads(model, {"first": [2]}, following={"first": []})
    with uniform_attention(model), pytest.raises(InputError, match="prune heads outside of it"):
        prune_heads(model, {"first": [0]}, following={"first": []})


def test_a_compiled_network_gives_an_uncompiled_smaller_one():
    model, heads, given = network("paper")
    smaller = prune_heads(torch.compile(model), heads)
    assert type(smaller) is GAT
    check_same(model, smaller, heads, *given)
