"""Correctness before speed: every peer's output and gradients against the float64 reference.

The reference runs over blocks of targets, whose sums it adds up, so that it fits at full size. An
error is the largest difference over the largest value; what is tolerated is a multiple of the error
of the reference itself in the dtype that is measured, of inputs that are of that dtype.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import grad

from gat.bench.peers import OURS, Tensors
from gat.bench.process import is_shortage
from gat.bench.shape import Inputs
from gat.errors import WrongResultError
from gat.graph import Graph
from gat.ops.precision import wide

__all__ = [
    "NUDGES",
    "ErrorBound",
    "Results",
    "all_errors",
    "bounds",
    "compare",
    "errors",
    "errors_of",
    "nudged",
    "refuse_wrong",
    "truth",
]

# Entries [edges of a block, H, C] that the reference holds at a time.
BLOCK = 1 << 25
# Another order of summing may err that much more than the reference in the same dtype does ...
SLACK = 10.0
# ... and never less than some roundings of float32, or than one of a narrower dtype.
LEAST = 1e-6
# Behind a projection, rounding puts some of the millions of scores on the other side of the kink of
# LeakyReLU or ReLU, which moves a gradient far more than rounding does elsewhere, and hardly in any
# two runs the same. So many more float32 runs, of features nudged, tell how far.
NUDGES = 4

Results = dict[str, Tensor]


class ErrorBound(NamedTuple):
    """Of one tensor: the float64 reference, its largest value, and the error tolerated."""

    truth: Tensor
    largest: float
    tolerance: float

    def error(self, found: Tensor) -> float:
        if found.shape != self.truth.shape:
            return float("inf")
        if found.numel() == 0:
            return 0.0
        # In place of one difference tensor after another: these are the largest there are.
        gap = found.to(self.truth.dtype).sub_(self.truth).abs_().max()
        return float(gap) / (self.largest or 1.0)


def bounds(
    truth: Callable[[torch.dtype], Results],
    alike: Iterable[Results] = (),
    dtype: torch.dtype = torch.float32,
) -> dict[str, ErrorBound]:
    """What each tensor should be, and how far off it may be in ``dtype``, of a reference for any.

    alike: further results of the reference in ``dtype``, as good as its first ones.
    """
    exact = truth(torch.float64)
    largest = {name: float(t.abs().max()) if t.numel() else 0.0 for name, t in exact.items()}
    least = max(LEAST, torch.finfo(dtype).eps)
    found = {name: ErrorBound(exact[name], largest[name], least) for name in exact}
    for rough in chain([truth(dtype)], alike):
        for name, bound in found.items():
            tolerance = max(bound.tolerance, SLACK * bound.error(rough.pop(name)))
            found[name] = bound._replace(tolerance=tolerance)
    return found


def all_errors(
    find: Callable[[str], dict[str, float]], names: list[str]
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """What ``find`` gives for each name, and why for those that do not fit in memory."""
    found, absent = {}, {}
    for name in names:
        try:
            found[name] = find(name)
        except (MemoryError, RuntimeError) as error:
            if not is_shortage(error):
                raise
            absent[name] = "did not fit in memory"
    return found, absent


def nudged(x: Tensor, seed: int) -> Tensor:
    """x but for one or two roundings."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    return x.detach() * (1 + torch.finfo(x.dtype).eps * noise)


def compare(
    find: Callable[[str], dict[str, float]], names: list[str], bounds: dict[str, ErrorBound]
) -> dict[str, Any]:
    """What `all_errors` finds, beside what is tolerated: as `record.Checked` and a case have it."""
    found, absent = all_errors(find, names)
    tolerance = {tensor: bound.tolerance for tensor, bound in bounds.items()}
    return {"tolerance": tolerance, "errors": found, "absent": absent}


def errors(
    run: Callable[[Tensors], Tensor], inputs: Inputs, bounds: dict[str, ErrorBound]
) -> dict[str, float]:
    """The error of each tensor of ``run``."""
    out = run(inputs.tensors)
    found = {"out": out.detach()}
    gradients = grad(out, list(inputs.tensors.values()), inputs.grad_out, allow_unused=True)
    for name, gradient in zip(inputs.tensors, gradients, strict=True):
        found[f"grad {name}"] = out.new_empty(0) if gradient is None else gradient
    return errors_of(found, bounds)


def errors_of(found: Results, bounds: dict[str, ErrorBound]) -> dict[str, float]:
    return {name: bound.error(found[name]) for name, bound in bounds.items()}


def refuse_wrong(
    what: str, errors: dict[str, dict[str, float]], tolerance: dict[str, float]
) -> None:
    """WrongResultError for the first peer and tensor that is further off than tolerated."""
    for peer, found in errors.items():
        for tensor, error in found.items():
            # Not `error > tolerance`: NaN is wrong too.
            if not error <= tolerance[tensor]:
                raise WrongResultError(
                    f"{peer} computes {tensor} wrong for {what}: it is {error:.1e} off the float64 "
                    f"reference, {tolerance[tensor]:.1e} is tolerated. No speed of wrong results "
                    f"is told; leave {peer} out, or mend it"
                )


def truth(inputs: Inputs, operator: str, dtype: torch.dtype) -> Results:
    """The reference's "out" and "grad NAME" in ``dtype``, block by block of targets.

    What the blocks sum up to is kept in float32 or wider: narrower sums would err more than one
    call of the reference does.
    """
    tensors = {k: v.detach().to(dtype).requires_grad_() for k, v in inputs.tensors.items()}
    found = {f"grad {name}": torch.zeros_like(wide(tensor)) for name, tensor in tensors.items()}
    grad_out = inputs.grad_out.to(dtype)
    out = torch.zeros_like(grad_out)
    for first, last, part in _blocks(inputs.graph, max(1, grad_out[0:1].numel())):
        # Only these are asked for at the targets; the others are gathered at the sources.
        at_targets = {"score_dst", "query"} & tensors.keys()
        given = {k: v[first:last] if k in at_targets else v for k, v in tensors.items()}
        block = OURS[operator](part, **given, backend="reference")
        out[first:last] = block.detach()
        gradients = grad(block, list(tensors.values()), grad_out[first:last], allow_unused=True)
        for name, gradient in zip(tensors, gradients, strict=True):
            if gradient is not None:
                found[f"grad {name}"] += gradient
    return {"out": out, **{name: sums.to(dtype) for name, sums in found.items()}}


def _blocks(graph: Graph, width: int) -> Iterator[tuple[int, int, Graph]]:
    """Runs of targets whose edges have about BLOCK entries, each as a graph of its own."""
    first, pointer = 0, graph.rowptr
    while first < graph.num_dst:
        limit = int(pointer[first]) + max(1, BLOCK // width)
        last = int(torch.searchsorted(pointer, limit, right=True)) - 1
        last = min(max(last, first + 1), graph.num_dst)
        begin, end = int(pointer[first]), int(pointer[last])
        rows = pointer[first : last + 1] - begin
        yield first, last, Graph(rows, graph.col[begin:end], graph.num_src, last - first)
        first = last
