"""PyG's silent traps, said aloud once; and bad input, refused in words."""

import warnings

import pytest
import torch

import gat.nn
from gat.errors import InputError
from gat.graph import Graph
from gat.notices import warn_once
from tests.graphs import GRAPHS
from tests.nn.twins import EDGE_DIM, GATS, NAMES, PAIRED, features, ours


@pytest.fixture(autouse=True)
def _say_warnings_again():
    warn_once.cache_clear()


def test_edge_attr_without_edge_dim_is_ignored_with_one_warning():
    edge_index, x, edge_attr, _ = features("random")
    layer = gat.nn.GATConv(6, 5).double()
    with pytest.warns(
        UserWarning, match="GATConv was given edge_attr but made without edge_dim.*edge_dim=3"
    ) as said:
        out = layer(x, edge_index, edge_attr)
    assert said[0].filename == __file__
    assert torch.equal(out, layer(x, edge_index))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(x, edge_index, edge_attr)


@pytest.mark.parametrize("name", GATS)
@pytest.mark.filterwarnings("ignore:Sparse")
def test_scalar_values_of_a_sparse_matrix_are_ignored_with_one_warning(name):
    layer = getattr(gat.nn, name)(6, 5, edge_dim=1)
    with pytest.warns(UserWarning, match=f"{name} ignores the scalar values of a sparse matrix"):
        layer(torch.randn(3, 6), torch.eye(3).to_sparse_csr())


def test_gatv2conv_refuses_edge_attr_without_edge_dim_as_pyg_does():
    edge_index, x, edge_attr, _ = features("random")
    with pytest.raises(InputError, match="made without edge_dim; make the layer with edge_dim=3"):
        gat.nn.GATv2Conv(6, 5).double()(x, edge_index, edge_attr)


@pytest.mark.parametrize("name", GATS)
def test_self_loops_on_a_bipartite_graph_warn_once(name):
    edge_index, x, _, num_dst = features("bipartite_wide")
    layer, pair = getattr(gat.nn, name)((6, 6), 5).double(), (x, x[:num_dst])
    with pytest.warns(UserWarning, match="bipartite graph.*add_self_loops=False"):
        layer(pair, edge_index)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(pair, edge_index)
        getattr(gat.nn, name)(6, 5).double()((x, x), GRAPHS["random"][0] % 11)


@pytest.mark.parametrize("name", NAMES)
def test_bad_inputs_are_refused_in_words(name):
    edge_index, x, _, _ = features("random")
    layer = ours(name, 6, 5)
    with pytest.raises(IndexError, match="names source node 30, outside"):
        layer(x[:30], torch.tensor([[30], [0]]))
    with pytest.raises(IndexError, match="names target node -1"):
        layer(x, torch.tensor([[0], [-1]]))
    with pytest.raises(InputError, match=r"x has shape \[31\]; expected \[nodes, channels\], or"):
        layer(x[:, 0], edge_index)
    with pytest.raises(InputError, match=r"the graph has 5 source nodes, but the features have 31"):
        layer(x, Graph.from_edge_index(edge_index % 5, 5))


@pytest.mark.parametrize("name", PAIRED)
def test_bad_edge_features_and_pairs_are_refused_in_words(name):
    edge_index, x, edge_attr, _ = features("random")
    with pytest.raises(InputError, match="edge_attr has 5 rows; expected one per edge, 211"):
        ours(name, 6, 5, edge_dim=EDGE_DIM)(x, edge_index, edge_attr[:5])
    with pytest.raises(
        InputError, match=r"shapes \[2, 31, 6\] and \[31, 6\]; expected both of one"
    ):
        ours(name, 6, 5)((x.expand(2, 31, 6), x), edge_index)


@pytest.mark.parametrize("name", GATS)
def test_a_dropout_that_is_no_probability_is_refused_at_once(name):
    with pytest.raises(InputError, match="value_dropout is 2"):
        getattr(gat.nn, name)(6, 5, value_dropout=2)
    with pytest.raises(InputError, match="dropout is -1"):
        getattr(gat.nn, name)(6, 5, dropout=-1)


@pytest.mark.parametrize("name", ["TransformerConv", "SuperGATConv"])
def test_a_dropout_that_is_no_probability_is_refused_in_training(name):
    edge_index, x, _, _ = features("random")
    layer = ours(name, 6, 5, dropout=2).train()
    with pytest.raises(InputError, match="dropout is 2; expected a probability"):
        layer(x, edge_index)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("flow", ["target_to_source"])
def test_a_graph_has_a_direction_of_its_own(name, flow):
    edge_index, x, _, _ = features("random")
    with pytest.raises(InputError, match=r"flow='target_to_source' has no meaning for a gat\.Gra"):
        ours(name, 6, 5, flow=flow)(x, Graph.from_edge_index(edge_index, 31))


def test_size_that_contradicts_the_features_is_refused():
    edge_index, x, _, _ = features("random")
    with pytest.raises(
        InputError, match=r"size is \(30, 31\), but the features have 31 source rows"
    ):
        gat.nn.GATConv(6, 5).double()(x, edge_index, size=(30, 31))
