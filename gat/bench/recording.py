"""What recording attention adds to a forward pass: time and memory of the pass with and without.

"plain" is the pass in eval mode without gradients, "recorded" the same inside
`gat.record_attention`, entering and leaving the block included, every layer and head recorded.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gat.bench import check as correctness
from gat.bench import timing
from gat.bench.case import Plan
from gat.bench.check import Results
from gat.bench.inspected import Inspected, InspectShape, built
from gat.bench.memory import peak_over
from gat.bench.peers import check_names
from gat.bench.record import Record
from gat.inspection import Recording, record_attention
from gat.machine import resident
from gat.nn import GATConv, GATv2Conv
from gat.ops import use_backend

__all__ = ["PEERS", "check", "measure_recording", "memory", "times"]

PEERS = ("plain", "recorded")


def measure_recording(shape: InspectShape, plan: Plan) -> Record:
    """Check, then measure memory and time of a pass with and without recording."""
    check_names(plan.peers, PEERS)
    title, what = f"recording {shape}", asdict(shape)
    case = plan.case("recording", shape.graph, title, {"shape": what}, memory=True)
    return plan.record("recording", title, what, [case])


def _recorded(inspected: Inspected) -> tuple[Tensor, Recording]:
    with record_attention(inspected.model) as attention:
        out = inspected()
    return out, attention


def _pass(name: str, inspected: Inspected) -> Callable[[], object]:
    return partial(_recorded if name == "recorded" else Inspected.__call__, inspected)


# What follows runs in processes of its own.


@torch.no_grad()
def check(shape: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The output with and without recording, and the recorded weights of every edge, against the
    output and what each layer returns in float64, without our compiled kernels."""
    inspected = built(InspectShape(**shape))
    bounds = correctness.bounds(lambda dtype: _returned(inspected.plainly(dtype)))

    def find(name: str) -> dict[str, float]:
        if name == "plain":
            return {"out": bounds["out"].error(inspected())}
        return correctness.errors_of(_of_records(*_recorded(inspected)), bounds)

    facts, (_, attention) = inspected.facts(), _recorded(inspected)
    heads = " and ".join(str(record.num_heads) for record in attention.values())
    size = sum(one.weights.numel() * one.weights.element_size() for one in attention.values())
    return {
        "facts": {**facts, "layers": len(attention), "heads": heads, "bytes of E x H": size},
        "on": "the output, and the weights of all edges in every layer",
        **correctness.compare(find, names, bounds),
    }


def _of_records(out: Tensor, attention: Recording) -> Results:
    """The output and, by layer, weights in the caller's order, self-loops apart."""
    found = {"out": out}
    for layer, record in attention.items():
        found[f"{layer}'s weights"] = record.weights[~record.is_loop]
        found[f"{layer}'s weights to self"] = record.to_self
    return found


def _returned(inspected: Inspected) -> Results:
    """The same as the layers themselves return it. They list edges that are no self-loops in the
    caller's order, and at most one loop of a node."""
    found: Results = {}

    def ask(name: str) -> Callable[..., None]:
        def hook(layer: Any, args: Any, kwargs: Any, out: Tensor) -> None:
            _, (edges, weights) = layer.forward(*args, **kwargs, return_attention_weights=True)
            own = edges[0] == edges[1]
            to_self = weights.new_zeros(out.size(0), weights.size(1))
            found[f"{name}'s weights"] = weights[~own]
            found[f"{name}'s weights to self"] = to_self.index_add_(0, edges[1, own], weights[own])

        return hook

    for name, layer in inspected.model.named_modules():
        if isinstance(layer, GATConv | GATv2Conv):
            layer.register_forward_hook(ask(name), with_kwargs=True)
    with use_backend("blockwise"):
        return {"out": inspected(), **found}


@torch.no_grad()
def times(shape: dict[str, Any], names: list[str], repeats: int) -> dict[str, Any]:
    """Seconds of a pass, taken in turn; the graph has been sorted before."""
    inspected = built(InspectShape(**shape))

    def sampler(name: str) -> timing.Sampler:
        return timing.Sampler(partial(timing.untold, _pass(name, inspected)))

    return {"samples": timing.take_turns({name: sampler(name) for name in names}, repeats)}


@torch.no_grad()
def memory(shape: dict[str, Any], name: str) -> dict[str, Any]:
    """Peak bytes of one pass, and of its records, over model, features and the sorted graph.

    A plain pass has been before, since sorting the graph may take more than the pass itself; what
    the recorder keeps with the graph is part of the figure. A copy that it makes after a wide layer
    hides below the layer's own peak; channels of 1 show it.
    """
    _load_libraries()
    before = resident()
    inspected = built(InspectShape(**shape))
    inspected()
    held = max(0, resident() - before)
    peak = peak_over(_pass(name, inspected))
    return {"bytes": peak.bytes, "inputs": held, "exact": peak.exact}


def _load_libraries() -> None:
    tiny = Inspected(GATConv(1, 1).eval(), torch.ones(2, 1), torch.tensor([[0, 1], [1, 0]]))
    for name in PEERS:
        _pass(name, tiny)()
