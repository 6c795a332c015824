"""Layers on a Graph with fewer targets than sources and one tensor x: the targets come first.

What they compute is what they compute of the whole graph for those targets.
"""

import warnings

import pytest
import torch

import gat
import gat.nn
from gat.errors import InputError
from gat.graph import Graph
from gat.nn.rgat_conv import RGATConv
from gat.notices import warn_once
from tests.graphs import GRAPHS
from tests.layer_graphs import all_neighbours

SEEDS = [3, 17, 5, 30]
CHOICES = [
    ("GATConv", {"residual": True}),
    ("GATConv", {"concat": False, "add_self_loops": False}),
    ("GATConv", {"target_score": False}),
    ("GATv2Conv", {"residual": True}),
    ("GATv2Conv", {"share_weights": True}),
    ("TransformerConv", {"beta": True}),
    ("SuperGATConv", {"attention_type": "MX"}),
    ("SuperGATConv", {"attention_type": "SD"}),
    ("AGNNConv", {}),
    ("AttentionConv", {"score": "additive", "residual": "linear"}),
    ("AttentionConv", {"score": "dot", "share": "all", "add_self_loops": True}),
    ("AttentionConv", {"score": "mlp", "gate": "heads", "normalizer": "sparsemax"}),
]
IDS = [f"{name}-{'-'.join(map(str, options))}" for name, options in CHOICES]
SPARSE = [k for k, (name, _) in enumerate(CHOICES) if name != "AGNNConv"]


def build(name, options):
    if name == "AGNNConv":
        return gat.nn.AGNNConv().double()
    layer = getattr(gat.nn, name)(6, 5, heads=2, **options).double()
    return layer.eval() if name == "SuperGATConv" else layer


def one_hop():
    edge_index = GRAPHS["random"][0]
    hops = all_neighbours(edge_index, SEEDS, 1)
    return edge_index, hops, hops.graphs[0]


def gradients(layer, x, *, of):
    layer.zero_grad()
    scale = torch.linspace(-1, 2, of.numel(), dtype=of.dtype).view_as(of)
    (of * scale).sum().backward()
    found = {name: p.grad for name, p in layer.named_parameters() if p.requires_grad}
    return x.grad, found


@pytest.mark.parametrize(("name", "options"), CHOICES, ids=IDS)
def test_outputs_weights_and_gradients_are_the_whole_graphs(name, options):
    edge_index, hops, graph = one_hop()
    layer, x = build(name, options), torch.randn(31, 6, dtype=torch.float64)
    results = []
    for rows, edges, wanted in ((x, edge_index, SEEDS), (x[hops.nodes], graph, slice(None))):
        leaf = rows.clone().requires_grad_()
        out, (_, weights) = layer(leaf, edges, return_attention_weights=True)
        results.append((out[wanted], weights, *gradients(layer, leaf, of=out[wanted])))
    (out, weights, grad, named), (ours, own, own_grad, own_named) = results
    assert ours.shape[0] == len(SEEDS)
    torch.testing.assert_close(ours, out)
    torch.testing.assert_close(own_grad, grad[hops.nodes])
    torch.testing.assert_close(own_named, named)
    if not layer.add_self_loops:
        torch.testing.assert_close(own, weights[hops.edges])


@pytest.mark.parametrize(("name", "options"), CHOICES, ids=IDS)
def test_a_batch_of_features_is_each_of_them(name, options):
    _, _, graph = one_hop()
    layer, x = build(name, options), torch.randn(3, graph.num_src, 6, dtype=torch.float64)
    expected = torch.stack([layer(each, graph) for each in x])
    torch.testing.assert_close(layer(x, graph), expected)


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("choice", SPARSE, ids=[IDS[k] for k in SPARSE])
def test_sparse_features_are_as_dense_ones(choice):
    _, _, graph = one_hop()
    layer, x = build(*CHOICES[choice]), torch.randn(graph.num_src, 6, dtype=torch.float64)
    x = x * (torch.rand(graph.num_src, 6) < 0.3)
    torch.testing.assert_close(layer(x.to_sparse_csr(), graph), layer(x, graph))


def test_edge_features_are_filled_as_in_the_whole_graph():
    edge_index, hops, graph = one_hop()
    x, edge_attr = torch.randn(31, 6), torch.randn(edge_index.size(1), 3)
    for name in ("GATConv", "GATv2Conv"):
        layer = getattr(gat.nn, name)(6, 5, heads=2, edge_dim=3)
        whole = layer(x, edge_index, edge_attr)[SEEDS]
        torch.testing.assert_close(layer(x[hops.nodes], graph, edge_attr[hops.edges]), whole)


def test_relations_too():
    edge_index, hops, graph = one_hop()
    layer = RGATConv(6, 5, num_relations=4, heads=2).double()
    x, edge_type = torch.randn(31, 6, dtype=torch.float64), torch.arange(edge_index.size(1)) % 4
    ours = layer(x[hops.nodes], graph, edge_type[hops.edges])
    torch.testing.assert_close(ours, layer(x, edge_index, edge_type)[SEEDS])
    numbers = torch.randint(6, (31,))
    ours = layer(numbers[hops.nodes], graph, edge_type[hops.edges])
    torch.testing.assert_close(ours, layer(numbers, edge_index, edge_type)[SEEDS])


def test_supergat_trains_against_pairs_that_enter_the_targets():
    _, hops, graph = one_hop()
    layer = gat.nn.SuperGATConv(6, 5, heads=2, neg_sample_ratio=1.0)
    x = torch.randn(31, 6)[hops.nodes]
    drawn = layer._sample_negatives(graph.edge_index, (graph.num_src, graph.num_dst), None)
    assert drawn.size(1) > 0
    assert int(drawn[1].max()) < len(SEEDS)
    edges = set(map(tuple, graph.edge_index.t().tolist()))
    assert edges.isdisjoint(map(tuple, drawn.t().tolist()))
    layer(x, graph)
    assert layer.get_attention_loss().requires_grad


@pytest.mark.parametrize("name", ["GATConv", "SuperGATConv", "AttentionConv"])
def test_one_projection_serves_sources_and_targets(name):
    _, _, graph = one_hop()
    layer, rows = build(name, {}), []
    lin = layer.lin_key if name == "AttentionConv" else layer.lin
    lin.register_forward_hook(lambda module, given, out: rows.append(out.size(0)))
    layer(torch.randn(graph.num_src, 6, dtype=torch.float64), graph)
    assert rows == [graph.num_src]


def test_nobody_is_warned_of_loops_that_are_right():
    _, _, graph = one_hop()
    warn_once.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gat.nn.GATConv(6, 5)(torch.randn(graph.num_src, 6), graph)
    x = torch.randn(graph.num_src, 6)
    with pytest.warns(UserWarning, match="adds an edge from source i to target i"):
        gat.nn.GATConv(6, 5)((x, x[: graph.num_dst]), graph)


@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv", "TransformerConv", "SuperGATConv"])
def test_other_numbers_of_nodes_are_refused(name):
    layer, (_, _, graph) = build(name, {}), one_hop()
    x = torch.randn(graph.num_src + 1, 6, dtype=torch.float64)
    with pytest.raises(InputError, match=f"the graph has {graph.num_src} source nodes, but the"):
        layer(x, graph)
    edge_index, num_src, num_dst = GRAPHS["bipartite_tall"]
    tall = Graph.from_edge_index(edge_index, (num_src, num_dst))
    with pytest.raises(InputError, match="the graph has 17 target nodes, but the features have 3"):
        layer(x[:3], tall)


@pytest.mark.parametrize("seeds", [[], [0], [4]], ids=["none", "hub's end", "isolated"])
def test_few_targets(seeds):
    edge_index = GRAPHS["isolated_nodes"][0]
    hops = all_neighbours(edge_index, seeds, 1)
    layer, x = gat.nn.GATConv(6, 5), torch.randn(7, 6)
    ours = layer(x[hops.nodes], hops.graphs[0])
    torch.testing.assert_close(ours, layer(x, edge_index)[seeds])


def test_the_gradients_are_right():
    _, _, graph = one_hop()
    x = torch.randn(graph.num_src, 6, dtype=torch.float64, requires_grad=True)
    for name in ("GATConv", "GATv2Conv"):
        layer = build(name, {"share_weights": True} if name == "GATv2Conv" else {})
        assert torch.autograd.gradcheck(lambda given, layer=layer: layer(given, graph), x)
