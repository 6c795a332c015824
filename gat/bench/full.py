"""A full-batch epoch of the network of OGB's best GAT recipes for arxiv: does it fit, how long?

An epoch is a step with all its dropouts, then the validation pass. "gat" is `gat train`; "pyg" the
same network in a plain loop, as far as PyG's GATConv goes: the targets have their term in the
score, and messages are not scaled by degrees. What counts is what the whole process holds.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd import grad

from gat.bench import check as correctness
from gat.bench import replicas, timing, turns
from gat.bench.case import Plan
from gat.bench.check import ErrorBound, Results
from gat.bench.loops import OurLoop, layers
from gat.bench.memory import peak_over
from gat.bench.recipe import RecipeLoop
from gat.bench.record import Record
from gat.checks import check_sizes
from gat.machine import available, gib, resident
from gat.ops import use_backend
from gat.train import ModelConfig, OptimizerConfig, StoppingConfig, TrainConfig, metrics
from gat.train.session import Session

__all__ = ["PEERS", "FullShape", "check", "measure_full", "memory", "samples", "times"]

PEERS = ("gat", "pyg")
# Of the graph's scale: a replica on which PyG's layers and float64 fit too.
CHECKED = 0.02
# The model of the entry "GAT + label reuse + self KD" on OGB's leaderboard of ogbn-arxiv.
MODEL: dict[str, Any] = {
    "output_heads": 1,
    "activation": "relu",
    "norm": "batch",
    "residual": "linear",
    "residual_output": True,
    "symmetric_norm": True,
    "target_score": False,
    "feature_dropout": 0.75,
    "input_dropout": 0.25,
    "attention_dropout": 0.0,
    "value_dropout": 0.0,
    "edge_dropout": 0.3,
    "bias": False,
    "output_bias": True,
}


@dataclass(frozen=True, kw_only=True)
class FullShape:
    """``layers`` of ``heads`` x ``channels``, the last of one head over the classes."""

    graph: str = "arxiv-size"
    layers: int = 3
    heads: int = 3
    channels: int = 250

    def __post_init__(self) -> None:
        replicas.check_name(self.graph)
        check_sizes(layers=self.layers, heads=self.heads, channels=self.channels)

    def __str__(self) -> str:
        return (
            f"an epoch of full-batch training on {self.graph}, {self.layers} layers of "
            f"{self.heads}x{self.channels}"
        )

    def config(self) -> TrainConfig:
        model = ModelConfig(
            num_layers=self.layers, heads=self.heads, hidden_channels=self.channels, **MODEL
        )
        return TrainConfig(
            model=model,
            optimizer=OptimizerConfig(name="rmsprop", lr=0.002, weight_decay=0.0),
            stopping=StoppingConfig(name="none"),
            loss="log-eps",
            device="cpu",
        )


def measure_full(shape: FullShape, plan: Plan) -> Record:
    """Check on a small replica, then measure memory and time of the plan's peers."""
    return replicas.measure("full", shape, plan, PEERS, memory=True)


# What follows runs in processes of its own.


def _loop(wanted: FullShape, arrays: replicas.Arrays, name: str) -> OurLoop | RecipeLoop:
    task = replicas.task(wanted.graph, arrays)
    session = Session(wanted.config(), task, torch.device("cpu"))
    return OurLoop(session) if name == "gat" else RecipeLoop(session, layers(name, "gat"))


def check(shape: dict[str, Any], folder: str, names: list[str]) -> dict[str, Any]:
    """Logits and every gradient without dropout on a small replica, of each peer against its own
    network over our layers in float64, without our compiled kernels."""
    wanted = FullShape(**shape)
    arrays = replicas.arrays_of(wanted.graph, CHECKED)
    bounds = {name: _bounds(wanted, arrays, name) for name in names}

    def find(name: str) -> dict[str, float]:
        found = _results(_loop(wanted, arrays, name))
        return _titled(name, correctness.errors_of(found, bounds[name]))

    every = {k: v for name, each in bounds.items() for k, v in _titled(name, each).items()}
    free = available()
    return {
        "facts": replicas.facts(wanted.graph, replicas.mapped(folder))
        | {"memory at hand": "unknown" if free is None else gib(free)},
        "on": f"logits, and gradients without dropout, of {len(arrays['y']):,} nodes",
        **correctness.compare(find, names, every),
    }


def _bounds(wanted: FullShape, arrays: replicas.Arrays, name: str) -> dict[str, ErrorBound]:
    def truth(dtype: torch.dtype, nudge: int | None = None) -> Results:
        with use_backend("blockwise"):
            loop = _loop(wanted, arrays, "gat" if name == "gat" else "drop-in")
            return _results(loop, dtype, nudge)

    alike = (truth(torch.float32, seed) for seed in range(correctness.NUDGES))
    return correctness.bounds(truth, alike)


def _results(
    loop: OurLoop | RecipeLoop, dtype: torch.dtype = torch.float32, nudge: int | None = None
) -> Results:
    graph, model = loop.session.task.graphs[0], loop.model.eval().to(dtype)
    x = graph.x if nudge is None else correctness.nudged(graph.x, nudge)
    edges: Any = graph.graph() if isinstance(loop, OurLoop) else graph.edge_index
    out = model(x.to(dtype), edges)
    rows = graph.train_mask[:, 0]
    loss = metrics.loss(out[rows], graph.y[rows], 0.0, "log-eps")
    # Scores without the target leave a parameter out.
    leaves = {f"grad {k}": leaf for k, leaf in model.named_parameters() if leaf.requires_grad}
    gradients = grad(loss, list(leaves.values()))
    return {"logits": out.detach(), **dict(zip(leaves, gradients, strict=True))}


def _titled(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """The peers are two networks, whose tensors may have the same name."""
    return {f"{name}'s {tensor}": value for tensor, value in values.items()}


def times(shape: dict[str, Any], folder: str, names: list[str], repeats: int) -> dict[str, Any]:
    """Seconds of an epoch of each loop that fits, taken in turn."""
    return {"samples": turns.take("full", {"shape": shape, "folder": folder}, names, repeats)}


def samples(shape: dict[str, Any], folder: str, name: str, count: int) -> list[timing.Parts]:
    """What one peer's turn runs: an epoch to warm up, then those that count."""
    loop = _loop(FullShape(**shape), replicas.mapped(folder), name)
    loop.epoch()
    return timing.Sampler(loop.epoch, loops=1)(count)


def memory(shape: dict[str, Any], folder: str, name: str) -> dict[str, Any]:
    """Peak bytes of the first epoch, over the data and in all."""
    loop = _loop(FullShape(**shape), replicas.mapped(folder), name)
    held = resident()
    peak = peak_over(loop.epoch)
    return {"bytes": peak.bytes, "inputs": held, "exact": peak.exact, "total": peak.total}
