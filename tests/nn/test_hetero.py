"""HeteroConv and to_hetero: our layers in PyG's wrappers, PyG's in ours, weights returned."""

import inspect

import pytest
import torch
import torch_geometric.nn as pyg
from torch_geometric.nn import to_hetero

import gat.nn
from gat.errors import InputError
from gat.graph import Graph
from gat.nn.hetero_conv import HeteroConv
from gat.nn.rgat_conv import RGATConv
from tests.device import generator

# Layers that take a pair of node sets, and those that take one.
NAMES = ["GATConv", "GATv2Conv", "TransformerConv"]
ALONE = {"SuperGATConv": {"in_channels": 6, "out_channels": 6}, "AGNNConv": {}}
OPTIONS = {name: {"add_self_loops": False} for name in ("GATConv", "GATv2Conv")}
EDGE_DIM = 2
SIZES = {"author": 11, "paper": 31}
TYPES = [("author", "writes", "paper"), ("paper", "cites", "paper"), ("paper", "by", "author")]
METADATA = (list(SIZES), TYPES)


def inputs():
    """x_dict, edge_index_dict and edge_attr_dict of authors and papers."""
    draw = generator(1)
    x_dict = {
        kind: torch.randn(size, 6, dtype=torch.float64, generator=draw)
        for kind, size in SIZES.items()
    }
    edges, features = {}, {}
    for number, (src, rel, dst) in enumerate(TYPES):
        count = 23 * (number + 1)
        ends = [torch.randint(SIZES[kind], (count,), generator=draw) for kind in (src, dst)]
        edges[src, rel, dst] = torch.stack(ends)
        features[src, rel, dst] = torch.randn(count, EDGE_DIM, dtype=torch.float64, generator=draw)
    return x_dict, edges, features


def convs(layers, name):
    """A layer for each edge type, the same parameters for PyG's and ours."""
    torch.manual_seed(2)
    make = getattr(layers, name)
    options = {"edge_dim": EDGE_DIM, "heads": 2, **OPTIONS.get(name, {})}
    return {edge_type: make((6, 6), 5, **options).double() for edge_type in TYPES}


def outputs_and_gradients(module, x_dict, *args, **kwargs):
    """What a module gives each node type, and the gradients of features and parameters."""
    leaves = {kind: x.clone().requires_grad_() for kind, x in x_dict.items()}
    out = module(leaves, *args, **kwargs)
    sum(o.square().sum() for o in out.values()).backward()
    return out, [x.grad for x in leaves.values()], [p.grad for p in module.parameters()]


@pytest.mark.parametrize("aggr", ["sum", "mean", "min", "max", "cat", None], ids=str)
@pytest.mark.parametrize("wrapper", [pyg.HeteroConv, HeteroConv], ids=["pygs", "ours"])
@pytest.mark.parametrize("name", NAMES)
def test_our_layers_in_heteroconv_equal_pygs(name, wrapper, aggr):
    x_dict, edges, features = inputs()
    results = []
    for layers, wrap in ((pyg, pyg.HeteroConv), (gat.nn, wrapper)):
        module = wrap(convs(layers, name), aggr=aggr)
        results.append(outputs_and_gradients(module, x_dict, edges, edge_attr_dict=features))
    torch.testing.assert_close(results[1], results[0])


@pytest.mark.parametrize("aggr", ["sum", "max", "cat", None], ids=str)
@pytest.mark.parametrize("layers", [pyg, gat.nn], ids=["pygs_layers", "our_layers"])
@pytest.mark.parametrize("name", NAMES)
def test_heteroconv_returns_the_weights_asked_for(name, layers, aggr):
    """PyG's tries to combine tuples, pyg-team/pytorch_geometric#9677."""
    x_dict, edges, features = inputs()
    module = HeteroConv(convs(layers, name), aggr=aggr)
    expected = module(x_dict, edges, edge_attr_dict=features)
    asked = dict.fromkeys(TYPES[:2], True)
    out, weights = module(
        x_dict, edges, edge_attr_dict=features, return_attention_weights_dict=asked
    )
    torch.testing.assert_close(out, expected)
    assert list(weights) == TYPES[:2]
    for edge_type in asked:
        pair = x_dict[edge_type[0]], x_dict[edge_type[2]]
        if edge_type[0] == edge_type[2]:
            pair = pair[0]
        conv = module.convs[edge_type]
        _, (listed, alone) = conv(
            pair, edges[edge_type], features[edge_type], return_attention_weights=True
        )
        assert torch.equal(weights[edge_type][0], listed)
        torch.testing.assert_close(weights[edge_type][1], alone)
    with pytest.raises((TypeError, AttributeError)):
        pyg.HeteroConv(convs(layers, name))(
            x_dict, edges, edge_attr_dict=features,
            return_attention_weights_dict=dict.fromkeys(TYPES, True),
        )  # fmt: skip


def test_weights_of_one_layer_of_several_edge_types_and_of_graphs():
    """A layer may serve two edge types; weights stay with the edge type."""
    x_dict, edges, _ = inputs()
    shared = gat.nn.GATConv((6, 6), 5, add_self_loops=False).double()
    module = HeteroConv({TYPES[0]: shared, TYPES[2]: shared})
    edges = {
        (src, rel, dst): Graph.from_edge_index(e, (SIZES[src], SIZES[dst]))
        for (src, rel, dst), e in edges.items()
    }
    asked = {TYPES[0]: True, TYPES[2]: True}
    out, weights = module(x_dict, edges, return_attention_weights_dict=asked)
    assert list(weights) == [TYPES[0], TYPES[2]]
    assert [w.shape for _, w in weights.values()] == [(23, 1), (69, 1)]
    assert {kind: o.shape for kind, o in out.items()} == {"paper": (31, 5), "author": (11, 5)}


def test_an_edge_type_without_edges_is_left_out_and_one_without_a_layer_refused():
    x_dict, edges, features = inputs()
    module = HeteroConv(convs(gat.nn, "GATConv"))
    del edges[TYPES[1]]
    out, weights = module(
        x_dict, edges, return_attention_weights_dict={TYPES[0]: True, TYPES[1]: True}
    )
    assert list(weights) == [TYPES[0]]
    assert list(out) == ["paper", "author"]
    with pytest.raises(InputError, match=r"names edge type \('a', 'b', 'c'\), which has no layer"):
        module(x_dict, edges, return_attention_weights_dict={("a", "b", "c"): True})
    with pytest.raises(ValueError, match="need to end with '_dict'"):
        module(x_dict, edges, return_attention_weights_dict={}, edge_attr=features)


def test_heteroconv_is_pygs_otherwise():
    theirs, ours = pyg.HeteroConv(convs(pyg, "GATConv")), HeteroConv(convs(gat.nn, "GATConv"))
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert inspect.signature(HeteroConv) == inspect.signature(pyg.HeteroConv)
    assert isinstance(ours, pyg.HeteroConv)
    theirs.__class__ = HeteroConv
    x_dict, edges, _ = inputs()
    _, weights = theirs(x_dict, edges, return_attention_weights_dict={TYPES[0]: True})
    assert list(weights) == [TYPES[0]]


def homogeneous(layers, name):
    """Two layers of lazy sizes, for to_hetero."""

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            make, options = getattr(layers, name), OPTIONS.get(name, {})
            self.first = make((-1, -1), 4, heads=2, edge_dim=EDGE_DIM, **options)
            self.second = make((-1, -1), 3, edge_dim=EDGE_DIM, **options)

        def forward(self, x, edge_index, edge_attr):
            return self.second(self.first(x, edge_index, edge_attr).relu(), edge_index, edge_attr)

    return Model()


@pytest.mark.parametrize("name", NAMES)
def test_our_layers_under_to_hetero_equal_pygs(name):
    x_dict, edges, features = inputs()
    results, state = [], None
    for layers in (pyg, gat.nn):
        model = to_hetero(homogeneous(layers, name), METADATA, aggr="sum").double()
        with torch.no_grad():
            model(x_dict, edges, features)  # sizes are known from here on
        state = model.state_dict() if state is None else state
        model.load_state_dict(state)
        results.append(outputs_and_gradients(model, x_dict, edges, features))
    torch.testing.assert_close(results[1], results[0])


def test_a_relational_layer_on_the_homogeneous_form_of_the_graph():
    """RGATConv takes the graph as one: node types side by side, edge types as relations."""
    x_dict, edges, _ = inputs()
    start = {"author": 0, "paper": SIZES["author"]}
    shifted = [e + torch.tensor([[start[t[0]]], [start[t[2]]]]) for t, e in edges.items()]
    edge_index = torch.cat(shifted, dim=1)
    edge_type = torch.arange(3).repeat_interleave(torch.tensor([e.size(1) for e in shifted]))
    x = torch.cat(list(x_dict.values()))
    theirs = pyg.RGATConv(6, 5, 3, heads=2).double()
    ours = RGATConv(6, 5, 3, heads=2).double()
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours(x, edge_index, edge_type), theirs(x, edge_index, edge_type))


class Alone(torch.nn.Module):
    """A layer that takes one set of nodes, then a linear one."""

    def __init__(self, layers, name):
        super().__init__()
        self.conv = getattr(layers, name)(**ALONE[name])
        self.linear = torch.nn.Linear(6, 3)

    def forward(self, x, edge_index):
        return self.linear(self.conv(x, edge_index))


@pytest.mark.parametrize("wrapper", ["HeteroConv", "to_hetero"])
@pytest.mark.parametrize("name", ALONE)
def test_layers_of_one_set_of_nodes_between_nodes_of_one_type(name, wrapper):
    types = [("paper", "cites", "paper"), ("paper", "like", "paper")]
    x_dict, edges, _ = inputs()
    x_dict = {"paper": x_dict["paper"]}
    edges = {types[0]: edges[types[0]], types[1]: edges[types[0]].flip(0)[:, ::2]}
    results, modules = [], []
    for layers in (pyg, gat.nn):
        if wrapper == "to_hetero":
            module = to_hetero(Alone(layers, name), (["paper"], types))
        else:
            made = {each: getattr(layers, name)(**ALONE[name]) for each in types}
            module = layers.HeteroConv(made)
        modules.append(module.double().eval())
        modules[-1].load_state_dict(modules[0].state_dict())
        results.append(outputs_and_gradients(module, x_dict, edges))
    torch.testing.assert_close(results[1], results[0])
    if wrapper == "HeteroConv":
        asked = dict.fromkeys(types, True)
        out, weights = modules[1](x_dict, edges, return_attention_weights_dict=asked)
        torch.testing.assert_close(out, results[1][0])
        for (src_dst, each), given in zip(weights.values(), edges.values(), strict=True):
            own = given[0] != given[1]
            assert torch.equal(src_dst[:, : int(own.sum())], given[:, own])
            total = torch.zeros(31, 1).double().index_add(0, src_dst[1], each)
            torch.testing.assert_close(total, torch.ones_like(total))
