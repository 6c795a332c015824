"""Whether a fast path is as accurate as the definition: output, weights and every gradient.

The truth is the reference in float64. The tolerance is measured: a few times the error that the
reference itself makes in the dtype at hand, and the rounding of the largest entry. For float64 it
is the reference's error in float32, in proportion to the two dtypes' roundings.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gat.graph import Graph

TIMES_THE_REFERENCE = 4
ROUNDINGS = 16


def assert_as_accurate_as_the_reference(
    run: Callable[..., Any], on: Graph, t: dict[str, Tensor], backend: str, **options: Any
) -> None:
    """Run ``run`` on ``t`` (of one dtype) by ``backend``; compare outputs and gradients."""
    dtype = next(iter(t.values())).dtype
    upstream = _upstream(run, on, t, **options)
    exact = {name: tensor.double() for name, tensor in t.items()}
    truth = _results(run, on, exact, upstream, backend="reference", **options)
    narrow = torch.float32 if dtype is torch.float64 else dtype
    rounded = {name: tensor.to(narrow) for name, tensor in t.items()}
    honest = _results(run, on, rounded, upstream, backend="reference", **options)
    eps = torch.finfo(dtype).eps
    times = TIMES_THE_REFERENCE * eps / torch.finfo(narrow).eps
    ours = _results(run, on, t, upstream, backend=backend, **options)
    for name, expected in truth.items():
        result = ours[name]
        assert (result.dtype, result.shape) == (dtype, expected.shape), name
        error, allowed = _error(result, expected), _error(honest[name], expected)
        largest = float(expected.abs().max()) if expected.numel() else 0.0
        allowed = times * allowed + ROUNDINGS * eps * largest
        assert error <= allowed, f"{name} is off by {error:.3g}, more than {allowed:.3g}"


def _upstream(run: Callable[..., Any], on: Graph, t: dict[str, Tensor], **options: Any) -> list:
    """A gradient for each output, the same for all who compute it."""
    outputs = run(on, **t, backend="reference", **options)
    return [torch.randn_like(out) for out in _as_tuple(outputs)]


def _results(
    run: Callable[..., Any], on: Graph, t: dict[str, Tensor], upstream: list, **options: Any
) -> dict[str, Tensor]:
    leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in t.items()}
    outputs = _as_tuple(run(on, **leaves, **options))
    incoming = [grad.to(out.dtype) for grad, out in zip(upstream, outputs, strict=True)]
    grads = torch.autograd.grad(outputs, list(leaves.values()), incoming)
    named = {f"output {k}": out.detach() for k, out in enumerate(outputs)}
    return named | {f"gradient of {name}": g for name, g in zip(leaves, grads, strict=True)}


def _as_tuple(outputs: Any) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _error(result: Tensor, expected: Tensor) -> float:
    return float((result.double() - expected).abs().max()) if expected.numel() else 0.0
