"""A run in progress: model, optimiser, schedule, stopping, position; its way to a checkpoint.

The position is (epochs done, steps done in the current one), so a run can be saved between any two
steps. Everything later is a function of what is saved; resuming from it repeats the uninterrupted
run bit for bit on the CPU.
"""

import hashlib
import math
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from gat.data import NodeTask
from gat.errors import CheckpointMismatchError, InputError, NonFiniteLossError
from gat.train import generators
from gat.train.batches import Batch, join, make_batches, training_order
from gat.train.checkpoint import Checkpoint
from gat.train.config import ModelConfig, TrainConfig
from gat.train.label_inputs import hide_labels, step_seed
from gat.train.minibatches import Minibatches, whole_graphs
from gat.train.objectives import Objective
from gat.train.optim import Clipper, Schedule, make_optimizer
from gat.train.run import EpochRecord
from gat.train.step import Score, evaluate_batches, predict_batches, train_step
from gat.train.stopping import make_stopping

__all__ = [
    "Position",
    "Session",
    "build_model",
    "check_same_data",
    "fingerprint",
    "load_weights",
]

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


def build_model(
    config: ModelConfig, in_channels: int, out_channels: int, edge_dim: int | None = None
) -> nn.Module:
    """The network a configuration describes, freshly initialised. edge_dim: features per edge."""
    from gat.models import GAT

    return GAT(in_channels, out_channels, edge_dim=edge_dim, **config.model_dump())


class Session:
    """One run in memory. ``task`` has been validated; generators are seeded here.

    teacher: a student's teacher's logits [N, K] of each graph.
    """

    def __init__(
        self,
        config: TrainConfig,
        task: NodeTask,
        device: torch.device,
        teacher: list[Tensor] | None = None,
    ):
        self.config, self.task, self.device = config, task, device
        if config.sampling.on:
            self.batches = whole_graphs(task, config)
        else:
            self.batches = make_batches(task, config.data, device, config.precision, config.labels)
        if teacher is not None:
            pairs = zip(self.batches, teacher, strict=True)
            self.batches = [
                replace(batch, teacher=each.to(batch.x.device)) for batch, each in pairs
            ]
        generators.seed_all(config.seed)
        # Labels as inputs widen x.
        in_channels = int(self.batches[0].x.shape[1])
        model = build_model(config.model, in_channels, task.num_classes, task.edge_dim)
        self.model = model.to(device)
        self.objective = Objective(config.loss, config.label_smoothing, config.distillation)
        self.optimizer = make_optimizer(config.optimizer, self.model)
        self.schedule = Schedule(config.schedule, self.optimizer, config.epochs)
        self.stopping = make_stopping(config.stopping)
        self.clip = Clipper(config.clip, self.model)
        self.at = Position()
        self.best: dict[str, Tensor] = {}

    @cached_property
    def minibatches(self) -> Minibatches | None:
        """The sampled batches, if any; only training needs them, and the parts they are cut from.

        Raises ConfigError or InputError for sampling that cannot be meant of these data.
        """
        on = self.config.sampling.on
        return Minibatches(self.batches, self.config, self.device) if on else None

    @cached_property
    def fingerprint(self) -> str:
        """Of the task; worked out once, since of large data it takes seconds."""
        return fingerprint(self.task)

    def train_epoch(self, interrupted: Callable[[], bool]) -> bool:
        """The steps left in this epoch; False when ``interrupted()`` was true after one of them."""
        # Closed whatever happens, so that no batch is made any longer.
        with closing(self._batches_left()) as batches:
            for batch in batches:
                # A subgraph may lack training nodes.
                loss = self._step(batch) if "train" in batch.parts else None
                self.at.step += 1
                if loss is not None:
                    self.at.losses.append(self._checked(float(loss), "training"))
                if interrupted():
                    return False
        return True

    def _batches_left(self) -> Generator[Batch]:
        at, config = self.at, self.config
        if self.minibatches is not None:
            yield from self.minibatches.epoch(at.epoch, at.step)
            return
        order = training_order(self.batches, config.graphs_per_batch, config.seed, at.epoch)
        for group in order[at.step :]:
            yield join(group)

    def _step(self, batch: Batch) -> Tensor:
        return train_step(
            self.model,
            self._fed(batch),
            self.optimizer,
            self.clip,
            objective=self.objective,
            precision=self.config.precision,
        )

    def _fed(self, batch: Batch) -> Batch:
        """A batch as the step at hand is fed it."""
        if batch.labels is None:
            return batch
        seed = step_seed(self.config.seed, self.at.epoch, self.at.step)
        return hide_labels(batch, self.config.labels.rate, seed)

    def end_epoch(self, seconds: float) -> EpochRecord | None:
        """Close the epoch; evaluate if it is time, and return the record of it."""
        at, epochs = self.at, self.config.epochs
        if not at.losses:
            raise InputError(
                f"no batch of epoch {at.epoch + 1} had a training node; take more or longer walks "
                "(sampling.roots, sampling.walk_length), or more steps (sampling.steps)"
            )
        train_loss = sum(at.losses) / len(at.losses)
        done = at.epoch + 1
        val = None
        if done % self.config.evaluate_every == 0 or done == epochs:
            val = self._validated()
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

    def evaluate(self, *parts: str) -> dict[str, Score]:
        """Scores of the present weights by part."""
        return evaluate_batches(
            self.model,
            self.batches,
            self.task.metric,
            parts,
            self.config.precision,
            self.config.loss,
        )

    def predictions(self) -> list[Tensor]:
        """The present weights' logits, float32 [N, K], of all nodes of each graph."""
        return predict_batches(self.model, self.batches, self.config.precision)

    def _validated(self) -> Score:
        val = self.evaluate("val")["val"]
        self._checked(val.loss, "validation")
        if math.isnan(val.metric):
            raise InputError(
                f"{self.task.name}: {self.task.metric} of the validation nodes of split "
                f"{self.config.data.split} is undefined; it needs labels of both values there"
            )
        return val

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


def check_same_data(saved: Checkpoint, task: NodeTask) -> None:
    """Refuse a task that is not, to the last edge, label and split, what the run was trained on."""
    _check_fingerprint(saved, task, fingerprint(task))


def _check_fingerprint(saved: Checkpoint, task: NodeTask, found: str) -> None:
    if saved.meta["task"] != found:
        raise CheckpointMismatchError(
            f"the checkpoint was trained on other data than {task.name!r} as it is now "
            "(its edges, features, labels or splits differ); pass the task it was trained on, or "
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


def fingerprint(task: NodeTask) -> str:
    """sha256 of the task's edges, their features, features, labels and masks."""
    digest = hashlib.sha256()
    for graph in task.graphs:
        for name in ("edge_index", "x", "y", "train_mask", "val_mask", "test_mask", "edge_attr"):
            if getattr(graph, name) is None:
                continue
            tensor: Tensor = getattr(graph, name).detach().cpu().contiguous()
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)};".encode())
            digest.update(tensor.view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()
