"""A run on nodes: batches of whole graphs or sampled ones, a GAT, its scores of all parts."""

import math
from collections.abc import Generator
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from gat.data import NodeTask
from gat.errors import InputError
from gat.train import generators
from gat.train.batches import Batch, join, make_batches, training_order
from gat.train.config import ModelConfig, TrainConfig
from gat.train.correct_and_smooth import correct_and_smooth
from gat.train.label_inputs import hide_labels, step_seed
from gat.train.minibatches import Minibatches, whole_graphs
from gat.train.objectives import Objective
from gat.train.run import EpochRecord
from gat.train.run_session import RunSession
from gat.train.scores import part_scores
from gat.train.step import Score, evaluate_batches, predict_batches, train_step

__all__ = ["Session", "build_model"]


def build_model(
    config: ModelConfig, in_channels: int, out_channels: int, edge_dim: int | None = None
) -> nn.Module:
    """The network a configuration describes, freshly initialised. edge_dim: features per edge."""
    from gat.models import GAT

    return GAT(in_channels, out_channels, edge_dim=edge_dim, **config.model_dump())


class Session(RunSession):
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
        self.config, self.task = config, task
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
        self.objective = Objective(config.loss, config.label_smoothing, config.distillation)
        super().__init__(model, device)

    @cached_property
    def minibatches(self) -> Minibatches | None:
        """The sampled batches, if any; only training needs them, and the parts they are cut from.

        Raises ConfigError or InputError for sampling that cannot be meant of these data.
        """
        on = self.config.sampling.on
        return Minibatches(self.batches, self.config, self.device) if on else None

    def batches_left(self) -> Generator[Batch]:
        at, config = self.at, self.config
        if self.minibatches is not None:
            yield from self.minibatches.epoch(at.epoch, at.step)
            return
        order = training_order(self.batches, config.graphs_per_batch, config.seed, at.epoch)
        for group in order[at.step :]:
            yield join(group)

    def step(self, batch: Batch) -> Tensor | None:
        """Train on a batch; a subgraph may lack training nodes."""
        if "train" not in batch.parts:
            return None
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
        """Close the epoch; InputError where no batch of it had a training node."""
        if not self.at.losses:
            raise InputError(
                f"no batch of epoch {self.at.epoch + 1} had a training node; take more or longer "
                "walks (sampling.roots, sampling.walk_length), or more steps (sampling.steps)"
            )
        return super().end_epoch(seconds)

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

    def validation(self) -> Score:
        """Loss and metric of the validation nodes; InputError where the metric is undefined."""
        val = self.evaluate("val")["val"]
        if math.isnan(val.metric) and math.isfinite(val.loss):
            raise InputError(
                f"{self.task.name}: {self.task.metric} of the validation nodes of split "
                f"{self.config.data.split} is undefined; it needs labels of both values there"
            )
        return val

    def scores(self) -> dict[str, Any]:
        """The task's metric of each part, and of each after Correct and Smooth where it is on."""
        task, batches, logits = self.task, self.batches, self.predictions()
        smoothed, after = {}, self.config.correct_and_smooth
        if after.enabled:
            outputs = correct_and_smooth(after, batches[0], logits[0], multilabel=task.multilabel)
            smoothed = part_scores(task, batches, [outputs])
        return {**part_scores(task, batches, logits), "smoothed": smoothed}
