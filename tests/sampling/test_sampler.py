"""The sampler beside its definition in Python, and beside what sampling promises."""

import itertools

import numpy as np
import pytest
import torch

from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.graph import Graph
from gat.ops import cpu
from gat.ops.cpu.sampling import Hop
from gat.sampling import Sampler, hops
from gat.sampling.reference import expand_slowly
from gat.sampling.sample import Sample

compiled = pytest.mark.skipif(cpu.library() is None, reason="needs the compiled library")


def random_graph(nodes: int = 60, edges: int = 900, seed: int = 0) -> Graph:
    """Unsorted, with parallel edges, self-loops, a hub (node 0) and nodes without neighbours."""
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(0, nodes, (edges,), generator=generator)
    target = torch.randint(0, nodes - 5, (edges,), generator=generator)
    target[: edges // 3] = 0
    return Graph.from_edge_index(torch.stack([source, target]), nodes)


FANOUTS = {
    "few": [3, 2],
    "one hop": [4],
    "all": [-1, -1],
    "some then all": [5, -1, 2],
    "none": [0, 3],
    "above the degree": [10_000, 10_000],
    "many of a hub": [100, 40],
}


def same(first: Sample, second: Sample) -> bool:
    names = ("nodes", "rowptr", "col", "edges", "edge_index")
    return all(torch.equal(getattr(first, n), getattr(second, n)) for n in names) and (
        first.num_nodes == second.num_nodes and first.num_edges == second.num_edges
    )


@compiled
@pytest.mark.parametrize("replace", [False, True], ids=["distinct", "replace"])
@pytest.mark.parametrize("fanouts", FANOUTS.values(), ids=FANOUTS)
@pytest.mark.parametrize("weighted", [False, True], ids=["uniform", "weighted"])
def test_compiled_sampler_draws_what_the_definition_draws(fanouts, replace, weighted, monkeypatch):
    graph = random_graph()
    weight = torch.rand(graph.num_edges, generator=torch.Generator().manual_seed(1))
    weight[::7] = 0
    fanouts = [min(k, 300) for k in fanouts] if replace else fanouts
    sampler = Sampler(graph, fanouts, replace=replace, weight=weight if weighted else None, seed=5)
    seeds = torch.tensor([7, 0, 59, 30])
    fast = sampler.sample(seeds, epoch=3)
    monkeypatch.setattr(hops, "_expand", expand_slowly)
    assert same(fast, sampler.sample(seeds, epoch=3))


@compiled
def test_int64_indices_draw_the_same(monkeypatch):
    graph, seeds = random_graph(), torch.tensor([0, 1, 2])
    narrow = Sampler(graph, [4, 4]).sample(seeds)
    monkeypatch.setattr("gat.graph.structure.index_dtype", lambda *_: torch.int64)
    wide = random_graph()
    assert wide.by_target.col.dtype == torch.int64
    assert same(narrow, Sampler(wide, [4, 4]).sample(seeds))


@pytest.mark.parametrize("fanouts", FANOUTS.values(), ids=FANOUTS)
def test_edges_are_edges_of_the_graph_and_numbered_by_first_occurrence(fanouts):
    graph = random_graph()
    sample = Sampler(graph, fanouts, seed=1).sample(torch.tensor([5, 0, 58]))
    whole = graph.edge_index[:, sample.edges]
    assert torch.equal(sample.nodes[sample.edge_index], whole)
    assert sample.nodes[:3].tolist() == [5, 0, 58]
    assert sample.nodes.unique().numel() == sample.nodes.numel()
    assert sample.edges.unique().numel() == sample.edges.numel()
    # First occurrences come in the order of the numbers.
    seen = [2]
    for number in sample.edge_index[0].tolist():
        if number > seen[-1]:
            assert number == seen[-1] + 1
            seen.append(number)
    assert seen[-1] + 1 == sample.nodes.numel() == sum(sample.num_nodes)
    assert sum(sample.num_edges) == sample.edges.numel()


def test_each_node_gets_its_fanout_or_all_it_has():
    graph = random_graph()
    sample = Sampler(graph, [4, 3]).sample(torch.arange(10))
    degree = graph.in_degree[sample.nodes[: sample.rowptr.numel() - 1]]
    drawn = sample.rowptr.diff()
    assert torch.equal(drawn[:10].long(), degree[:10].clamp(max=4))
    assert torch.equal(drawn[10:].long(), degree[10:].clamp(max=3))


def test_draws_do_not_depend_on_the_batch_or_its_order():
    graph = random_graph()
    sampler = Sampler(graph, [3, 2], seed=2)

    def drawn(seeds: list[int]) -> dict[int, list[int]]:
        sample = sampler.sample(torch.tensor(seeds), epoch=1)
        upto = sample.rowptr.tolist()
        return {s: sample.edges[upto[k] : upto[k + 1]].tolist() for k, s in enumerate(seeds)}

    together, turned = drawn([0, 1, 2, 3]), drawn([3, 2, 1, 0])
    apart = drawn([0]) | drawn([1]) | drawn([2]) | drawn([3])
    assert together == turned == apart


def test_seed_epoch_and_hop_change_what_is_drawn():
    graph, seeds = random_graph(), torch.arange(20)
    samples = [
        Sampler(graph, [4], seed=seed).sample(seeds, epoch).edges
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    for first, second in itertools.combinations(samples, 2):
        assert not torch.equal(first, second)
    # Node 0 in the first hop, and found by another in the second.
    near = Sampler(graph, [3, 3]).sample(torch.tensor([0]))
    star = Graph.from_edge_index(torch.tensor([[0, *range(1, 40)], [40, *([0] * 39)]]), 41)
    first = Sampler(star, [3, 3]).sample(torch.tensor([0])).edges[:3]
    later = Sampler(star, [3, 3]).sample(torch.tensor([40])).edges[1:]
    assert near.num_nodes[0] == 1
    assert first.numel() == later.numel() == 3
    assert not torch.equal(first, later)


def test_every_edge_is_drawn_as_often_as_any_other():
    star = Graph.from_edge_index(torch.stack([torch.arange(1, 21), torch.zeros(20).long()]), 21)
    sampler, rounds = Sampler(star, [5]), 4000
    counts = torch.zeros(20)
    for epoch in range(rounds):
        counts[sampler.sample(torch.tensor([0]), epoch).edges] += 1
    # Each is in with probability 1/4; six standard deviations.
    assert (counts - rounds / 4).abs().max() < 6 * (rounds * 3 / 16) ** 0.5


def test_weights_set_how_often_an_edge_is_drawn():
    star = Graph.from_edge_index(torch.tensor([[1, 2, 3, 4], [0, 0, 0, 0]]), 5)
    weight = torch.tensor([1.0, 2.0, 0.0, 5.0])
    rounds, counts, first = 4000, torch.zeros(4), torch.zeros(4)
    again = Sampler(star, [1], replace=True, weight=weight)
    once = Sampler(star, [1], weight=weight)
    for epoch in range(rounds):
        counts[again.sample(torch.tensor([0]), epoch).edges] += 1
        first[once.sample(torch.tensor([0]), epoch).edges] += 1
    expected = rounds * weight / weight.sum()
    spread = 6 * (rounds * 0.25) ** 0.5
    assert (counts - expected).abs().max() < spread
    assert (first - expected).abs().max() < spread
    assert counts[2] == first[2] == 0


@pytest.mark.parametrize("replace", [False, True], ids=["distinct", "replace"])
@pytest.mark.parametrize("scale", [2.0**-1074, 2.0**-1000, 2.0**1020], ids=str)
def test_the_scale_of_weights_does_not_matter(scale, replace):
    weight = torch.randint(1, 7, (900,), generator=torch.Generator().manual_seed(3)).double()
    seeds = torch.arange(20)
    samples = [
        Sampler(random_graph(), [3], weight=w, replace=replace).sample(seeds)
        for w in (weight, weight * scale)
    ]
    assert same(*samples)


def test_weights_changed_later_do_not_change_the_draws():
    # Sorted edges and float64, so nothing had to be converted.
    star = Graph.from_edge_index(torch.tensor([[1, 2, 3, 4], [0, 0, 0, 0]]), 5)
    weight = torch.tensor([1.0, 1.0, 0.0, 0.0]).double()
    sampler = Sampler(star, [2], weight=weight)
    weight.copy_(weight.flip(0))
    assert sampler.sample(torch.tensor([0])).edges.tolist() == [0, 1]


def test_edges_without_weight_are_left_out_even_where_there_are_too_few():
    star = Graph.from_edge_index(torch.tensor([[1, 2, 3], [0, 0, 0]]), 4)
    sampler = Sampler(star, [3], weight=torch.tensor([1.0, 0.0, 2.0]))
    assert sampler.sample(torch.tensor([0])).edges.tolist() == [0, 2]


@pytest.mark.parametrize("fanouts", FANOUTS.values(), ids=FANOUTS)
def test_layer_graphs_are_the_edges_of_their_hops(fanouts):
    sample = Sampler(random_graph(), fanouts).sample(torch.tensor([0, 9, 57]))
    assert len(sample.graphs) == len(fanouts)
    for layer, graph in enumerate(sample.graphs):
        hops_left = len(fanouts) - layer
        edges = sum(sample.num_edges[:hops_left])
        assert graph.num_src == sum(sample.num_nodes[: hops_left + 1])
        assert graph.num_dst == sum(sample.num_nodes[:hops_left])
        assert torch.equal(graph.edge_index, sample.edge_index[:, :edges])
    assert sample.graphs[-1].num_dst == 3
    assert torch.equal(sample.graph.edge_index, sample.edge_index)
    assert sample.graph.num_dst == sample.graph.num_src == sample.nodes.numel()


@pytest.mark.parametrize("looped", [False, True], ids=["plain", "self-loops"])
def test_sampled_graph_is_a_graph_of_its_edges_in_every_part(looped):
    sample = Sampler(random_graph(), [6, 4]).sample(torch.tensor([0, 9, 57, 12]))
    for sampled in sample.graphs:
        sizes = (sampled.num_src, sampled.num_dst)
        plain = Graph.from_edge_index(sampled.edge_index.clone(), sizes)
        graph = sampled.with_self_loops() if looped else sampled
        other = plain.with_self_loops() if looped else plain
        assert torch.equal(graph.edge_index, other.edge_index)
        assert torch.equal(graph.rowptr, other.rowptr)
        assert graph.num_loops == other.num_loops
        assert graph.num_caller_edges == other.num_caller_edges
        values = torch.rand(graph.num_edges, 2)
        assert torch.equal(graph.to_caller(values), other.to_caller(values))
        assert torch.equal(graph.added_loops(values), other.added_loops(values))
        # The way back: the same edges, by source, under the same listed numbers.
        turned, listed = graph.by_source, graph.edge_index
        sources = torch.arange(graph.num_src).repeat_interleave(turned.rowptr.diff().long())
        number = torch.arange(graph.num_edges) if turned.number is None else turned.number.long()
        assert torch.equal(listed[:, number], torch.stack([sources, turned.col.long()]))
        ours = graph.by_target.number
        ours = torch.arange(graph.num_edges) if ours is None else ours.long()
        assert torch.equal(number[graph.transposed.long()], ours)


def test_nodes_without_edges_and_no_seeds():
    empty = Graph.from_edge_index(torch.empty(2, 0, dtype=torch.int64), 3)
    sample = Sampler(empty, [2, 2]).sample(torch.tensor([1, 2]))
    assert sample.nodes.tolist() == [1, 2]
    assert sample.num_edges == [0, 0]
    none = Sampler(random_graph(), [2, 2]).sample(torch.empty(0, dtype=torch.int64))
    assert none.nodes.numel() == 0
    assert [graph.num_dst for graph in none.graphs] == [0, 0]


def test_a_refused_batch_leaves_no_trace():
    sampler, seeds = Sampler(random_graph(), [3, 3]), torch.tensor([1, 2, 3])
    before = sampler.sample(seeds)
    with pytest.raises(InputError, match="nodes: 2 is there twice, the second time in place 2"):
        sampler.sample(torch.tensor([1, 2, 2]))
    assert same(before, sampler.sample(seeds))


@compiled
@pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_batch_leaves_no_trace(kind, monkeypatch):
    sampler, seeds = Sampler(random_graph(), [3, 3]), torch.tensor([1, 2, 3])
    before, run = sampler.sample(seeds), Hop.run

    def interrupted(hop):
        run(hop)
        raise kind

    # Ctrl-C is noticed as soon as the library's function is back.
    with monkeypatch.context() as patched:
        patched.setattr(Hop, "run", interrupted)
        with pytest.raises(kind):
            sampler.sample(torch.tensor([0, 9]))
    assert same(before, sampler.sample(seeds))


@pytest.mark.parametrize(
    ("seeds", "kind", "sentence"),
    [
        (torch.tensor([3, 60]), IndexRangeError, "nodes: 60 in place 1 is no node of this graph"),
        (torch.tensor([-1]), IndexRangeError, "which has 60, counted from 0"),
        (torch.tensor([0.5]), ArgumentTypeError, r"nodes must be whole numbers of shape \[S\]"),
        (torch.ones(60, dtype=torch.bool), ArgumentTypeError, "pass mask.nonzero"),
    ],
    ids=["above", "negative", "float", "mask"],
)
def test_seeds_that_cannot_be_meant_are_refused(seeds, kind, sentence):
    with pytest.raises(kind, match=sentence):
        Sampler(random_graph(), [3]).sample(seeds)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_neighbors": [3, -2]}, r"num_neighbors is \[3, -2\]; expected a whole number"),
        ({"num_neighbors": []}, "such as"),
        ({"num_neighbors": [2.5]}, "expected a whole number for each hop"),
        ({"num_neighbors": 5}, "num_neighbors is 5; expected a whole number for each hop"),
        (
            {"num_neighbors": [3], "weight": torch.ones(5)},
            r"weight has shape \[5\]; expected \[900",
        ),
        ({"num_neighbors": [3], "weight": torch.full((900,), -1.0)}, "weight of edge 0 is -1.0"),
    ],
    ids=["fan-out", "no hop", "fraction", "a number", "too few weights", "negative weight"],
)
def test_options_that_cannot_be_meant_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        Sampler(random_graph(), **options)


@pytest.mark.parametrize("fanout", [2**63 - 1, 2**63, 2**64, np.int64(900)], ids=str)
def test_any_fanout_above_the_degree_takes_all(fanout):
    graph, seeds = random_graph(), torch.tensor([0, 3])
    assert same(Sampler(graph, [fanout]).sample(seeds), Sampler(graph, [-1]).sample(seeds))


def test_samples_that_cannot_be_counted_are_refused(monkeypatch):
    monkeypatch.setattr("gat.sampling.neighbors.LARGEST", 300)
    sampler = Sampler(random_graph(), [-1])
    with pytest.raises(InputError, match="edges were sampled; a sample counts to 300, so take few"):
        sampler.sample(torch.arange(50))
    assert sampler.sample(torch.tensor([3])).num_nodes[0] == 1


def test_what_is_no_graph_in_memory_is_refused():
    with pytest.raises(ArgumentTypeError, match=r"of type Tensor; expected a gat\.Graph"):
        Sampler(random_graph().edge_index, [3])
    # The compiled library would read where there is nothing.
    with pytest.raises(InputError, match=r"graph is on meta.*pass graph.to\('cpu'\)"):
        Sampler(random_graph().to("meta"), [3])


def test_any_two_edges_are_drawn_together_as_often_as_any_other_two():
    n, k, rounds = 7, 3, 2000
    edges = torch.stack([torch.arange(1, n + 1), torch.zeros(n).long()])
    star = Graph.from_edge_index(edges, n + 1)
    sampler, together = Sampler(star, [k], seed=9), torch.zeros(n, n)
    for epoch in range(rounds):
        drawn = torch.zeros(n)
        drawn[sampler.sample(torch.tensor([0]), epoch).edges] = 1
        together += torch.outer(drawn, drawn)
    chance = torch.full((n, n), k * (k - 1) / (n * (n - 1))).fill_diagonal_(k / n)
    assert ((together - rounds * chance).abs() < 6 * (rounds * chance * (1 - chance)).sqrt()).all()


def test_weighted_pairs_without_replacement_have_their_exact_chances():
    star = Graph.from_edge_index(torch.tensor([[1, 2, 3, 4], [0, 0, 0, 0]]), 5)
    weight, rounds = torch.tensor([1.0, 2.0, 3.0, 6.0]), 3000
    sampler, counts = Sampler(star, [2], weight=weight, seed=2), torch.zeros(4, 4)
    for epoch in range(rounds):
        counts[tuple(sampler.sample(torch.tensor([0]), epoch).edges.tolist())] += 1
    # First one by weight, then of those left by weight; in either order.
    share = weight / weight.sum()
    ordered = share[:, None] * share / (1 - share[:, None])
    chance = (ordered + ordered.T).triu(1)
    assert chance.sum() == pytest.approx(1)
    assert ((counts - rounds * chance).abs() <= 6 * (rounds * chance * (1 - chance)).sqrt()).all()


def test_graphs_with_added_loops_or_of_two_node_sets_are_refused():
    with pytest.raises(
        InputError, match="self-loops that were added; sample from the graph without"
    ):
        Sampler(random_graph().with_self_loops(), [3])
    bipartite = Graph.from_edge_index(torch.tensor([[0, 4], [0, 1]]), (5, 2))
    with pytest.raises(InputError, match="5 sources and 2 targets"):
        Sampler(bipartite, [3])
