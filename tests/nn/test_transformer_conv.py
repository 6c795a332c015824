"""What is TransformerConv's own: weights before dropout, edge features, the root and its gate."""

import pytest
import torch

from gat.errors import InputError
from tests.nn.twins import EDGE_DIM, compare, features, ours, twins

NAME = "TransformerConv"


@pytest.mark.parametrize("edge_dim", [None, EDGE_DIM], ids=["", "edge_dim"])
def test_weights_are_those_before_dropout_as_pygs(edge_dim):
    edge_index, x, edge_attr, _ = features("random")
    rest = [edge_attr] if edge_dim else []
    theirs, mine = twins(NAME, 6, 5, heads=2, dropout=0.5, edge_dim=edge_dim)
    _, (_, expected) = theirs(x, edge_index, *rest, return_attention_weights=True)
    _, (_, weights) = mine(x, edge_index, *rest, return_attention_weights=True)
    torch.testing.assert_close(weights, expected)
    assert (weights > 0).all()


def test_asking_for_weights_changes_no_draw_and_no_gradient():
    edge_index, x, edge_attr, _ = features("random")
    layer = ours(NAME, 6, 5, heads=2, dropout=0.5, edge_dim=EDGE_DIM)
    results = []
    for asked in (None, True):
        torch.manual_seed(2)
        out = layer(x, edge_index, edge_attr, return_attention_weights=asked)
        out = out[0] if asked else out
        grads = torch.autograd.grad(out.square().sum(), list(layer.parameters()))
        results.append((out, grads))
    torch.testing.assert_close(results[1], results[0])
    plain = layer.eval()(x, edge_index, edge_attr)
    assert not torch.allclose(results[0][0], plain)


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_dropped_weights_are_made_up_for_on_average(p):
    """A node with many edges of one weight: its sum keeps its mean, as dropout does."""
    source = torch.arange(1, 5001)
    edge_index = torch.stack([source, torch.zeros_like(source)])
    x = torch.ones(5001, 1, dtype=torch.float64)
    layer = ours(NAME, 1, 1, dropout=p, root_weight=False)
    dropped, kept = layer(x, edge_index)[0], layer.eval()(x, edge_index)[0]
    torch.testing.assert_close(dropped, kept if p < 1 else 0 * kept, rtol=0.1, atol=0)


@pytest.mark.parametrize("trailing", [(2, 5), (1, 5), (2, 1), (1, 1)], ids=str)
def test_without_edge_dim_edge_attr_is_added_to_the_values(trailing):
    """As in PyG's layer: to the values only, so that the weights do not see it."""
    edge_index, x, _, _ = features("random")
    edge_attr = torch.randn(edge_index.size(1), *trailing, dtype=torch.float64)
    compare(*twins(NAME, 6, 5, heads=2), x, edge_index, edge_attr)


def test_edge_features_without_edge_dim_that_are_no_values_are_refused():
    edge_index, x, edge_attr, _ = features("random")
    layer = ours(NAME, 6, 5, heads=2)
    said = r"made without edge_dim; make the layer with edge_dim=3, or pass values.*\[E, 2, 5\]"
    with pytest.raises(InputError, match=said):
        layer(x, edge_index, edge_attr)
    with pytest.raises(InputError, match="edge_dim=1"):
        layer(x, edge_index, edge_attr[:, 0])
    with pytest.raises(InputError, match="edge_dim=14"):
        layer(x, edge_index, torch.ones(edge_index.size(1), 2, 7).double())
    with pytest.raises(InputError, match="edge_attr has 5 rows; expected one per edge, 211"):
        layer(x, edge_index, torch.ones(5, 2, 5).double())


@pytest.mark.filterwarnings("ignore:Sparse")
def test_a_layer_with_edge_dim_needs_edge_features():
    edge_index, x, _, _ = features("random")
    layer = ours(NAME, 6, 5, heads=2, edge_dim=EDGE_DIM)
    said = r"edge_dim=3 and needs edge_attr of shape \[E, 3\]"
    with pytest.raises(InputError, match=said):
        layer(x, edge_index)
    # The numbers of a sparse matrix are none, as to PyG.
    with pytest.raises(InputError, match=said):
        layer(x, torch.eye(31).to_sparse_csr())


def test_one_dimensional_edge_attr_counts_as_one_column():
    edge_index, x, edge_attr, _ = features("random")
    layer = ours(NAME, 6, 5, heads=2, edge_dim=1)
    expected = layer(x, edge_index, edge_attr[:, :1])
    torch.testing.assert_close(layer(x, edge_index, edge_attr[:, 0]), expected)


@pytest.mark.parametrize("graph", ["bipartite_wide", "bipartite_tall"])
def test_the_other_flow_between_two_node_sets_equals_pyg(graph):
    edge_index, x_src, edge_attr, num_dst = features(graph)
    x_dst = torch.randn(num_dst, 4, dtype=torch.float64)
    options = {"heads": 2, "edge_dim": EDGE_DIM, "flow": "target_to_source"}
    theirs, mine = twins(NAME, (6, 4), 5, **options)
    compare(theirs, mine, (x_src, x_dst), edge_index.flip(0), edge_attr)


def test_no_root_means_no_gate():
    layer = ours(NAME, 6, 5, beta=True, root_weight=False)
    assert layer.lin_beta is None
    edge_index, x, _, _ = features("no_edges")
    assert (layer(x, edge_index) == 0).all()


def test_the_gate_weighs_root_against_neighbours():
    """beta * W1 x + (1 - beta) * m; the gate sees [m, W1 x, m - W1 x], in PyG's code and here,
    where its documentation has the two the other way round."""
    edge_index, x, _, _ = features("random")
    layer = ours(NAME, 6, 5, heads=2, beta=True)
    root, plain = layer.lin_skip(x), ours(NAME, 6, 5, heads=2, root_weight=False)
    plain.load_state_dict({k: v for k, v in layer.state_dict().items() if "beta" not in k})
    mean = plain(x, edge_index)
    gate = torch.sigmoid(layer.lin_beta(torch.cat([mean, root, mean - root], dim=1)))
    torch.testing.assert_close(layer(x, edge_index), gate * root + (1 - gate) * mean)
