"""A run interrupted and resumed equals the uninterrupted one, bit for bit."""

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gat.data import NodeTask
from gat.errors import CheckpointMismatchError, ConfigError, CorruptDataError, InputError
from gat.train import Interrupted, Terminated, TrainConfig, checkpoint, evaluate, train

Kept = Callable[[Path], dict[str, Any]]


class Broken(Exception):
    """What a caller's own code might raise."""


def stop_at(epoch: int, action: Callable[[], Any]) -> Callable[[Any], None]:
    def on_epoch(record: Any) -> None:
        if record.epoch == epoch:
            action()

    return on_epoch


def raise_broken() -> None:
    raise Broken


def same_weights(first: Path, second: Path) -> bool:
    one, two = checkpoint.load(first), checkpoint.load(second)
    assert one.tensors.keys() == two.tensors.keys()
    return all(torch.equal(one.tensors[k], two.tensors[k]) for k in one.tensors)


VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "cosine, warm-up, norm": {
        "schedule": {"name": "cosine", "warmup_epochs": 3},
        "model": {"norm": "batch", "residual": "linear", "num_layers": 3},
        "clip": {"name": "norm", "norm": 0.5},
    },
    "plateau, adamw, smoothing": {
        "schedule": {"name": "plateau", "patience": 1},
        "optimizer": {"name": "adamw"},
        "label_smoothing": 0.1,
    },
    "rmsprop, bfloat16, last weights": {
        "optimizer": {"name": "rmsprop", "momentum": 0.9, "lr": 0.001},
        "precision": "bfloat16",
        "stopping": {"name": "none"},
    },
    "patience, evaluated every second epoch": {
        "stopping": {"name": "best-val-accuracy", "patience": 3},
        "evaluate_every": 2,
    },
    "sampled neighbours, evaluated in parts": {
        "sampling": {
            "name": "neighbor",
            "batch_size": 5,
            "num_neighbors": [3, 2],
            "inference_batch_size": 9,
        },
        "schedule": {"name": "plateau", "patience": 1},
    },
    "gatv2, value clipping": {
        "model": {"attention": "gatv2", "jumping_knowledge": "lstm"},
        "clip": {"name": "value", "value": 0.01},
    },
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("kind", ["one graph", "several graphs"])
def test_resume_after_an_exception_is_exact(
    kind: str,
    variant: dict[str, Any],
    config: TrainConfig,
    toy: NodeTask,
    toy_graphs: NodeTask,
    kept: Kept,
    tmp_path: Path,
) -> None:
    task = toy if kind == "one graph" else toy_graphs
    config = TrainConfig(**{**config.to_dict(), **variant})
    train(config, tmp_path / "whole", task=task)
    # Saved every third epoch: each break loses some epochs, which are trained again.
    for epoch in (2, 8):
        with pytest.raises(Broken):
            train(
                config,
                tmp_path / "broken",
                task=task,
                resume=True,
                on_epoch=stop_at(epoch, raise_broken),
            )
    train(config, tmp_path / "broken", task=task, resume=True)
    assert kept(tmp_path / "broken") == kept(tmp_path / "whole")
    assert same_weights(tmp_path / "broken", tmp_path / "whole")


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [(signal.SIGINT, Interrupted, 130), (signal.SIGTERM, Terminated, 143)],
    ids=["SIGINT", "SIGTERM"],
)
def test_resume_after_a_signal_is_exact(
    number: int,
    kind: type[Interrupted],
    code: int,
    config: TrainConfig,
    toy: NodeTask,
    kept: Kept,
    tmp_path: Path,
) -> None:
    train(config, tmp_path / "whole", task=toy)
    before = signal.getsignal(number)
    with pytest.raises(kind, match=r"stopped after epoch 7 and saved in .*gat train --resume") as e:
        train(
            config,
            tmp_path / "cut",
            task=toy,
            on_epoch=stop_at(7, lambda: os.kill(os.getpid(), number)),
        )
    assert (e.value.signum, e.value.exit_code) == (number, code)
    assert signal.getsignal(number) is before
    assert checkpoint.load(tmp_path / "cut").meta["position"]["epoch"] == 7
    result = train(None, tmp_path / "cut", task=toy, resume=True)
    assert result.epochs == 12
    assert kept(tmp_path / "cut") == kept(tmp_path / "whole")
    assert same_weights(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.parametrize("at", [2, 3, 7])
def test_resume_within_an_epoch_is_exact(
    at: int,
    config: TrainConfig,
    toy_graphs: NodeTask,
    kept: Kept,
    tmp_path: Path,
    terminate_in_step: Callable[[int], None],
) -> None:
    """Three steps an epoch: the signal comes in step ``at`` of the run."""
    train(config, tmp_path / "whole", task=toy_graphs)
    terminate_in_step(at)
    with pytest.raises(Terminated):
        train(config, tmp_path / "cut", task=toy_graphs)
    position = checkpoint.load(tmp_path / "cut").meta["position"]
    assert (position["epoch"] * 3 + position["step"], len(position["losses"])) == (
        at,
        (at - 1) % 3 + 1,
    )
    train(config, tmp_path / "cut", task=toy_graphs, resume=True)
    assert kept(tmp_path / "cut") == kept(tmp_path / "whole")
    assert same_weights(tmp_path / "cut", tmp_path / "whole")


def test_second_ctrl_c_leaves_at_once(config: TrainConfig, toy: NodeTask, tmp_path: Path) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", task=toy, on_epoch=stop_at(5, twice))
    assert checkpoint.load(tmp_path / "run").meta["position"]["epoch"] == 3


def test_interrupted_without_folder_says_so(config: TrainConfig, toy: NodeTask) -> None:
    kill = stop_at(4, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted, match="after epoch 4; nothing was saved"):
        train(config, task=toy, on_epoch=kill)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_is_ignored_stays_so(number: int, config: TrainConfig, toy: NodeTask) -> None:
    """As for what a shell runs in the background."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        result = train(config, task=toy, on_epoch=stop_at(4, lambda: os.kill(os.getpid(), number)))
    finally:
        signal.signal(number, before)
    assert result.epochs == 12


def test_training_in_a_thread_leaves_signals_alone(config: TrainConfig, toy: NodeTask) -> None:
    handlers, results = [], []
    before = signal.getsignal(signal.SIGTERM)

    def work() -> None:
        note = stop_at(1, lambda: handlers.append(signal.getsignal(signal.SIGTERM)))
        results.append(train(config, task=toy, on_epoch=note))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [before]
    assert results[0].epochs == 12


def test_more_epochs_continue_a_finished_run(
    config: TrainConfig, toy: NodeTask, kept: Kept, tmp_path: Path
) -> None:
    train(config, tmp_path / "whole", task=toy)
    train(config.updated(epochs=5), tmp_path / "short", task=toy)
    assert train(config, tmp_path / "short", task=toy, resume=True).epochs == 12
    assert kept(tmp_path / "short") == kept(tmp_path / "whole")


def test_resuming_a_finished_run_trains_no_further(
    config: TrainConfig, toy: NodeTask, kept: Kept, tmp_path: Path
) -> None:
    first = train(config, tmp_path, task=toy)
    before = kept(tmp_path)
    (tmp_path / "metrics.json").unlink()
    assert train(None, tmp_path, task=toy, resume=True) == first
    assert kept(tmp_path) == before


def test_resume_with_another_configuration_is_refused(
    config: TrainConfig, toy: NodeTask, tmp_path: Path
) -> None:
    train(config, tmp_path, task=toy)
    with pytest.raises(ConfigError, match=r"optimizer\.lr was 0\.02, now 0\.5; resume it without"):
        train(config.updated(**{"optimizer.lr": 0.5}), tmp_path, task=toy, resume=True)
    cosine = config.updated(**{"schedule.name": "cosine"})
    train(cosine, tmp_path / "cosine", task=toy)
    with pytest.raises(ConfigError, match="epochs was 12, now 20"):
        train(cosine.updated(epochs=20), tmp_path / "cosine", task=toy, resume=True)


def test_resume_on_other_data_is_refused(
    config: TrainConfig, toy: NodeTask, tmp_path: Path
) -> None:
    train(config, tmp_path, task=toy)
    toy.graphs[0].x[3, 3] += 1
    with pytest.raises(CheckpointMismatchError, match="trained on other data than 'toy'"):
        train(config, tmp_path, task=toy, resume=True)


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_resume_survives_lost_versions(
    text: str | None, config: TrainConfig, toy: NodeTask, tmp_path: Path
) -> None:
    train(config.updated(epochs=5), tmp_path, task=toy)
    path = tmp_path / "versions.json"
    path.unlink() if text is None else path.write_text(text)
    assert train(config, tmp_path, task=toy, resume=True).epochs == 12
    assert len(json.loads(path.read_text())["sessions"]) == 1


def test_resume_with_other_threads_warns(
    config: TrainConfig, toy: NodeTask, tmp_path: Path
) -> None:
    train(config.updated(epochs=5), tmp_path, task=toy)
    path = tmp_path / "versions.json"
    path.write_text(path.read_text().replace('"threads": 1', '"threads": 64'))
    with pytest.warns(UserWarning, match=r"'threads': 64\}: the last bits may differ"):
        train(config, tmp_path, task=toy, resume=True)


def test_run_killed_before_its_first_checkpoint_starts_with_its_configuration(
    config: TrainConfig, toy: NodeTask, kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(config, tmp_path / "whole", task=toy)
    monkeypatch.setattr(checkpoint, "save", lambda *_: raise_broken())
    with pytest.raises(Broken):
        train(config, tmp_path / "cut", task=toy)
    monkeypatch.undo()
    train(None, tmp_path / "cut", task=toy, resume=True)
    assert kept(tmp_path / "cut") == kept(tmp_path / "whole")


def test_resume_where_there_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run to resume"):
        train(None, tmp_path / "nowhere", resume=True)
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(InputError, match="resume=True needs run_dir"):
        train(resume=True)


def test_resume_of_a_damaged_run_is_refused(
    config: TrainConfig, toy: NodeTask, tmp_path: Path
) -> None:
    train(config, tmp_path, task=toy)
    (path,) = tmp_path.glob("checkpoint-*.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptDataError, match="is damaged"):
        train(config, tmp_path, task=toy, resume=True)
    with pytest.raises(CorruptDataError, match="is damaged"):
        evaluate(tmp_path, task=toy)
