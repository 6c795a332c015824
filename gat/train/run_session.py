"""A run in progress, whatever it trains on: model, optimiser, schedule, stopping, position; its way
to a checkpoint.

The position is (epochs done, steps done in the current one), so a run can be saved between any two
steps. Everything later is a function of what is saved; resuming from it repeats the uninterrupted
run bit for bit on the CPU. What a batch is and how it is scored a subclass says.
"""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from gat.data import ExampleTask, NodeTask
from gat.errors import CheckpointMismatchError, NonFiniteLossError
from gat.train import generators
from gat.train.checkpoint import Checkpoint
from gat.train.optim import Clipper, Schedule, make_optimizer
from gat.train.run import EpochRecord
from gat.train.run_config import RunConfig
from gat.train.step import Score
from gat.train.stopping import make_stopping

__all__ = ["Position", "RunSession", "check_same_data", "fingerprint", "load_weights"]

REMEDY = 'lower optimizer.lr, clip gradients ([clip] name = "norm"), or look at the features'


@dataclass
class Position:
    """Where a run stands. losses: of the steps done in the current epoch; seconds: of training."""

    epoch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    best_epoch: int = 0
    best_val: float = float("nan")
    stopped_by: str = ""


class RunSession(ABC):
    """One run in memory: what is saved of it, and the course of its epochs.

    A subclass seeds the generators, makes its batches and its model, and then calls ``__init__``.
    """

    config: Any
    task: Any

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        config: RunConfig = self.config
        self.model, self.device = model.to(device), device
        self.optimizer = make_optimizer(config.optimizer, self.model)
        self.schedule = Schedule(config.schedule, self.optimizer, config.epochs)
        self.stopping = make_stopping(config.stopping)
        self.clip = Clipper(config.clip, self.model)
        self.at = Position()
        self.best: dict[str, Tensor] = {}

    @abstractmethod
    def batches_left(self) -> Generator[Any]:
        """The batches of the epoch at hand, from the step at hand on."""

    @abstractmethod
    def step(self, batch: Any) -> Tensor | None:
        """Train on a batch: its loss, detached; None where it holds nothing to train on."""

    @abstractmethod
    def validation(self) -> Score:
        """Loss and metric of the present weights on the validation part."""

    @abstractmethod
    def scores(self) -> dict[str, Any]:
        """The present weights' scores as a `RunResult` has them: train, val, test, and more."""

    @cached_property
    def fingerprint(self) -> str:
        """Of the task; worked out once, since of large data it takes seconds."""
        return fingerprint(self.task)

    def train_epoch(self, interrupted: Callable[[], bool]) -> bool:
        """The steps left in this epoch; False when ``interrupted()`` was true after one of them."""
        # Closed whatever happens, so that no batch is made any longer.
        with closing(self.batches_left()) as batches:
            for batch in batches:
                loss = self.step(batch)
                self.at.step += 1
                if loss is not None:
                    self.at.losses.append(self._checked(float(loss), "training"))
                if interrupted():
                    return False
        return True

    def end_epoch(self, seconds: float) -> EpochRecord | None:
        """Close the epoch; evaluate if it is time, and return the record of it."""
        at, epochs = self.at, self.config.epochs
        train_loss = sum(at.losses) / len(at.losses)
        done = at.epoch + 1
        val = None
        if done % self.config.evaluate_every == 0 or done == epochs:
            val = self.validation()
            self._checked(val.loss, "validation")
        at.epoch, at.step, at.losses = done, 0, []
        at.stopped_by = "epochs" if done >= epochs else ""
        self.schedule.step_epoch()
        if val is None:
            return None
        self.schedule.step_evaluation(val.metric, val.loss)
        verdict = self.stopping.update(val.metric, val.loss)
        if verdict.keep:
            at.best_epoch, at.best_val = done, val.metric
            self._keep()
        if verdict.stop:
            at.stopped_by = "patience"
        lr = float(self.optimizer.param_groups[0]["lr"])
        return EpochRecord(
            done, train_loss, val.loss, val.metric, at.best_val, at.best_epoch, lr, seconds
        )

    def use_best(self) -> None:
        """Put the kept weights into the model."""
        if self.best:
            self.model.load_state_dict(self.best)

    def checkpoint(self) -> Checkpoint:
        """All that the rest of the run depends on. NonFiniteLossError for weights beyond repair."""
        for name, parameter in self.model.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                raise NonFiniteLossError(
                    f"{name} is no longer finite after epoch {self.at.epoch}; {REMEDY}"
                )
        tensors = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"best/{k}": v for k, v in self.best.items()}
        optimizer = self.optimizer.state_dict()
        for number, state in optimizer["state"].items():
            tensors |= {f"optimizer/{number}/{k}": v for k, v in state.items() if v is not None}
        random_tensors, random_values = generators.states()
        tensors |= {f"generators/{k}": v for k, v in random_tensors.items()}
        meta = {
            "config": self.config.to_dict(),
            "task": self.fingerprint,
            "position": asdict(self.at),
            "optimizer": optimizer["param_groups"],
            "schedule": self.schedule.state_dict(),
            "stopping": self.stopping.state_dict(),
            "generators": random_values,
        }
        return Checkpoint(tensors, meta)

    def restore(self, saved: Checkpoint) -> None:
        """Continue from ``checkpoint``; nothing is changed unless everything fits."""
        _check_fingerprint(saved, self.task, self.fingerprint)
        load_weights(self.model, saved.part("model"))
        self.best = {k: v.to(self.device) for k, v in saved.part("best").items()}
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in saved.part("optimizer").items():
            number, key = name.split("/", 1)
            state.setdefault(int(number), {})[key] = tensor
        # JSON has lists where torch has tuples (betas).
        groups = [
            {k: tuple(v) if k == "betas" else v for k, v in group.items()}
            for group in saved.meta["optimizer"]
        ]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.schedule.load_state_dict(saved.meta["schedule"])
        self.stopping.load_state_dict(saved.meta["stopping"])
        self.at = Position(**saved.meta["position"])
        generators.restore(saved.part("generators"), saved.meta["generators"])

    def _keep(self) -> None:
        # Never-stopping runs report the last weights, which the model has anyway.
        if self.config.stopping.name != "none":
            self.best = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def _checked(self, loss: float, kind: str) -> float:
        if math.isfinite(loss):
            return loss
        raise NonFiniteLossError(
            f"the {kind} loss is {loss} in epoch {self.at.epoch + 1}, after step {self.at.step}; "
            f"{REMEDY}"
        )


def check_same_data(saved: Checkpoint, task: NodeTask | ExampleTask) -> None:
    """Refuse a task that is not, to the last edge, label and split, what the run was trained on."""
    _check_fingerprint(saved, task, fingerprint(task))


def _check_fingerprint(saved: Checkpoint, task: NodeTask | ExampleTask, found: str) -> None:
    if saved.meta["task"] != found:
        raise CheckpointMismatchError(
            f"the checkpoint was trained on other data than {task.name!r} as it is now "
            "(its inputs, labels or splits differ); pass the task it was trained on, or "
            "train anew in another folder"
        )


def load_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """``load_state_dict`` that checks names and shapes first and says what differs."""
    own = model.state_dict()
    problems = []
    if missing := sorted(own.keys() - weights.keys()):
        problems.append(f"missing keys: {', '.join(missing)}")
    if unexpected := sorted(weights.keys() - own.keys()):
        problems.append(f"unexpected keys: {', '.join(unexpected)}")
    for name in sorted(own.keys() & weights.keys()):
        ours, theirs = own[name], weights[name]
        if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
            problems.append(
                f"{name} is {theirs.dtype} {list(theirs.shape)} in the checkpoint, "
                f"{ours.dtype} {list(ours.shape)} in the model"
            )
    if problems:
        raise CheckpointMismatchError(
            f"the checkpoint belongs to another architecture: {'; '.join(problems)}; "
            "build the model with the options it was trained with (config.toml of its run)"
        )
    model.load_state_dict(weights)


def fingerprint(task: NodeTask | ExampleTask) -> str:
    """sha256 of all that a task holds: of nodes edges, features, labels and masks, of examples
    inputs and targets."""
    digest = hashlib.sha256()
    for name, tensor in task.tensors():
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {list(values.shape)};".encode())
        digest.update(values.view(torch.uint8).numpy().data if values.numel() else b"")
    return digest.hexdigest()
