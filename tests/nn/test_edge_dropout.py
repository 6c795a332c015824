"""Edges left out in training, and scores without the target's term."""

import pytest
import torch

import gat
import gat.nn
from gat.errors import InputError
from gat.graph import graph_of
from tests.graphs import GRAPHS
from tests.nn.twins import GATS, features

P = 0.4


def layer_of(name, **options):
    return getattr(gat.nn, name)(6, 5, heads=3, **options).double()


def attended(layer, x, edge_index, seed, *rest):
    """Output, edges and weights after this seed."""
    torch.manual_seed(seed)
    out, (edges, weights) = layer(x, edge_index, *rest, return_attention_weights=True)
    return out, edges, weights


def copies(edge_index, num_nodes, count):
    """So many of one graph beside one another."""
    first = torch.arange(count).repeat_interleave(edge_index.size(1)) * num_nodes
    return edge_index.repeat(1, count) + first


@pytest.mark.parametrize("name", GATS)
@pytest.mark.parametrize("graph", ["random", "loops_and_duplicates", "hub", "no_edges"])
def test_what_is_left_is_a_softmax_over_the_edges_left(name, graph):
    edge_index, x, _, num_dst = features(graph)
    layer = layer_of(name, edge_dropout=P)
    out, (source, target), weights = attended(layer, x, edge_index, 0)
    kept = weights[:, 0] > 0
    assert torch.equal(weights > 0, kept[:, None].expand_as(weights))  # for all heads at once
    sums = torch.zeros(num_dst, 3).double().index_add(0, target, weights)
    has = torch.bincount(target[kept], minlength=num_dst) > 0
    torch.testing.assert_close(sums, has[:, None].double().expand(-1, 3))
    if layer.add_self_loops:
        layer.add_self_loops = False
    left = torch.stack([source, target])[:, kept]
    plain, (_, own) = layer.eval()(x, graph_of(left, num_dst), return_attention_weights=True)
    torch.testing.assert_close(own, weights[kept])
    torch.testing.assert_close(plain, out)


@pytest.mark.parametrize("name", GATS)
def test_about_as_many_edges_are_left_as_asked_loops_not_spared(name):
    edge_index = copies(GRAPHS["random"][0], 31, 100)
    x, layer = torch.randn(3100, 6).double(), layer_of(name, edge_dropout=P)
    _, _, weights = attended(layer, x, edge_index, 0)
    for kept in (weights[:-3100, 0] > 0, weights[-3100:, 0] > 0):
        share, deviation = float(kept.double().mean()), (P * (1 - P) / kept.numel()) ** 0.5
        assert abs(share - (1 - P)) < 5 * deviation


def test_the_mean_over_draws_is_the_mean_over_all_subsets():
    """Of one target with two neighbours and its loop: eight subsets, each with its probability."""
    x, layer = torch.randn(3, 6).double(), layer_of("GATConv", edge_dropout=P, bias=False)
    edge_index = copies(torch.tensor([[1, 2], [0, 0]]), 3, 4000)
    with torch.no_grad():
        outs = attended(layer, x.repeat(4000, 1), edge_index, 0)[0][::3]
    layer.requires_grad_(False)
    score = (layer.lin(x).view(3, 3, 5) * layer.att_src).sum(-1)
    score = score + (layer.lin(x[:1]).view(1, 3, 5) * layer.att_dst).sum(-1)
    power = torch.nn.functional.leaky_relu(score, 0.2).exp()
    expected = torch.zeros(3, 5).double()
    for subset in range(8):
        chosen = torch.tensor([float(subset >> k & 1) for k in range(3)]).double()
        chance = torch.where(chosen > 0, 1 - P, P).prod()
        weights = power * chosen[:, None]
        weights = weights / weights.sum(0).clamp(min=1e-300)
        expected += chance * torch.einsum("nh,nhc->hc", weights, layer.lin(x).view(3, 3, 5))
    error = outs.std(dim=0) / 4000**0.5
    assert float(((outs.mean(0) - expected.flatten()).abs() / error).max()) < 4.5


@pytest.mark.parametrize("name", GATS)
def test_nothing_is_left_out_at_zero_nor_in_evaluation(name):
    edge_index, x, _, _ = features("random")
    plain, none, some = (layer_of(name, edge_dropout=p) for p in (0.0, 0.0, P))
    none.load_state_dict(plain.state_dict())
    some.load_state_dict(plain.state_dict())
    expected = plain(x, edge_index)
    assert torch.equal(none(x, edge_index), expected)
    assert torch.equal(some.eval()(x, edge_index), expected)
    assert not torch.allclose(some.train()(x, edge_index), expected)


@pytest.mark.parametrize("name", GATS)
def test_everything_left_out_leaves_the_bias(name):
    edge_index, x, _, _ = features("random")
    layer = layer_of(name, edge_dropout=1.0)
    torch.nn.init.normal_(layer.bias)
    out = layer(x, edge_index)
    torch.testing.assert_close(out, layer.bias.expand_as(out))
    out.sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in layer.parameters())


@pytest.mark.parametrize("name", GATS)
def test_gradients_with_edges_left_out(name):
    edge_index, x, edge_attr, _ = features("loops_and_duplicates")
    layer = layer_of(name, edge_dropout=P, edge_dim=3, symmetric_norm=True)

    def run(*inputs):
        torch.manual_seed(3)
        return layer(inputs[0], edge_index, inputs[1])

    assert torch.autograd.gradcheck(run, (x.requires_grad_(), edge_attr.requires_grad_()))


def test_degrees_stay_those_of_the_whole_graph():
    edge_index, x, _, _ = features("random")
    plain, scaled = (
        layer_of("GATConv", edge_dropout=P, bias=False, symmetric_norm=norm)
        for norm in (False, True)
    )
    scaled.load_state_dict(plain.state_dict())
    _, (source, target), weights = attended(plain, x, edge_index, 1)
    graph = graph_of(edge_index, 31).with_self_loops()
    factor = (graph.in_degree[target] / graph.out_degree[source]).double().sqrt()
    message = (factor[:, None] * weights).unsqueeze(-1) * plain.lin(x).view(-1, 3, 5)[source]
    expected = torch.zeros(31, 3, 5).double().index_add(0, target, message)
    torch.testing.assert_close(attended(scaled, x, edge_index, 1)[0], expected.flatten(1))


def test_a_batch_of_features_loses_the_same_edges():
    edge_index, x, _, _ = features("random")
    layer = layer_of("GATConv", edge_dropout=P)
    _, _, weights = attended(layer, torch.stack([x, 2 * x, x]), edge_index, 0)
    assert torch.equal(weights[0] > 0, weights[1] > 0)
    torch.testing.assert_close(weights[0], weights[2])


@pytest.mark.parametrize("name", GATS)
@pytest.mark.parametrize("when", ["before_dropout", "after_dropout"])
def test_recorded_are_the_weights_summed_by_or_those_of_all_edges(name, when):
    edge_index, x, _, _ = features("random")
    layer = layer_of(name, edge_dropout=P, add_self_loops=False)
    torch.manual_seed(5)
    with gat.record_attention(torch.nn.Sequential(layer), when=when) as attention:
        out = layer(x, edge_index)
    expected, _, weights = attended(layer, x, edge_index, 5)
    assert torch.equal(out, expected)
    if when == "before_dropout":
        _, _, weights = attended(layer.eval(), x, edge_index, 5)
    (record,) = attention.values()
    torch.testing.assert_close(record.weights, weights.float().to(record.weights.dtype))


def test_pygs_way_does_not_know_it():
    edge_index, x, _, _ = features("random")
    layer = gat.nn.GATConv(6, 5, aggr="mean", edge_dropout=P).double()
    with pytest.raises(InputError, match="edge_dropout in training cannot"):
        layer(x, edge_index)
    assert layer.eval()(x, edge_index).shape == (31, 5)
    layer = gat.nn.GATConv(6, 5, aggr="mean", target_score=False).double()
    with pytest.raises(InputError, match="target_score=False cannot"):
        layer(x, edge_index)


def test_a_probability_is_expected():
    with pytest.raises(InputError, match="edge_dropout is 2; expected a probability"):
        gat.nn.GATv2Conv(6, 5, edge_dropout=2)


@pytest.mark.parametrize("graph", ["random", "bipartite_wide", "hub"])
def test_without_the_targets_term_sources_alone_are_scored(graph):
    edge_index, x, _, num_dst = features(graph)
    with_it, without = layer_of("GATConv"), layer_of("GATConv", target_score=False)
    without.load_state_dict(with_it.state_dict())
    assert torch.equal(without.att_dst, with_it.att_dst)
    with torch.no_grad():
        with_it.att_dst.zero_()
    edges = graph_of(edge_index, (x.size(0), num_dst))
    torch.testing.assert_close(without(x, edges), with_it(x, edges))
    without(x, edges).sum().backward()
    assert not without.att_dst.requires_grad
    assert without.att_dst.grad is None
    assert without.att_src.grad is not None
    assert GRAPHS[graph][1] == x.size(0)
