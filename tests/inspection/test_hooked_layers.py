"""Interventions on FAConv and HGTConv, which stay PyG's."""

from dataclasses import replace

import pytest
import torch
import torch_geometric.nn as pyg

from gat.errors import InputError
from gat.inspection.interventions.contexts import (
    bias_edges,
    change_attention,
    freeze_attention,
    mask_edges,
    switch_off_heads,
    uniform_attention,
)
from tests.graphs import GRAPHS
from tests.inspection.patched import listed, origin, softmax_replaced

KINDS = [("a", "to", "b"), ("b", "to", "b"), ("b", "back", "a")]
WIDTH, HEADS = 6, 2


def fa(**options):
    return pyg.FAConv(WIDTH, **options).double()


def fa_out(layer, x, graph_edges, weights):
    """FAConv's sum of such weights [E'] of the edges it lists."""
    edges, norm = pyg.conv.gcn_conv.gcn_norm(graph_edges, None, x.size(0), dtype=x.dtype)
    messages = x[edges[0]] * (weights * norm).view(-1, 1)
    return torch.zeros_like(x).index_add(0, edges[1], messages) + layer.eps * x


@pytest.mark.parametrize("graph", ["loops_and_duplicates", "random", "isolated_nodes"])
def test_signed_weights(graph):
    edge_index, num_nodes, _ = GRAPHS[graph]
    layer, x = fa(), torch.randn(num_nodes, WIDTH, dtype=torch.float64)
    number = origin("GATConv", edge_index, num_nodes)
    plain, (edges, weights) = layer(x, x, edge_index, return_attention_weights=True)
    kept = torch.rand(edge_index.size(1)) < 0.5
    rows = listed(kept, number, torch.tensor(True))
    added = torch.randn(edge_index.size(1), dtype=torch.float64)
    moved = listed(added, number, torch.zeros((), dtype=torch.float64))
    degree = edges[1].bincount(minlength=num_nodes)[edges[1]]
    cases = [
        (uniform_attention(layer), 1 / degree),
        (mask_edges(layer, kept), weights * rows),
        (bias_edges(layer, added), torch.tanh(torch.atanh(weights) + moved)),
        (change_attention(layer, lambda r: (r.weights.abs(), r.loops.abs())), weights.abs()),
        (switch_off_heads(layer, {"": [0]}), 0 * weights),
    ]
    for intervention, expected in cases:
        with intervention:
            out, (_, used) = layer(x, x, edge_index, return_attention_weights=True)
        torch.testing.assert_close(used, expected.to(used))
        torch.testing.assert_close(out, fa_out(layer, x, edge_index, expected.to(used)))
    assert torch.equal(layer(x, x, edge_index), plain)
    assert not layer._message_forward_hooks
    assert not layer._forward_pre_hooks


def test_signed_weights_frozen_and_dropped():
    edge_index, num_nodes, _ = GRAPHS["loops_and_duplicates"]
    layer, records = fa(dropout=0.5), []
    one, other = torch.randn(2, num_nodes, WIDTH, dtype=torch.float64)
    with change_attention(layer.eval(), lambda r: records.append(r) or r.weights):
        expected = layer(one, one, edge_index, return_attention_weights=True)[1][1]
    record = replace(records[0], weights=records[0].weights.detach())
    with freeze_attention(layer, record):
        used = layer(other, other, edge_index, return_attention_weights=True)[1][1]
        torch.testing.assert_close(used, expected)
        quiet = layer(one, other, edge_index)
        assert not torch.allclose(layer.train()(one, other, edge_index), quiet)


@pytest.mark.parametrize("options", [{"cached": True}, {}])
def test_signed_layer_over_edges_that_it_was_not_given(options):
    edge_index, num_nodes, _ = GRAPHS["random"]
    layer, x = fa(**options), torch.randn(num_nodes, WIDTH, dtype=torch.float64)
    other = edge_index.flip(0) if options else torch.eye(num_nodes).double().to_sparse_csr()
    layer(x, x, edge_index)
    with pytest.raises(InputError, match="FAConv can be changed over an edge_index"):
        with_uniform(layer, x, other)


def with_uniform(layer, x, edges):
    with uniform_attention(layer):
        return layer(x, x, edges)


def hgt():
    torch.manual_seed(2)
    layer = pyg.HGTConv(WIDTH, 8, (["a", "b"], KINDS), heads=HEADS).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    sizes = {"a": 9, "b": 7}
    x = {kind: torch.randn(size, WIDTH, dtype=torch.float64) for kind, size in sizes.items()}
    edges = {
        (src, name, dst): torch.stack(
            [torch.randint(sizes[src], (count,)), torch.randint(sizes[dst], (count,))]
        )
        for (src, name, dst), count in zip(KINDS, (20, 15, 25), strict=True)
    }
    return layer, x, edges


def check(layer, x, edges, intervention, make):
    with softmax_replaced("hgt_conv", make):
        expected = layer(x, edges)
    with intervention:
        torch.testing.assert_close(layer(x, edges), expected)
    with softmax_replaced("hgt_conv", lambda s, index, softmax: softmax(s)):
        torch.testing.assert_close(layer(x, edges), expected_plain(layer, x, edges))


def expected_plain(layer, x, edges):
    with change_attention(layer, lambda record: record.weights):
        return layer(x, edges)


def test_weights_over_edges_of_all_types():
    layer, x, edges = hgt()
    kept, added = torch.rand(15) < 0.5, torch.randn(25, HEADS, dtype=torch.float64)
    weights = {kind: torch.rand(pair.size(1), HEADS).double() for kind, pair in edges.items()}

    def rows(kind, own, other):
        return torch.cat([own if k == kind else other(edges[k].size(1)) for k in KINDS])

    def attend(count):
        return torch.ones(count, dtype=torch.bool)

    def nothing(count):
        return torch.zeros(count, HEADS, dtype=torch.float64)

    every = torch.cat([weights[kind] for kind in KINDS])
    cases = [
        (uniform_attention(layer), lambda s, i, f: f(0 * s)),
        (
            mask_edges(layer, {KINDS[1]: kept}),
            lambda s, i, f: f(s.masked_fill(~rows(KINDS[1], kept, attend).view(-1, 1), -torch.inf)),
        ),
        (
            bias_edges(layer, {KINDS[2]: added}),
            lambda s, i, f: f(s + rows(KINDS[2], added, nothing)),
        ),
        (change_attention(layer, lambda r: weights[r.edge_type]), lambda s, i, f: every),
        (
            switch_off_heads(layer, {"": [1]}),
            lambda s, i, f: f(s) * torch.tensor([1.0, 0.0], dtype=torch.float64),
        ),
    ]
    for intervention, make in cases:
        check(layer, x, edges, intervention, make)
    assert not layer._message_forward_hooks


def test_records_of_all_types_are_told_and_frozen():
    layer, x, edges = hgt()
    records = []
    with change_attention(layer, lambda r: records.append(r) or r.weights):
        expected = layer(x, edges)
    assert [record.edge_type for record in records] == KINDS
    for record in records:
        assert torch.equal(record.edge_index, edges[record.edge_type])
    to_b = records[0].sums + records[1].sums
    torch.testing.assert_close(to_b[to_b > 0], torch.ones_like(to_b[to_b > 0]))
    frozen = [replace(record, weights=record.weights.detach() * 2) for record in records]
    with change_attention(layer, lambda r: 2 * r.weights):
        doubled = layer(x, edges)
    with freeze_attention(layer, frozen):
        torch.testing.assert_close(layer(x, edges), doubled)
    torch.testing.assert_close(layer(x, edges), expected)
    with (
        pytest.raises(InputError, match="attends over edges of several types; expected mask to be"),
        mask_edges(layer, torch.ones(60).bool()),
    ):
        layer(x, edges)
