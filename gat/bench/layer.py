"""The edge part of one attention layer, forward and backward: ours and the peers' (`peers.py`)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch.autograd import grad

from gat.bench import check as correctness
from gat.bench import graphs, peers, timing, turns
from gat.bench.case import Plan
from gat.bench.floors import floor
from gat.bench.memory import peak_over
from gat.bench.record import Case, Record
from gat.bench.shape import Inputs, Shape, make_inputs
from gat.errors import BackendError, InputError
from gat.machine import resident

__all__ = ["SCALING", "check", "measure_layer", "measure_scaling", "memory", "samples", "times"]

# Entries [E, H, C] of the largest graph that is checked whole, which takes about a minute.
CHECKED_MOST = 2_000_000_000
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
    width = wanted.heads * wanted.channels
    graph, told = graphs.to_check(wanted.graph, wanted.fraction, CHECKED_MOST // width)
    inputs = make_inputs(graph, wanted.operator, wanted.heads, wanted.channels)
    bounds = correctness.bounds(lambda dtype: correctness.truth(inputs, wanted.operator, dtype))

    def find(name: str) -> dict[str, float]:
        run = peers.PEERS[name].of(wanted.operator)(graph)
        return correctness.errors(run, inputs, bounds)

    facts = told["facts"]
    sizes = (facts["nodes"], facts["edges"], wanted.heads, wanted.channels)
    checked = correctness.compare(find, names, bounds)
    return {**told, **checked, "floor": floor(wanted.operator, *sizes)}


def times(shape: dict[str, Any], names: list[str], repeats: int) -> dict[str, Any]:
    """Seconds of each peer that fits, taken in turn, and this machine's bandwidth after them."""
    samples = turns.take("layer", {"shape": shape}, names, repeats)
    wanted = Shape(**shape)
    return {"samples": samples, "bandwidth": _bandwidth(_inputs(wanted), wanted)}


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
