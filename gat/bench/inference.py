"""Layer-wise inference of all nodes of a large graph: minutes, and what the whole process holds.

"gat" is `gat.train.predict`. Features and the sorted graph lie in files, as `gat.data.load` keeps
those of OGB's data sets.
"""

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gat.bench import check as correctness
from gat.bench import replicas, timing, turns
from gat.bench.case import Plan
from gat.bench.check import Results
from gat.bench.memory import peak_over
from gat.bench.record import Record
from gat.bench.whole import drawn
from gat.checks import check_sizes
from gat.errors import InputError
from gat.graph import Graph
from gat.machine import resident
from gat.models import GAT
from gat.ops import use_backend
from gat.train import predict

__all__ = ["PEERS", "InferenceShape", "check", "measure_inference", "memory", "samples", "times"]

PEERS = ("gat",)
# Nodes of each layer that are checked; and edges of a graph that is checked whole besides.
CHECKED, WHOLE = 1000, 5_000_000


@dataclass(frozen=True, kw_only=True)
class InferenceShape:
    """``layers`` of ``heads`` x ``channels``, the last averaging its heads over the classes.

    room: GiB that a part of a layer may take.
    """

    graph: str = "products-size"
    layers: int = 3
    heads: int = 4
    channels: int = 32
    room: float = 4.0

    def __post_init__(self) -> None:
        replicas.check_name(self.graph)
        check_sizes(layers=self.layers, heads=self.heads, channels=self.channels)
        # Not `room <= 0`: NaN is no size either.
        if not self.room > 0:
            raise InputError(f"room is {self.room}; expected GiB, more than 0")

    def __str__(self) -> str:
        return (
            f"layer-wise inference on {self.graph}, {self.layers} layers of "
            f"{self.heads}x{self.channels}"
        )


def measure_inference(shape: InferenceShape, plan: Plan) -> Record:
    """Check nodes of every layer, then measure memory and time."""
    return replicas.measure("inference", shape, plan, PEERS, memory=True)


# What follows runs in processes of its own.


class Inferred(NamedTuple):
    """Called, it infers all nodes. x [N, F] lies in a file."""

    model: GAT
    x: Tensor
    graph: Graph
    bytes: float

    def __call__(self, on_stage: Callable[[int, int], Any] | None = None) -> Tensor:
        return predict(self.model, self.x, self.graph, bytes=self.bytes, on_stage=on_stage)

    def timed(self) -> timing.Parts:
        """Seconds of each layer."""
        ends = [time.perf_counter()]
        self(lambda number, count: ends.append(time.perf_counter()))
        return {
            f"layer {number}": ends[number] - ends[number - 1] for number in range(1, len(ends))
        }


def _made(shape: dict[str, Any], folder: str) -> Inferred:
    wanted, arrays = InferenceShape(**shape), replicas.mapped(folder)
    graph, held = replicas.tensors(arrays)
    sizes = held["x"].size(1), int(held["y"].max()) + 1
    make = partial(
        GAT,
        *sizes,
        hidden_channels=wanted.channels,
        num_layers=wanted.layers,
        heads=wanted.heads,
        output_heads=wanted.heads,
    )
    return Inferred(drawn(make).eval(), held["x"], graph, wanted.room * 2**30)


@torch.no_grad()
def check(shape: dict[str, Any], folder: str, names: list[str]) -> dict[str, Any]:
    """Of nodes drawn at random what each layer gives them, against that layer in float64 on them
    and all their neighbours; and whether the last layer's is what is returned. A small graph's
    outputs also against the whole network's in float64."""
    made = _made(shape, folder)
    states, out = _states(made)
    draw = torch.Generator().manual_seed(0)
    nodes = torch.randperm(made.graph.num_dst, generator=draw)[:CHECKED]
    small = made.graph.num_edges <= WHOLE

    def truth(dtype: torch.dtype) -> Results:
        given = [made.x, *states]
        exact = {
            f"layer {number}": _directly(stage.layer, given[number - 1], made.graph, nodes, dtype)
            for number, stage in enumerate(made.model.stages(), 1)
        }
        return exact | {"outputs": _whole(made, dtype) if small else states[-1].to(dtype)}

    found = {f"layer {number}": state[nodes] for number, state in enumerate(states, 1)}
    bounds = correctness.bounds(truth)
    errors = correctness.errors_of(found | {"outputs": out}, bounds)
    every = ", and all outputs" if small else ""
    return {
        "facts": replicas.facts(shape["graph"], replicas.mapped(folder))
        | {"room GiB": shape["room"]},
        "on": f"{nodes.numel():,} nodes in each layer{every}",
        **correctness.compare(lambda name: errors, names, bounds),
    }


def _states(made: Inferred) -> tuple[list[Tensor], Tensor]:
    """What each layer gave all nodes, and the outputs."""
    # Parts come in the order of the nodes.
    parts: list[list[Tensor]] = [[] for _ in made.model.stages()]
    hooks = [
        stage.layer.register_forward_hook(lambda layer, given, out, to=to: to.append(out))
        for stage, to in zip(made.model.stages(), parts, strict=True)
    ]
    out = made()
    for hook in hooks:
        hook.remove()
    states = []
    for part in parts:
        states.append(torch.cat(part))
        part.clear()
    return states, out


def _directly(layer: Any, given: Tensor, graph: Graph, nodes: Tensor, dtype: torch.dtype) -> Tensor:
    """A layer's rows of ``nodes``, of what the layer before gave all nodes."""
    begin, count = graph.rowptr[nodes], graph.rowptr[nodes + 1] - graph.rowptr[nodes]
    target = torch.arange(nodes.numel()).repeat_interleave(count)
    first = (count.cumsum(0) - count)[target]
    source = graph.col[begin[target] + torch.arange(target.numel()) - first]
    # Neighbours have rows of their own after the nodes', one for each edge; none is aimed at.
    edges = torch.stack([torch.arange(target.numel()) + nodes.numel(), target])
    rows = given[torch.cat([nodes, source])].to(dtype)
    with use_backend("reference"):
        return deepcopy(layer).to(dtype)(rows, edges, None)[: nodes.numel()]


def _whole(made: Inferred, dtype: torch.dtype) -> Tensor:
    with use_backend("blockwise"):
        return deepcopy(made.model).to(dtype)(made.x.to(dtype), made.graph)


def times(shape: dict[str, Any], folder: str, names: list[str], repeats: int) -> dict[str, Any]:
    """Seconds of each layer and in all."""
    return {"samples": turns.take("inference", {"shape": shape, "folder": folder}, names, repeats)}


def samples(shape: dict[str, Any], folder: str, name: str, count: int) -> list[timing.Parts]:
    """What one turn runs; it takes minutes and is not warmed up."""
    return timing.Sampler(_made(shape, folder).timed, loops=1)(count)


def memory(shape: dict[str, Any], folder: str, name: str) -> dict[str, Any]:
    """Peak bytes of inferring all nodes, over what was read before and in all; what was read of the
    mapped files is part of both."""
    made, held = _made(shape, folder), resident()
    peak = peak_over(lambda: made())
    return {"bytes": peak.bytes, "inputs": held, "exact": peak.exact, "total": peak.total}
