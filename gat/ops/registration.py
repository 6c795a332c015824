"""How an operator of compiled kernels is registered with torch: schema, shapes, gradients.

torch.compile then sees one operator for a forward and one for a backward pass. Outside of it a
call goes past torch's dispatcher, whose Python half costs more than a small graph's kernel.

Every operator takes its tensors, the graph's arrays (`Walk`), its numbers (`Options`), and if it is
a whole attention, a seed and whether weights are wanted. A gradient that must itself be
differentiable is worked out by the definition (`gat.ops.reference`).
"""

import functools
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gat.errors import BackendError
from gat.graph import Graph
from gat.ops.cpu import kernels
from gat.ops.second_order import gradients
from gat.ops.walk import Incoming, Options, Walk, stats_dtype
from gat.ops.watchers import is_batched, is_plain

__all__ = ["Arguments", "Operator", "call_operator", "register"]

LIBRARY = torch.library.Library("gat", "FRAGMENT")

WALK = (
    "Tensor rowptr, Tensor col, Tensor? number, Tensor? source_rowptr, Tensor? source_col, "
    "Tensor? source_number, Tensor? transposed, Tensor? units, Tensor? counts, "
    "Tensor? source_units, Tensor? source_counts"
)
OPTIONS = "float dropout, float negative_slope, str activation, float scale, bool rated"

Inputs = tuple[Tensor | None, ...]


class Arguments(NamedTuple):
    """An operator's flat arguments, told apart. rest: a whole attention's (seed, return_weights),
    then in a backward what the forward gave, the incoming gradients, and which are needed."""

    inputs: Inputs
    walk: Walk
    options: Options
    rest: tuple[Any, ...]

    @classmethod
    def split(cls, count: int, arguments: Sequence[Any]) -> "Arguments":
        walk_end = count + len(Walk._fields)
        options_end = walk_end + len(Options._fields)
        walk, options = arguments[count:walk_end], arguments[walk_end:options_end]
        rest = tuple(arguments[options_end:])
        return cls(tuple(arguments[:count]), Walk(*walk), Options(*options), rest)


@dataclass(frozen=True)
class Operator:
    """What registration needs to know of an operator.

    schema: its tensors. define(graph, options, rest, *inputs): what it computes, in torch that can
    be differentiated twice. value: the input it sums, [num_src, H, C], where it sums one; whole:
    an attention, not a step.
    """

    name: str
    schema: str
    define: Callable[..., Any]
    value: Callable[[Inputs], Tensor | None] = lambda inputs: None
    whole: bool = False

    @functools.cached_property
    def count(self) -> int:
        return self.schema.count("Tensor")

    def forward(self, call: "Arguments") -> Any:
        """Run the forward kernel."""
        run = getattr(_kernels(call.walk), f"{self.name}_forward")
        return run(call.walk, call.options, *call.rest, *call.inputs)

    def backward(self, call: "Arguments") -> list[Tensor]:
        """Run the backward kernel: gradients of the inputs, empty where not needed."""
        *saved, needed = call.rest
        given = (saved[0], Incoming(*saved[1:])) if self.whole else (saved,)
        run = getattr(_kernels(call.walk), f"{self.name}_backward")
        return run(call.walk, call.options, *given, needed, *call.inputs)


def register(operator: Operator) -> None:
    """Define gat::NAME_forward and gat::NAME_backward."""
    name, count = operator.name, operator.count
    given = f"{operator.schema}, {WALK}, {OPTIONS}"
    if operator.whole:
        outputs = "(Tensor out, Tensor stats, Tensor weights)"
        LIBRARY.define(f"{name}_forward({given}, Tensor? seed, bool return_weights) -> {outputs}")
        saved = "Tensor? seed, Tensor out, Tensor stats, Tensor grad_out, Tensor? grad_weights"
    else:
        LIBRARY.define(f"{name}_forward({given}) -> Tensor")
        saved = "Tensor result, Tensor grad"
    LIBRARY.define(f"{name}_backward({given}, {saved}, bool[] needed) -> Tensor[]")

    for device in ("CPU", "CUDA"):
        LIBRARY.impl(
            f"{name}_forward", lambda *a: operator.forward(Arguments.split(count, a)), device
        )
        LIBRARY.impl(
            f"{name}_backward", lambda *a: operator.backward(Arguments.split(count, a)), device
        )
    torch.library.register_fake(
        f"gat::{name}_forward", lambda *a: _fake_forward(operator, Arguments.split(count, a)),
        lib=LIBRARY,
    )  # fmt: skip
    torch.library.register_fake(
        f"gat::{name}_backward", lambda *a: _fake_backward(Arguments.split(count, a)), lib=LIBRARY
    )
    torch.library.register_autograd(
        f"gat::{name}_forward",
        lambda ctx, *grads: _differentiate_flat(operator, ctx, grads),
        setup_context=lambda ctx, inputs, output: _remember(
            operator, ctx, Arguments.split(count, inputs), output
        ),
        lib=LIBRARY,
    )


def _kernels(walk: Walk) -> Any:
    """Those that a walk was made for: with a schedule, Triton's."""
    if walk.units is not None:
        return importlib.import_module("gat.ops.triton.kernels")
    if not walk.rowptr.is_cpu:
        raise BackendError(
            f"an operator of gat was called on {walk.rowptr.device} without the edges' schedule, "
            f"which its kernels need; pass that of Graph.schedule, or call gat.ops"
        )
    return kernels


def call_operator(operator: Operator, call: Arguments) -> Any:
    """What gat::NAME_forward returns; at once where nothing needs to see the call."""
    if torch.compiler.is_compiling() or not is_plain(call.inputs):
        run = getattr(torch.ops.gat, f"{operator.name}_forward")
        return run(*call.inputs, *call.walk, *call.options, *call.rest)
    if call.walk.source_rowptr is None:
        return operator.forward(call)
    return EdgeOperator.apply(operator, call.walk, call.options, call.rest, *call.inputs)


class EdgeOperator(torch.autograd.Function):
    """The gradients of an operator that was called at once."""

    @staticmethod
    def forward(
        ctx: Any,
        operator: Operator,
        walk: Walk,
        options: Options,
        rest: tuple[Any, ...],
        *inputs: Tensor | None,
    ) -> Any:
        call = Arguments(inputs, walk, options, rest)
        output = operator.forward(call)
        _remember(operator, ctx, call, output)
        ctx.operator = operator
        if operator.whole:
            _, stats, weights = output
            ctx.mark_non_differentiable(stats, *([] if ctx.return_weights else [weights]))
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        needed = ctx.needs_input_grad[4:]
        return (None, None, None, None, *_differentiate(ctx.operator, ctx, needed, grads))


def _fake_forward(operator: Operator, call: Arguments) -> Any:
    """Tensors of the results' shapes."""
    nodes, edges = call.walk.rowptr.size(0) - 1, call.walk.col.size(0)
    value = operator.value(call.inputs)
    if value is None:
        like = call.inputs[0]
        assert like is not None
        return like.new_empty((edges, like.size(1)))
    out = value.new_empty((nodes, *value.shape[1:]))
    if not operator.whole:
        return out
    of_each = 4 + value.size(2) if call.options.rated else 2
    stats = value.new_empty((nodes, value.size(1), of_each), dtype=stats_dtype(value.dtype))
    return out, stats, value.new_empty((edges if call.rest[1] else 0, value.size(1)))


def _fake_backward(call: Arguments) -> list[Tensor]:
    nothing = call.walk.rowptr.new_empty(0, dtype=torch.float32)
    return [
        tensor.new_empty(tensor.shape) if tensor is not None and wanted else nothing.clone()
        for tensor, wanted in zip(call.inputs, call.rest[-1], strict=True)
    ]


def _remember(operator: Operator, ctx: Any, call: Arguments, output: Any) -> None:
    ctx.set_materialize_grads(False)
    seed, ctx.return_weights = call.rest if operator.whole else (None, False)
    results = output[:2] if operator.whole else (output, None)
    ctx.save_for_backward(*call.inputs, *call.walk, seed, *results)
    ctx.options = call.options


def _differentiate_flat(operator: Operator, ctx: Any, grads: Sequence[Any]) -> tuple[Any, ...]:
    """Gradients of the inputs, and None for the other arguments."""
    others = len(Walk._fields) + len(Options._fields) + (2 if operator.whole else 0)
    needed = ctx.needs_input_grad[: operator.count]
    return (*_differentiate(operator, ctx, needed, grads), *(None,) * others)


def _differentiate(
    operator: Operator, ctx: Any, needed: Sequence[bool], grads: Sequence[Any]
) -> Sequence[Tensor | None]:
    """Gradients of the inputs, None where none is needed."""
    count = operator.count
    *saved, seed, result, stats = ctx.saved_tensors
    inputs, walk = tuple(saved[:count]), Walk(*saved[count:])
    grad, grad_weights = grads[0], grads[2] if operator.whole else None
    if not ctx.return_weights:
        grad_weights = None
    if grad is None and grad_weights is None:
        return (None,) * count
    if walk.source_rowptr is None:
        raise BackendError(
            f"gat::{operator.name}_forward was called without the edges by source, which its "
            f"backward needs; pass those of Graph.by_source, or call gat.ops"
        )
    if torch.is_grad_enabled() or is_batched(grad, grad_weights):
        rest = (seed, ctx.return_weights) if operator.whole else ()
        incoming = (grad, grad_weights) if operator.whole else (grad,)
        return _differentiable(operator, Arguments(inputs, walk, ctx.options, rest), incoming)
    grad = torch.zeros_like(result) if grad is None else grad
    passed = (seed, result, stats, grad, grad_weights) if operator.whole else (result, grad)
    if is_plain((grad, grad_weights)):
        call = Arguments(inputs, walk, ctx.options, (*passed, needed))
        found = operator.backward(call)
    else:
        run = getattr(torch.ops.gat, f"{operator.name}_backward")
        found = run(*inputs, *walk, *ctx.options, *passed, needed)
    return [each if wanted else None for each, wanted in zip(found, needed, strict=True)]


def _differentiable(
    operator: Operator, call: Arguments, incoming: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Gradients by the definition, on the graph that the walk was made of."""
    walk = call.walk
    number = None if walk.number is None else walk.number.long()
    assert walk.source_rowptr is not None
    sources, targets = walk.source_rowptr.size(0) - 1, walk.rowptr.size(0) - 1
    graph = Graph(walk.rowptr.long(), walk.col.long(), sources, targets, number)
    return gradients(
        lambda *inputs: operator.define(graph, call.options, call.rest, *inputs),
        call.inputs,
        incoming,
    )
