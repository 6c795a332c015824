"""train, evaluate and the run folder: what is written, what is refused, what a fault leaves."""

import dataclasses
import json
import random
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from gat.data import NodeTask
from gat.errors import CheckpointMismatchError, InputError
from gat.train import (
    TrainConfig,
    evaluate,
    load_config,
    new_run_dir,
    train,
    trainer,
)
from gat.train import run as run_module

Kept = Callable[[Path], dict[str, Any]]


def read_log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_train_learns_and_reports_the_kept_epoch(toy: NodeTask, config: TrainConfig) -> None:
    config = config.updated(epochs=80, **{"model.feature_dropout": 0.2})
    records: list[Any] = []
    result = train(config, task=toy, on_epoch=records.append)
    assert result.metric == "accuracy"
    assert result.run_dir is None
    assert result.stopped_by == "epochs"
    assert [record.epoch for record in records] == list(range(1, 81))
    assert result.val == records[result.best_epoch - 1].val == records[-1].best_val
    assert records[-1].train_loss < records[0].train_loss
    # Two of the 14 test nodes are hard, so one seed's accuracy is luck: over 60 seeds 0.89 +- 0.07.
    others = [train(config.updated(seed=seed), task=toy).test for seed in range(1, 9)]
    assert sum(others, result.test) / 9 > 0.8


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_train_on_several_graphs(precision: str, toy_graphs: NodeTask, config: TrainConfig) -> None:
    config = config.updated(epochs=60, precision=precision, **{"model.feature_dropout": 0.0})
    result = train(config, task=toy_graphs)
    assert result.metric == "micro-f1"
    assert result.test > 0.6


def test_train_stops_by_patience(toy: NodeTask, config: TrainConfig) -> None:
    rule = {"name": "best-val-accuracy", "patience": 5}
    result = train(config.updated(epochs=400, stopping=rule), task=toy)
    assert result.stopped_by == "patience"
    assert result.epochs == result.best_epoch + 5


def test_train_is_a_function_of_its_seed(toy: NodeTask, config: TrainConfig) -> None:
    def weights(seed: int) -> torch.Tensor:
        model = train(config.updated(seed=seed), task=toy).model
        assert model is not None
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_train_gives_the_callers_generators_back(toy: NodeTask, config: TrainConfig) -> None:
    def draws() -> tuple[float, float, float]:
        return torch.rand(()).item(), random.random(), float(np.random.rand())

    expected = draws()
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    train(config, task=toy)
    assert draws() == expected


def test_run_folder_holds_everything(toy: NodeTask, config: TrainConfig, tmp_path: Path) -> None:
    result = train(config, tmp_path / "a" / "run", task=toy)
    folder = tmp_path / "a" / "run"
    assert result.run_dir == folder
    assert load_config(folder / "config.toml") == config.updated(**{"data.name": "toy"})
    assert tomllib.loads((folder / "config.toml").read_text())["model"]["hidden_channels"] == 4
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics == result.to_dict()
    assert metrics["test"] == result.test
    (versions,) = json.loads((folder / "versions.json").read_text())["sessions"]
    assert versions["torch"] == torch.__version__
    assert {"gat", "python", "torch_geometric", "platform", "threads"} <= versions.keys()
    log = read_log(folder)
    assert [line["epoch"] for line in log] == list(range(1, 13))
    assert log[0].keys() == {
        "epoch", "train_loss", "val_loss", "val", "best_val", "best_epoch", "lr", "seconds",
    }  # fmt: skip


@pytest.mark.parametrize("rule", ["official-gat", "none"])
def test_evaluate_repeats_the_result(
    rule: str, toy: NodeTask, config: TrainConfig, tmp_path: Path
) -> None:
    result = train(config.updated(**{"stopping.name": rule}), tmp_path, task=toy)
    again = evaluate(tmp_path, task=toy)
    assert again == result
    assert result.model is not None
    assert again.model is not None
    ours, theirs = result.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_evaluate_does_not_take_other_data_for_the_task(
    toy: NodeTask, config: TrainConfig, tmp_path: Path
) -> None:
    train(config, tmp_path, task=toy)
    with pytest.raises(InputError, match="toy"):
        evaluate(tmp_path)


def test_evaluate_refuses_data_that_changed_since_training(
    toy: NodeTask, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(config, tmp_path, task=toy)
    order = torch.randperm(40)
    graph = toy.graphs[0]
    shuffled = dataclasses.replace(graph, x=graph.x[order])
    changed = dataclasses.replace(toy, graphs=(shuffled,))
    monkeypatch.setattr(trainer, "load_task", lambda config: changed)
    with pytest.raises(CheckpointMismatchError, match="was trained on other data than 'toy' as it"):
        evaluate(tmp_path)
    monkeypatch.setattr(trainer, "load_task", lambda config: toy)
    assert evaluate(tmp_path).epochs == 12


def test_evaluate_of_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no checkpoint; expected the folder of a run"):
        evaluate(tmp_path)


def test_evaluate_every_skips_evaluations(
    toy: NodeTask, config: TrainConfig, tmp_path: Path
) -> None:
    result = train(config.updated(evaluate_every=5), tmp_path, task=toy)
    assert [line["epoch"] for line in read_log(tmp_path)] == [5, 10, 12]
    assert result.best_epoch in (5, 10, 12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_train_and_resume_on_a_gpu(
    precision: str, toy: NodeTask, config: TrainConfig, tmp_path: Path
) -> None:
    config = config.updated(device="auto", epochs=40, precision=precision)
    train(config.updated(epochs=20), tmp_path, task=toy)
    result = train(config, tmp_path, task=toy, resume=True)
    assert result.epochs == 40
    assert evaluate(tmp_path, task=toy).val == result.val


def test_new_run_dir_is_never_taken(tmp_path: Path) -> None:
    first = new_run_dir("own/graph", seed=3, parent=tmp_path)
    assert first.parent == tmp_path
    assert first.name.startswith("own-graph-seed3-")
    paths = set()
    for _ in range(3):
        path = new_run_dir("cora", parent=tmp_path)
        path.mkdir()
        paths.add(path)
    assert len(paths) == 3


def test_tensorboard_is_written_where_it_is_installed(
    toy: NodeTask, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, float, int]] = []
    opened: list[dict[str, Any]] = []

    class SummaryWriter:
        def __init__(self, folder: str, **options: Any) -> None:
            opened.append({"folder": folder, **options})

        def add_scalar(self, name: str, value: float, epoch: int) -> None:
            written.append((name, value, epoch))

        def close(self) -> None:
            written.append(("closed", 0.0, 0))

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(run_module.importlib.util, "find_spec", lambda name: object())
    train(config, tmp_path, task=toy)
    assert opened == [{"folder": str(tmp_path / "tensorboard"), "purge_step": 1}]
    losses = [(value, epoch) for name, value, epoch in written if name == "val_loss"]
    assert losses == [(line["val_loss"], line["epoch"]) for line in read_log(tmp_path)]
    assert written[-1][0] == "closed"
