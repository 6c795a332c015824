"""What our layers take for edges and features beside plain tensors, as PyG's layers do."""

import networkx
import pytest
import torch
from torch_geometric import EdgeIndex

from gat.errors import InputError
from gat.graph import Graph
from tests.graphs import GRAPHS
from tests.nn.twins import (
    EDGE_DIM,
    GATS,
    LOOPED,
    NAMES,
    PAIRED,
    SIZED,
    compare,
    features,
    ours,
    twins,
    with_weights,
)

pytestmark = pytest.mark.filterwarnings("ignore:Sparse")


def matrix_of(edge_index, shape, layout="coo", values=None):
    """PyG's ``adj_t``, rows the targets, of edges that are none twice."""
    values = torch.ones(edge_index.size(1), dtype=torch.float64) if values is None else values
    matrix = torch.sparse_coo_tensor(edge_index.flip(0), values, shape).coalesce()
    convert = {"coo": "coalesce", "csr": "to_sparse_csr", "csc": "to_sparse_csc"}
    return getattr(matrix, convert[layout])()


@pytest.mark.parametrize("self_loops", [True, False], ids=["loops", "no_loops"])
@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
@pytest.mark.parametrize("name", NAMES)
def test_sparse_matrices_equal_the_edge_index_they_hold(name, layout, self_loops):
    edge_index = torch.unique(GRAPHS["random"][0], dim=1)
    x = torch.randn(31, 6, dtype=torch.float64)
    adj_t = matrix_of(edge_index, (31, 31), layout)
    theirs, mine = twins(name, 6, 5, heads=2, add_self_loops=self_loops)
    torch.testing.assert_close(mine(x, adj_t), theirs(x, edge_index))
    if layout != "csc":  # PyG's layers cannot take it
        compare(theirs, mine, x, adj_t)


@pytest.mark.parametrize("self_loops", [True, False], ids=["loops", "no_loops"])
@pytest.mark.parametrize("layout", ["coo", "csr"])
@pytest.mark.parametrize("name", GATS)
def test_weights_on_a_sparse_matrix_come_in_one(name, layout, self_loops):
    edge_index, x, _, _ = features("random")
    adj_t = matrix_of(torch.unique(edge_index, dim=1), (31, 31), layout)
    theirs, mine = twins(name, 6, 5, heads=2, add_self_loops=self_loops)
    matrix, weights = mine(x, adj_t, return_attention_weights=True)[1]
    expected, _ = theirs(x, adj_t, return_attention_weights=True)[1]
    assert matrix.layout == expected.layout
    torch.testing.assert_close(matrix.to_dense(), expected.to_dense())
    assert weights.size(1) == 2


@pytest.mark.parametrize("layout", ["coo", "csr"])
def test_transformer_conv_hands_the_sparse_matrix_itself_back_as_pygs_does(layout):
    edge_index, x, _, _ = features("random")
    adj_t = matrix_of(torch.unique(edge_index, dim=1), (31, 31), layout)
    for layer in twins("TransformerConv", 6, 5, heads=2):
        assert layer(x, adj_t, return_attention_weights=True)[1][0] is adj_t


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("name", SIZED)
def test_sparse_features_equal_dense_ones(name, residual):
    edge_index, x, _, _ = features("random")
    x = x * (x > 1)
    layer = ours(name, 6, 5, heads=2, residual=residual)
    results = []
    for form in (x, x.to_sparse_csr()):
        layer.zero_grad()
        out = layer(form, edge_index)
        out.square().sum().backward()
        results.append((out, {k: p.grad for k, p in layer.named_parameters()}))
    torch.testing.assert_close(results[1], results[0])


@pytest.mark.parametrize("form", ["EdgeIndex", "csr"])
@pytest.mark.parametrize("graph", ["bipartite_wide", "bipartite_tall"])
def test_targets_without_features_are_counted_by_the_edges(graph, form):
    edge_index, x, _, num_dst = features(graph)
    edge_index = torch.unique(edge_index, dim=1)
    shape = (x.size(0), num_dst)
    theirs, mine = twins("GATConv", 6, 5, heads=2, add_self_loops=False)
    wrapped = EdgeIndex(edge_index.contiguous(), sparse_size=shape)
    edges = wrapped if form == "EdgeIndex" else matrix_of(edge_index, shape[::-1], "csr")
    expected = theirs((x, None), edge_index, size=shape)
    torch.testing.assert_close(mine((x, None), edges), expected)
    torch.testing.assert_close(mine((x, None), edge_index, size=(None, num_dst)), expected)


@pytest.mark.parametrize("layout", ["coo", "csr"])
@pytest.mark.parametrize("name", PAIRED)
def test_edge_features_held_by_a_sparse_matrix(name, layout):
    edge_index = torch.unique(GRAPHS["random"][0].flip(0), dim=1).flip(0)  # by target, as CSR
    x = torch.randn(31, 6, dtype=torch.float64)
    layer = ours(name, 6, 5, heads=2, edge_dim=EDGE_DIM, add_self_loops=False)
    results = []
    for held in (True, False):
        values = torch.linspace(-1, 1, edge_index.size(1) * EDGE_DIM, dtype=torch.float64)
        values = values.view(-1, EDGE_DIM).clone().requires_grad_()
        matrix = torch.sparse_coo_tensor(
            edge_index.flip(0), values, (31, 31, EDGE_DIM), is_coalesced=True
        )
        if layout == "csr":
            pointer = Graph.from_edge_index(edge_index, 31).rowptr
            matrix = torch.sparse_csr_tensor(pointer, edge_index[0], values, (31, 31, EDGE_DIM))
        out = layer(x, matrix) if held else layer(x, edge_index, values)
        out.square().sum().backward()
        results.append((out, values.grad))
    torch.testing.assert_close(results[0], results[1])
    loose = torch.sparse_coo_tensor(edge_index.flip(0), values.detach(), (31, 31, EDGE_DIM))
    with pytest.raises(InputError, match=r"uncoalesced sparse matrix.*pass matrix\.coalesce\(\)"):
        layer(x, loose)


@pytest.mark.parametrize("name", NAMES)
def test_returned_edges_of_an_edge_index_class_are_one(name):
    edge_index, x, _, _ = features("random")
    wrapped = EdgeIndex(edge_index, sparse_size=(31, 31))
    _, (edges, _) = ours(name, 6, 5)(x, wrapped, return_attention_weights=True)
    assert isinstance(edges, EdgeIndex)
    assert (edges is wrapped) is (name not in LOOPED)


@pytest.mark.parametrize("name", NAMES)
def test_a_networkx_graph_is_taken_too(name):
    layer, x = ours(name, 6, 5), torch.randn(4, 6, dtype=torch.float64)
    path = torch.tensor([[0, 1, 2, 1, 2, 3], [1, 2, 3, 0, 1, 2]])
    given = networkx.path_graph(4)
    torch.testing.assert_close(layer(x, given), layer(x, path))
    _, (edges, weights) = layer(x, given, return_attention_weights=True)
    assert edges.shape == (2, weights.size(0))


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_a_graph_come_with_its_listed_edges(name):
    edge_index, x, _, _ = features("loops_and_duplicates")
    layer, graph = ours(name, 6, 5, heads=2), Graph.from_edge_index(edge_index, 3)
    _, (edges, weights) = layer(x, graph, return_attention_weights=True)
    looped = graph.with_self_loops() if layer.add_self_loops else graph
    assert torch.equal(edges, looped.edge_index)
    torch.testing.assert_close(weights, with_weights(layer, x, edge_index)[1])
    # The caller may write into what it is given.
    edges.zero_()
    torch.testing.assert_close(with_weights(layer, x, graph)[1], weights)
