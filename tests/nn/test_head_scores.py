"""`head_scores`: products of channels with a learned vector, head by head."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from gat.nn import head_scores as module
from gat.nn.head_scores import _by_product, head_scores
from gat.ops import cpu
from tests.device import generator

needs_library = pytest.mark.skipif(not cpu.status().available, reason=str(cpu.status()))
SIZES = [(13, 4, 5), (13, 1, 7), (0, 3, 2), (5, 3, 1), (1, 1, 1)]


def given(nodes, heads, channels, count=2, dtype=torch.float64):
    shapes = [(nodes, heads, channels), *[(1, heads, channels)] * count]
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_scores_and_gradients_are_those_of_the_elementwise_products(size, count):
    projected, *vectors = leaves = given(*size, count)
    results = []
    for scores in (
        head_scores(projected, *vectors),
        [(projected * vector).sum(-1) for vector in vectors],
    ):
        weighted = sum((number + 2) * score.sin().sum() for number, score in enumerate(scores))
        results.append((list(scores), torch.autograd.grad(weighted, leaves)))
    torch.testing.assert_close(results[0], results[1])


def test_features_in_another_order_of_memory():
    projected, vector = given(6, 4, 3, 1)
    turned = projected.detach().transpose(0, 1).contiguous().transpose(0, 1)
    torch.testing.assert_close(head_scores(turned, vector), head_scores(projected, vector))


@pytest.mark.parametrize("heads", [1, 4])
def test_scores_stay_float32_under_autocast(heads):
    projected, vector = given(6, heads, 3, 1, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        (score,) = head_scores(projected.bfloat16(), vector)
    assert score.dtype is torch.float32
    expected = (projected.bfloat16() * vector).sum(-1)
    torch.testing.assert_close(score, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_sums_in_float32(dtype):
    projected, vector = given(50, 4, 64, 1, torch.float64)
    low = [tensor.detach().to(dtype) for tensor in (projected, vector)]
    exact = (low[0].double() * low[1].double()).sum(-1)
    (score,) = head_scores(*low)
    assert score.dtype is dtype
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(score, exact.to(dtype), rtol=2 * step, atol=1e-3 * step)


def results(run, leaves, dtype=None):
    """Scores, and the gradients that random gradients of theirs give; in float64 if no dtype."""
    low = [leaf.detach().to(dtype or torch.float64).requires_grad_() for leaf in leaves]
    scores = list(run(*low))
    draw = generator(5)
    given = [torch.randn(score.shape, generator=draw).to(score) for score in scores]
    return [*scores, *torch.autograd.grad(scores, low, given)]


@needs_library
@pytest.mark.parametrize("nodes", [0, 1, 6, 2003])
@pytest.mark.parametrize("heads", [1, 8])
@pytest.mark.parametrize("channels", [0, 1, 7, 8, 32, 250])
@pytest.mark.parametrize("count", [1, 2])
def test_the_kernel_gives_what_torch_gives(nodes, heads, channels, count):
    leaves = given(nodes, heads, channels, count)
    expected = results(_by_product, leaves)
    torch.testing.assert_close(results(head_scores, leaves), expected)
    # The largest sum that float32 rounds is of so many terms.
    step = torch.finfo(torch.float32).eps * max(nodes, channels, 1) ** 0.5
    for found, exact in zip(results(head_scores, leaves, torch.float32), expected, strict=True):
        largest = exact.abs().max().item() if exact.numel() else 0.0
        torch.testing.assert_close(found.double(), exact, rtol=0, atol=8 * step * (1 + largest))


@needs_library
def test_plain_tensors_are_computed_by_the_kernel(monkeypatch):
    monkeypatch.delattr(module, "_by_product")
    projected, *vectors = given(5, 2, 3)
    sum(score.sum() for score in head_scores(projected, *vectors)).backward()
    assert projected.grad is not None


def test_without_the_library_torch_computes(monkeypatch):
    monkeypatch.setattr(module, "_serves", lambda *inputs: False)
    leaves = given(5, 2, 3)
    assert torch.equal(torch.stack(head_scores(*leaves)), torch.stack(_by_product(*leaves)))


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("size", [(5, 2, 3), (3, 1, 9), (6, 8, 1)])
def test_gradients_and_theirs(size, count):
    leaves = given(*size, count)

    def run(*inputs):
        return tuple(head_scores(*inputs))

    assert gradcheck(run, leaves, check_batched_grad=True)
    assert gradgradcheck(run, leaves, check_batched_grad=True)


@pytest.mark.parametrize("used", [0, 1])
def test_only_one_of_two_scores_used(used):
    projected, *vectors = leaves = given(9, 4, 5)
    found = torch.autograd.grad(
        head_scores(*leaves)[used].sin().sum(), leaves, allow_unused=True, materialize_grads=True
    )
    product = (projected * vectors[used]).sum(-1).sin().sum()
    expected = torch.autograd.grad(product, leaves, allow_unused=True, materialize_grads=True)
    torch.testing.assert_close(found, expected)
    assert gradgradcheck(lambda *inputs: head_scores(*inputs)[used], leaves)


@pytest.mark.parametrize("wanted", [[0], [1], [2], [0, 2], [1, 2]], ids=str)
def test_only_some_gradients_wanted(wanted):
    leaves = [leaf.detach() for leaf in given(9, 4, 5)]
    for k in wanted:
        leaves[k].requires_grad_()
    found, expected = (
        torch.autograd.grad(
            sum((k + 1) * score.sin().sum() for k, score in enumerate(run(*leaves))),
            [leaves[k] for k in wanted],
        )
        for run in (head_scores, _by_product)
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels", [1, 8, 250])
@pytest.mark.parametrize("count", [1, 2])
def test_half_precision_errs_as_little_as_torch(dtype, channels, count):
    leaves = [leaf.detach().to(dtype) for leaf in given(300, 8, channels, count)]
    exact = results(_by_product, leaves)
    ours, torchs = (results(run, leaves, dtype) for run in (head_scores, _by_product))
    for own, other, right in zip(ours, torchs, exact, strict=True):
        assert own.dtype is dtype
        step = torch.finfo(dtype).eps * right.abs().max()
        assert (own - right).abs().max() <= (other - right).abs().max() + step


@needs_library
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_nothing_depends_on_the_number_of_threads(dtype):
    leaves, before = given(5003, 8, 11), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(results(head_scores, leaves, dtype))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


def test_views():
    wide = torch.randn(7, 4, 12, dtype=torch.float64, requires_grad=True)
    vectors = [torch.randn(1, 3, 4, dtype=torch.float64).mT.requires_grad_() for _ in range(2)]
    (found, expected) = (
        torch.autograd.grad(
            sum((k + 1) * score.sin().sum() for k, score in enumerate(run(wide[..., 1::4]))),
            [wide, *vectors],
        )
        for run in (
            lambda part: head_scores(part, *vectors),
            lambda part: [(part * vector).sum(-1) for vector in vectors],
        )
    )
    torch.testing.assert_close(found, expected)


def test_compiles_to_one_graph():
    leaves = given(6, 4, 3)
    compiled = torch.compile(head_scores, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*leaves), head_scores(*leaves))
