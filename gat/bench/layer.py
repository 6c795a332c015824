"""The edge part of one attention layer, forward and backward: ours and the peers' (`peers.py`)."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.autograd import grad

from gat.bench import check as correctness
from gat.bench import graphs, peers, process, timing
from gat.bench.case import Plan
from gat.bench.floors import floor
from gat.bench.memory import peak_over, resident
from gat.bench.record import Case, Record
from gat.bench.shape import Inputs, Shape, make_inputs
from gat.errors import BackendError, DoesNotFitError, InputError

__all__ = ["SCALING", "check", "measure_layer", "measure_scaling", "memory", "samples", "times"]

# Entries [E, H, C] of the largest graph that is checked whole, which takes about a minute.
CHECKED_MOST = 2_000_000_000
# Turns of each peer; starting a process for every single sample would take longer than the samples.
ROUNDS = 3
SCALING = ("uniform-1M", "uniform-4M", "uniform-16M", "uniform-60M")


def measure_layer(shape: Shape, plan: Plan) -> Record:
    """Check, then measure memory and time of the plan's peers at ``shape``."""
    peers.check_names(plan.peers)
    graphs.check_name(shape.graph, shape.fraction)
    case = _case(shape, plan)
    return plan.record("layer", str(shape), shape.to_dict(), [case])


def measure_scaling(shape: Shape, plan: Plan, sizes: Sequence[str] = SCALING) -> Record:
    """``shape`` on graphs of growing size, by the names of `graphs.build`."""
    peers.check_names(plan.peers)
    if not sizes:
        raise InputError("no graph is given to scale over; name some, e.g. uniform-1M,uniform-4M")
    for size in sizes:
        graphs.check_name(size)
    cases = [_case(replace(shape, graph=size), plan) for size in sizes]
    title = f"{shape.operator} {shape.heads}x{shape.channels}, {sizes[0]} to {sizes[-1]}"
    return plan.record("scaling", title, {**shape.to_dict(), "graph": list(sizes)}, cases)


def _case(shape: Shape, plan: Plan) -> Case:
    return plan.case("layer", shape.graph, str(shape), {"shape": shape.to_dict()}, memory=True)


# What follows runs in processes of its own.


def check(shape: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Facts and floor of the case, each peer's errors beside the tolerance, and peers too large."""
    wanted = Shape(**shape)
    graph = graphs.build(wanted.graph, wanted.fraction)
    facts = graphs.facts(graph)
    entries = graph.num_edges * wanted.heads * wanted.channels
    if entries > CHECKED_MOST:
        graph = graphs.build(wanted.graph, wanted.fraction * CHECKED_MOST / entries)
    inputs = make_inputs(graph, wanted.operator, wanted.heads, wanted.channels)
    bounds = correctness.bounds(lambda dtype: correctness.truth(inputs, wanted.operator, dtype))

    def find(name: str) -> dict[str, float]:
        run = peers.PEERS[name].of(wanted.operator)(graph)
        return correctness.errors(run, inputs, bounds)

    errors, absent = correctness.all_errors(find, names)
    sizes = (facts["nodes"], facts["edges"], wanted.heads, wanted.channels)
    return {
        "facts": facts,
        "floor": floor(wanted.operator, *sizes),
        "on": f"{graph.num_edges:,} of {facts['edges']:,} edges",
        "tolerance": {tensor: bound.tolerance for tensor, bound in bounds.items()},
        "errors": errors,
        "absent": absent,
    }


def times(shape: dict[str, Any], names: list[str], repeats: int) -> dict[str, Any]:
    """Seconds of each peer that fits, taken in turn, and the bandwidth of this machine after them.

    Each turn is a process of its own: with freed memory kept, two peers would not fit beside each
    other, and in one heap what one leaves behind would be in the other's way.
    """
    takers = {name: partial(_turn, {"shape": shape, "name": name}) for name in names}
    samples = timing.take_turns(takers, repeats, ROUNDS)
    wanted = Shape(**shape)
    return {"samples": samples, "bandwidth": _bandwidth(_inputs(wanted), wanted)}


def _turn(given: dict[str, Any], count: int) -> list[timing.Parts]:
    """One peer's ``count`` samples.

    Memory that is kept falls to pieces run by run, so a peer that barely fits may not fit again:
    it gets a process for each sample then.
    """

    def take(count: int) -> list[timing.Parts]:
        arguments = {**given, "count": count}
        threads = torch.get_num_threads()
        return process.run("layer.samples", arguments, threads=threads, malloc=None)

    try:
        return take(count)
    except DoesNotFitError:
        return [take(1)[0] for _ in range(count)]


def samples(shape: dict[str, Any], name: str, count: int) -> list[timing.Parts]:
    """What one peer's turn runs."""
    wanted = Shape(**shape)
    return timing.Sampler(_run(wanted.operator, name, _inputs(wanted)))(count)


def memory(shape: dict[str, Any], name: str) -> dict[str, Any]:
    """Peak bytes of one forward and backward over the inputs, the graph's transpose included."""
    wanted = Shape(**shape)
    before = resident()
    inputs = _inputs(wanted)
    # A narrow run first: libraries are loaded, and the graph has worked out what it keeps.
    _run(wanted.operator, name, make_inputs(inputs.graph, wanted.operator, 1, 1))()
    run = peers.PEERS[name].of(wanted.operator)(inputs.graph)
    leaves = list(inputs.tensors.values())
    held = max(0, resident() - before)

    def once() -> object:
        out = run(inputs.tensors)
        return out, grad(out, leaves, inputs.grad_out)

    peak = peak_over(once)
    return {"bytes": peak.bytes, "inputs": held, "exact": peak.exact}


def _inputs(shape: Shape) -> Inputs:
    graph = graphs.build(shape.graph, shape.fraction)
    # All that a peer may take as given: both orders, and edges as PyG has them.
    _ = graph.row, graph.edge_index, graph.transpose
    return make_inputs(graph, shape.operator, shape.heads, shape.channels)


def _run(operator: str, name: str, inputs: Inputs) -> timing.Run:
    run = peers.PEERS[name].of(operator)(inputs.graph)
    leaves = list(inputs.tensors.values())
    return timing.backward_too(lambda: run(inputs.tensors), leaves, inputs.grad_out)


def _bandwidth(inputs: Inputs, shape: Shape) -> dict[str, float] | None:
    from gat.ops.cpu.bandwidth import copy_bandwidth, gather_bandwidth

    graph = inputs.graph
    width = shape.heads * shape.channels
    try:
        gathered = gather_bandwidth(graph.col, graph.num_src, width)
        return {"copied": copy_bandwidth(), "gathered": gathered}
    except BackendError:
        return None
