"""The graphs that are measured: sizes, degrees, the same each time, and what is refused."""

import pytest
import torch

from gat.bench import graphs
from gat.errors import InputError


def test_arxiv_size_is_of_arxivs_size_with_its_largest_in_degree():
    graph = graphs.build("arxiv-size", 0.4)
    facts = graphs.facts(graph)
    assert facts["nodes"] == 169_343
    # Random loops are replaced by the node's own.
    assert 0 <= int(0.4 * 2_332_486) + 169_343 - facts["edges"] < 50
    assert 0.4 * 12_000 < facts["largest in-degree"] < 0.4 * 14_000


@pytest.mark.parametrize("name", ["tiny", "uniform-1M"])
def test_graphs_are_the_same_each_time_and_loop_at_every_node(name):
    first, second = graphs.build(name, 0.5), graphs.build(name, 0.5)
    assert torch.equal(first.edge_index, second.edge_index)
    assert first.num_loops == first.num_dst
    source, target = first.edge_index
    assert int((source == target).sum()) == first.num_dst


def test_uniform_graphs_have_the_edges_of_their_name_at_one_degree():
    facts = graphs.facts(graphs.build("uniform-1M"))
    assert abs(facts["edges"] - 1_000_000) < 100
    assert facts["nodes"] == 40_000
    assert facts["largest in-degree"] < 70


def test_a_data_set_is_a_graph_too_and_a_fraction_of_its_edges_are_its_own():
    whole, part = graphs.build("karate"), graphs.build("karate", 0.5)
    assert whole.num_edges == 156 + 34
    assert part.num_edges == 78 + 34
    edges = {tuple(edge) for edge in whole.edge_index.t().tolist()}
    assert {tuple(edge) for edge in part.edge_index.t().tolist()} <= edges


@pytest.mark.parametrize("name", ["corra", "uniform-0M", "uniform-M", "uniform-1m"])
def test_an_unknown_graph_is_refused_with_what_there_is(name):
    with pytest.raises(InputError, match=f"no graph '{name}' to measure; expected arxiv-size, "):
        graphs.build(name)


@pytest.mark.parametrize("fraction", [0, -1, 1.5, float("nan")])
def test_a_fraction_is_a_share(fraction):
    with pytest.raises(InputError, match="expected a share of the edges, 0 < fraction <= 1"):
        graphs.build("tiny", fraction)


def test_a_graph_that_does_not_fit_says_which_fraction_would(monkeypatch):
    monkeypatch.setattr(graphs, "available", lambda: 2**30)
    with pytest.raises(
        InputError, match=r"126.2 million edges, .* Measure fewer of them: --fr"
    ) as e:
        graphs.build("products-size")
    share = float(str(e.value).split("--fraction ")[1])
    assert 0 < share < 0.1
    graphs._check_fits("products-size", share / 2, graphs.SIZES["products-size"])


def test_reddit_size_is_of_reddits_size():
    size = graphs.SIZES["reddit-size"]
    facts = graphs.facts(graphs.build("reddit-size", 0.01))
    assert facts["nodes"] == size.nodes == 232_965
    assert 0 <= 1_146_158 + size.nodes - facts["edges"] < 50
    assert 0.01 * 21_000 < facts["largest in-degree"] < 0.01 * 25_000


@pytest.mark.parametrize("fraction", [0.1, 0.01])
def test_one_hub_has_half_of_the_edges_and_no_hub_as_many_spread_evenly(fraction):
    hub, even = (graphs.build(name, fraction) for name in ("one-hub", "no-hub"))
    assert hub.num_dst == even.num_dst == 100_000
    # Random loops are replaced by the node's own.
    assert abs(hub.num_edges - even.num_edges) < 50
    degrees = hub.in_degree - 1
    assert int(degrees.argmax()) == 0
    assert abs(int(degrees[0]) - 1_000_000 * fraction) < 50
    assert abs(float(degrees[1:].double().mean()) - 10 * fraction) < 0.1 * fraction
    assert int(even.in_degree.max()) < 40


def test_edges_drawn_in_parts_are_those_drawn_at_once(monkeypatch):
    size = graphs.Size(50, 401, 0.658)
    whole = graphs._synthetic(size, 1.0)
    monkeypatch.setattr(graphs, "DRAWN", 7)
    assert torch.equal(graphs._synthetic(size, 1.0), whole)


def test_what_another_device_sorts_need_only_be_drawn_here(monkeypatch):
    size = graphs.SIZES["reddit-size"]
    monkeypatch.setattr(graphs, "available", lambda: 8 << 30)
    graphs._check_fits("reddit-size", 1.0, size, "cuda")
    with pytest.raises(InputError, match=r"114.8 million edges, which take 16.04 GiB to sort"):
        graphs._check_fits("reddit-size", 1.0, size)
    monkeypatch.setattr(graphs, "available", lambda: 2 << 30)
    with pytest.raises(InputError, match=r"which take 2.57 GiB to draw; .* --fraction 0.7"):
        graphs._check_fits("reddit-size", 1.0, size, "cuda")
