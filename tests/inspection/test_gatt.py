"""GAtt against its definition: every place an edge has in a node's computation tree."""

from dataclasses import replace

import pytest
import torch

from gat.errors import IndexRangeError, InputError
from gat.inspection import AttentionRecord
from gat.inspection.attribution import attention_average, gatt, gatt_each
from tests.graphs import SQUARE
from tests.inspection.attribution_records import (
    BOTH_FLOWS,
    SMALL,
    add_score,
    by_link,
    links,
    places,
    records,
)


def by_definition(layers, node):
    scores = by_link(layers[0], len(layers))
    for layer, link, weight in places([links(one) for one in layers], node):
        add_score(scores, layer, link, weight)
    return scores


@pytest.mark.parametrize("flow", BOTH_FLOWS)
@pytest.mark.parametrize("loops", [True, False], ids=["loops", "no_loops"])
@pytest.mark.parametrize("count", [1, 2, 3], ids="{}_layers".format)
@pytest.mark.parametrize("name", SMALL)
def test_gatt_is_the_sum_over_places_in_the_tree(name, count, loops, flow):
    layers = records(name, count, loops=loops, flow=flow)
    for node in {0, layers[0].num_dst // 2, layers[0].num_dst - 1}:
        got = gatt(layers, node)
        edges, own = by_definition(layers, node)
        assert got.node == node
        torch.testing.assert_close(got.by_layer, edges, rtol=0, atol=1e-14)
        torch.testing.assert_close(got.loops_by_layer, own, rtol=0, atol=1e-14)
        torch.testing.assert_close(got.edges, edges.sum(0))
        torch.testing.assert_close(got.loops, own.sum(0))


def test_gatt_by_hand():
    # 2 -> 1 -> 0 and 2 -> 0, without loops; node 2 hears nobody.
    edges = torch.tensor([[1, 2, 2], [0, 0, 1]])

    def layer(name, weights):
        column = torch.tensor(weights)[:, None]
        return AttentionRecord(name, "", "before_dropout", edges, column, torch.zeros(3, 1), 3, 3)

    layers = [layer("one", [0.9, 0.1, 1.0]), layer("two", [0.25, 0.75, 1.0])]
    scores = gatt(layers, 0)
    # At the root both edges into 0; one level lower the edge into 1, for 1's share.
    assert scores.by_layer.tolist() == [[0, 0, 0.25], [0.25, 0.75, 0]]
    assert scores.edges.tolist() == [0.25, 0.75, 0.25]
    assert gatt(layers, 2).edges.tolist() == [0, 0, 0]


def test_an_edge_with_two_places_gets_both():
    # 0 <-> 1 and a loop at 0: 1 -> 0 is at the root, and below it again by way of the loop.
    edges = torch.tensor([[1, 0, 0], [0, 1, 0]])
    weights = torch.tensor([[0.6], [1.0], [0.4]])
    layers = [
        AttentionRecord(name, "", "before_dropout", edges, weights, torch.zeros(2, 1), 2, 2)
        for name in ("one", "two")
    ]
    assert gatt(layers, 0).edges.tolist() == pytest.approx([0.6 + 0.4 * 0.6, 0.6, 0.4 + 0.16])


@pytest.mark.parametrize("name", SQUARE)
def test_each_layer_s_scores_sum_to_one(name):
    for scores in gatt_each(records(name, 3)):
        sums = scores.by_layer.sum(1) + scores.loops_by_layer.sum(1)
        torch.testing.assert_close(sums, torch.ones(3, dtype=torch.float64))


def test_copies_of_an_edge_have_scores_of_their_own():
    # Edges 1 and 2 are both 0 -> 1; 3 is the second copy of the loop 2 -> 2, which is left out.
    layers = records("loops_and_duplicates", 1)
    scores = gatt(layers, 1).edges
    weights = layers[0].weights.mean(1)
    assert scores[1] == weights[1]
    assert scores[2] == weights[2]
    assert weights[1] != weights[2]
    assert gatt(layers, 2).edges[3] == 0


def test_heads_are_averaged_first():
    layers = records("random", heads=3)
    averaged = [one.mean() for one in layers]
    torch.testing.assert_close(gatt(layers, 5).edges, gatt(averaged, 5).edges)
    one_head = [one.head(1) for one in layers]
    torch.testing.assert_close(gatt(layers, 5, heads=1).edges, gatt(one_head, 5).edges)


@pytest.mark.parametrize("nodes", [None, [5, 97, 5, 0], []], ids=["all", "some", "none"])
def test_gatt_each_is_gatt_of_each(nodes):
    layers = records("hub")
    expected = range(98) if nodes is None else nodes
    got = list(gatt_each(layers, nodes))
    assert [scores.node for scores in got] == list(expected)
    for scores in got:
        torch.testing.assert_close(scores.by_layer, gatt(layers, scores.node).by_layer)
        torch.testing.assert_close(scores.loops_by_layer, gatt(layers, scores.node).loops_by_layer)


def test_gatt_each_checks_at_the_call():
    with pytest.raises(IndexRangeError, match=r"nodes is 98"):
        gatt_each(records("hub"), [3, 98])


def test_a_sampled_neighbourhood_is_refused_by_name():
    complete = torch.ones(31, dtype=torch.bool)
    complete[4] = False
    layers = [replace(one, complete=complete) for one in records("random")]
    with pytest.raises(InputError, match=r"conv2 has not every edge into node 4 on record"):
        gatt(layers, 4)


def test_partial_records_that_hold_the_neighbourhood_will_do():
    # Only the edges into nodes 2 and 3 are recorded, under their numbers: enough for one layer.
    whole = records("path_both_ways", 1)[0]
    rows = torch.tensor([2, 5, 3])
    part = replace(
        whole,
        edge_index=whole.edge_index[:, rows],
        weights=whole.weights[rows],
        edge_id=rows,
        seen=torch.tensor([False, False, True, True]),
    )
    expected = gatt(whole, 2).edges[rows]
    torch.testing.assert_close(gatt(part, 2).edges, expected)


def test_repr_says_what_there_is():
    assert repr(gatt(records("random"), 5)) == "EdgeScores(node=5, 211 edges, 2 layers)"


@pytest.mark.parametrize("name", SQUARE)
def test_attention_average_is_the_mean_over_layers_and_heads(name):
    one, two = records(name, heads=3)
    two = two.head(1)
    expected = (one.weights.mean(1) + two.weights[:, 0]) / 2
    torch.testing.assert_close(attention_average([one, two]), expected)


def test_attention_average_of_one_head():
    layers = records("random", heads=3)
    expected = (layers[0].weights[:, 2] + layers[1].weights[:, 2]) / 2
    torch.testing.assert_close(attention_average(layers, heads=2), expected)
