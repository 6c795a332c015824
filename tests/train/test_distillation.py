"""A teacher, then a student: what the student is taught, and runs interrupted in either phase."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gat.data import NodeTask
from gat.errors import CheckpointMismatchError, ConfigError, CorruptDataError, InputError
from gat.train import Interrupted, TrainConfig, checkpoint, evaluate, metrics, newest_run, train
from gat.train.batches import join, make_batches
from gat.train.distillation import teacher_config, teachings
from gat.train.objectives import divergence
from gat.train.session import Session
from gat.train.step import forward, predict_batches, train_step

CPU = torch.device("cpu")
Kept = Callable[[Path], dict[str, Any]]


@pytest.fixture
def taught(config: TrainConfig) -> TrainConfig:
    """Four epochs each, with labels as inputs."""
    changes = {"distillation.enabled": True, "labels.inputs": True, "labels.reuse": 1}
    return config.updated(**{"epochs": 4, "checkpoint.every_epochs": 3, **changes})


def at_call(number: int, action: Callable[[], Any]) -> Callable[[Any], None]:
    """Does ``action`` at the given call, counted from 1 over teacher and student."""
    count = 0

    def on_epoch(record: Any) -> None:
        nonlocal count
        count += 1
        if count == number:
            action()

    return on_epoch


def same_run(first: Path, second: Path) -> bool:
    one, two = checkpoint.load(first), checkpoint.load(second)
    assert one.tensors.keys() == two.tensors.keys()
    return all(torch.equal(one.tensors[k], two.tensors[k]) for k in one.tensors)


def test_the_teacher_is_the_same_configuration_alone(
    taught: TrainConfig, toy: NodeTask, tmp_path: Path
) -> None:
    alone = train(teacher_config(taught), tmp_path / "alone", task=toy)
    train(taught, tmp_path / "run", task=toy)
    assert same_run(tmp_path / "run" / "teacher", tmp_path / "alone")
    assert alone.model is not None
    batches = make_batches(toy, taught.data, CPU, labels=taught.labels)
    saved = checkpoint.load(tmp_path / "run" / "teacher" / "predictions")
    assert torch.equal(saved.tensors["logits/0"], predict_batches(alone.model, batches)[0])
    # The teacher's folder is not taken for a run of the user's.
    assert newest_run(tmp_path) in (tmp_path / "run", tmp_path / "alone")


@pytest.mark.parametrize("kind", ["one graph", "several graphs"])
def test_the_student_learns_from_every_node(
    kind: str, config: TrainConfig, toy: NodeTask, toy_graphs: NodeTask
) -> None:
    """Its first step by hand, from the teacher's logits of the nodes of the batch."""
    task = toy if kind == "one graph" else toy_graphs
    config = config.updated(**{"distillation.enabled": True, "distillation.alpha": 0.5})
    generator = torch.Generator().manual_seed(5)
    sizes = [(graph.num_nodes, task.num_classes) for graph in task.graphs]
    teacher = [torch.randn(size, generator=generator) for size in sizes]
    session = Session(config, task, CPU, teacher)
    batch = join(session.batches[:2])
    assert batch.teacher is not None
    assert torch.equal(batch.teacher, torch.cat(teacher[:2]))
    plain = Session(config, task, CPU)
    part = batch.parts["train"]
    torch.manual_seed(3)
    outputs = forward(plain.model.train(), replace(batch, teacher=None))
    labels = metrics.loss(part.select(outputs), part.y)
    soft = divergence(outputs, torch.cat(teacher[:2]), 0.7, multilabel=task.multilabel)
    torch.manual_seed(3)
    loss = train_step(session.model, batch, session.optimizer, objective=session.objective)
    assert float(loss) == pytest.approx(float((0.5 * labels + 0.5 * 0.49 * soft).detach()))


@pytest.mark.parametrize("call", [2, 4, 5, 7], ids=["teacher", "its end", "student", "late"])
def test_resume_in_either_phase_is_exact(
    call: int, taught: TrainConfig, toy: NodeTask, kept: Kept, tmp_path: Path
) -> None:
    train(taught, tmp_path / "whole", task=toy)
    kill = at_call(call, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted, match=r"continue with: gat train --resume \S+/cut$") as stopped:
        train(taught, tmp_path / "cut", task=toy, on_epoch=kill)
    assert ("while training the teacher" in str(stopped.value)) == (call <= 4)
    assert checkpoint.exists(tmp_path / "cut") == (call > 4)
    train(None, tmp_path / "cut", task=toy, resume=True)
    for part in ("", "teacher", "teacher/predictions"):
        assert same_run(tmp_path / "cut" / part, tmp_path / "whole" / part)
    assert kept(tmp_path / "cut") == kept(tmp_path / "whole")
    assert kept(tmp_path / "cut" / "teacher") == kept(tmp_path / "whole" / "teacher")


def test_without_a_folder_the_teacher_lives_in_memory(
    taught: TrainConfig, toy: NodeTask, tmp_path: Path
) -> None:
    in_memory, in_folder = train(taught, task=toy), train(taught, tmp_path, task=toy)
    assert in_memory.model is not None
    assert in_folder.model is not None
    ours, theirs = in_memory.model.state_dict(), in_folder.model.state_dict()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)
    assert evaluate(tmp_path, task=toy) == in_folder


def test_a_finished_teacher_is_not_asked_again(
    taught: TrainConfig, toy: NodeTask, tmp_path: Path
) -> None:
    train(taught, tmp_path, task=toy)

    def never(*_: Any) -> Session:
        raise AssertionError("the teacher was trained again")

    (logits,) = teachings(taught, toy, tmp_path, never)
    assert logits.shape == (40, 2)


def test_a_folder_with_a_teacher_is_not_trained_over(
    taught: TrainConfig, toy: NodeTask, tmp_path: Path
) -> None:
    kill = at_call(1, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted):
        train(taught, tmp_path, task=toy, on_epoch=kill)
    with pytest.raises(InputError, match="already holds a run; continue it with resume"):
        train(taught, tmp_path, task=toy)
    other = taught.updated(**{"optimizer.lr": 0.5})
    with pytest.raises(ConfigError, match=r"optimizer\.lr was 0\.02, now 0\.5"):
        train(other, tmp_path, task=toy, resume=True)


def test_epochs_of_a_distilled_run_are_settled(
    taught: TrainConfig, toy: NodeTask, tmp_path: Path
) -> None:
    train(taught, tmp_path, task=toy)
    with pytest.raises(ConfigError, match="epochs was 4, now 9"):
        train(taught.updated(epochs=9), tmp_path, task=toy, resume=True)


def test_a_teacher_of_other_data_or_damaged_is_refused(
    taught: TrainConfig, toy: NodeTask, tmp_path: Path
) -> None:
    train(taught, tmp_path, task=toy)
    toy.graphs[0].x[3, 3] += 1
    with pytest.raises(CheckpointMismatchError, match="trained on other data than 'toy'"):
        teachings(taught, toy, tmp_path, lambda *_: Session(taught, toy, CPU))
    (file,) = (tmp_path / "teacher" / "predictions").glob("*.safetensors")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CorruptDataError, match="is damaged"):
        teachings(taught, toy, tmp_path, lambda *_: Session(taught, toy, CPU))


def test_a_student_that_has_not_begun_is_resumed_as_its_teacher_was_trained(
    taught: TrainConfig, toy: NodeTask, tmp_path: Path
) -> None:
    """Killed when the teacher was done and nothing of the student had been saved."""
    train(taught, tmp_path, task=toy)
    for path in [*tmp_path.glob("checkpoint*"), tmp_path / "metrics.json"]:
        path.unlink()
    with pytest.raises(ConfigError, match=r"optimizer\.lr was 0\.02, now 0\.5"):
        train(taught.updated(**{"optimizer.lr": 0.5}), tmp_path, task=toy, resume=True)
    assert train(taught, tmp_path, task=toy, resume=True).epochs == 4
