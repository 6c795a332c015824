"""[B, N, F] features on one graph are B separate calls, for every layer."""

import pytest
import torch

from gat.errors import InputError
from gat.graph import graph_of
from tests.nn.twins import EDGE_DIM, GATS, NAMES, PAIRED, SIZED, features, options_of, ours

BATCH = 3
OPTIONS = {"heads": 2, "edge_dim": EDGE_DIM, "residual": True, "beta": True}
CASES = [
    *((name, {"concat": concat}) for name in SIZED for concat in (True, False)),
    ("SuperGATConv", {"attention_type": "SD"}),
    ("AGNNConv", {}),
]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_a_batch_is_separate_calls(name, options):
    edge_index, x, edge_attr, _ = features("random")
    layer = ours(name, 6, 5, **OPTIONS, **options)
    rest = [edge_attr] if "edge_dim" in options_of(name) else []
    x = torch.randn(BATCH, *x.shape, dtype=x.dtype, requires_grad=True)
    out, (edges, weights) = layer(x, edge_index, *rest, return_attention_weights=True)
    each = [layer(one, edge_index, *rest, return_attention_weights=True) for one in x]
    expected = torch.stack([one for one, _ in each])
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(layer(x, edge_index, *rest), expected)
    torch.testing.assert_close(weights, torch.stack([one for _, (_, one) in each]))
    assert torch.equal(edges, each[0][1][0])
    wanted = [x, *layer.parameters()]
    scale = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
    got, want = (torch.autograd.grad((o * scale).sum(), wanted) for o in (out, expected))
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("name", PAIRED)
def test_a_batch_on_a_bipartite_graph(name):
    edge_index, x, _, num_dst = features("bipartite_wide")
    options = {"add_self_loops": False, "symmetric_norm": True}
    layer = ours(name, 6, 5, heads=2, **(options if name in GATS else {}))
    x_src = torch.randn(BATCH, *x.shape, dtype=x.dtype)
    x_dst = torch.randn(BATCH, num_dst, 6, dtype=x.dtype)
    expected = torch.stack([layer(pair, edge_index) for pair in zip(x_src, x_dst, strict=True)])
    torch.testing.assert_close(layer((x_src, x_dst), edge_index), expected)


def test_a_batch_with_values_of_edges_for_the_transformer():
    edge_index, x, _, _ = features("random")
    layer = ours("TransformerConv", 6, 5, heads=2)
    edge_attr = torch.randn(edge_index.size(1), 1, 5, dtype=x.dtype)
    x = torch.randn(BATCH, *x.shape, dtype=x.dtype)
    expected = torch.stack([layer(one, edge_index, edge_attr) for one in x])
    torch.testing.assert_close(layer(x, edge_index, edge_attr), expected)


@pytest.mark.parametrize("name", NAMES)
def test_batches_of_one_and_of_none(name):
    edge_index, x, _, _ = features("random")
    layer = ours(name, 6, 5, heads=2)
    torch.testing.assert_close(layer(x[None], edge_index), layer(x, edge_index)[None])
    with pytest.raises(InputError, match=r"x has shape \[0, 31, 6\], a batch of no features"):
        layer(x[None][:0], edge_index)


@pytest.mark.parametrize("self_loops", [True, False], ids=["loops", "no_loops"])
@pytest.mark.parametrize("name", ["GATConv", "SuperGATConv", "AGNNConv"])
@pytest.mark.filterwarnings("ignore:Sparse")
def test_weights_of_a_batch_on_a_sparse_matrix_come_with_an_edge_index(name, self_loops):
    edge_index, x, _, _ = features("random")
    edge_index = torch.unique(edge_index, dim=1)
    matrix = torch.sparse_coo_tensor(edge_index.flip(0), torch.ones(edge_index.size(1)), (31, 31))
    matrix = matrix.to_sparse_csr()
    layer = ours(name, 6, 5, heads=2, add_self_loops=self_loops)
    x = torch.randn(BATCH, *x.shape, dtype=x.dtype)
    _, (edges, weights) = layer(x, matrix, return_attention_weights=True)
    graph = graph_of(matrix, self_loops=self_loops)
    assert torch.equal(edges, graph.edge_index)
    _, (_, expected) = layer(x[1], graph, return_attention_weights=True)
    torch.testing.assert_close(weights[1], expected)


@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv", "SuperGATConv"])
def test_each_of_a_batch_drops_weights_of_its_own(name):
    edge_index, x, _, _ = features("random")
    layer = ours(name, 6, 5, heads=2, dropout=0.5).train()
    _, (_, weights) = layer(x.expand(2, -1, -1), edge_index, return_attention_weights=True)
    first, second = weights == 0
    assert not torch.equal(first, second)
    assert 0.3 < first.double().mean() < 0.7


def test_each_of_a_batch_drops_weights_of_its_own_in_the_transformer():
    edge_index, x, _, _ = features("random")
    first, second = ours("TransformerConv", 6, 5, dropout=0.5)(x.expand(2, -1, -1), edge_index)
    assert not torch.allclose(first, second)
