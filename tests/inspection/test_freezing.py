"""freeze_attention: which record goes where, and records that cannot be used."""

from dataclasses import replace

import pytest
import torch
import torch_geometric.nn as pyg

import gat.nn
from gat.errors import InputError
from gat.inspection.interventions.contexts import (
    change_attention,
    freeze_attention,
    mask_edges,
    uniform_attention,
)
from gat.inspection.record import Attention, AttentionRecord
from tests.graphs import GRAPHS

EDGES, NODES, _ = GRAPHS["loops_and_duplicates"]
COUNT = EDGES.size(1)


class Network(torch.nn.Module):
    """Two layers, or one that is called twice."""

    def __init__(self, shared=False):
        super().__init__()
        self.conv1 = gat.nn.GATConv(6, 3, heads=2)
        self.conv2 = self.conv1 if shared else gat.nn.TransformerConv(6, 4, heads=2)

    def forward(self, x, edge_index):
        return self.conv2(self.conv1(x, edge_index).tanh(), edge_index)


def record_of(layer, x, name="", edges=EDGES, **fields):
    """What a layer attends to, as the recorder has it."""
    _, (listed, weights) = layer(x, edges, return_attention_weights=True)
    graph = gat.Graph.from_edge_index(edges, NODES)
    graph = graph.with_self_loops() if layer.add_self_loops else graph
    assert torch.equal(graph.edge_index, listed)
    own, loops = graph.to_caller(weights).detach(), graph.added_loops(weights).detach()
    kind = type(layer).__name__
    record = AttentionRecord(name, kind, "before_dropout", edges, own, loops, NODES, NODES)
    return replace(record, **fields)


def features():
    return torch.randn(NODES, 6)


def weights_of(layer, x):
    return layer(x, EDGES, return_attention_weights=True)[1][1].detach()


@pytest.mark.parametrize("library", [gat.nn, pyg], ids=["gat", "pyg"])
@pytest.mark.parametrize("loops", [True, False])
def test_the_attention_of_other_features(library, loops):
    layer = library.GATConv(6, 3, heads=2, add_self_loops=loops)
    one, other = features(), features()
    record = record_of(layer, one)
    kept = weights_of(layer, one)
    with freeze_attention(layer, record):
        torch.testing.assert_close(weights_of(layer, other), kept)
        torch.testing.assert_close(layer(one, EDGES), layer(one, EDGES))
        out = layer(one, EDGES)
        out.sum().backward()
    torch.testing.assert_close(out, layer(one, EDGES))
    assert layer.att_src.grad is None
    assert layer.lin.weight.grad.any()


def test_records_go_to_the_layers_they_are_of():
    model, x = Network().eval(), features()
    other = features()
    hidden = model.conv1(other, EDGES).tanh()
    attention = Attention(
        [record_of(model.conv2, hidden, "conv2"), record_of(model.conv1, other, "conv1")]
    )
    first, second = weights_of(model.conv1, x), weights_of(model.conv2, x)
    frozen_first, frozen_second = weights_of(model.conv1, other), weights_of(model.conv2, hidden)
    with freeze_attention(model, attention):
        torch.testing.assert_close(weights_of(model.conv1, x), frozen_first)
        torch.testing.assert_close(weights_of(model.conv2, x), frozen_second)
    with freeze_attention(model, attention, layers="conv2"):
        assert torch.equal(weights_of(model.conv1, x), first)
        torch.testing.assert_close(weights_of(model.conv2, x), frozen_second)
    with freeze_attention(model, attention["conv1"]):
        torch.testing.assert_close(weights_of(model.conv1, x), frozen_first)
        assert torch.equal(weights_of(model.conv2, x), second)
    # One layer's record in another layer.
    with freeze_attention(model, attention["conv1"], layers="conv2"):
        torch.testing.assert_close(weights_of(model.conv2, x), attention["conv1"].weights)


def test_calls_of_one_layer_take_their_records_in_turn():
    model = Network(shared=True)
    x = features()
    records = [record_of(model.conv1, features(), name) for name in ("conv1", "conv1#2")]
    for _ in range(2):
        with freeze_attention(model, Attention(records)):
            first = weights_of(model.conv1, x)
            second = weights_of(model.conv1, x)
            third = weights_of(model.conv1, x)
        for seen, record in ((first, records[0]), (second, records[1]), (third, records[0])):
            own = EDGES[0] != EDGES[1]
            torch.testing.assert_close(seen[: int(own.sum())], record.weights[own])


def test_some_heads_and_some_nodes():
    layer, x = gat.nn.GATConv(6, 3, heads=2), features()
    record, plain = record_of(layer, features()), weights_of(layer, x)
    with freeze_attention(layer, record):
        frozen = weights_of(layer, x)
    with freeze_attention(layer, record.head(1)):
        torch.testing.assert_close(
            weights_of(layer, x), torch.stack([plain[:, 0], frozen[:, 1]], 1)
        )
    seen = torch.tensor([False, True, False])
    rows = seen[EDGES[1]].nonzero().squeeze(1).flip(0)
    partial = replace(
        record, edge_index=EDGES[:, rows], weights=record.weights[rows], edge_id=rows, seen=seen
    )
    target = layer(x, EDGES, return_attention_weights=True)[1][0][1]
    with freeze_attention(layer, partial):
        expected = torch.where(seen[target].view(-1, 1), frozen, plain)
        torch.testing.assert_close(weights_of(layer, x), expected)
    sampled = replace(partial, complete=torch.zeros(3, dtype=torch.bool))
    with pytest.raises(InputError, match=r"'' has node 1 with some of its edges only; freeze"):
        freeze_attention(layer, sampled).__enter__()


def test_in_training_weights_are_dropped_once():
    layer, x = gat.nn.GATConv(6, 3, heads=2, dropout=0.5), features()
    record = record_of(layer.eval(), x)
    layer.train()
    with freeze_attention(layer, record):
        used = weights_of(layer, x)
    with freeze_attention(layer.eval(), record):
        whole = weights_of(layer, x)
    kept = used > 0
    assert kept.any()
    assert not kept.all()
    torch.testing.assert_close(used[kept], 2 * whole[kept])
    after = replace(record, when="after_dropout")
    told = r"GATConv is in training and would drop the weights of '' again, .* 'before_dropout'"
    with pytest.raises(InputError, match=told.replace("'before", "when='before")):
        with_frozen(layer.train(), after, x)
    torch.testing.assert_close(with_frozen(layer.eval(), after, x), layer(x, EDGES))


def with_frozen(layer, record, x, edges=EDGES):
    with freeze_attention(layer, record):
        return layer(x, edges)


def test_records_of_other_edges_are_refused():
    layer, x = gat.nn.GATConv(6, 3, heads=2), features()
    record = record_of(layer, x)
    others = r"has as many edges as GATConv attends over, but others, or in another order"
    for edges in (EDGES.flip(1), EDGES.flip(0)):
        with pytest.raises(InputError, match=others):
            with_frozen(layer, record, x, edges)
    with pytest.raises(InputError, match=r"attends over 6 edges to 3 nodes, .* of 7 edges to 3"):
        with_frozen(layer, record, x, EDGES[:, 1:])
    with pytest.raises(InputError, match="GATConv has no head 1; expected numbers from 0 to 0"):
        with_frozen(gat.nn.GATConv(6, 3), record, x)
    # A copy of the edges is as good.
    with_frozen(layer, record, x, EDGES.clone())


def test_records_of_no_layer_and_layers_without_a_record_are_refused():
    model, x = Network(), features()
    record = record_of(model.conv1, x, "conv3")
    with pytest.raises(
        InputError, match="a record of 'conv3', and the model has no such attention"
    ):
        freeze_attention(model, record).__enter__()
    named = Attention([replace(record, layer="conv1")])
    with pytest.raises(InputError, match="no record of 'conv2', which is to be frozen"):
        freeze_attention(model, named, layers=["conv1", "conv2"]).__enter__()
    with pytest.raises(InputError, match="no attention records"):
        freeze_attention(model, Attention()).__enter__()


def test_what_is_recorded_inside_an_intervention_can_be_frozen_later():
    layer, x = gat.nn.GATv2Conv(6, 3, heads=2), features()
    with uniform_attention(layer):
        expected = layer(x, EDGES)
        record = record_of(layer, x)
    torch.testing.assert_close(with_frozen(layer, record, x), expected)


@pytest.mark.parametrize("library", [gat.nn, pyg], ids=["gat", "pyg"])
def test_a_model_that_is_itself_a_layer(library):
    layer, x = library.GATConv(6, 3, heads=2), features()
    with gat.record_attention(layer) as attention:
        out = layer(x, EDGES)
    with freeze_attention(layer, attention):
        torch.testing.assert_close(layer(x, EDGES), out)


@pytest.mark.parametrize("library", [gat.nn, pyg], ids=["gat", "pyg"])
def test_a_model_that_is_itself_a_hetero_conv(library):
    kinds = [("a", "to", "a"), ("a", "near", "a")]
    convs = {kind: library.GATConv(6, 3, heads=2) for kind in kinds}
    model, given = library.HeteroConv(convs), dict.fromkeys(kinds, EDGES)
    x = features()
    with gat.record_attention(model) as attention:
        out = model({"a": x}, given)["a"]
    with freeze_attention(model, attention):
        torch.testing.assert_close(model({"a": x}, given)["a"], out)


def test_an_edge_that_the_record_of_a_node_lacks_is_refused():
    model, x = Network(), features()
    with gat.record_attention(model, nodes=[1]) as attention:
        model(x, EDGES)
    elsewhere = torch.cat([EDGES, torch.tensor([[2], [0]])], dim=1)
    there = torch.cat([EDGES, torch.tensor([[2], [1]])], dim=1)
    with freeze_attention(model, attention):
        model(x, elsewhere)
        with pytest.raises(InputError, match="attends over an edge from 2 to 1, and the record"):
            model(x, there)


@pytest.mark.parametrize("nodes", [None, [1]], ids=["all", "one_node"])
def test_a_graph_with_loops_is_frozen_and_masked_as_it_was_recorded(nodes):
    layer, x = gat.nn.GATConv(6, 3, heads=2), features()
    graph = gat.Graph.from_edge_index(EDGES, NODES).with_self_loops()
    with gat.record_attention(layer, nodes=nodes) as attention:
        out = layer(x, graph)
    with freeze_attention(layer, attention):
        torch.testing.assert_close(layer(x, graph), out)
    with gat.record_attention(layer) as attention:
        layer(x, graph)
    keep = ~attention["GATConv"].is_loop
    seen = []
    with mask_edges(layer, keep), gat.record_attention(layer) as masked:
        layer(x, graph)
    with change_attention(layer, lambda record: seen.append(record) or record.weights):
        torch.testing.assert_close(layer(x, graph), out)
    assert not masked["GATConv"].to_self.any()
    assert masked["GATConv"].weights[keep].any()
    assert torch.equal(seen[0].edge_index, attention["GATConv"].edge_index)
    torch.testing.assert_close(seen[0].weights, attention["GATConv"].weights)
