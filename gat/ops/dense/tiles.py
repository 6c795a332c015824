"""Windows and other intervals by torch's dense kernel: a tile of targets at a time, beside all the
sources that enter any of them, under a mask.

The rows of a tile stand one after the other, so it takes views of the inputs, and nothing of the
size of the edges is made. The backward works each tile out again: nothing is kept but the inputs.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gat.graph import IntervalGraph
from gat.ops.dense.kernel import attend_rows, defined_gradients
from gat.ops.precision import wide

__all__ = ["Attend", "attend", "is_faster"]

# Targets of a tile: fewer make more calls, more meet more sources that are not theirs.
TARGETS = 64
# Beside the compiled kernels over edges, measured as in `blocks.py`: so many sources of a target on
# average, and so many heads.
LEAST_SOURCES, LEAST_HEADS = 192, 4


def is_faster(graph: IntervalGraph, query: Tensor) -> bool:
    """Whether it is the faster road; elsewhere than on the CPU it was not measured."""
    # Threads share a tile by its heads, where those of the other road share the targets.
    heads = max(LEAST_HEADS, torch.get_num_threads())
    wide_enough = graph.num_edges >= LEAST_SOURCES * max(graph.num_dst, 1)
    return query.device.type == "cpu" and query.size(1) >= heads and wide_enough


def attend(graph: IntervalGraph, scale: float, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The output [num_dst, H, Cv]."""
    out = query.new_empty((graph.num_dst, *value.shape[1:]))
    for tile in _tiles(graph):
        rows = query[tile.targets], key[tile.sources], value[tile.sources]
        out[tile.targets] = attend_rows(rows, scale, mask=tile.mask)
    return out


class Attend(torch.autograd.Function):
    """`attend` with torch's gradients of each tile, summed in float32 or wider."""

    @staticmethod
    def forward(ctx: Any, graph: IntervalGraph, scale: float, *inputs: Tensor) -> Tensor:
        ctx.graph, ctx.scale = graph, scale
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs)
        return attend(graph, scale, *inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Any, ...]:
        inputs = ctx.saved_tensors
        if grad is None:
            return (None,) * 5
        found = defined_gradients(ctx.graph, ctx.scale, inputs, grad)
        if found is not None:
            return None, None, *found
        pairs = zip(inputs, ctx.needs_input_grad[2:], strict=True)
        sums = [torch.zeros_like(wide(x)) if wanted else None for x, wanted in pairs]
        for tile in _tiles(ctx.graph):
            _add_gradients(sums, tile, ctx.scale, inputs, grad)
        return None, None, *(None if total is None else total.to(grad.dtype) for total in sums)


class Tile(NamedTuple):
    """Consecutive targets, the sources that enter any of them, and which enter which, bool
    [targets, sources]."""

    targets: slice
    sources: slice
    mask: Tensor


def _tiles(graph: IntervalGraph) -> Iterator[Tile]:
    first, end = graph.first, graph.first + graph.count
    for begin in range(0, graph.num_dst, TARGETS):
        targets = slice(begin, min(begin + TARGETS, graph.num_dst))
        sources = slice(int(first[targets.start]), int(end[targets.stop - 1]))
        at = torch.arange(sources.start, sources.stop, device=graph.device)
        mask = (at >= first[targets, None]) & (at < end[targets, None])
        yield Tile(targets, sources, mask)


def _add_gradients(
    sums: list[Tensor | None], tile: Tile, scale: float, inputs: tuple[Tensor, ...], grad: Tensor
) -> None:
    rows = (tile.targets, tile.sources, tile.sources)
    leaves = [
        x[those].detach().requires_grad_(total is not None)
        for x, those, total in zip(inputs, rows, sums, strict=True)
    ]
    with torch.enable_grad():
        out = attend_rows(leaves, scale, mask=tile.mask)
    if not out.requires_grad:
        # No target of it has a source.
        return
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    found = iter(torch.autograd.grad(out, wanted, grad[tile.targets]))
    for total, those in zip(sums, rows, strict=True):
        if total is not None:
            total[those] += next(found)
