"""Each verdict on records made for it, the borders between them, and what the sentences say."""

import json
import math

import pytest
import torch

from gat.inspection.measures import measure
from gat.inspection.verdict import KINDS, summary, verdicts
from tests.graphs import GRAPHS
from tests.inspection.measure_records import random_record, record_of


def spread(*weights, count=12, loop=None):
    """``count`` targets that all give these weights to as many sources, and ``loop`` to
    themselves."""
    width = len(weights)
    sources = torch.arange(count, count + width).repeat(count)
    targets = torch.arange(count).repeat_interleave(width)
    values = torch.tensor(weights, dtype=torch.float64).repeat(count)
    loops = torch.zeros(count + width, 1, dtype=torch.float64)
    if loop is not None:
        loops[:count], loops[count:] = loop, 1
    return record_of(torch.stack([sources, targets]), values, count + width, loops=loops)


def towards_class(gains):
    """A target of class 0 for each of ``gains``, with one neighbour of class 0 and one of class 1,
    the first of which gets 0.5 + gain; and the classes."""
    count = len(gains)
    sources = torch.tensor([count, count + 1]).repeat(count)
    targets = torch.arange(count).repeat_interleave(2)
    weights = [value for gain in gains for value in (0.5 + gain, 0.5 - gain)]
    y = torch.zeros(count + 2, dtype=torch.int64)
    y[count + 1] = 1
    return record_of(torch.stack([sources, targets]), weights, count + 2), y


def kind(record, y=None):
    (found,) = verdicts(measure(record, y))
    return found.kind


BY_SHAPE = {
    "even": (spread(0.25, 0.25, 0.25, 0.25), "uniform"),
    "one-edge-only": (spread(1.0), "no choice"),
    "on-one": (spread(0.97, 0.01, 0.01, 0.01), "local"),
    # exp(entropy) / 2 is 0.905 and 0.896.
    "just-uniform": (spread(0.72, 0.28), "uniform"),
    "just-local": (spread(0.73, 0.27), "local"),
    "mostly-self": (spread(0.1, 0.1, loop=0.8), "self"),
    "just-self": (spread(0.25, 0.25, loop=0.5), "self"),
    "just-below-half": (spread(0.26, 0.26, loop=0.48), "uniform"),
    # Half is what an even spread over two edges leaves to the node.
    "half-of-two": (spread(0.5, loop=0.5), "uniform"),
    "just-under-the-gain": (spread(0.401, loop=0.599), "uniform"),
    "just-over-the-gain": (spread(0.399, loop=0.601), "self"),
    "nothing-on-self": (spread(0.5, 0.5, loop=0.0), "local"),
}


@pytest.mark.parametrize(("record", "expected"), BY_SHAPE.values(), ids=BY_SHAPE)
def test_verdict_of_a_shape(record, expected):
    assert kind(record) == expected


BY_CLASS = {
    "all-of-it": ([0.5] * 32, "class-seeking"),
    "just-over-the-gain": ([0.101] * 32, "class-seeking"),
    "just-under-the-gain": ([0.099] * 32, "uniform"),
    "away-from-it": ([-0.4] * 32, "local"),
    # Mean 0.11; standard errors 0.0539 and 0.0557, so 2.04 and 1.98 of them.
    "beyond-noise": ([0.41, -0.19] * 16, "class-seeking"),
    "within-noise": ([0.42, -0.20] * 16, "local"),
    "29-nodes": ([0.101] * 29, "uniform"),
    "30-nodes": ([0.101] * 30, "class-seeking"),
}


@pytest.mark.parametrize(("gains", "expected"), BY_CLASS.values(), ids=BY_CLASS)
def test_class_seeking_needs_more_than_noise_and_a_tenth_of_the_weight(gains, expected):
    record, y = towards_class(gains)
    assert kind(record, y) == expected


def test_class_seeking_needs_labels():
    record, y = towards_class([0.5] * 32)
    assert kind(record) == "local"
    assert kind(record, torch.full_like(y, -1)) == "local"
    assert kind(record, torch.zeros_like(y)) == "local"


def test_nodes_whose_neighbours_are_all_of_one_class_do_not_hide_a_seeking_head():
    record, y = towards_class([0.4] * 32)
    targets = torch.arange(34, 434)
    # Four hundred more targets with two neighbours of their class, evenly weighed.
    more = torch.stack([torch.tensor([32, 32]).repeat(400), targets.repeat_interleave(2)])
    weights = torch.cat([record.weights, torch.full((800, 1), 0.5, dtype=torch.float64)])
    whole = record_of(torch.cat([record.edge_index, more], 1), weights, 434)
    found = measure(whole, torch.cat([y, y.new_zeros(400)]))["conv1"]
    assert float(found.same_class.difference) < 0.05
    assert verdicts(found)[0].kind == "class-seeking"


def test_self_comes_before_class_seeking():
    record, y = towards_class([0.11] * 32)
    loops = torch.ones(34, 1, dtype=torch.float64)
    loops[:32] = 0.9
    record = record_of(record.edge_index, record.weights * 0.1, 34, loops=loops)
    found = measure(record, y)["conv1"]
    assert float(found.same_class_mixed.difference) == pytest.approx(0.11)
    assert verdicts(found)[0].kind == "self"


def test_nodes_with_one_edge_do_not_make_a_head_uniform():
    record = spread(0.99, 0.01)
    alone = torch.stack([torch.zeros(500, dtype=torch.int64), torch.arange(14, 514)])
    weights = torch.cat([record.weights, torch.ones(500, 1, dtype=torch.float64)])
    found = verdicts(measure(record_of(torch.cat([record.edge_index, alone], 1), weights, 514)))[0]
    assert found.kind == "local"
    assert (found.numbers["nodes"], found.numbers["left_out"]) == (12, 500)


SENTENCES = {
    "uniform": (
        spread(0.4, 0.2, 0.2, 0.2),
        "Head 0 spreads its attention almost evenly: on average as over 3.79 of 4.00 neighbours.",
    ),
    "uniform-with-loop": (
        spread(0.25, 0.25, 0.25, loop=0.25),
        "Head 0 spreads its attention almost evenly: on average as over 4.00 of 4.00 neighbours, "
        "the node itself included.",
    ),
    "some": (
        spread(0.8, 0.2),
        "Head 0 looks at some of the neighbours more than at the others: on average as over 1.65 "
        "of 2.00 neighbours.",
    ),
    "few": (
        spread(*[1.0] + [0.0] * 11),
        "Head 0 looks at few of the neighbours more than at the others: on average as over 1.0 of "
        "12.0 neighbours.",
    ),
    "self": (
        spread(0.1, 0.1, loop=0.8),
        "Head 0 looks mostly at the node itself: 80 % of its attention stays there, where an even "
        "spread would leave 33 %.",
    ),
    "no-choice": (
        spread(1.0),
        "Head 0 cannot be judged: no recorded node has two edges or more with weight to share "
        "between them.",
    ),
}


@pytest.mark.parametrize(("record", "words"), SENTENCES.values(), ids=SENTENCES)
def test_sentence(record, words):
    assert verdicts(measure(record))[0].sentence == words


def test_sentence_of_a_class_seeking_head():
    record, y = towards_class([0.28, -0.06] * 500)
    assert verdicts(measure(record, y))[0].sentence == (
        "Head 0 prefers neighbours of the node's own class: where a node has neighbours of its own "
        "and of other classes, its own get 61 % of the attention and are 50 % of the neighbours "
        "(1,000 nodes; the difference is known to ±0.5 points, one standard error)."
    )


@pytest.mark.parametrize("name", GRAPHS)
def test_every_head_of_any_graph_gets_one_verdict(name):
    record = random_record(name, heads=2, layer="first")
    record = record_of(record.edge_index, record.weights, record.num_src, record.num_dst,
                       heads=(1, 4), layer="first")  # fmt: skip
    found = verdicts(measure(record))
    assert [(one.layer, one.head) for one in found] == [("first", 1), ("first", 4)]
    assert all(one.kind in KINDS for one in found)
    choosing = measure(record)["first"].nodes.choosing
    assert all((one.kind == "no choice") == (choosing == 0) for one in found)
    json.dumps([one.to_dict() for one in found], allow_nan=False)


def test_numbers_behind_a_verdict():
    record, y = towards_class([0.3] * 12)
    (found,) = verdicts(measure(record, y))
    expected = {
        "degree": 2,
        "self_weight": 0,
        "self_uniform": 0,
        "mean_sum": 1,
        "class_nodes": 12,
        "class_weight": 0.8,
        "class_share": 0.5,
        "class_difference": 0.3,
        "class_standard_error": 0,
        "nearest_divergence": None,
        "nearest_head": None,
        "nodes": 12,
        "left_out": 0,
    }
    assert {name: found.numbers[name] for name in expected} == pytest.approx(expected)
    effective = math.exp(-(0.8 * math.log(0.8) + 0.2 * math.log(0.2)))
    assert found.numbers["effective_neighbours"] == pytest.approx(effective)
    assert found.to_dict()["numbers"]["effective_share"] == pytest.approx(effective / 2)


def joined(*records, **fields):
    weights = torch.cat([record.weights for record in records], 1)
    first = records[0]
    return record_of(first.edge_index, weights, first.num_src, **fields)


def test_summary_counts_the_heads_of_each_kind():
    even, steep = spread(0.5, 0.5), spread(1.0, 0.0)
    assert summary(measure(joined(even, even, steep))) == [
        "conv1: 1 of 3 heads is local, 2 of 3 heads are uniform. Their weights amount to 1.5 "
        "different patterns."
    ]
    assert summary(measure([joined(even, even), joined(steep, layer="conv2")])) == [
        "conv1: both heads are uniform. Their weights amount to 1.0 different patterns.",
        "conv2: its one head is local.",
    ]


def test_summary_says_how_many_nodes_have_no_choice():
    edge_index, count, _ = GRAPHS["hub_that_sends"]
    assert summary(measure(record_of(edge_index, torch.ones(97, 1), count))) == [
        "conv1: its one head is without a choice to judge by. Left out: nodes with one edge, which "
        "have no choice (97)."
    ]


def test_summary_warns_of_dropout():
    record = spread(1.0, 0.0)
    record = record_of(record.edge_index, 2 * record.weights, 14, when="after_dropout")
    assert summary(measure(record)) == [
        "conv1: its one head is local. The weights are those after dropout, which by itself makes "
        "a head look local; record before dropout to judge the heads."
    ]
    unchanged = record_of(record.edge_index, record.weights / 2, 14, when="after_dropout")
    assert summary(measure(unchanged)) == ["conv1: its one head is local."]


def test_summary_says_that_weights_were_divided_by_their_sum():
    assert summary(measure(spread(0.9, 0.9, 0.9))) == [
        "conv1: its one head is uniform. A node's weights do not sum to 1 (on average to 2.70) and "
        "were divided by their sum."
    ]


@pytest.mark.parametrize(
    ("record", "y", "brief"),
    [
        (spread(0.25, 0.25, 0.25, 0.25), None, "as over 4.00 of 4.00 neighbours"),
        (spread(1.0), None, "no node has two edges to choose from"),
        (spread(0.1, 0.1, loop=0.8), None, "80 % on the node itself (even: 33 %)"),
        (*towards_class([0.3] * 40), "80 % on its own class (of the neighbours: 50 %)"),
    ],
    ids=["uniform", "no-choice", "self", "class-seeking"],
)
def test_in_brief_a_verdict_is_the_numbers_that_decided(record, y, brief):
    (found,) = verdicts(measure(record, y))
    assert found.brief == brief
