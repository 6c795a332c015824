"""`loop_features`: what PyG's add_self_loops gives the loops, in our listing."""

import pytest
import torch
from torch_geometric.utils import add_self_loops, remove_self_loops

from gat.errors import InputError
from gat.graph import Graph, loop_features
from tests.graphs import GRAPHS, SQUARE


@pytest.mark.parametrize(
    "fill", [2.0, torch.tensor([1.0, -1.0]), "mean", "add", "sum", "min", "max", "mul"], ids=str
)
@pytest.mark.parametrize("name", SQUARE)
def test_loop_features_are_pygs(name, fill):
    edge_index, num_nodes, _ = GRAPHS[name]
    edge_attr = torch.randn(edge_index.size(1), 2)
    graph = Graph.from_edge_index(edge_index, num_nodes).with_self_loops()
    kept, kept_attr = remove_self_loops(edge_index, edge_attr)
    _, theirs = add_self_loops(kept, kept_attr, fill_value=fill, num_nodes=num_nodes)
    assert torch.allclose(loop_features(graph, edge_attr, fill), theirs)


def test_graph_without_added_loops_keeps_its_features():
    graph = Graph.from_edge_index(torch.tensor([[0, 0], [0, 1]]))
    edge_attr = torch.randn(2, 3)
    assert loop_features(graph, edge_attr) is edge_attr


def test_unknown_fill_is_refused():
    graph = Graph.from_edge_index(torch.tensor([[0], [1]])).with_self_loops()
    with pytest.raises(InputError, match="fill_value is 'median'; expected a number"):
        loop_features(graph, torch.randn(1, 3), "median")


def test_edge_features_of_another_length_are_refused():
    graph = Graph.from_edge_index(torch.tensor([[0], [1]])).with_self_loops()
    with pytest.raises(InputError, match="edge_attr has 3 rows; expected one per edge, 1"):
        loop_features(graph, torch.randn(3, 1))
