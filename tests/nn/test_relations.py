"""The (relation, node) pairs of a graph: what they say, how long they are remembered."""

import gc
import weakref

import pytest
import torch

from gat.graph import Graph, graph_of
from gat.nn.relation_weights import by_relation, fold
from gat.nn.relations import Pairs, Relations, relations_of
from tests.graphs import GRAPHS
from tests.nn.relational import RELATIONS, WIDTH, rgat_twins, typed


@pytest.mark.parametrize("name", GRAPHS)
def test_pairs_name_every_edges_relation_and_nodes(name):
    edge_index, num_src, num_dst = GRAPHS[name]
    edge_type = typed(name)[2]
    graph = Graph.from_edge_index(edge_index, (num_src, num_dst))
    relations = Relations.of(graph, edge_type, RELATIONS)
    for pairs, nodes in ((relations.source, edge_index[0]), (relations.target, edge_index[1])):
        expected = sorted(set(zip(edge_type.tolist(), nodes.tolist(), strict=True)))
        relation = torch.arange(RELATIONS).repeat_interleave(torch.tensor(pairs.counts))
        assert list(zip(relation.tolist(), pairs.node.tolist(), strict=True)) == expected
        assert torch.equal(relation[pairs.edge], edge_type)
        assert torch.equal(pairs.node[pairs.edge], nodes)
    assert torch.equal(
        relations.graph.edge_index, torch.stack([relations.source.edge, edge_index[1]])
    )
    ends = torch.stack([relations.source.edge, relations.target.edge])
    assert torch.equal(relations.within.edge_index, ends)


@pytest.mark.parametrize("shape", [(31, WIDTH), (2, 31, WIDTH)], ids=["nodes", "batch"])
@pytest.mark.parametrize("blocks", [False, True], ids=["dense", "blocks"])
def test_products_are_each_relations(blocks, shape):
    node, edge_type = torch.randint(31, (50,)), torch.randint(RELATIONS, (50,))
    pairs = Pairs.of(edge_type, node, 31, RELATIONS)
    x = torch.randn(shape, dtype=torch.float64)
    weight = torch.randn(RELATIONS, WIDTH, 8, dtype=torch.float64)
    if blocks:
        weight = torch.randn(RELATIONS, 2, WIDTH // 2, 4, dtype=torch.float64)
        dense = torch.stack([torch.block_diag(*one) for one in weight])
    else:
        dense = weight
    out = by_relation(x, pairs, weight)
    for e in range(50):
        expected = x[..., node[e], :] @ dense[edge_type[e]]
        torch.testing.assert_close(out[..., pairs.edge[e], :], expected)
    vectors = torch.randn(8, 3, dtype=torch.float64)
    torch.testing.assert_close(fold(weight, vectors), dense @ vectors)


def test_relations_live_as_long_as_the_callers_tensors():
    edge_index, _, edge_type, _ = typed("random")
    edge_index, edge_type = edge_index.clone(), edge_type.clone()
    graph = graph_of(edge_index, 31)
    first = relations_of(graph, edge_type, RELATIONS, edge_type)
    assert relations_of(graph, edge_type, RELATIONS, edge_type) is first
    assert relations_of(graph, edge_type, RELATIONS + 1, edge_type) is not first
    other = Graph.from_edge_index(edge_index.flip(0), 31)
    assert relations_of(other, edge_type, RELATIONS, edge_type) is not first
    watched = weakref.ref(first), weakref.ref(graph), weakref.ref(edge_type)
    del first, graph, edge_index
    gc.collect()
    assert watched[0]() is None
    assert watched[1]() is None
    del edge_type
    gc.collect()
    assert watched[2]() is None


def test_a_graph_with_self_loops_takes_their_relation_too():
    edge_index, x, _, _ = typed("path_both_ways")
    looped = Graph.from_edge_index(edge_index, 4).with_self_loops()
    types = torch.cat([torch.zeros(6, dtype=torch.int64), torch.ones(4, dtype=torch.int64)])
    theirs, ours = rgat_twins()
    torch.testing.assert_close(ours(x, looped, types), theirs(x, looped.edge_index, types))


def test_a_hook_on_the_projection_of_edge_features_runs():
    edge_index, x, edge_type, edge_attr = typed("random")
    _, layer = rgat_twins(edge_dim=3)
    plain = layer(x, edge_index, edge_type, edge_attr)
    layer.lin_edge.register_forward_hook(lambda module, args, out: 2 * out)
    doubled = layer(x, edge_index, edge_type, 2 * edge_attr)
    assert not torch.allclose(doubled, plain)
    torch.testing.assert_close(layer(x, edge_index, edge_type, edge_attr / 2), plain)
