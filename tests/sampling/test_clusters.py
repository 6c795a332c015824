"""Clusters: METIS's of awkward graphs, and the batches made of them."""

import sys

import pytest
import torch
from torch import Tensor

from gat.errors import IndexRangeError, InputError, MissingDependencyError
from gat.graph import Graph
from gat.sampling.clusters import Clusters, _both_ways, partition
from tests.graphs import GRAPHS, SQUARE

WITH_NODES = [name for name in SQUARE if GRAPHS[name][1]]


def whole(name: str) -> Graph:
    return Graph.from_edge_index(GRAPHS[name][0], GRAPHS[name][1])


def communities(count: int = 6, size: int = 20) -> tuple[Graph, Tensor]:
    """Dense groups with few edges between them, numbered at random; and the group of each node."""
    generator = torch.Generator().manual_seed(0)
    group = torch.arange(count * size)[torch.randperm(count * size, generator=generator)] // size
    chance = torch.where(group[:, None] == group, 0.6, 0.005)
    edges = (torch.rand(chance.shape, generator=generator) < chance).nonzero().t()
    return Graph.from_edge_index(edges, count * size), group


@pytest.mark.parametrize("name", SQUARE)
def test_metis_sees_each_edge_both_ways_once_without_loops(name):
    edge_index, nodes, _ = GRAPHS[name]
    pairs = {(u, v) for u, v in edge_index.t().tolist() if u != v}
    expected = sorted(pairs | {(v, u) for u, v in pairs})
    matrix = _both_ways(whole(name))
    assert matrix.shape == (nodes, nodes)
    rows, columns = matrix.nonzero()
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == expected
    assert matrix.indices.size == matrix.indptr[-1] == len(expected)


@pytest.mark.parametrize("parts", ["one", "three", "as many as nodes"])
@pytest.mark.parametrize("name", WITH_NODES)
def test_awkward_graphs_are_cut(name, parts):
    pytest.importorskip("pymetis")
    graph = whole(name)
    num_parts = {"one": 1, "three": min(3, graph.num_dst)}.get(parts, graph.num_dst)
    clusters = partition(graph, num_parts)
    assert clusters.dtype == torch.int64
    assert clusters.shape == (graph.num_dst,)
    assert 0 <= int(clusters.min()) <= int(clusters.max()) < num_parts
    if parts == "one":
        assert not clusters.any()
    batches = Clusters(graph, num_parts, 1)
    nodes = torch.cat([batches.sample(0, step).nodes for step in range(len(batches))])
    assert nodes.sort().values.tolist() == list(range(graph.num_dst))


def test_metis_finds_planted_groups():
    pytest.importorskip("pymetis")
    graph, group = communities()
    clusters = partition(graph, 6, seed=1)
    assert clusters.bincount(minlength=6).max() <= 25
    cut = (clusters[graph.edge_index[0]] != clusters[graph.edge_index[1]]).float().mean()
    planted = (group[graph.edge_index[0]] != group[graph.edge_index[1]]).float().mean()
    # By chance five edges of six are cut.
    assert planted <= cut + 1e-6
    assert cut < 1.2 * planted


def test_the_same_seed_gives_the_same_clusters():
    pytest.importorskip("pymetis")
    graph, _ = communities()
    assert torch.equal(partition(graph, 5, seed=2), partition(graph, 5, seed=2))
    assert torch.equal(partition(graph, 5, seed=2), partition(graph, 5, seed=2 + 2**31))
    seeds = [partition(whole("random"), 5, seed=seed).tolist() for seed in range(4)]
    assert any(clusters != seeds[0] for clusters in seeds)


@pytest.mark.parametrize("per_batch", [1, 2, 4])
def test_batches_are_whole_clusters_with_the_edges_between_them(per_batch):
    graph = whole("random")
    clusters = torch.arange(31) % 4
    batches = Clusters(graph, 4, per_batch, seed=1, clusters=clusters)
    assert len(batches) == 4 // per_batch
    everywhere = []
    for step in range(len(batches)):
        part = batches.sample(3, step)
        chosen = set(clusters[part.nodes].tolist())
        assert len(chosen) == per_batch
        assert part.nodes.tolist() == [n for n in range(31) if n % 4 in chosen]
        inside = [
            e for e, (u, v) in enumerate(graph.edge_index.t().tolist()) if {u % 4, v % 4} <= chosen
        ]
        assert sorted(part.edges.tolist()) == inside
        everywhere += part.nodes.tolist()
    assert sorted(everywhere) == list(range(31))


def test_the_last_batch_has_what_is_left_and_empty_clusters_are_passed_over():
    graph = whole("random")
    clusters = torch.arange(31) % 5 * 2
    batches = Clusters(graph, 12, 2, clusters=clusters)
    assert len(batches) == 3
    sizes = [len(clusters[batches.sample(0, step).nodes].unique()) for step in range(3)]
    assert sizes == [2, 2, 1]


def test_each_epoch_puts_other_clusters_together():
    def together(seed: int, epoch: int) -> list[int]:
        clusters = torch.arange(31) % 8
        batches = Clusters(whole("random"), 8, 2, seed=seed, clusters=clusters)
        return batches.sample(epoch, 1).nodes.tolist()

    assert together(0, 0) == together(0, 0)
    epochs = {tuple(together(0, epoch)) for epoch in range(40)}
    # Of 28 pairs; fewer than 12 in 40 draws have a chance below 1e-6.
    assert len(epochs) >= 12
    assert any(together(0, epoch) != together(1, epoch) for epoch in range(5))


def test_clusters_can_be_kept_and_used_again():
    pytest.importorskip("pymetis")
    graph, _ = communities()
    first = Clusters(graph, 6, 2, seed=3)
    again = Clusters(graph, 6, 2, seed=3, clusters=first.clusters)
    assert torch.equal(first.sample(1, 2).nodes, again.sample(1, 2).nodes)


def test_without_pymetis_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymetis", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'graph-attention\[metis\]'"):
        partition(whole("random"), 3)
    with pytest.raises(MissingDependencyError, match="pip install pymetis"):
        Clusters(whole("random"), 3, 1)
    assert len(Clusters(whole("random"), 3, 1, clusters=torch.arange(31) % 3)) == 3


@pytest.mark.parametrize(
    ("arguments", "kind", "sentence"),
    [
        ((4, 0), InputError, "per_batch is 0; expected between 1 and 4"),
        ((4, 5), InputError, "per_batch is 5; expected between 1 and 4, the number of clusters"),
        ((32, 1), InputError, "num_parts is 32; expected between 1 and 31, the number of nodes"),
        ((4, 1, torch.zeros(30).long()), InputError, r"of shape \[30\]; expected .* \[31\]"),
        ((4, 1, torch.zeros(31)), InputError, "clusters is torch.float32"),
        ((4, 1, torch.arange(31)), IndexRangeError, "clusters: 4 of node 4 is none of 4 clusters"),
    ],
    ids=["no cluster", "too many at once", "too many", "too few", "floats", "outside"],
)
def test_what_cannot_be_meant_is_refused(arguments, kind, sentence):
    num_parts, per_batch, *rest = arguments
    with pytest.raises(kind, match=sentence):
        Clusters(whole("random"), num_parts, per_batch, clusters=rest[0] if rest else None)


def test_other_refusals():
    with pytest.raises(InputError, match="self-loops that were added"):
        Clusters(whole("random").with_self_loops(), 3, 1)
    with pytest.raises(IndexRangeError, match="step 3 is none of an epoch's 3"):
        Clusters(whole("random"), 3, 1, clusters=torch.arange(31) % 3).sample(0, 3)
