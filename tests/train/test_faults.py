"""What training refuses and what a fault leaves behind."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from gat.data import NodeTask, TaskGraph
from gat.errors import BackendError, GatError, InputError, NonFiniteLossError, RunLockedError
from gat.train import SaveError, TrainConfig, checkpoint, session, train

Kept = Callable[[Path], dict[str, Any]]


def read_log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def spoil(graph: TaskGraph, what: str) -> TaskGraph:
    """The toy graph (12/14/14 nodes) with one fault."""
    x, y, mask = graph.x.clone(), graph.y.clone(), graph.test_mask.clone()
    if what == "nan feature":
        x[7, 2] = torch.nan
        return replace(graph, x=x)
    if what == "overlap":
        mask[5] = True
        return replace(graph, test_mask=mask)
    if what == "large label":
        y[9] = 2
        return replace(graph, y=y)
    if what == "negative label":
        y[9] = -2
        return replace(graph, y=y)
    if what == "short y":
        return replace(graph, y=y[:39])
    return replace(graph, **{what: torch.zeros_like(mask)})


BAD_TASKS = {
    "nan feature": "feature 2 of node 7 is nan",
    "train_mask": "the train mask of split 0 is empty",
    "val_mask": "the val mask of split 0 is empty",
    "overlap": "node 5 of split 0 both in the train and in the test mask",
    "large label": "the label of node 9 is 2; labels are 0 to 1",
    "negative label": "the label of node 9 is -2",
    "short y": "y has 39 rows, x has 40",
}


@pytest.mark.parametrize(("what", "sentence"), BAD_TASKS.items(), ids=BAD_TASKS.keys())
def test_train_refuses_a_bad_task(
    what: str, sentence: str, toy: NodeTask, config: TrainConfig, tmp_path: Path
) -> None:
    task = NodeTask("toy", (spoil(toy.graphs[0], what),), 2)
    with pytest.raises(GatError) as refusal:
        train(config, tmp_path, task=task)
    assert sentence in str(refusal.value)
    assert not (tmp_path / "checkpoint.json").exists()


def test_checks_of_the_data_can_be_turned_off(toy: NodeTask, config: TrainConfig) -> None:
    overlapping = NodeTask("toy", (spoil(toy.graphs[0], "overlap"),), 2)
    assert train(config.updated(**{"data.allow_overlap": True}), task=overlapping).epochs == 12
    infinite = NodeTask("toy", (spoil(toy.graphs[0], "nan feature"),), 2)
    with pytest.raises(
        NonFiniteLossError, match="is nan in epoch 1, after step 1; lower optimizer"
    ):
        train(config.updated(**{"data.check_finite": False}), task=infinite)


def test_train_over_a_run_is_refused(toy: NodeTask, config: TrainConfig, tmp_path: Path) -> None:
    train(config, tmp_path, task=toy)
    with pytest.raises(InputError, match="already holds a run; continue it with resume"):
        train(config, tmp_path, task=toy)


def test_folder_of_somebody_else_is_refused_untouched(
    toy: NodeTask, config: TrainConfig, tmp_path: Path
) -> None:
    for name in ("checkpoint-000500.safetensors", "config.toml", "metrics.json"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=r"holds files that are not a run's .*choose a new or an"):
        train(config, tmp_path, task=toy)
    assert {path.read_text() for path in tmp_path.iterdir()} == {"mine"}
    assert len(list(tmp_path.iterdir())) == 3


def test_weights_that_are_not_finite_are_never_saved(
    toy: NodeTask, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = session.evaluate_batches, 0

    def spoiling_after(model: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        scores = real(model, *args, **kwargs)
        if count == 6:
            torch.nn.init.constant_(next(model.parameters()), torch.inf)
        return scores

    monkeypatch.setattr(session, "evaluate_batches", spoiling_after)
    with pytest.raises(NonFiniteLossError, match="is no longer finite after epoch 6; lower"):
        train(config, tmp_path, task=toy)
    assert checkpoint.load(tmp_path).meta["position"]["epoch"] == 3
    assert "no longer finite" in read_log(tmp_path)[-1]["error"]


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
    sentence = f"the {where} loss is nan in epoch 8, after step 1; "
    with pytest.raises(NonFiniteLossError, match=sentence) as fault:
        train(config, tmp_path, task=toy)
    assert fault.value.exit_code != 0
    saved = checkpoint.load(tmp_path)
    assert saved.meta["position"]["epoch"] == 6
    assert all(t.isfinite().all() for t in saved.part("model").values())
    assert read_log(tmp_path)[-1] == {"epoch": 8, "step": 1, "error": str(fault.value)}


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
