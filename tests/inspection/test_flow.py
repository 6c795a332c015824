"""Attention flow against networkx, and against every cut of a small network."""

from dataclasses import replace
from itertools import combinations

import networkx
import pytest
import torch

from gat.errors import IndexRangeError, InputError
from gat.inspection.attribution import attention_flow, rollout
from tests.inspection.attribution_records import BOTH_FLOWS, SMALL, links, records

# What rounding to integers may cost three layers' flows here: 5e-10 for each link of a cut.
ROUNDING = 5e-10 * 100


def capacities(layers, residual=0.0, nodes=None):
    """(level, node) -> (level below, node): capacity; level L is the top, 0 the input."""
    found = {}
    for level, layer in enumerate(layers, start=1):
        for link in links(layer, residual):
            if link.weight and (nodes is None or {link.source, link.target} <= nodes):
                ends = (level, link.target), (level - 1, link.source)
                found[ends] = found.get(ends, 0.0) + link.weight
    return found


def by_networkx(layers, node, residual=0.0, nodes=None):
    graph = networkx.DiGraph()
    graph.add_node((len(layers), node))
    for (above, below), capacity in capacities(layers, residual, nodes).items():
        graph.add_edge(above, below, capacity=capacity)
    inputs = [place for place in graph if place[0] == 0]
    top = (len(layers), node)
    flows = {place[1]: networkx.maximum_flow_value(graph, top, place) for place in inputs}
    return {place: flow for place, flow in flows.items() if flow > 0}


def by_cuts(layers, node, sink):
    """The smallest cut between a node at the top and an input, among all there are."""
    found = capacities(layers)
    top, bottom = (len(layers), node), (0, sink)
    between = sorted({place for ends in found for place in ends} - {top, bottom})
    return min(
        sum(found[ends] for ends in found if ends[0] in side and ends[1] not in side)
        for size in range(len(between) + 1)
        for side in ({top, *chosen} for chosen in combinations(between, size))
    )


def as_dict(scores):
    return dict(zip(scores.nodes.tolist(), scores.values.tolist(), strict=True))


@pytest.mark.parametrize("loops", [True, False], ids=["loops", "no_loops"])
@pytest.mark.parametrize("count", [1, 2, 3], ids="{}_layers".format)
@pytest.mark.parametrize("name", [name for name in SMALL if name != "hub"])
def test_flow_is_networkx_s(name, count, loops):
    layers = records(name, count, loops=loops)
    for node in {0, layers[0].num_dst - 1}:
        got, expected = as_dict(attention_flow(layers, node)), by_networkx(layers, node)
        assert got == pytest.approx(expected, rel=0, abs=1e-14 if count < 3 else ROUNDING)


@pytest.mark.parametrize("name", ["random", "sixty_three_edges"])
def test_flow_through_four_layers(name):
    layers = records(name, 4)
    got, expected = as_dict(attention_flow(layers, 3)), by_networkx(layers, 3)
    assert len(got) > 10
    assert got == pytest.approx(expected, rel=0, abs=ROUNDING)


@pytest.mark.parametrize("count", [2, 3], ids="{}_layers".format)
@pytest.mark.parametrize("name", ["loops_and_duplicates", "one_edge"])
def test_flow_is_the_smallest_cut(name, count):
    layers = records(name, count)
    for node in range(layers[0].num_dst):
        got = as_dict(attention_flow(layers, node))
        for sink in range(layers[0].num_dst):
            expected = by_cuts(layers, node, sink)
            assert got.get(sink, 0.0) == pytest.approx(expected, rel=0, abs=ROUNDING)


@pytest.mark.parametrize("count", [2, 3], ids="{}_layers".format)
def test_flow_with_a_residual(count):
    layers = records("path_both_ways", count, loops=False)
    got = as_dict(attention_flow(layers, 1, residual=0.5))
    assert got == pytest.approx(by_networkx(layers, 1, 0.5), rel=0, abs=ROUNDING)
    assert set(got) == {0, 1, 2, 3}


@pytest.mark.parametrize("count", [2, 3], ids="{}_layers".format)
@pytest.mark.parametrize("hops", [0, 1, 2, 9])
def test_flow_within_some_hops(count, hops):
    layers = records("path_both_ways", count)
    near = {place for place in range(4) if abs(place - 1) <= hops}
    got = as_dict(attention_flow(layers, 1, hops))
    assert got == pytest.approx(by_networkx(layers, 1, nodes=near), rel=0, abs=ROUNDING)


@pytest.mark.parametrize("count", [1, 2, 3], ids="{}_layers".format)
def test_flow_is_at_least_the_rollout(count):
    layers = records("random", count)
    flow, product = as_dict(attention_flow(layers, 7)), as_dict(rollout(layers, 7).of(7))
    assert set(flow) == set(product)
    assert all(flow[node] >= product[node] - ROUNDING for node in product)
    assert max(flow.values()) <= 1 + ROUNDING
    if count > 1:
        assert sum(flow.values()) > 1.1


@pytest.mark.parametrize("flow", BOTH_FLOWS)
@pytest.mark.parametrize("count", [1, 2, 3], ids="{}_layers".format)
def test_messages_against_the_flow(count, flow):
    got = as_dict(attention_flow(records("sixty_three_edges", count, flow=flow), 4))
    assert got == as_dict(attention_flow(records("sixty_three_edges", count), 4))


@pytest.mark.parametrize(
    "scales", [(1e-6, 1e-6, 1e-6), (1e3, 1e3, 1e3), (1e4, 1e4, 1.0)], ids="{}".format
)
def test_weights_that_do_not_sum_to_one(scales):
    layers = [
        replace(one, weights=one.weights * scale, loops=one.loops * scale)
        for one, scale in zip(records("sixty_three_edges", 3), scales, strict=True)
    ]
    got, expected = as_dict(attention_flow(layers, 2)), by_networkx(layers, 2)
    assert got == pytest.approx(expected, rel=0, abs=ROUNDING * scales[-1])


@pytest.mark.parametrize("count", [1, 2, 3], ids="{}_layers".format)
def test_a_node_that_hears_nobody_has_no_flow(count):
    scores = attention_flow(records("isolated_nodes", count, loops=False), 5)
    assert scores.node == 5
    assert scores.nodes.tolist() == scores.values.tolist() == []


@pytest.mark.parametrize("count", [2, 3], ids="{}_layers".format)
def test_flows_are_listed_the_largest_first(count):
    values = attention_flow(records("random", count), 3).values.tolist()
    assert values == sorted(values, reverse=True)
    assert min(values) > 0


def test_negative_weights_are_refused():
    one, two = records("random")
    signed = replace(one, weights=-one.weights)
    with pytest.raises(InputError, match=r"conv1 has negative weights.*use rollout or gatt"):
        attention_flow([signed, two], 3)


def test_negative_hops_are_refused():
    with pytest.raises(InputError, match=r"hops is -1; expected 0 or more"):
        attention_flow(records("random"), 3, hops=-1)


def test_a_node_out_of_range():
    with pytest.raises(IndexRangeError, match=r"nodes is 31; expected a node in \[0, 31\)"):
        attention_flow(records("random"), 31)


def test_a_sampled_neighbourhood_is_refused_by_name():
    complete = torch.ones(4, dtype=torch.bool)
    complete[2] = False
    layers = [replace(one, complete=complete) for one in records("path_both_ways")]
    with pytest.raises(InputError, match=r"conv1 has not every edge into node 2 on record"):
        attention_flow(layers, 1)
