"""`head_scores`: products of channels with a learned vector, head by head."""

import pytest
import torch

from gat.nn.head_scores import head_scores

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
