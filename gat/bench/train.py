"""An epoch of training on sampled neighbourhoods: our trainer beside loops over PyG's GATConv.

The same network (GATConv, ELU, the last layer averaging its heads, no dropout), the same weights at
the start, the same batches, Adam. "gat" is `gat train` (`gat.train.session.Session`); "pyg" and
"pyg-trimmed" are the loops of `sampled.py`. Sampling is part of the time, validation is not.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import grad

from gat.bench import check as correctness
from gat.bench import replicas, timing, turns
from gat.bench.case import Plan
from gat.bench.check import NUDGES, Results
from gat.bench.loops import layers
from gat.bench.record import Record
from gat.bench.sampled import OurEpochs, PlainEpochs, SampledNet, epochs
from gat.checks import check_sizes
from gat.errors import InputError
from gat.ops import use_backend
from gat.train import ModelConfig, OptimizerConfig, SamplingConfig, TrainConfig
from gat.train.session import Session

__all__ = ["PEERS", "TrainShape", "check", "measure_train", "samples", "times"]

PEERS = ("gat", "pyg", "pyg-trimmed")
# Steps before the first epoch that counts.
WARM = 3


@dataclass(frozen=True, kw_only=True)
class TrainShape:
    """Fan-outs from the seeds on; ``layers`` of ``heads`` x ``channels``; steps: of an epoch, None
    for all of it."""

    graph: str = "arxiv-size"
    fanouts: tuple[int, ...] = (10, 10, 10)
    batch_size: int = 1024
    layers: int = 3
    heads: int = 4
    channels: int = 32
    steps: int | None = None

    def __post_init__(self) -> None:
        replicas.check_name(self.graph)
        names = ("batch_size", "layers", "heads", "channels", "steps")
        counts = {name: getattr(self, name) for name in names}
        check_sizes(**{name: count for name, count in counts.items() if count is not None})
        if len(self.fanouts) != self.layers:
            raise InputError(
                f"fanouts has {len(self.fanouts)} numbers and layers is {self.layers}; expected a "
                "number for each layer"
            )

    def __str__(self) -> str:
        what = "an epoch" if self.steps is None else f"{self.steps} steps"
        fanouts = "/".join(map(str, self.fanouts))
        return (
            f"{what} of sampled training on {self.graph}, {self.layers} layers of "
            f"{self.heads}x{self.channels}, {fanouts} neighbours, batches of {self.batch_size:,}"
        )

    def config(self) -> TrainConfig:
        model = ModelConfig(
            num_layers=self.layers,
            heads=self.heads,
            output_heads=self.heads,
            hidden_channels=self.channels,
            feature_dropout=0.0,
            attention_dropout=0.0,
            value_dropout=0.0,
        )
        sampling = SamplingConfig(
            name="neighbor", num_neighbors=list(self.fanouts), batch_size=self.batch_size
        )
        optimizer = OptimizerConfig(name="adam", lr=0.001, weight_decay=0.0)
        return TrainConfig(model=model, sampling=sampling, optimizer=optimizer, device="cpu")


def measure_train(shape: TrainShape, plan: Plan) -> Record:
    """Check on one batch, then measure the time of the plan's peers."""
    return replicas.measure("train", shape, plan, PEERS)


# What follows runs in processes of its own.


def _session(shape: dict[str, Any], folder: str) -> tuple[Session, int]:
    """A run that has not begun, and the steps of an epoch of it."""
    wanted = TrainShape(**{**shape, "fanouts": tuple(shape["fanouts"])})
    task = replicas.task(wanted.graph, replicas.mapped(folder))
    session = Session(wanted.config(), task, torch.device("cpu"))
    assert session.minibatches is not None
    every = len(session.minibatches)
    return session, min(every, wanted.steps or every)


def check(shape: dict[str, Any], folder: str, names: list[str]) -> dict[str, Any]:
    """Logits and every gradient on the first batch, at the same weights, against the plain loop
    over our layers in float64 without our compiled kernels."""
    session, steps = _session(shape, folder)
    plain = PlainEpochs(session, SampledNet, layers("drop-in", "gat"))
    data, titles = plain.batches.batch(0, 0), [n for n, _ in session.model.named_parameters()]

    def results(at: OurEpochs | PlainEpochs, logits: Tensor) -> Results:
        gradients = grad(F.cross_entropy(logits, data.y), list(at.model.parameters()))
        return {
            "logits": logits.detach(),
            **{f"grad {name}": value for name, value in zip(titles, gradients, strict=True)},
        }

    def truth(dtype: torch.dtype, nudge: int | None = None) -> Results:
        x = data.x if nudge is None else correctness.nudged(data.x, nudge)
        plain.model.to(dtype)
        with use_backend("blockwise"):
            given = data.clone()
            given.x = x.to(dtype)
            return results(plain, plain.model.of(given))

    alike = (truth(torch.float32, seed) for seed in range(NUDGES))
    bounds = correctness.bounds(truth, alike)

    def find(name: str) -> dict[str, float]:
        at = epochs(name, session)
        return correctness.errors_of(results(at, at.logits()), bounds)

    facts = {
        "training nodes": plain.batches.nodes.numel(),
        "steps": steps,
        "nodes of the first batch": data.num_nodes,
        "edges of the first batch": data.num_edges,
    }
    return {
        "facts": replicas.facts(shape["graph"], replicas.mapped(folder)) | facts,
        "on": "logits and gradients of one batch",
        **correctness.compare(find, names, bounds),
    }


def times(shape: dict[str, Any], folder: str, names: list[str], repeats: int) -> dict[str, Any]:
    """Seconds of an epoch of each loop, taken in turn."""
    what = {"shape": shape, "folder": folder}
    return {"samples": turns.take("train", what, names, repeats)}


def samples(shape: dict[str, Any], folder: str, name: str, count: int) -> list[timing.Parts]:
    """What one peer's turn runs: some steps to warm up, then whole epochs."""
    session, steps = _session(shape, folder)
    loop = epochs(name, session)
    loop.run(min(WARM, steps))
    run = partial(timing.untold, partial(loop.run, steps))
    return timing.Sampler(run, loops=1)(count)
