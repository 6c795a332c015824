"""`drop_features`: dropout that draws for the stored values of sparse features only."""

import pytest
import torch

from gat.nn import drop_features


@pytest.fixture
def sparse():
    dense = torch.rand(60, 50) * (torch.rand(60, 50) < 0.2)
    return dense.to_sparse_csr()


@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_values_are_dropped_and_scaled(sparse):
    dropped = drop_features(sparse, 0.4, training=True)
    kept = dropped.values() != 0
    torch.testing.assert_close(dropped.values()[kept], sparse.values()[kept] / 0.6)
    assert 0.5 < kept.float().mean() < 0.7
    assert torch.equal(dropped.col_indices(), sparse.col_indices())
    assert torch.equal(dropped.crow_indices(), sparse.crow_indices())


@pytest.mark.filterwarnings("ignore:Sparse")
def test_outside_training_nothing_is_dropped(sparse):
    assert drop_features(sparse, 0.4, training=False) is sparse
    assert drop_features(sparse, 0.0, training=True) is sparse


def test_dense_features_are_dropped_as_torch_does():
    x = torch.randn(6, 5)
    torch.manual_seed(3)
    expected = torch.nn.functional.dropout(x, 0.4)
    torch.manual_seed(3)
    assert torch.equal(drop_features(x, 0.4, training=True), expected)
