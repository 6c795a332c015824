"""Dot attention by torch's dense kernel, on graphs of complete blocks (`gat.graph.Blocks`).

`torch.nn.functional.scaled_dot_product_attention` multiplies whole matrices, which is the faster
road where blocks are large, and nothing of the size of the edges is made. Blocks of equal lengths
are one call. Where we differ from the definition: a score that overflows may give NaN.
"""

import functools
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gat.errors import BackendError
from gat.graph import Blocks, Graph, IntervalGraph
from gat.graph.intervals import rows_of_blocks
from gat.ops import reference
from gat.ops.precision import result_dtype
from gat.ops.second_order import gradients
from gat.ops.watchers import is_batched, is_plain, is_transformed

__all__ = ["dot", "is_faster", "why_not"]

# On the CPU, beside the compiled kernels over edges, forward and backward (2 cores of an EPYC of
# the Zen 5 kind, AVX-512, torch 2.13): on average so many sources and targets of a block, where
# all are equal and where they are not, and so many numbers [E, H, C] to a call.
LEAST_EQUAL, LEAST_UNEQUAL = 16, 64
LEAST_WORK = 1 << 16


def why_not(
    graph: Graph,
    edge_key: Tensor | None,
    edge_value: Tensor | None,
    dropout: float,
    return_weights: bool,
) -> str:
    """Why torch's kernel cannot run such a call; "" if it can."""
    if not isinstance(graph, IntervalGraph) or graph.blocks is None:
        return "the graph has no complete blocks, as gat.topology's complete and causal have"
    if edge_key is not None or edge_value is not None:
        return "edge_key and edge_value are of single edges, which it does not know"
    if dropout > 0:
        return "dropout here is a function of (seed, edge, head), and it would draw its own"
    if return_weights:
        return "it does not keep the weights, which are asked for"
    return ""


def is_faster(graph: Graph, query: Tensor) -> bool:
    """Whether it is the faster road for a call that it can run."""
    blocks = _blocks(graph)
    count = len(blocks.targets)
    if torch.compiler.is_compiling() and count != 1:
        # Code would be compiled anew for every set of lengths.
        return False
    if query.device.type != "cpu":
        return True
    # Of 16 bits its products are slower than sums over edges.
    if query.dtype not in (torch.float32, torch.float64):
        return False
    calls = len(_arranged(blocks, query.device).groups) if count > 1 else 1
    least = LEAST_EQUAL if calls == 1 else LEAST_UNEQUAL
    small = min(graph.num_src, graph.num_dst) < least * count
    return not small and graph.num_edges * query.size(1) * query.size(2) >= LEAST_WORK * calls


def dot(
    graph: Graph,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    edge_key: Tensor | None,
    edge_value: Tensor | None,
    *,
    scale: float,
    dropout: float,
    seed: Tensor | None,
    return_weights: bool,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention; BackendError where torch's kernel cannot run it."""
    if reason := why_not(graph, edge_key, edge_value, dropout, return_weights):
        raise BackendError(
            f"backend 'dense', torch's kernel, cannot run this dot attention: {reason}; use "
            f"backend='auto'"
        )
    dtype = result_dtype(value, query, key)
    inputs = tuple(x.to(dtype) for x in (query, key, value))
    compiling = torch.compiler.is_compiling()
    if not compiling and is_transformed():
        return _define(graph, scale, *inputs), None
    training = torch.is_grad_enabled() and any(x.requires_grad for x in inputs)
    if training and not compiling and is_plain(inputs):
        return _Attend.apply(graph, scale, *inputs), None
    return _attend(graph, scale, *inputs), None


def _blocks(graph: Graph) -> Blocks:
    """Of a graph that `why_not` lets pass."""
    assert isinstance(graph, IntervalGraph)
    assert graph.blocks is not None
    return graph.blocks


def _define(graph: Graph, scale: float, *inputs: Tensor) -> Tensor:
    query, key, value = inputs
    terms = (query, key, value, None, None)
    result = reference.dot(graph, *terms, scale=scale, dropout=0.0, seed=None, return_weights=False)
    return result[0]


class _Attend(torch.autograd.Function):
    """torch's own gradients, which cannot be differentiated; where they must be, the definition's.

    What the kernel keeps hangs on its output, a tensor with a history of its own, and goes when
    what was saved here goes.
    """

    @staticmethod
    def forward(ctx: Any, graph: Graph, scale: float, *inputs: Tensor) -> Tensor:
        ctx.graph, ctx.scale = graph, scale
        ctx.set_materialize_grads(False)
        pairs = zip(inputs, ctx.needs_input_grad[2:], strict=True)
        leaves = [x.detach().requires_grad_(wanted) for x, wanted in pairs]
        with torch.enable_grad():
            out = _attend(graph, scale, *leaves)
        ctx.save_for_backward(*inputs, *leaves, out)
        return out.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Any, ...]:
        saved = ctx.saved_tensors
        inputs, leaves, out = saved[:3], saved[3:6], saved[6]
        if grad is None:
            return (None,) * 5
        if torch.is_grad_enabled() or is_batched(grad):
            run = functools.partial(_define, ctx.graph, ctx.scale)
            return None, None, *gradients(run, inputs, (grad,))
        found = iter(_gradients(out, [leaf for leaf in leaves if leaf.requires_grad], grad))
        return None, None, *(next(found) if leaf.requires_grad else None for leaf in leaves)


def _gradients(out: Tensor, leaves: list[Tensor], grad: Tensor) -> Sequence[Tensor]:
    if not out.requires_grad:
        # No target has a source.
        return [torch.zeros_like(leaf) for leaf in leaves]
    # Kept: the caller may keep what was saved, and come again.
    return torch.autograd.grad(out, leaves, grad, retain_graph=True)


def _attend(graph: Graph, scale: float, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The output [num_dst, H, Cv]."""
    blocks = _blocks(graph)
    if scale <= 0:
        # torch scales what it has masked: -inf times this would be no mask.
        query, scale = query * scale, 1.0
    with _no_autocast(query.device.type):
        if len(blocks.targets) <= 1:
            group = Group(1, graph.num_src, graph.num_dst)
            return _attend_equal(group, blocks.causal, scale, query, key, value)
        return _attend_blocks(blocks, scale, query, key, value)


def _no_autocast(device: str) -> AbstractContextManager[None]:
    """Under autocast torch would compute in fewer bits than the other backends do."""
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def _attend_blocks(
    blocks: Blocks, scale: float, query: Tensor, key: Tensor, value: Tensor
) -> Tensor:
    groups, at_sources, at_targets = _arranged(blocks, query.device)
    if at_sources is not None and at_targets is not None:
        query = query.index_select(0, at_targets)
        key, value = (x.index_select(0, at_sources) for x in (key, value))
    queries = query.split([each.blocks * each.targets for each in groups])
    keys, values = (x.split([each.blocks * each.sources for each in groups]) for x in (key, value))
    outs = [
        _attend_equal(group, blocks.causal, scale, *given)
        for group, *given in zip(groups, queries, keys, values, strict=True)
    ]
    out = outs[0] if len(outs) == 1 else torch.cat(outs)
    return out if at_targets is None else torch.empty_like(out).index_copy(0, at_targets, out)


class Group(NamedTuple):
    """So many blocks of so many sources and targets each."""

    blocks: int
    sources: int
    targets: int


def _attend_equal(
    group: Group, causal: bool, scale: float, query: Tensor, key: Tensor, value: Tensor
) -> Tensor:
    """The output of one group, whose rows stand one after the other."""
    if group.sources * query.size(0) * query.size(1) == 0:
        return query.new_zeros((query.size(0), *value.shape[1:]))
    q = query.unflatten(0, (group.blocks, group.targets)).transpose(1, 2)
    k, v = (x.unflatten(0, (group.blocks, group.sources)).transpose(1, 2) for x in (key, value))
    out = F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale)
    return out.transpose(1, 2).flatten(0, 1)


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
