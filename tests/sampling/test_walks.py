"""Random walks along edges, the subgraphs around them, and what their counts are good for."""

import pytest
import torch

from gat.errors import IndexRangeError, InputError
from gat.graph import Graph
from gat.sampling.draws import hop_key
from gat.sampling.walks import RandomWalks, _below
from tests.graphs import GRAPHS, SQUARE

WITH_NODES = [name for name in SQUARE if GRAPHS[name][1]]


def whole(name: str) -> Graph:
    return Graph.from_edge_index(GRAPHS[name][0], GRAPHS[name][1])


@pytest.mark.parametrize("name", WITH_NODES)
def test_walks_go_from_a_node_to_one_it_listens_to(name):
    graph = whole(name)
    heard = {node: set() for node in range(graph.num_dst)}
    for source, target in graph.edge_index.t().tolist():
        heard[target].add(source)
    walks = RandomWalks(graph, 50, 4, 1).walk(key=7)
    assert walks.shape == (5, 50)
    for here, there in zip(
        walks[:-1].flatten().tolist(), walks[1:].flatten().tolist(), strict=True
    ):
        assert there in (heard[here] or {here})


@pytest.mark.parametrize("name", WITH_NODES)
def test_subgraphs_are_of_the_nodes_that_were_visited(name):
    graph = whole(name)
    batches = RandomWalks(graph, 3, 2, steps=4, seed=5)
    assert len(batches) == 4
    for step in range(4):
        subgraph = batches.sample(0, step)
        inside = set(subgraph.nodes.tolist())
        assert 1 <= len(inside) <= 9
        assert subgraph.nodes.tolist() == sorted(inside)
        pairs = graph.edge_index.t().tolist()
        expected = [e for e, pair in enumerate(pairs) if inside.issuperset(pair)]
        assert sorted(subgraph.edges.tolist()) == expected
        assert subgraph.node_weight is None
        assert subgraph.edge_norm is None


def test_walks_of_no_step_are_their_roots():
    batches = RandomWalks(whole("random"), 5, 0, 1)
    assert batches.walk(key=3).shape == (1, 5)


def test_subgraphs_are_a_function_of_seed_epoch_and_step():
    def nodes(seed: int, epoch: int, step: int, steps: int = 5) -> list[int]:
        return (
            RandomWalks(whole("random"), 4, 2, steps, seed=seed).sample(epoch, step).nodes.tolist()
        )

    assert nodes(0, 0, 1) == nodes(0, 0, 1, steps=2)
    others = [nodes(1, 0, 1), nodes(0, 1, 1), nodes(0, 0, 2), nodes(0, 0, 0), nodes(0, 1, 0)]
    assert nodes(0, 0, 1) not in others


def test_roots_and_steps_are_drawn_uniformly():
    # Node 0 listens to 1, 2 and twice to 3; the others to 0.
    graph = Graph.from_edge_index(torch.tensor([[1, 2, 3, 3, 0, 0, 0], [0, 0, 0, 0, 1, 2, 3]]), 4)
    count = 40_000
    walks = RandomWalks(graph, count, 2, 1).walk(key=11)
    spread = 6 * (count / 4) ** 0.5
    roots = walks[0].bincount(minlength=4)
    assert (roots - count / 4).abs().max() < spread
    after = walks[1][walks[0] == 0].bincount(minlength=4)
    expected = roots[0] * torch.tensor([0, 1 / 4, 1 / 4, 1 / 2])
    assert (after - expected).abs().max() < spread / 2
    # The second step does not know of the first: from 0 over any to 0, then on as ever.
    later = walks[2][walks[0] == 1]
    expected = roots[1] * torch.tensor([0, 1 / 4, 1 / 4, 1 / 2])
    assert (later.bincount(minlength=4) - expected).abs().max() < spread / 2


@pytest.mark.parametrize("n", [1, 3, 2**31 - 1])
def test_draws_are_below_their_bound_at_both_ends(n):
    ends = torch.tensor([0, -1, 2**63 - 1, -(2**63)])
    drawn = _below(ends, torch.tensor(n))
    assert drawn[0] == 0
    assert drawn[1] == n - 1
    assert ((drawn >= 0) & (drawn < n)).all()


def test_weights_are_the_published_ratios_of_counts():
    graph = whole("random")
    batches = RandomWalks(graph, 3, 1, 10, seed=2, coverage=20)
    nodes, edges, samples = torch.zeros(31), torch.zeros(211), 0
    while nodes.sum() < 20 * 31:
        part = batches._around(hop_key(2, 0, samples, relation=1))
        nodes[part.nodes] += 1
        edges[part.edges] += 1
        samples += 1
    subgraph = batches.sample(0, 3)
    assert subgraph.node_weight.dtype == subgraph.edge_norm.dtype == torch.float32
    seen = nodes[subgraph.nodes].clamp(min=1)
    torch.testing.assert_close(subgraph.node_weight, samples / (seen * 31))
    target = graph.edge_index[1, subgraph.edges]
    expected = nodes[target].clamp(min=1) / edges[subgraph.edges].clamp(min=1)
    torch.testing.assert_close(subgraph.edge_norm, expected)


def test_weighted_losses_are_those_of_the_whole_graph_on_average():
    graph, rounds, coverage = whole("random"), 800, 300
    batches = RandomWalks(graph, 6, 2, 1, seed=4, coverage=coverage)
    # Higher for nodes that walks visit more often.
    loss = graph.out_degree.float()
    parts = [batches.sample(epoch, 0) for epoch in range(rounds)]
    losses = torch.stack([(part.node_weight * loss[part.nodes]).sum() for part in parts])
    plain = torch.stack([loss[part.nodes].mean() for part in parts])
    size = sum(len(part.nodes) for part in parts) / rounds
    # Six standard deviations: of these samples, and of those that were counted.
    bound = 6 * losses.std() * (1 / rounds + size / (coverage * 31)) ** 0.5
    assert (losses.mean() - loss.mean()).abs() < bound
    assert (plain.mean() - loss.mean()).abs() > bound


def test_normed_sums_over_neighbours_are_those_of_the_whole_graph_on_average():
    graph = whole("random")
    batches = RandomWalks(graph, 6, 2, 1, seed=4, coverage=300)
    message = torch.rand(graph.num_edges, generator=torch.Generator().manual_seed(0))
    sums, plain, seen = torch.zeros(31), torch.zeros(31), torch.zeros(31)
    for epoch in range(800):
        part = batches.sample(epoch, 0)
        target = part.nodes[part.graph.edge_index[1]]
        sums.index_add_(0, target, part.edge_norm * message[part.edges])
        plain.index_add_(0, target, message[part.edges])
        seen[part.nodes] += 1
    expected = torch.zeros(31).index_add_(0, graph.edge_index[1], message)
    often = (seen > 150) & (graph.in_degree > 0)
    assert often.sum() > 20
    # Of about 300 samples each, with two neighbours of five there, or fewer.
    torch.testing.assert_close((sums / seen)[often], expected[often], rtol=0.25, atol=0.1)
    assert ((plain / seen)[often] < 0.75 * expected[often] - 0.1).float().mean() > 0.8


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ((0, 1, 1), "roots is 0; expected a whole number from 1 up"),
        ((1, -1, 1), "length is -1; expected a whole number from 0 up"),
        ((1, 1, 0), "steps is 0; expected a whole number from 1 up"),
    ],
    ids=["roots", "length", "steps"],
)
def test_numbers_that_cannot_be_meant_are_refused(numbers, sentence):
    with pytest.raises(InputError, match=sentence):
        RandomWalks(whole("random"), *numbers)


def test_other_refusals():
    with pytest.raises(InputError, match="coverage is -1; expected"):
        RandomWalks(whole("random"), 1, 1, 1, coverage=-1)
    with pytest.raises(InputError, match="the graph has no nodes"):
        RandomWalks(whole("no_nodes"), 1, 1, 1)
    with pytest.raises(InputError, match="self-loops that were added"):
        RandomWalks(whole("random").with_self_loops(), 1, 1, 1)
    with pytest.raises(IndexRangeError, match="step 2 is none of an epoch's 2"):
        RandomWalks(whole("random"), 1, 1, 2).sample(0, 2)
