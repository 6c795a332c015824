"""What is AGNNConv's own: cosines, the one parameter, features summed as they are."""

import pytest
import torch

from gat.errors import ArgumentTypeError, InputError
from tests.nn.twins import compare, features, ours, twins

NAME = "AGNNConv"


def test_weights_are_a_softmax_of_beta_times_the_cosine():
    edge_index, x, _, _ = features("random")
    layer = ours(NAME, add_self_loops=False)
    layer.beta.data.fill_(-2.5)
    _, (_, weights) = layer(x, edge_index, return_attention_weights=True)
    source, target = edge_index
    score = torch.exp(-2.5 * torch.cosine_similarity(x[source], x[target], dim=1))
    total = torch.zeros(31, dtype=torch.float64).index_add(0, target, score)
    torch.testing.assert_close(weights[:, 0], score / total[target])


def test_beta_is_a_parameter_or_a_buffer_of_one():
    assert [name for name, _ in ours(NAME).named_parameters()] == ["beta"]
    fixed = ours(NAME, requires_grad=False)
    assert list(fixed.parameters()) == []
    assert fixed.beta.tolist() == [1.0]
    assert list(fixed.state_dict()) == ["beta"]


def test_rows_of_zeros_and_huge_rows_are_pygs():
    edge_index, x, _, _ = features("random")
    x[::3] = 0
    x[1::3] *= 1e30
    theirs, mine = twins(NAME)
    torch.testing.assert_close(mine(x, edge_index), theirs(x, edge_index))
    x[1::3] *= 1e-30
    compare(theirs, mine, x, edge_index)


def test_features_are_averaged_so_a_constant_stays():
    edge_index, x, _, _ = features("random")
    out = ours(NAME)(torch.ones_like(x), edge_index)
    torch.testing.assert_close(out, torch.ones_like(x))


@pytest.mark.parametrize("width", [1, 17, 300])
def test_any_number_of_features(width):
    edge_index, x, _, _ = features("random", width)
    compare(*twins(NAME), x, edge_index)


@pytest.mark.filterwarnings("ignore:Sparse")
def test_what_it_cannot_take_is_refused_in_words():
    edge_index, x, _, _ = features("random")
    layer = ours(NAME)
    with pytest.raises(InputError, match=r"x must be dense.*pass x\.to_dense\(\)"):
        layer(x.to_sparse_csr(), edge_index)
    with pytest.raises(ArgumentTypeError, match="AGNNConv: x is of type tuple; expected one"):
        layer((x, x), edge_index)
    with pytest.raises(InputError, match=r"x has shape \[31\]; expected \[nodes, channels\]"):
        layer(x[:, 0], edge_index)
