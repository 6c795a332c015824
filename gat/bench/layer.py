"""The edge part of one attention layer, forward and backward: ours and the peers' (`peers.py`).

On the CPU, or on a GPU, where time, memory and bandwidth are taken as `gpu.py` says.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor
from torch.autograd import grad

from gat.bench import check as correctness
from gat.bench import gpu, graphs, peers, timing, turns
from gat.bench.case import Plan
from gat.bench.floors import floor
from gat.bench.memory import peak_over
from gat.bench.record import Case, Record
from gat.bench.shape import DTYPES, Inputs, Shape, make_inputs
from gat.errors import BackendError, InputError
from gat.graph import Graph
from gat.machine import resident

__all__ = ["SCALING", "check", "measure_layer", "measure_scaling", "memory", "samples", "times"]

# Entries [E, H, C] of the largest graph that is checked whole, which takes about a minute on a CPU;
# on a GPU so many more.
CHECKED_MOST = 2_000_000_000
GPU_CHECKS = 20
SCALING = ("uniform-1M", "uniform-4M", "uniform-16M", "uniform-60M")


def measure_layer(shape: Shape, plan: Plan) -> Record:
    """Check, then measure memory and time of the plan's peers at ``shape``."""
    plan = _on(shape.device, plan)
    peers.check_names(plan.peers)
    graphs.check_name(shape.graph, shape.fraction)
    case = _case(shape, plan)
    return plan.record("layer", str(shape), shape.to_dict(), [case])


def measure_scaling(shape: Shape, plan: Plan, sizes: Sequence[str] = SCALING) -> Record:
    """``shape`` on graphs of growing size, by the names of `graphs.build`."""
    plan = _on(shape.device, plan)
    peers.check_names(plan.peers)
    if not sizes:
        raise InputError("no graph is given to scale over; name some, e.g. uniform-1M,uniform-4M")
    for size in sizes:
        graphs.check_name(size)
    cases = [_case(replace(shape, graph=size), plan) for size in sizes]
    title = f"{shape.operator} {shape.heads}x{shape.channels}, {sizes[0]} to {sizes[-1]}{shape.how}"
    return plan.record("scaling", title, {**shape.to_dict(), "graph": list(sizes)}, cases)


def _on(device: str, plan: Plan) -> Plan:
    """The plan for ``device``, which is refused here if it is not there."""
    gpu.check_device(device)
    return replace(plan, device=device)


def _case(shape: Shape, plan: Plan) -> Case:
    return plan.case("layer", shape.graph, str(shape), {"shape": shape.to_dict()}, memory=True)


# What follows runs in processes of its own.


def check(shape: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Facts and floor of the case, each peer's errors beside the tolerance, and peers too large."""
    wanted = Shape(**shape)
    left_out = {name: peers.PEERS[name].why_not(wanted) for name in names}
    most = CHECKED_MOST // (wanted.heads * wanted.channels)
    most *= GPU_CHECKS if _on_gpu(wanted) else 1
    graph, told = graphs.to_check(wanted.graph, wanted.fraction, most, wanted.device)
    inputs = _inputs_on(graph, wanted)
    bounds = correctness.bounds(
        lambda dtype: correctness.truth(inputs, wanted.operator, dtype), dtype=DTYPES[wanted.dtype]
    )

    def find(name: str) -> dict[str, float]:
        run = peers.PEERS[name].of(wanted.operator)(graph)
        return correctness.errors(run, inputs, bounds)

    facts = told["facts"]
    sizes = (facts["nodes"], facts["edges"], wanted.heads, wanted.channels)
    bytes_each = DTYPES[wanted.dtype].itemsize
    checked = correctness.compare(find, [name for name in names if not left_out[name]], bounds)
    checked["absent"] |= {name: reason for name, reason in left_out.items() if reason}
    return {**told, **checked, "floor": floor(wanted.operator, *sizes, bytes_each)}


def times(shape: dict[str, Any], names: list[str], repeats: int) -> dict[str, Any]:
    """Seconds of each peer that fits, taken in turn, and this machine's bandwidth after them."""
    wanted = Shape(**shape)
    if _on_gpu(wanted):
        return _times_on_gpu(wanted, names, repeats)
    samples = turns.take("layer", {"shape": shape}, names, repeats)
    return {"samples": samples, "bandwidth": _bandwidth(_inputs(wanted), wanted)}


def _times_on_gpu(shape: Shape, names: list[str], repeats: int) -> dict[str, Any]:
    """As `times`, every turn in this process: a GPU's memory is not malloc's."""
    inputs, flush = _inputs(shape), gpu.flusher()

    def prepare(name: str) -> timing.Run:
        return gpu.with_backward(*_parts(shape.operator, name, inputs), flush)

    takers = {name: gpu.Sampler(partial(prepare, name)) for name in names}
    samples = timing.take_turns(takers, repeats, turns.ROUNDS)
    takers.clear()
    return {"samples": samples, "bandwidth": _gpu_bandwidth(inputs, shape)}


def samples(shape: dict[str, Any], name: str, count: int) -> list[timing.Parts]:
    """What one peer's turn runs."""
    wanted = Shape(**shape)
    return timing.Sampler(_run(wanted.operator, name, _inputs(wanted)))(count)


def memory(shape: dict[str, Any], name: str) -> dict[str, Any]:
    """Peak bytes of one forward and backward over the inputs, the graph's transpose included."""
    wanted = Shape(**shape)
    if _on_gpu(wanted):
        return _memory_on_gpu(wanted, name)
    before = resident()
    inputs = _inputs(wanted)
    # A narrow run first: libraries are loaded, and the graph has worked out what it keeps.
    _run(wanted.operator, name, _inputs_on(inputs.graph, replace(wanted, heads=1, channels=1)))()
    once = _once(wanted.operator, name, inputs)
    if peers.PEERS[name].one_shape:
        once()
    held = max(0, resident() - before)
    peak = peak_over(once)
    return {"bytes": peak.bytes, "inputs": held, "exact": peak.exact}


def _memory_on_gpu(shape: Shape, name: str) -> dict[str, Any]:
    """As `memory`; the allocator counts tensors, so a whole run may come before."""
    inputs = _inputs(shape)
    once = _once(shape.operator, name, inputs)
    once()
    peak = gpu.peak_over(once)
    return {"bytes": peak.bytes, "inputs": peak.total - peak.bytes, "exact": peak.exact}


def _on_gpu(shape: Shape) -> bool:
    return shape.device != "cpu"


def _inputs(shape: Shape) -> Inputs:
    graph = graphs.build(shape.graph, shape.fraction, shape.device)
    # All that a peer may take as given: both orders, and edges as PyG has them.
    _ = graph.row, graph.edge_index, graph.transpose
    return _inputs_on(graph, shape)


def _inputs_on(graph: Graph, shape: Shape) -> Inputs:
    return make_inputs(graph, shape.operator, shape.heads, shape.channels, DTYPES[shape.dtype])


def _once(operator: str, name: str, inputs: Inputs) -> Callable[[], object]:
    """A forward and a backward, whose results are kept until both are there."""
    forward, leaves, grad_out = _parts(operator, name, inputs)

    def once() -> object:
        out = forward()
        return out, grad(out, leaves, grad_out)

    return once


def _run(operator: str, name: str, inputs: Inputs) -> timing.Run:
    return timing.backward_too(*_parts(operator, name, inputs))


def _parts(
    operator: str, name: str, inputs: Inputs
) -> tuple[Callable[[], Tensor], list[Tensor], Tensor]:
    """One peer's forward, the leaves and the output's gradient."""
    run = peers.PEERS[name].of(operator)(inputs.graph)
    return lambda: run(inputs.tensors), list(inputs.tensors.values()), inputs.grad_out


def _gpu_bandwidth(inputs: Inputs, shape: Shape) -> dict[str, Any]:
    """The floor is told by the copy's: on a GPU that is what a kernel can come near to."""
    graph, width = inputs.graph, shape.heads * shape.channels
    gathered = gpu.gather_bandwidth(graph.col, graph.num_src, width, DTYPES[shape.dtype])
    copied = gpu.copy_bandwidth(shape.device)
    return {"copied": copied, "gathered": gathered, "floor_at": "copied"}


def _bandwidth(inputs: Inputs, shape: Shape) -> dict[str, float] | None:
    from gat.ops.cpu.bandwidth import copy_bandwidth, gather_bandwidth

    graph = inputs.graph
    # In the float32 numbers that a row of the dtype's is as long as.
    width = max(1, shape.heads * shape.channels * DTYPES[shape.dtype].itemsize // 4)
    try:
        gathered = gather_bandwidth(graph.col, graph.num_src, width)
        return {"copied": copy_bandwidth(), "gathered": gathered}
    except BackendError:
        return None
