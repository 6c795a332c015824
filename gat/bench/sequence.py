"""Attention over a sequence, forward and backward: ours on a `gat.topology`, and torch's.

To a window of tokens, or to all. torch's dense kernel is given a mask where there is a window.
Inputs are queries, keys and values [tokens, heads, channels] and the gradient of the output; the
mask, or our graph with its arrays, counts as memory that attention takes.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import grad

from gat import topology
from gat.bench import check as correctness
from gat.bench import timing, turns
from gat.bench.case import Plan
from gat.bench.memory import peak_over
from gat.bench.peers import OURS, Attend, Tensors, check_names
from gat.bench.record import Record
from gat.bench.shape import Inputs, make_inputs
from gat.checks import check_sizes
from gat.errors import InputError
from gat.graph import Graph
from gat.machine import resident

__all__ = ["PEERS", "SequenceShape", "check", "measure_sequence", "memory", "samples", "times"]

# Entries [E, H, C] that are checked, some minutes; of a longer sequence its first tokens are.
CHECKED_MOST = 2_500_000_000
# Tokens of the pass that loads libraries.
WARM = 64


@dataclass(frozen=True, kw_only=True)
class SequenceShape:
    """``heads`` x ``channels`` over ``tokens``, each looking at those at most ``width`` away, or at
    all where that is None; at none that come after it if ``causal``."""

    tokens: int = 16_384
    width: int | None = 128
    heads: int = 8
    channels: int = 64
    causal: bool = False

    def __post_init__(self) -> None:
        check_sizes(tokens=self.tokens, heads=self.heads, channels=self.channels)
        if self.width is not None and self.width < 0:
            raise InputError(f"width is {self.width}; expected 0 or more")

    def __str__(self) -> str:
        reach = "all tokens" if self.width is None else f"{self.width} tokens each way"
        if self.causal:
            reach = "all tokens before" if self.width is None else f"{self.width} tokens back"
        return f"attention {self.heads}x{self.channels} of {self.tokens:,} tokens to {reach}"

    def graph(self) -> Graph:
        if self.width is not None:
            return topology.window(self.tokens, self.width, causal=self.causal)
        return (topology.causal if self.causal else topology.complete)(self.tokens)

    def mask(self) -> Tensor | None:
        """bool [tokens, tokens], True where a target (row) looks at a source."""
        if self.width is None:
            return None
        mask = torch.ones(self.tokens, self.tokens, dtype=torch.bool)
        return mask.tril_(0 if self.causal else self.width).triu_(-self.width)

    def looks_at(self, target: Tensor, source: Tensor) -> Tensor:
        """The mask of pairs, as flex attention wants it."""
        width = self.tokens if self.width is None else self.width
        ahead = 0 if self.causal else width
        return (target - source <= width) & (source - target <= ahead)


def measure_sequence(shape: SequenceShape, plan: Plan) -> Record:
    """Check, then measure memory and time of the plan's peers at ``shape``."""
    check_names(plan.peers, PEERS)
    what = asdict(shape)
    case = plan.case("sequence", f"{shape.tokens} tokens", str(shape), {"shape": what}, memory=True)
    return plan.record("sequence", str(shape), what, [case])


# What follows runs in processes of its own.


def _ours(shape: SequenceShape) -> Attend:
    graph, attend = shape.graph(), OURS["dot"]
    return lambda given: attend(graph, **given)


def _sdpa(shape: SequenceShape) -> Attend:
    how: dict[str, Any] = {"attn_mask": shape.mask()}
    if shape.width is None:
        how["is_causal"] = shape.causal
    return _by_heads(functools.partial(F.scaled_dot_product_attention, **how))


def _flex(shape: SequenceShape) -> Attend:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    n = shape.tokens
    mask = create_block_mask(lambda b, h, i, j: shape.looks_at(i, j), None, None, n, n, "cpu")
    return _by_heads(functools.partial(torch.compile(flex_attention), block_mask=mask))


def _by_heads(attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Attend:
    """Of views [1, H, N, C], as torch's kernels take them."""

    def run(given: Tensors) -> Tensor:
        views = (given[name].transpose(0, 1).unsqueeze(0) for name in ("query", "key", "value"))
        return attend(*views)[0].transpose(0, 1)

    return run


PEERS: dict[str, Callable[[SequenceShape], Attend]] = {"gat": _ours, "sdpa": _sdpa, "flex": _flex}


def check(shape: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Facts of the case, each peer's errors beside the tolerance, and who is left out."""
    wanted = SequenceShape(**shape)
    graph = wanted.graph()
    checked = _shorter(wanted, graph.num_edges)
    inputs = _inputs(checked)
    bounds = correctness.bounds(lambda dtype: correctness.truth(inputs, "dot", dtype))

    def find(name: str) -> dict[str, float]:
        return correctness.errors(PEERS[name](checked), inputs, bounds)

    absent = {name: reason for name in names if (reason := _why_not(name))}
    found = correctness.compare(find, [name for name in names if name not in absent], bounds)
    found["absent"] |= absent
    share = f"{graph.num_edges / wanted.tokens**2:.2%}"
    facts = {"tokens": wanted.tokens, "edges": graph.num_edges, "share of all pairs": share}
    return {"facts": facts, "on": f"the first {checked.tokens:,} tokens", **found}


def _shorter(shape: SequenceShape, edges: int) -> SequenceShape:
    """Of a sequence that is too long to check whole, as many tokens as can be."""
    most = CHECKED_MOST // (shape.heads * shape.channels)
    if edges <= most:
        return shape
    # A token of a window has so many edges whatever the sequence; of n without, n or n / 2.
    share = most / edges if shape.width is not None else math.sqrt(most / edges)
    return replace(shape, tokens=max(1, int(shape.tokens * share)))


def _why_not(name: str) -> str:
    """Why a peer is not measured; "" if it is."""
    if name != "flex":
        return ""
    from torch.nn.attention.flex_attention import flex_attention

    tiny = torch.zeros(1, 1, 1, 1, requires_grad=True)
    try:
        flex_attention(tiny, tiny, tiny).sum().backward()
    except NotImplementedError as error:
        return f"is left out: torch {torch.__version__} says '{str(error).split('.')[0]}'"
    return ""


def times(shape: dict[str, Any], names: list[str], repeats: int) -> dict[str, Any]:
    """Seconds of each peer that fits, taken in turn."""
    return {"samples": turns.take("sequence", {"shape": shape}, names, repeats)}


def samples(shape: dict[str, Any], name: str, count: int) -> list[timing.Parts]:
    """What one peer's turn runs; its mask or graph is there before."""
    wanted = SequenceShape(**shape)
    return timing.Sampler(_run(wanted, name))(count)


def memory(shape: dict[str, Any], name: str) -> dict[str, Any]:
    """Peak bytes over the inputs of one forward and backward, and of what the peer prepares."""
    wanted = SequenceShape(**shape)
    before = resident()
    inputs = _inputs(wanted)
    held = max(0, resident() - before)
    # Libraries are loaded.
    _run(replace(wanted, tokens=min(WARM, wanted.tokens)), name)()
    leaves = list(inputs.tensors.values())

    def once() -> object:
        run = PEERS[name](wanted)
        out = run(inputs.tensors)
        return run, out, grad(out, leaves, inputs.grad_out)

    peak = peak_over(once)
    return {"bytes": peak.bytes, "inputs": held, "exact": peak.exact}


def _inputs(shape: SequenceShape) -> Inputs:
    return make_inputs(shape.graph(), "dot", shape.heads, shape.channels)


def _run(shape: SequenceShape, name: str) -> timing.Run:
    run, inputs = PEERS[name](shape), _inputs(shape)
    leaves = list(inputs.tensors.values())
    return timing.backward_too(lambda: run(inputs.tensors), leaves, inputs.grad_out)
