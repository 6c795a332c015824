"""Features that are mostly zero: our sparse product, and dropout of the stored values only."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F

import gat
from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.graph import cache
from gat.nn import drop_features
from gat.nn.features import linear
from gat.ops import cpu

pytestmark = pytest.mark.filterwarnings("ignore:Sparse")
compiled = pytest.mark.skipif(not cpu.status().available, reason="needs the compiled library")

SHAPES = [(60, 50, 8), (1, 1, 1), (5, 0, 3), (0, 5, 3), (63, 17, 7)]


def matrix(rows=60, columns=50, share=0.2, dtype=torch.float64):
    dense = torch.rand(rows, columns, dtype=dtype) + 1
    return (dense * (torch.rand(rows, columns) < share)).to_sparse_csr()


def csr(pointer, index, values, shape):
    return torch.sparse_csr_tensor(
        torch.tensor(pointer), torch.tensor(index), torch.tensor(values), shape
    )


@pytest.fixture
def builds(monkeypatch):
    """How many graphs have been built."""
    built = []
    build = cache._build
    monkeypatch.setattr(cache, "_build", lambda *args: built.append(args) or build(*args))
    return built


@pytest.mark.parametrize(("rows", "columns", "outputs"), SHAPES)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("index", [torch.int32, torch.int64])
def test_product_and_gradients_are_those_of_the_dense_one(rows, columns, outputs, bias, index):
    x = matrix(rows, columns)
    x = torch.sparse_csr_tensor(
        x.crow_indices().to(index), x.col_indices().to(index), x.values(), x.shape
    )
    results = []
    for features in (x.to_dense(), x):
        torch.manual_seed(0)
        weight = torch.randn(outputs, columns, dtype=torch.float64, requires_grad=True)
        shift = torch.randn(outputs, dtype=torch.float64, requires_grad=True) if bias else None
        out = linear(features, weight, shift)
        leaves = [weight, *([shift] if bias else [])]
        results.append((out, *torch.autograd.grad(out, leaves, torch.randn_like(out))))
    torch.testing.assert_close(results[1], results[0])


@compiled
def test_stored_values_have_gradients_twice():
    pattern = matrix(7, 5, 0.5)
    weight = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)

    def product(values, weight):
        x = torch.sparse_csr_tensor(
            pattern.crow_indices(), pattern.col_indices(), values, pattern.shape
        )
        return linear(x, weight)

    values = pattern.values().clone().requires_grad_()
    assert torch.autograd.gradcheck(product, (values, weight))
    constant = pattern.values().detach()
    assert torch.autograd.gradgradcheck(lambda w: product(constant, w), (weight,))


@compiled
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    x, weight = matrix(dtype=torch.float32), torch.randn(8, 50)
    exact = F.linear(x.to_dense().to(dtype).double(), weight.to(dtype).double())
    out = linear(x.to(dtype), weight.to(dtype))
    assert out.dtype is dtype
    torch.testing.assert_close(out, exact.to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-5)
    with torch.autocast("cpu", dtype):
        torch.testing.assert_close(linear(x, weight), out)
        assert linear(x.double(), weight.double()).dtype is torch.float64


@compiled
def test_unsorted_columns_and_entries_stored_twice():
    x = csr([0, 3, 3, 5], [2, 0, 2, 1, 0], [1.0, 2.0, 4.0, 8.0, 16.0], (3, 4))
    dense = torch.tensor([[2.0, 0, 5, 0], [0, 0, 0, 0], [16, 8, 0, 0]])
    weight = torch.randn(2, 4)
    torch.testing.assert_close(linear(x, weight), F.linear(dense, weight))


WRONG = {
    "pointers that fall": (
        ([0, 3, 1, 2], [0, 1]),
        InputError,
        r"row pointers do not rise from 0 to 2, .*build it with check_invariants=True",
    ),
    "pointers beyond the entries": (([0, 1, 2, 9], [0, 1]), InputError, r"rise from 0 to 2"),
    "pointers from 1": (([1, 1, 1, 2], [0, 1]), InputError, r"rise from 0 to 2"),
    "column too large": (
        ([0, 1, 1, 2], [0, 4]),
        IndexRangeError,
        r"entry 1 of the sparse matrix is in column 4, outside \[0, 4\); its shape is \[3, 4\]",
    ),
    "column negative": (([0, 1, 1, 2], [-1, 3]), IndexRangeError, r"entry 0 .*column -1, outside"),
}


@compiled
@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_matrix_never_reaches_the_kernel(name):
    (pointer, index), error, sentence = WRONG[name]
    x = csr(pointer, index, [1.0, 2.0], (3, 4))
    with pytest.raises(error, match=sentence):
        linear(x, torch.randn(2, 4))
    with pytest.raises(error, match=sentence):
        drop_features(x, 0.5, training=True)


@compiled
def test_what_does_not_fit_is_refused():
    x = matrix(6, 5)
    with pytest.raises(InputError, match=r"x has 5 features, but the weight has shape \[3, 4\]"):
        linear(x, torch.randn(3, 4))
    with pytest.raises(ArgumentTypeError, match=r"CSR matrix of torch\.int64 .*expected floating"):
        linear(csr([0, 1], [0], [1], (1, 1)), torch.randn(3, 1))
    with pytest.raises(InputError, match=r"x has layout torch\.sparse_coo; expected dense or"):
        drop_features(x.to_sparse_coo(), 0.5, training=True)


@compiled
def test_the_same_features_are_sorted_once(builds):
    x, weight = matrix(), torch.randn(3, 50, dtype=torch.float64, requires_grad=True)
    for _ in range(3):
        linear(drop_features(x, 0.5, training=True), weight).sum().backward()
        linear(x, weight)
    assert len(builds) == 1


@compiled
def test_dropped_features_share_the_arrays_and_are_forgotten(builds):
    x = matrix()
    dropped = drop_features(x, 0.5, training=True)
    assert gat.graph.graph_of(dropped) is gat.graph.graph_of(x)
    gc.collect()
    known, gone = len(cache._REMEMBERED), weakref.ref(dropped)
    del dropped
    gc.collect()
    assert gone() is None
    assert len(cache._REMEMBERED) == known - 1


@compiled
@pytest.mark.parametrize("change", ["columns", "values", "all"])
def test_features_changed_in_place_are_read_anew(change):
    x, weight = csr([0, 1, 2], [0, 1], [1.0, 2.0], (2, 3)), torch.randn(2, 3)
    linear(x, weight)
    if change == "columns":
        x.col_indices()[0] = 2
    elif change == "values":
        x.values()[0] = 7
    else:
        x.mul_(3)
    torch.testing.assert_close(linear(x, weight), F.linear(x.to_dense(), weight))
    x.col_indices()[0] = 3
    with pytest.raises(IndexRangeError, match="column 3"):
        linear(x, weight)


@pytest.mark.parametrize("name", ["reference", "blockwise"])
def test_without_kernels_torch_multiplies(name, builds):
    x, weight = matrix(), torch.randn(3, 50, dtype=torch.float64)
    with gat.use_backend(name):
        out = linear(drop_features(x, 0.0, training=True), weight)
        drop_features(x, 0.5, training=True)
    torch.testing.assert_close(out, F.linear(x.to_dense(), weight))
    assert builds == []


def test_stored_values_are_dropped_and_scaled():
    x = matrix()
    dropped = drop_features(x, 0.4, training=True)
    kept = dropped.values() != 0
    torch.testing.assert_close(dropped.values()[kept], x.values()[kept] / 0.6)
    assert 0.5 < kept.double().mean() < 0.7
    assert torch.equal(dropped.col_indices(), x.col_indices())
    assert torch.equal(dropped.crow_indices(), x.crow_indices())


def test_entries_not_stored_are_not_drawn_for():
    wide = torch.sparse_csr_tensor(
        torch.tensor([0, 2]), torch.tensor([0, 99_999]), torch.ones(2), (1, 100_000)
    )
    narrow = csr([0, 2], [0, 1], [1.0, 1.0], (1, 2))
    draws = []
    for x in (wide, narrow):
        torch.manual_seed(5)
        draws.append((drop_features(x, 0.5, training=True).values(), torch.rand(3)))
    torch.testing.assert_close(draws[0], draws[1])


def test_outside_training_nothing_is_dropped():
    x = matrix()
    assert drop_features(x, 0.4, training=False) is x
    assert drop_features(x, 0.0, training=True) is x


def test_dropout_takes_the_values_gradient_along():
    pattern = matrix()
    values = pattern.values().clone().requires_grad_()
    x = torch.sparse_csr_tensor(
        pattern.crow_indices(), pattern.col_indices(), values, pattern.shape
    )
    dropped = drop_features(x, 0.4, training=True)
    linear(dropped, torch.ones(1, 50, dtype=torch.float64)).sum().backward()
    torch.testing.assert_close(values.grad * values, dropped.values())
