"""How an operator of compiled kernels is registered with torch: schema, shapes, gradients.

torch.compile then sees one operator for a forward and one for a backward pass. Every operator takes
its tensors, the graph's arrays (`Walk`), its numbers (`Options`), and if it is a whole attention, a
seed and whether weights are wanted. A gradient that must itself be differentiable is worked out by
the definition (`gat.ops.reference`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gat.graph import Graph
from gat.ops.cpu import kernels
from gat.ops.cpu.kernels import Incoming, Options, Walk
from gat.ops.second_order import gradients

__all__ = ["Operator", "register"]

LIBRARY = torch.library.Library("gat", "FRAGMENT")

WALK = (
    "Tensor rowptr, Tensor col, Tensor? number, Tensor? source_rowptr, Tensor? source_col, "
    "Tensor? source_number, Tensor? transposed"
)
OPTIONS = "float dropout, float negative_slope, str activation, float scale"

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

    @property
    def count(self) -> int:
        return self.schema.count("Tensor")


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

    run_forward = getattr(kernels, f"{name}_forward")
    run_backward = getattr(kernels, f"{name}_backward")

    def forward(*arguments: Any) -> Any:
        call = Arguments.split(count, arguments)
        return run_forward(call.walk, call.options, *call.rest, *call.inputs)

    def backward(*arguments: Any) -> list[Tensor]:
        call = Arguments.split(count, arguments)
        *saved, needed = call.rest
        given = (saved[0], Incoming(*saved[1:])) if operator.whole else (saved,)
        return run_backward(call.walk, call.options, *given, needed, *call.inputs)

    LIBRARY.impl(f"{name}_forward", forward, "CPU")
    LIBRARY.impl(f"{name}_backward", backward, "CPU")
    torch.library.register_fake(
        f"gat::{name}_forward", lambda *a: _fake_forward(operator, Arguments.split(count, a)),
        lib=LIBRARY,
    )  # fmt: skip
    torch.library.register_fake(
        f"gat::{name}_backward", lambda *a: _fake_backward(Arguments.split(count, a)), lib=LIBRARY
    )
    torch.library.register_autograd(
        f"gat::{name}_forward",
        lambda ctx, *grads: _differentiate(operator, ctx, grads),
        setup_context=lambda ctx, inputs, output: _remember(operator, ctx, inputs, output),
        lib=LIBRARY,
    )


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
    stats = value.new_empty((nodes, value.size(1), 2), dtype=kernels.stats_dtype(value.dtype))
    return out, stats, value.new_empty((edges if call.rest[1] else 0, value.size(1)))


def _fake_backward(call: Arguments) -> list[Tensor]:
    nothing = call.walk.rowptr.new_empty(0, dtype=torch.float32)
    return [
        tensor.new_empty(tensor.shape) if tensor is not None and wanted else nothing.clone()
        for tensor, wanted in zip(call.inputs, call.rest[-1], strict=True)
    ]


def _remember(operator: Operator, ctx: Any, arguments: Sequence[Any], output: Any) -> None:
    call = Arguments.split(operator.count, arguments)
    ctx.set_materialize_grads(False)
    seed, ctx.return_weights = call.rest if operator.whole else (None, False)
    results = output[:2] if operator.whole else (output, None)
    ctx.save_for_backward(*call.inputs, *call.walk, seed, *results)
    ctx.options = call.options


def _differentiate(operator: Operator, ctx: Any, grads: Sequence[Any]) -> tuple[Any, ...]:
    """Gradients of the inputs, and None for the other arguments."""
    count = operator.count
    *saved, seed, result, stats = ctx.saved_tensors
    others = len(Walk._fields) + len(Options._fields) + (2 if operator.whole else 0)
    grad, grad_weights = grads[0], grads[2] if operator.whole else None
    if not ctx.return_weights:
        grad_weights = None
    needed = ctx.needs_input_grad[:count]
    if grad is None and grad_weights is None:
        return (None,) * (count + others)
    if torch.is_grad_enabled():
        rest = (seed, ctx.return_weights) if operator.whole else ()
        call = Arguments.split(count, (*saved, *ctx.options, *rest))
        incoming = (grad, grad_weights) if operator.whole else (grad,)
        return (*_differentiable(operator, call, incoming), *(None,) * others)
    grad = torch.zeros_like(result) if grad is None else grad
    run = getattr(torch.ops.gat, f"{operator.name}_backward")
    passed = (seed, result, stats, grad, grad_weights) if operator.whole else (result, grad)
    found = run(*saved, *ctx.options, *passed, needed)
    kept = (each if wanted else None for each, wanted in zip(found, needed, strict=True))
    return (*kept, *(None,) * others)


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
