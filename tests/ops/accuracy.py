"""Whether a fast path is as accurate as the definition: output, weights and every gradient.

The truth is the reference in float64. The tolerance is measured: a few times the error that the
reference itself makes in the dtype at hand, and the rounding of the largest entry, or of the
largest term that was summed: terms that cancel leave their roundings. For float64 it is the
reference's error in float32, in proportion to the two dtypes' roundings.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gat import ops
from gat.graph import Graph
from gat.ops.dropout import dropout_factor

TIMES_THE_REFERENCE = 4
ROUNDINGS = 16

# What each operator's scores are made of, and the options with which no sign makes them smaller.
SCORED_BY: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "additive_attention": (("score_src", "score_dst", "score_edge"), {"negative_slope": 1.0}),
    "gatv2_attention": (
        ("key", "query", "att", "edge"),
        {"activation": "leaky_relu", "negative_slope": 1.0},
    ),
    "dot_attention": (("query", "key", "edge_key"), {}),
}


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
    terms = _largest_terms(run.__name__, on, exact, upstream, **options)
    for name, expected in truth.items():
        result = ours[name]
        assert (result.dtype, result.shape) == (dtype, expected.shape), name
        error, allowed = _error(result, expected), _error(honest[name], expected)
        largest = max(terms.get(name, 0.0), _largest(expected))
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


def _largest_terms(
    operator: str,
    on: Graph,
    t: dict[str, Tensor],
    upstream: list[Tensor],
    *,
    dropout: float = 0.0,
    seed: Tensor | int = 0,
    return_weights: bool = False,
    **options: Any,
) -> dict[str, float]:
    """By result, how large the terms are of which an operator's score gradients are made.

    A score's gradient is a (da - D), da a sum over channels and D the weighted mean of da: nothing
    where a target has one edge. All these are added up here without their signs.
    """
    if operator not in SCORED_BY:
        return {}
    names, without_signs = SCORED_BY[operator]
    step = functools.partial(getattr(ops, operator.replace("attention", "scores")), on)
    given = {name: t[name] for name in names if name in t}
    score = step(**given, **options, backend="reference")
    weights = ops.segment_softmax(on, score, backend="reference")
    factor = dropout_factor(torch.as_tensor(seed), weights, dropout)
    j, i = on.edge_index
    value = t.get("value", t.get("key"))[j] + t.get("edge_value", 0)
    moved = factor * (upstream[0].double()[i] * value).abs().sum(-1)
    if return_weights:
        moved = moved + factor * upstream[1].double().abs()
    mean = torch.zeros(on.num_dst, moved.size(1), dtype=moved.dtype)
    mean = mean.index_add(0, i, weights * moved)
    # A weight is off, in proportion to itself, by what its score is off.
    moved = (1 + score.abs()) * weights * (moved + mean[i])
    sizes = {name: x.abs().requires_grad_() for name, x in given.items()}
    result = step(**sizes, **options | without_signs, backend="reference")
    grads = torch.autograd.grad(result, list(sizes.values()), moved)
    return {f"gradient of {name}": _largest(g) for name, g in zip(sizes, grads, strict=True)}


def _largest(tensor: Tensor) -> float:
    return float(tensor.abs().max()) if tensor.numel() else 0.0


def _as_tuple(outputs: Any) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _error(result: Tensor, expected: Tensor) -> float:
    return float((result.double() - expected).abs().max()) if expected.numel() else 0.0
