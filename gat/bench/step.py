"""An epoch of training: a step with all its dropouts, then the validation pass.

"gat" is `gat train` itself: the data set's recipe through `gat.train.Session`. "pyg" is the same
recipe as its users write it: a plain loop over PyG's layers on dense features; their layers have no
third dropout. "drop-in" is that loop with the import changed, and nothing else. Each part ends
with a number that the host reads, so its clock is right on a GPU too.
"""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import grad

from gat.bench import check as correctness
from gat.bench import timing
from gat.bench.case import Plan
from gat.bench.gpu import check_device
from gat.bench.loops import Loop, PlainLoop, layers, loop
from gat.bench.peers import check_names
from gat.bench.record import Record
from gat.bench.shape import DEVICES
from gat.checks import one_of
from gat.errors import InputError
from gat.ops import use_backend
from gat.train import TrainConfig, load_task, recipe_for
from gat.train.kinds import nodes_only
from gat.train.session import Session

__all__ = ["PEERS", "check", "measure_step", "times"]

PEERS = ("gat", "pyg", "drop-in")

# What a recipe may not have, since the plain loop does not: {setting: what it must be}.
PLAIN = {
    "model.input_dropout": None,
    "model.concat": True,
    "model.norm": "none",
    "model.residual": "none",
    "model.jumping_knowledge": "none",
    "model.linear_input": False,
    "model.linear_output": False,
    "model.symmetric_norm": False,
    "model.edge_dropout": 0.0,
    "model.edge_embedding": 0,
    "model.residual_output": False,
    "model.output_bias": None,
    "model.target_score": True,
    "model.share_weights": False,
    "model.activation": "elu",
    "data.undirected": False,
    "optimizer.name": "adam",
    "schedule.name": "none",
    "clip.name": "none",
    "sampling.name": "none",
    "precision": "float32",
    "label_smoothing": 0.0,
    "loss": "cross-entropy",
    "labels.inputs": False,
    "distillation.enabled": False,
}


def measure_step(dataset: str, plan: Plan, device: str = "cpu") -> Record:
    """Measure an epoch of ``dataset``'s recipe on ``device``, "cpu" or "cuda"."""
    one_of("device", device, DEVICES)
    check_device(device)
    check_names(plan.peers, PEERS)
    recipe(dataset, device)
    plan = replace(plan, device=device)
    on = {} if device == "cpu" else {"device": device}
    title = f"an epoch of {dataset}{' on ' + device if on else ''}"
    case = plan.case("step", dataset, title, {"dataset": dataset, **on})
    return plan.record("step", title, {"dataset": dataset, **on}, [case])


def recipe(dataset: str, device: str = "cpu") -> TrainConfig:
    """The data set's recipe; InputError if a plain loop over PyG's layers cannot follow it."""
    config = nodes_only(recipe_for(dataset))
    for setting, plain in PLAIN.items():
        value: Any = config
        for name in setting.split("."):
            value = getattr(value, name)
        if value != plain:
            raise InputError(
                f"the recipe of {dataset} has {setting} = {value!r}, which the plain loop over "
                f"PyG's layers does not; measure a recipe without it, such as cora or citeseer"
            )
    return config.updated(device=device)


# What follows runs in processes of its own.


def _session(dataset: str, device: str) -> Session:
    config = recipe(dataset, device)
    task = load_task(config.data)
    if task.inductive or task.multilabel or task.metric != "accuracy":
        raise InputError(
            f"{dataset} has several graphs, or is not scored by accuracy, which the plain loop "
            "over PyG's layers does not do; measure cora or citeseer"
        )
    return Session(config, task, torch.device(device))


def check(dataset: str, names: list[str], device: str = "cpu") -> dict[str, Any]:
    """Logits and every gradient of the training loss, without dropout, at the same weights."""
    session = _session(dataset, device)
    labels = [name for name, _ in session.model.named_parameters()]
    graph, split = session.task.graphs[0], session.config.data.split
    mask, y = graph.train_mask[:, split].to(device), graph.y.to(device)

    def results(at: Loop) -> dict[str, Tensor]:
        at.model.eval()
        out = at.logits()
        gradients = grad(F.cross_entropy(out[mask], y[mask]), list(at.model.parameters()))
        named = zip(labels, gradients, strict=True)
        return {"logits": out.detach(), **{f"grad {name}": value for name, value in named}}

    def truth(dtype: torch.dtype) -> dict[str, Tensor]:
        with use_backend("reference"):
            conv = layers("drop-in", session.config.model.attention)
            return results(PlainLoop(session, conv, dtype))

    bounds = correctness.bounds(truth)
    checked = correctness.compare(
        lambda name: correctness.errors_of(results(loop(name, session)), bounds), names, bounds
    )
    return {"facts": _facts(session), "on": "logits, and gradients without dropout", **checked}


def times(dataset: str, names: list[str], repeats: int, device: str = "cpu") -> dict[str, Any]:
    """Seconds of an epoch of each loop, taken in turn."""
    session = _session(dataset, device)
    runs: dict[str, timing.Taker] = {}
    for name in names:
        runs[name] = timing.Sampler(loop(name, session).epoch)
    return {"samples": timing.take_turns(runs, repeats)}


def _facts(session: Session) -> dict[str, Any]:
    graph = session.task.graphs[0]
    share = float(graph.x.count_nonzero()) / max(graph.x.numel(), 1)
    return {
        "nodes": graph.num_nodes,
        "edges": graph.num_edges,
        "features": session.task.num_features,
        "features not zero": f"{share:.2%}",
    }
