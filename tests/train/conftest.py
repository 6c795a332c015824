"""Small tasks that train in milliseconds per epoch, and comparisons of whole runs."""

import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from gat.data import NodeTask, TaskGraph
from gat.train import TrainConfig, example_session, session


def _graph(nodes: int, seed: int, parts: tuple[slice, slice, slice], labels: int = 0) -> TaskGraph:
    """Two classes that edges respect and features hint at; ``labels`` > 0 makes it multi-label."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(nodes) % 2
    source = torch.randint(0, nodes, (nodes * 4,), generator=generator)
    target = torch.randint(0, nodes, (nodes * 4,), generator=generator)
    edges = torch.stack([source, target])[:, y[source] == y[target]]
    x = torch.rand(nodes, 6, generator=generator)
    x[:, 0] += y
    if labels:
        x[:, 1:] -= 0.5
        y = (x[:, :labels] > 0.5).float()
    masks = torch.zeros(3, nodes, 1, dtype=torch.bool)
    for number, part in enumerate(parts):
        masks[number, part] = True
    return TaskGraph(edges, x, y, masks[0], masks[1], masks[2])


@pytest.fixture
def toy() -> NodeTask:
    """One graph of 40 nodes, two classes, 12/14/14 nodes."""
    return NodeTask("toy", (_graph(40, 0, (slice(12), slice(12, 26), slice(26, 40))),), 2)


@pytest.fixture
def toy_graphs() -> NodeTask:
    """Seven graphs of unequal sizes (five to train on), three labels per node, micro-F1."""
    nothing, everything = slice(0), slice(None)
    train = (everything, nothing, nothing)
    graphs = [_graph(n, n, train, labels=3) for n in (11, 13, 17, 19, 23)]
    graphs.append(_graph(29, 29, (nothing, everything, nothing), labels=3))
    graphs.append(_graph(31, 31, (nothing, nothing, everything), labels=3))
    return NodeTask("toys", tuple(graphs), 3, metric="micro-f1", multilabel=True)


@pytest.fixture
def config() -> TrainConfig:
    """12 epochs of a small network; saved every third epoch."""
    return TrainConfig(
        epochs=12,
        model={"hidden_channels": 4, "heads": 2},
        optimizer={"lr": 0.02},
        checkpoint={"every_epochs": 3},
        device="cpu",
    )


@pytest.fixture
def kept() -> Callable[[Path], dict[str, Any]]:
    """All of a finished run that must not depend on how often it was interrupted."""

    def read(folder: Path) -> dict[str, Any]:
        metrics = json.loads((folder / "metrics.json").read_text())
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        # Seconds are of the clock, not of the run.
        for record in (metrics, *lines):
            record.pop("seconds")
        return {"metrics": metrics, "log": lines}

    return read


@pytest.fixture
def terminate_in_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let a SIGTERM come in step ``at`` of all that follow, counted from 1."""

    def prepare(at: int) -> None:
        count = 0

        def signalling(real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGTERM)
            return real(*args, **kwargs)

        # A step on nodes, and one on examples.
        for module, name in ((session, "train_step"), (example_session, "descend")):
            monkeypatch.setattr(module, name, partial(signalling, getattr(module, name)))

    return prepare
