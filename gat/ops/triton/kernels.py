"""The kernels as functions of tensors: outputs allocated, kernels launched, no checks.

The same functions as `gat.ops.cpu.kernels`, for tensors on a GPU (or, interpreted, on the CPU):
`gat.ops.library` makes operators of both. The tensors are of one floating dtype; per-edge tensors
are in listed order. Nothing here waits for the GPU or depends on which stream is current.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gat.ops.triton import backward, forward
from gat.ops.triton.backward import Gradients
from gat.ops.triton.call import Call, Direction
from gat.ops.triton.forward import Parts, Results
from gat.ops.triton.shapes import Given
from gat.ops.triton.shapes import Incoming as Pulled
from gat.ops.walk import Incoming, Options, Walk

__all__ = [
    "additive_backward",
    "additive_forward",
    "additive_scores_backward",
    "additive_scores_forward",
    "aggregate_backward",
    "aggregate_forward",
    "dot_backward",
    "dot_forward",
    "dot_scores_backward",
    "dot_scores_forward",
    "gatv2_backward",
    "gatv2_forward",
    "gatv2_scores_backward",
    "gatv2_scores_forward",
    "segment_softmax_backward",
    "segment_softmax_forward",
]

# Programs that each go through many rows, where each leaves a sum of its own; fewer where groups of
# heads multiply them. The same on every GPU, or results would not have the same bits.
PROGRAMS = 2048
LEAST_PROGRAMS = 64

# Attention ----------------------------------------------------------------------------------------


def additive_forward(
    walk: Walk,
    options: Options,
    seed: Tensor | None,
    return_weights: bool,
    value: Tensor,
    score_src: Tensor,
    score_dst: Tensor | None,
    score_edge: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """out [num_dst, H, C], stats [num_dst, H, .] and weights [E, H], or empty."""
    return _attend(
        _additive(walk, options, seed, value, score_src, score_dst, score_edge), return_weights
    )


def additive_backward(
    walk: Walk,
    options: Options,
    seed: Tensor | None,
    incoming: Incoming,
    needed: Sequence[bool],
    value: Tensor,
    score_src: Tensor,
    score_dst: Tensor | None,
    score_edge: Tensor | None,
) -> list[Tensor]:
    """Gradients in the inputs' order; empty for those not needed."""
    call = _additive(walk, options, seed, value, score_src, score_dst, score_edge)
    inputs = (value, score_src, score_dst, score_edge)
    found = [_like(x, wanted) for x, wanted in zip(inputs, needed, strict=True)]
    grad_value, grad_source, grad_target, grad_edge = found
    # A gradient of the weights moves the scores as well, of which the forward knew nothing.
    by_edge = options.rated is False or incoming.grad_weights is not None
    told = _describe(call, incoming, None if by_edge else grad_target)
    passed = None
    if by_edge and grad_target is not None:
        passed = call.empty(call.num_edges, call.heads)
    grads = Gradients(value=grad_value, key=grad_source, edge=grad_edge, passed=passed)
    _pull_by_source(call, told, grads, (call.heads,))
    if passed is not None:
        _sum_numbers(call, call.collecting(), passed, None, grad_target)
    return _filled(call, found)


def gatv2_forward(
    walk: Walk,
    options: Options,
    seed: Tensor | None,
    return_weights: bool,
    key: Tensor,
    query: Tensor,
    att: Tensor,
    edge: Tensor | None,
    value: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """As `additive_forward`; without ``value`` the keys are the values."""
    return _attend(_gatv2(walk, options, seed, key, query, att, edge, value), return_weights)


def gatv2_backward(
    walk: Walk,
    options: Options,
    seed: Tensor | None,
    incoming: Incoming,
    needed: Sequence[bool],
    key: Tensor,
    query: Tensor,
    att: Tensor,
    edge: Tensor | None,
    value: Tensor | None,
) -> list[Tensor]:
    """As `additive_backward`; where keys are the values, the key's gradient is of both."""
    call = _gatv2(walk, options, seed, key, query, att, edge, value)
    inputs = (key, query, att, edge, value)
    found = [_like(x, wanted) for x, wanted in zip(inputs, needed, strict=True)]
    grad_key, grad_query, grad_att, grad_edge, grad_value = found
    told = _describe(call, incoming)
    _pull_by_target(call, told, Gradients(query=grad_query, edge=grad_edge), grad_att)
    # Where keys are the values, one walk sums the gradients of both.
    both = Gradients(value=grad_key)
    grads = both if call.shared else Gradients(value=grad_value, key=grad_key)
    _pull_by_source(call, told, grads, key.shape[1:])
    return _filled(call, found)


def dot_forward(
    walk: Walk,
    options: Options,
    seed: Tensor | None,
    return_weights: bool,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    edge_key: Tensor | None,
    edge_value: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """As `additive_forward`."""
    call = _dot(walk, options, seed, query, key, value, edge_key, edge_value)
    return _attend(call, return_weights)


def dot_backward(
    walk: Walk,
    options: Options,
    seed: Tensor | None,
    incoming: Incoming,
    needed: Sequence[bool],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    edge_key: Tensor | None,
    edge_value: Tensor | None,
) -> list[Tensor]:
    """As `additive_backward`."""
    call = _dot(walk, options, seed, query, key, value, edge_key, edge_value)
    inputs = (query, key, value, edge_key, edge_value)
    found = [_like(x, wanted) for x, wanted in zip(inputs, needed, strict=True)]
    grad_query, grad_key, grad_value, grad_edge, grad_edge_value = found
    told = _describe(call, incoming)
    grads = Gradients(query=grad_query, edge=grad_edge, edge_value=grad_edge_value)
    _pull_by_target(call, told, grads, None)
    _pull_by_source(call, told, Gradients(value=grad_value, key=grad_key), key.shape[1:])
    return _filled(call, found)


# Steps --------------------------------------------------------------------------------------------


def additive_scores_forward(
    walk: Walk,
    options: Options,
    score_src: Tensor,
    score_dst: Tensor | None,
    score_edge: Tensor | None,
) -> Tensor:
    """Scores [E, H]."""
    given = Given(key=score_src, query=score_dst, edge=score_edge)
    return _scores(Call("additive", walk, options, None, given, score_src))


def additive_scores_backward(
    walk: Walk,
    options: Options,
    saved: Sequence[Tensor],
    needed: Sequence[bool],
    score_src: Tensor,
    score_dst: Tensor | None,
    score_edge: Tensor | None,
) -> list[Tensor]:
    """Gradients in the inputs' order, empty where not needed. saved: scores, their gradient."""
    given = Given(key=score_src, query=score_dst, edge=score_edge)
    call = Call("additive", walk, options, None, given, score_src)
    inputs = (score_src, score_dst, score_edge)
    found = [_like(x, wanted) for x, wanted in zip(inputs, needed, strict=True)]
    moved = call.empty(call.num_edges, call.heads)
    call.launch(
        backward.pull_terms, call.by_target, width=1, tiles=4, given=call.given,
        incoming=_of_scores(saved), **call.slope, grad=moved,
    )  # fmt: skip
    if found[0] is not None:
        _sum_numbers(call, call.by_source, moved, None, found[0])
    if found[1] is not None:
        _sum_numbers(call, call.by_target, moved, None, found[1])
    if found[2] is not None:
        found[2] = moved.to(call.dtype)
    return _filled(call, found)


def gatv2_scores_forward(
    walk: Walk, options: Options, key: Tensor, query: Tensor, att: Tensor, edge: Tensor | None
) -> Tensor:
    given = Given(key=key, query=query, att=att, edge=edge)
    call = Call("gatv2", walk, options, None, given, key, key_channels=key.size(2))
    return _scores(call)


def gatv2_scores_backward(
    walk: Walk,
    options: Options,
    saved: Sequence[Tensor],
    needed: Sequence[bool],
    key: Tensor,
    query: Tensor,
    att: Tensor,
    edge: Tensor | None,
) -> list[Tensor]:
    given = Given(key=key, query=query, att=att, edge=edge)
    call = Call("gatv2", walk, options, None, given, key, key_channels=key.size(2))
    inputs = (key, query, att, edge)
    found = [_like(x, wanted) for x, wanted in zip(inputs, needed, strict=True)]
    told = _of_scores(saved)
    _pull_by_target(call, told, Gradients(query=found[1], edge=found[3]), found[2])
    _pull_by_source(call, told, Gradients(key=found[0]), key.shape[1:])
    return _filled(call, found)


def dot_scores_forward(
    walk: Walk, options: Options, query: Tensor, key: Tensor, edge_key: Tensor | None
) -> Tensor:
    given = Given(key=key, query=query, edge=edge_key)
    call = Call("dot", walk, options, None, given, key, key_channels=key.size(2))
    return _scores(call)


def dot_scores_backward(
    walk: Walk,
    options: Options,
    saved: Sequence[Tensor],
    needed: Sequence[bool],
    query: Tensor,
    key: Tensor,
    edge_key: Tensor | None,
) -> list[Tensor]:
    given = Given(key=key, query=query, edge=edge_key)
    call = Call("dot", walk, options, None, given, key, key_channels=key.size(2))
    inputs = (query, key, edge_key)
    found = [_like(x, wanted) for x, wanted in zip(inputs, needed, strict=True)]
    told = _of_scores(saved)
    _pull_by_target(call, told, Gradients(query=found[0], edge=found[2]), None)
    _pull_by_source(call, told, Gradients(key=found[1]), key.shape[1:])
    return _filled(call, found)


def segment_softmax_forward(walk: Walk, options: Options, scores: Tensor) -> Tensor:
    """Weights [E, H]."""
    call = Call("given", walk, options, None, Given(edge=scores), scores)
    stats = call.empty(call.by_target.rows, call.heads, 2)
    _forward(call, Results(stats=stats))
    return _weights(call, stats, call.dtype)


def segment_softmax_backward(
    walk: Walk,
    options: Options,
    saved: Sequence[Tensor],
    needed: Sequence[bool],
    scores: Tensor,
) -> list[Tensor]:
    call = Call("given", walk, options, None, Given(), scores)
    if not needed[0]:
        return _filled(call, [None])
    weights, grad_weights = (x.contiguous() for x in saved)
    sums = call.empty(call.by_target.rows, call.heads)
    _sum_numbers(call, call.by_target, weights, grad_weights, sums)
    grad = call.empty(*scores.shape, dtype=scores.dtype)
    call.launch(
        backward.pull_softmax, call.by_target, width=1, tiles=4,
        weights=weights, grad_weights=grad_weights, sums=sums, grad=grad,
    )  # fmt: skip
    return [grad]


def aggregate_forward(
    walk: Walk, options: Options, weights: Tensor, value: Tensor, edge_value: Tensor | None
) -> Tensor:
    """out [num_dst, H, C]."""
    given = Given(value=value, edge=weights, edge_value=edge_value)
    call = Call("weights", walk, options, None, given, value, value_channels=value.size(2))
    out = call.empty(call.by_target.rows, *value.shape[1:], dtype=call.dtype)
    _sum_rows(call, call.by_target, call.given, out)
    return out


def aggregate_backward(
    walk: Walk,
    options: Options,
    saved: Sequence[Tensor],
    needed: Sequence[bool],
    weights: Tensor,
    value: Tensor,
    edge_value: Tensor | None,
) -> list[Tensor]:
    given = Given(value=value, edge=weights, edge_value=edge_value)
    call = Call("weights", walk, options, None, given, value, value_channels=value.size(2))
    inputs = (weights, value, edge_value)
    found = [_like(x, wanted) for x, wanted in zip(inputs, needed, strict=True)]
    grad_out = saved[1].contiguous()
    if found[0] is not None or found[2] is not None:
        grads = Gradients(weights=found[0], edge_value=found[2])
        call.launch(
            backward.pull_weights, call.by_target, width=value.size(2), given=call.given,
            incoming=Pulled(grad_out=grad_out), grads=grads,
        )  # fmt: skip
    if found[1] is not None:
        back = Given(value=grad_out, edge=call.given.edge)
        _sum_rows(call, call.by_source, back, found[1])
    return _filled(call, found)


# What they are made of ----------------------------------------------------------------------------


def _additive(
    walk: Walk,
    options: Options,
    seed: Tensor | None,
    value: Tensor,
    score_src: Tensor,
    score_dst: Tensor | None,
    score_edge: Tensor | None,
) -> Call:
    given = Given(value, score_src, score_dst, None, score_edge)
    return Call("additive", walk, options, seed, given, value, value_channels=value.size(2))


def _gatv2(
    walk: Walk,
    options: Options,
    seed: Tensor | None,
    key: Tensor,
    query: Tensor,
    att: Tensor,
    edge: Tensor | None,
    value: Tensor | None,
) -> Call:
    given = Given(value, key, query, att, edge)
    channels = key.size(2) if value is None else value.size(2)
    return Call(
        "gatv2", walk, options, seed, given, key, key_channels=key.size(2),
        value_channels=channels, shared=value is None,
    )  # fmt: skip


def _dot(
    walk: Walk,
    options: Options,
    seed: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    edge_key: Tensor | None,
    edge_value: Tensor | None,
) -> Call:
    given = Given(value, key, query, None, edge_key, edge_value)
    return Call(
        "dot", walk, options, seed, given, key, key_channels=key.size(2),
        value_channels=value.size(2),
    )  # fmt: skip


def _like(tensor: Tensor | None, wanted: bool) -> Tensor | None:
    if tensor is None or not wanted:
        return None
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


def _filled(call: Call, found: Sequence[Tensor | None]) -> list[Tensor]:
    return [call.empty(0, dtype=torch.float32) if x is None else x for x in found]


def _attend(call: Call, return_weights: bool) -> tuple[Tensor, Tensor, Tensor]:
    rows, heads, channels = call.by_target.rows, call.heads, call.value_channels
    out = call.empty(rows, heads, channels, dtype=call.dtype)
    stats = call.empty(rows, heads, call.stats)
    _forward(call, Results(out, stats))
    if not return_weights:
        return out, stats, call.empty(0, heads, dtype=call.dtype)
    return out, stats, _weights(call, stats, call.dtype)


def _width(call: Call) -> int:
    """Channels of the longest row that a walk gathers."""
    return max(call.key_channels, call.value_channels)


def _scored(call: Call) -> int:
    """How many rows of that length a score is made of, for each edge."""
    return 1 + (call.kind in ("gatv2", "dot") and call.given.edge is not None)


def _gathers(call: Call) -> int:
    """How many of them a walk holds of an edge: what the score and what the sum is made of."""
    if call.kind == "additive" or call.shared:
        return _scored(call)
    return _scored(call) + 1 + (call.given.edge_value is not None)


def _forward(call: Call, results: Results) -> None:
    walk = call.by_target
    heads, channels = (call.heads,), (call.heads, call.value_channels)
    rated = results.stats if call.rated else None
    parts = Parts(
        top=call.part(walk, results.stats, *heads),
        total=call.part(walk, results.stats, *heads),
        sum=call.part(walk, results.out, *channels),
        rate=call.part(walk, rated, *heads),
        rated=call.part(walk, rated, *channels),
    )
    call.launch(
        forward.attend, walk, width=_width(call), tiles=_gathers(call), given=call.given,
        **call.dropout, **call.numbers, results=results, parts=parts,
    )  # fmt: skip
    call.launch_hubs(forward.merge, walk, results=results, parts=parts)


def _weights(call: Call, stats: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The weights that were used [E, H], by default in what is summed in."""
    weights = call.empty(call.num_edges, call.heads, dtype=dtype)
    call.launch(
        forward.write_weights, call.by_target, width=call.key_channels, tiles=_scored(call),
        given=call.given, **call.dropout, **call.numbers, stats=stats, weights=weights,
    )  # fmt: skip
    return weights


def _scores(call: Call) -> Tensor:
    scores = call.empty(call.num_edges, call.heads, dtype=call.dtype)
    call.launch(
        forward.write_scores, call.by_target, width=call.key_channels, tiles=_scored(call),
        given=call.given, **call.numbers, scores=scores,
    )  # fmt: skip
    return scores


def _describe(call: Call, incoming: Incoming, grad_query: Tensor | None = None) -> Pulled:
    """What the backward walks are given: each target in four numbers per head."""
    rows = call.by_target.rows
    told = Pulled(
        targets=call.empty(rows, call.heads, 4),
        grad_out=incoming.grad_out.contiguous(),
        grad_weights=_contiguous(incoming.grad_weights),
    )
    term = call.given.query if call.kind == "additive" else None
    call.launch_rows(
        backward.describe, rows, width=call.value_channels, out=incoming.out.contiguous(),
        stats=incoming.stats.contiguous(), incoming=told, query=term, grad_query=grad_query,
    )  # fmt: skip
    if told.grad_weights is not None:
        weights = _weights(call, incoming.stats.contiguous())
        sums = call.empty(rows, call.heads)
        _sum_numbers(call, call.by_target, weights, told.grad_weights, sums)
        told.targets[..., 3] += sums
    return told


def _of_scores(saved: Sequence[Tensor]) -> Pulled:
    scores, grad = saved
    return Pulled(scores=scores.contiguous(), grad_scores=grad.contiguous())


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def _any(grads: Gradients) -> bool:
    return any(grad is not None for grad in grads)


def _pull_by_target(call: Call, told: Pulled, grads: Gradients, grad_att: Tensor | None) -> None:
    if grad_att is None and not _any(grads):
        return
    walk, width = call.by_target, _width(call)
    parts = call.part(walk, grads.query, call.heads, call.key_channels)
    att_sum = torch.zeros_like(grad_att, dtype=call.acc) if grad_att is not None else None
    for degrees in walk.classes():
        programs = degrees.units
        if grad_att is not None:
            # Each program leaves one sum of all its rows.
            programs = min(programs, max(LEAST_PROGRAMS, PROGRAMS // call.groups(walk, width)))
            grads = grads._replace(att=call.empty(programs, *grad_att.shape))
        call.launch_class(
            backward.pull_by_target, walk, degrees, width=width, tiles=_gathers(call) + 1,
            programs=programs, given=call.given, incoming=told, **call.dropout, **call.numbers,
            grads=grads, parts=parts,
        )  # fmt: skip
        if att_sum is not None and grads.att is not None:
            att_sum += grads.att.sum(0)
    call.add_parts(walk, parts, grads.query)
    if grad_att is not None and att_sum is not None:
        grad_att.copy_(att_sum)


def _pull_by_source(call: Call, told: Pulled, grads: Gradients, key_shape: Sequence[int]) -> None:
    if not _any(grads):
        return
    walk: Direction = call.by_source
    parts: Any = Gradients(
        value=call.part(walk, grads.value, call.heads, call.value_channels),
        key=call.part(walk, grads.key, *key_shape),
    )
    call.launch(
        backward.pull_by_source, walk, width=_width(call), tiles=_gathers(call) + 1,
        given=call.given, incoming=told, **call.dropout, **call.numbers, grads=grads, parts=parts,
    )  # fmt: skip
    call.add_parts(walk, parts.value, grads.value)
    call.add_parts(walk, parts.key, grads.key)


def _sum_rows(call: Call, walk: Direction, given: Given, out: Tensor) -> None:
    parts = call.part(walk, out, call.heads, call.value_channels)
    call.launch(
        forward.sum_rows, walk, width=call.value_channels, given=given, out=out, parts=parts,
    )  # fmt: skip
    call.add_parts(walk, parts, out)


def _sum_numbers(
    call: Call, walk: Direction, x: Tensor, y: Tensor | None, out: Tensor | None
) -> None:
    parts = call.part(walk, out, call.heads)
    call.launch(
        backward.sum_numbers, walk, width=1, tiles=2, x=x, y=y, out=out, parts=parts,
    )  # fmt: skip
    call.add_parts(walk, parts, out)
