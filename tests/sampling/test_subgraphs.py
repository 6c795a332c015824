"""Subgraphs of nodes beside their definition, and random parts of all nodes."""

import itertools

import pytest
import torch
from torch import Tensor

from gat.errors import IndexRangeError, InputError
from gat.graph import Graph
from gat.nn import GATConv
from gat.ops import cpu
from gat.sampling import hops
from gat.sampling.hops import Tables
from gat.sampling.reference import expand_slowly
from gat.sampling.subgraphs import RandomNodes, Subgraph, induced
from tests.graphs import GRAPHS, SQUARE


def whole(name: str) -> tuple[Graph, Tensor]:
    edge_index, nodes, _ = GRAPHS[name]
    return Graph.from_edge_index(edge_index, nodes), edge_index


def choices(count: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(count)
    half = torch.randperm(count, generator=generator)[: (count + 1) // 2]
    return {"none": half[:0], "half": half, "all, backwards": torch.arange(count).flip(0)}


def check(subgraph: Subgraph, edge_index: Tensor) -> None:
    """That the subgraph holds each edge between its nodes once, and says which it is."""
    inside = set(subgraph.nodes.tolist())
    pairs = edge_index.t().tolist()
    expected = [e for e, (u, v) in enumerate(pairs) if u in inside and v in inside]
    assert sorted(subgraph.edges.tolist()) == expected
    assert torch.equal(subgraph.nodes[subgraph.graph.edge_index], edge_index[:, subgraph.edges])
    assert (subgraph.graph.num_src, subgraph.graph.num_dst) == (len(inside), len(inside))
    assert bool((subgraph.graph.edge_index[1].diff() >= 0).all())


@pytest.mark.parametrize("way", ["compiled", "definition"])
@pytest.mark.parametrize("name", SQUARE)
def test_the_edges_between_the_nodes_are_there_each_once(name, way, monkeypatch):
    if way == "definition":
        monkeypatch.setattr(hops, "_expand", expand_slowly)
    elif cpu.library() is None:
        pytest.skip("needs the compiled library")
    graph, edge_index = whole(name)
    for nodes in choices(graph.num_dst).values():
        subgraph = induced(graph, nodes)
        assert torch.equal(subgraph.nodes, nodes)
        assert subgraph.edges.dtype == torch.int64
        check(subgraph, edge_index)


def test_int64_indices_give_the_same(monkeypatch):
    nodes = torch.tensor([7, 3, 30, 0, 12, 19])
    narrow = induced(whole("random")[0], nodes)
    monkeypatch.setattr("gat.graph.structure.index_dtype", lambda *_: torch.int64)
    graph, edge_index = whole("random")
    wide = induced(graph, nodes)
    assert graph.by_target.col.dtype == torch.int64
    assert torch.equal(wide.edges, narrow.edges)
    check(wide, edge_index)


@pytest.mark.parametrize("name", SQUARE)
def test_a_layer_over_the_subgraph_is_one_over_its_edge_index(name):
    graph, edge_index = whole(name)
    layer = GATConv(5, 4, heads=2, edge_dim=3).double()
    x = torch.randn(graph.num_dst, 5, dtype=torch.float64)
    attributes = torch.randn(graph.num_edges, 3, dtype=torch.float64)
    for nodes in choices(graph.num_dst).values():
        subgraph = induced(graph, nodes)
        local = torch.full((graph.num_dst,), -1).index_copy(0, nodes, torch.arange(len(nodes)))
        # In the caller's order, not the subgraph's.
        kept = (local[edge_index] >= 0).all(dim=0).nonzero().squeeze(1)
        expected = layer(x[nodes], local[edge_index[:, kept]], attributes[kept])
        ours = layer(x[nodes], subgraph.graph, attributes[subgraph.edges])
        torch.testing.assert_close(ours, expected)
        weights = [*layer.parameters()]
        for first, second in zip(
            torch.autograd.grad(ours.square().sum(), weights, allow_unused=True),
            torch.autograd.grad(expected.square().sum(), weights, allow_unused=True),
            strict=True,
        ):
            torch.testing.assert_close(first, second)


def test_tables_are_left_as_they_were():
    graph, _ = whole("random")
    tables = Tables(31)
    induced(graph, torch.tensor([4, 9, 2]), tables)
    with pytest.raises(InputError, match="nodes: 9 is there twice, the second time in place 2"):
        induced(graph, torch.tensor([4, 9, 9]), tables)
    table = tables.take()
    assert table.tolist() == [-1] * 31
    assert len(tables._free) == 0


def test_nodes_the_graph_does_not_have_are_refused():
    with pytest.raises(IndexRangeError, match="nodes: 31 in place 1 is no node of this graph"):
        induced(whole("random")[0], torch.tensor([0, 31]))


@pytest.mark.parametrize("name", SQUARE)
@pytest.mark.parametrize("num_parts", [1, 3])
def test_every_node_is_in_one_part_of_an_epoch(name, num_parts):
    graph, edge_index = whole(name)
    if num_parts > max(graph.num_dst, 1):
        pytest.skip("more parts than nodes")
    batches = RandomNodes(graph, num_parts, seed=3)
    parts = [batches.sample(2, step) for step in range(len(batches))]
    assert len(parts) == num_parts
    assert torch.cat([part.nodes for part in parts]).sort().values.tolist() == list(
        range(graph.num_dst)
    )
    sizes = [len(part.nodes) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    for part in parts:
        assert bool((part.nodes.diff() > 0).all())
        check(part, edge_index)


def test_parts_are_a_function_of_seed_epoch_and_step_alone():
    graph, _ = whole("random")
    first, again = RandomNodes(graph, 4, seed=1), RandomNodes(graph, 4, seed=1)
    asked = list(itertools.product(range(3), range(4)))
    there = {key: first.sample(*key).nodes.tolist() for key in asked}
    assert there == {key: again.sample(*key).nodes.tolist() for key in reversed(asked)}
    assert there != {
        key: RandomNodes(graph, 4, seed=2).sample(*key).nodes.tolist() for key in asked
    }
    assert there[0, 0] != there[1, 0]


def test_any_two_nodes_are_together_as_often_as_any_other_two():
    nodes, rounds = 8, 1000
    batches = RandomNodes(Graph.from_edge_index(torch.empty(2, 0).long(), nodes), 2)
    together = torch.zeros(nodes, nodes)
    for epoch in range(rounds):
        part = torch.zeros(nodes)
        part[batches.sample(epoch, 0).nodes] = 1
        together += torch.outer(part, part)
    chance = torch.full((nodes, nodes), 3 / 14).fill_diagonal_(1 / 2)
    # Six standard deviations of a count of that many rounds.
    assert ((together - rounds * chance).abs() < 6 * (rounds * chance * (1 - chance)).sqrt()).all()


@pytest.mark.parametrize(
    ("num_parts", "sentence"),
    [(0, "num_parts is 0; expected between 1 and 31"), (32, "num_parts is 32; expected")],
    ids=["none", "more than nodes"],
)
def test_numbers_of_parts_that_cannot_be_meant_are_refused(num_parts, sentence):
    with pytest.raises(InputError, match=sentence):
        RandomNodes(whole("random")[0], num_parts)


@pytest.mark.parametrize("step", [-1, 4])
def test_steps_an_epoch_does_not_have_are_refused(step):
    with pytest.raises(IndexRangeError, match=f"step {step} is none of an epoch's 4"):
        RandomNodes(whole("random")[0], 4).sample(0, step)


def test_graphs_with_added_loops_or_of_two_node_sets_are_refused():
    with pytest.raises(InputError, match="self-loops that were added"):
        RandomNodes(whole("random")[0].with_self_loops(), 4)
    with pytest.raises(InputError, match="5 sources and 2 targets"):
        RandomNodes(Graph.from_edge_index(torch.tensor([[0, 4], [0, 1]]), (5, 2)), 2)
    with pytest.raises(InputError, match="2 sources and 5 targets"):
        induced(Graph.from_edge_index(torch.tensor([[0, 1], [4, 3]]), (2, 5)), torch.tensor([4]))
    with pytest.raises(InputError, match="self-loops that were added"):
        induced(whole("random")[0].with_self_loops(), torch.tensor([4]))


def test_tables_of_another_graph_are_refused():
    with pytest.raises(InputError, match="tables are of 3 nodes, the graph has 31; pass Tables"):
        induced(whole("random")[0], torch.tensor([30]), Tables(3))
