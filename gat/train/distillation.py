"""Self-distillation: a teacher is trained first, then the student learns from what it predicts.

The teacher is the same configuration without distillation, trained as a run of its own in the
folder ``teacher/`` of the student's run. What it predicts for every node, with the weights it kept
and all training labels given, is kept there in ``predictions/``; from then on only that is read, so
a run may be interrupted in either phase and resumed. The loss is in :mod:`gat.train.objectives`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from gat.data import NodeTask
from gat.train import checkpoint
from gat.train.checkpoint import Checkpoint
from gat.train.config import TrainConfig
from gat.train.run_session import check_same_data, fingerprint
from gat.train.signals import Interrupted, Terminated

if TYPE_CHECKING:
    from gat.train.session import Session

__all__ = ["TEACHER", "teacher_config", "teachings"]

# The teacher's folder within its student's.
TEACHER = "teacher"
PREDICTIONS = "predictions"

# A run: configuration and folder to the session at its end.
TrainTeacher = Callable[[TrainConfig, Path | None], "Session"]


def teacher_config(config: TrainConfig) -> TrainConfig:
    """The student's, without what is only the student's."""
    return config.updated(**{"distillation.enabled": False, "correct_and_smooth.enabled": False})


def teachings(
    config: TrainConfig, task: NodeTask, folder: Path | None, train: TrainTeacher
) -> list[Tensor]:
    """The teacher's logits, float32 [N, K], of every node of each graph.

    Read from the student's ``folder`` where they are kept there; else ``train`` trains the teacher
    (or goes on with it). Raises CheckpointMismatchError where they are of other data,
    CorruptDataError where the file is damaged.
    """
    if folder is None:
        return train(teacher_config(config), None).predictions()
    kept = folder / TEACHER / PREDICTIONS
    if not checkpoint.exists(kept):
        logits = _trained(config, folder, train).predictions()
        kept.mkdir(exist_ok=True)
        tensors = {f"logits/{number}": each for number, each in enumerate(logits)}
        checkpoint.save(kept, Checkpoint(tensors, {"task": fingerprint(task)}))
    saved = checkpoint.load(kept)
    check_same_data(saved, task)
    return [saved.tensors[f"logits/{number}"] for number in range(len(task.graphs))]


def _trained(config: TrainConfig, folder: Path, train: TrainTeacher) -> "Session":
    try:
        return train(teacher_config(config), folder / TEACHER)
    except (Interrupted, Terminated) as stopped:
        raise type(stopped)(
            f"stopped while training the teacher, which is saved in {folder / TEACHER}; continue "
            f"with: gat train --resume {folder}",
            stopped.signum,
        ) from None
