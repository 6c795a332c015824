"""Complete blocks (`gat.graph.Blocks`) by torch's dense kernel: equal ones in one call."""

import functools
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gat.graph import Blocks, IntervalGraph
from gat.graph.intervals import rows_of_blocks
from gat.ops.dense.kernel import attend_rows, defined_gradients

__all__ = ["Attend", "attend", "is_faster"]

# Beside the compiled kernels over edges, forward and backward (one thread, AVX-512, torch 2.13): on
# average so many sources and targets of a block, where all are equal and where they are not, and so
# many numbers [E, H, C] to a call.
LEAST_EQUAL, LEAST_UNEQUAL = 16, 64
LEAST_WORK = 1 << 16


def is_faster(graph: IntervalGraph, query: Tensor) -> bool:
    """Whether it is the faster road; not measured but on the CPU, and elsewhere taken to be."""
    blocks = _blocks(graph)
    count = len(blocks.targets)
    if torch.compiler.is_compiling() and count != 1:
        # Code would be compiled anew for every set of lengths.
        return False
    if query.device.type != "cpu":
        return True
    calls = len(_arranged(blocks, query.device).groups) if count > 1 else 1
    least = LEAST_EQUAL if calls == 1 else LEAST_UNEQUAL
    small = min(graph.num_src, graph.num_dst) < least * count
    return not small and graph.num_edges * query.size(1) * query.size(2) >= LEAST_WORK * calls


def attend(graph: IntervalGraph, scale: float, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The output [num_dst, H, Cv]."""
    blocks = _blocks(graph)
    if len(blocks.targets) <= 1:
        return attend_rows((query, key, value), scale, causal=blocks.causal)
    groups, at_sources, at_targets = _arranged(blocks, query.device)
    if at_sources is not None and at_targets is not None:
        query = query.index_select(0, at_targets)
        key, value = (x.index_select(0, at_sources) for x in (key, value))
    queries = query.split([each.blocks * each.targets for each in groups])
    keys, values = (x.split([each.blocks * each.sources for each in groups]) for x in (key, value))
    outs = [
        attend_rows(rows, scale, blocks=group.blocks, causal=blocks.causal)
        for group, *rows in zip(groups, queries, keys, values, strict=True)
    ]
    out = outs[0] if len(outs) == 1 else torch.cat(outs)
    return out if at_targets is None else torch.empty_like(out).index_copy(0, at_targets, out)


class Attend(torch.autograd.Function):
    """`attend` with torch's own gradients.

    What the kernel keeps for them hangs on its output, a tensor with a history of its own, and goes
    when what was saved here goes.
    """

    @staticmethod
    def forward(ctx: Any, graph: IntervalGraph, scale: float, *inputs: Tensor) -> Tensor:
        ctx.graph, ctx.scale = graph, scale
        ctx.set_materialize_grads(False)
        pairs = zip(inputs, ctx.needs_input_grad[2:], strict=True)
        leaves = [x.detach().requires_grad_(wanted) for x, wanted in pairs]
        with torch.enable_grad():
            out = attend(graph, scale, *leaves)
        ctx.save_for_backward(*inputs, *leaves, out)
        return out.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Any, ...]:
        saved = ctx.saved_tensors
        inputs, leaves, out = saved[:3], saved[3:6], saved[6]
        if grad is None:
            return (None,) * 5
        found = defined_gradients(ctx.graph, ctx.scale, inputs, grad)
        if found is not None:
            return None, None, *found
        each = iter(_gradients(out, [leaf for leaf in leaves if leaf.requires_grad], grad))
        return None, None, *(next(each) if leaf.requires_grad else None for leaf in leaves)


def _gradients(out: Tensor, leaves: list[Tensor], grad: Tensor) -> Sequence[Tensor]:
    if not out.requires_grad:
        # No target has a source.
        return [torch.zeros_like(leaf) for leaf in leaves]
    # Kept: the caller may keep what was saved, and come again.
    return torch.autograd.grad(out, leaves, grad, retain_graph=True)


def _blocks(graph: IntervalGraph) -> Blocks:
    assert graph.blocks is not None
    return graph.blocks


class Group(NamedTuple):
    """So many blocks of so many sources and targets each."""

    blocks: int
    sources: int
    targets: int


class Arranged(NamedTuple):
    """Equal blocks side by side: the groups, and the rows of sources and targets in that order,
    int64 each, None where they stand so."""

    groups: tuple[Group, ...]
    sources: Tensor | None
    targets: Tensor | None


def _arrange(blocks: Blocks, device: torch.device) -> Arranged:
    numbers: dict[tuple[int, int], list[int]] = {}
    for number, sizes in enumerate(zip(blocks.sources, blocks.targets, strict=True)):
        numbers.setdefault(sizes, []).append(number)
    groups = tuple(Group(len(those), *sizes) for sizes, those in numbers.items())
    order = list(chain.from_iterable(numbers.values()))
    if order == sorted(order):
        return Arranged(groups, None, None)
    # Made in inference mode, the rows could not serve a training step later.
    with torch.inference_mode(False):
        taken = torch.tensor(order, dtype=torch.int64)
        sides = (blocks.sources, blocks.targets)
        counts = (torch.tensor(each, dtype=torch.int64) for each in sides)
        return Arranged(groups, *(rows_of_blocks(each, taken).to(device) for each in counts))


_remembered = functools.lru_cache(maxsize=64)(_arrange)


def _arranged(blocks: Blocks, device: torch.device) -> Arranged:
    # torch.compile cannot trace a cache.
    return (_arrange if torch.compiler.is_compiling() else _remembered)(blocks, device)
