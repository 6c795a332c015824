"""`gat.nn.dropout`: what torch's dropout does, drawn otherwise."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from gat.nn.dropout import _factor, dropout
from gat.ops import cpu
from gat.ops.dropout import draw_seed

needs_library = pytest.mark.skipif(not cpu.status().available, reason=str(cpu.status()))
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("p", [0.1, 0.6, 0.999])
def test_entries_are_dropped_with_probability_p_and_the_rest_scaled(p):
    x = torch.rand(400, 501) + 1
    out = dropout(x, p)
    kept = out != 0
    torch.testing.assert_close(out[kept], x[kept] / (1 - p))
    # Four standard deviations of a share.
    assert abs(kept.double().mean() - (1 - p)) < 4 * (p * (1 - p) / x.numel()) ** 0.5


@needs_library
@pytest.mark.parametrize("size", [1, 31, 32, 33, 70_001])
def test_the_kernel_draws_as_the_definition(size):
    torch.manual_seed(3)
    out = dropout(torch.ones(size), 0.3)
    torch.manual_seed(3)
    torch.testing.assert_close(out, _factor(draw_seed(), out.shape, 0.3).float())


@needs_library
def test_nothing_depends_on_the_number_of_threads():
    x, before = torch.randn(300_000), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            torch.manual_seed(3)
            results.append(dropout(x, 0.5))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_without_the_library_torch_drops(monkeypatch):
    monkeypatch.setattr("gat.nn.dropout._serves", lambda x: False)
    torch.manual_seed(3)
    out = dropout(torch.ones(1000), 0.3)
    torch.manual_seed(3)
    assert torch.equal(out, F.dropout(torch.ones(1000), 0.3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (7, 3, 5)])
def test_shapes_and_dtypes_stay(dtype, shape):
    x = torch.ones(shape, dtype=dtype)
    out = dropout(x, 0.5)
    assert out.shape == x.shape
    assert out.dtype is dtype
    assert set(out.flatten().tolist()) <= {0.0, 2.0}


def test_the_seed_tells_the_draws():
    x = torch.ones(1000)
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(dropout(x, 0.5))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[2], dropout(x, 0.5))


def test_outside_training_nothing_is_dropped():
    x = torch.randn(5)
    assert torch.equal(dropout(x, 0.5, training=False), x)
    assert torch.equal(dropout(x, 0.0), x)
    assert torch.equal(dropout(x, 1.0), torch.zeros(5))


def test_gradient_is_of_what_was_kept():
    x = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)

    def again(x):
        torch.manual_seed(4)
        return dropout(x, 0.4)

    assert gradcheck(again, (x,), check_batched_grad=True)
    assert gradgradcheck(again, (x,))
    (grad,) = torch.autograd.grad(again(x).sum(), x)
    torch.testing.assert_close(grad * x, again(x))


def test_transposed_features():
    x = (torch.rand(6, 50) + 1).t()
    out = dropout(x, 0.5)
    torch.testing.assert_close(out[out != 0], 2 * x[out != 0])


def test_compiles_to_one_graph():
    compiled = torch.compile(dropout, fullgraph=True, backend="eager")
    out = compiled(torch.ones(1000), 0.25)
    assert 0.6 < (out != 0).double().mean() < 0.9
