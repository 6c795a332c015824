"""train, evaluate and the run folder: what is written, what is refused, what a fault leaves."""

import json
import random
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock

from gat.data import NodeTask
from gat.errors import BackendError, InputError, NonFiniteLossError, RunLockedError
from gat.train import (
    SaveError,
    TrainConfig,
    checkpoint,
    evaluate,
    load_config,
    new_run_dir,
    session,
    train,
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
    assert result.test > 0.9
    assert result.run_dir is None
    assert result.stopped_by == "epochs"
    assert [record.epoch for record in records] == list(range(1, 81))
    assert result.val == records[result.best_epoch - 1].val == records[-1].best_val
    assert records[-1].train_loss < records[0].train_loss


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
    assert load_config(folder / "config.toml") == config
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


def test_evaluate_of_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no checkpoint; expected the folder of a run"):
        evaluate(tmp_path)


def test_evaluate_every_skips_evaluations(
    toy: NodeTask, config: TrainConfig, tmp_path: Path
) -> None:
    result = train(config.updated(evaluate_every=5), tmp_path, task=toy)
    assert [line["epoch"] for line in read_log(tmp_path)] == [5, 10, 12]
    assert result.best_epoch in (5, 10, 12)


def test_train_over_a_run_is_refused(toy: NodeTask, config: TrainConfig, tmp_path: Path) -> None:
    train(config, tmp_path, task=toy)
    with pytest.raises(InputError, match="already holds a run; continue it with resume"):
        train(config, tmp_path, task=toy)


def test_locked_folder_is_refused(toy: NodeTask, config: TrainConfig, tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / ".lock"),
        pytest.raises(RunLockedError, match="is in use by another process; wait for it to end"),
    ):
        train(config, tmp_path, task=toy)
    assert train(config, tmp_path, task=toy).epochs == 12


def test_lock_is_released_after_an_error(
    toy: NodeTask, config: TrainConfig, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="below 1, the number of its splits"):
        train(config.updated(**{"data.split": 7}), tmp_path, task=toy)
    assert train(config, tmp_path, task=toy).epochs == 12


def test_folder_that_cannot_be_made_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SaveError, match=r"cannot train in .*choose a folder that can be written"):
        train(config, tmp_path / "file" / "run")


def test_strays_of_a_killed_process_are_removed(
    toy: NodeTask, config: TrainConfig, tmp_path: Path
) -> None:
    train(config.updated(epochs=5), tmp_path, task=toy)
    (tmp_path / ".checkpoint-000009.safetensors.tmp").touch()
    (tmp_path / "checkpoint-000009.safetensors").touch()
    train(config, tmp_path, task=toy, resume=True)
    assert len(list(tmp_path.glob("checkpoint-*.safetensors"))) == 1
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("where", ["training", "validation"])
def test_nan_loss_stops_and_keeps_the_last_good_checkpoint(
    where: str,
    toy: NodeTask,
    config: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "train_step" if where == "training" else "evaluate_batches"
    real, count = getattr(session, name), 0

    def spoiling(model: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == 8:
            torch.nn.init.constant_(next(model.parameters()), torch.nan)
        return real(model, *args, **kwargs)

    monkeypatch.setattr(session, name, spoiling)
    sentence = f"the {where} loss is nan in epoch 8, step "
    with pytest.raises(NonFiniteLossError, match=sentence) as fault:
        train(config, tmp_path, task=toy)
    assert fault.value.exit_code != 0
    saved = checkpoint.load(tmp_path)
    assert saved.meta["position"]["epoch"] == 6
    assert all(t.isfinite().all() for t in saved.part("model").values())
    last = read_log(tmp_path)[-1]
    assert (last["epoch"], last["error"]) == (8, str(fault.value))
    assert last["step"] == (1 if where == "training" else 2)


def test_disk_full_in_training_keeps_the_old_checkpoint(
    toy: NodeTask,
    config: TrainConfig,
    kept: Kept,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(config, tmp_path / "whole", task=toy)
    real, count = checkpoint.os.fsync, 0

    def full(handle: int) -> None:
        nonlocal count
        count += 1
        if count > 20:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(SaveError, match=r"No space left on device; .* then resume"):
        train(config, tmp_path / "run", task=toy)
    monkeypatch.setattr(checkpoint.os, "fsync", real)
    train(config, tmp_path / "run", task=toy, resume=True)
    assert kept(tmp_path / "run") == kept(tmp_path / "whole")


def test_undefined_validation_metric_is_refused(toy: NodeTask, config: TrainConfig) -> None:
    toy.metric = "roc-auc"
    toy.graphs[0].y[12:26] = 0
    with pytest.raises(InputError, match="toy: roc-auc of the validation nodes of split 0 is unde"):
        train(config, task=toy)


def test_gpu_asked_for_and_absent_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match=r"device 'cuda:3' was asked for, torch sees 0 GPU"):
        train(TrainConfig(device="cuda:3"))


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


def test_importing_training_leaves_sklearn_and_tensorboard_alone() -> None:
    code = (
        "import sys, gat.train; print([m for m in ('sklearn', 'tensorboard') if m in sys.modules])"
    )
    root = Path(run_module.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "[]", done.stderr
