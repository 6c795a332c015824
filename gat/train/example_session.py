"""A run on examples: shuffled batches, one network, the share of examples that are right."""

from collections.abc import Generator, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gat.data import Examples, ExampleTask
from gat.train import generators
from gat.train.batches import PARTS, shuffled
from gat.train.example_ways import way_for
from gat.train.examples_config import ExamplesConfig
from gat.train.run_session import RunSession
from gat.train.step import Score, autocast, descend

__all__ = ["ExampleSession"]


class ExampleSession(RunSession):
    """One run in memory. ``task`` has been validated; generators are seeded here."""

    config: ExamplesConfig
    task: ExampleTask

    def __init__(self, config: ExamplesConfig, task: ExampleTask, device: torch.device) -> None:
        self.config, self.task = config, task
        self.parts = {name: task.parts[name].to(device) for name in PARTS}
        generators.seed_all(config.seed)
        self.way = way_for(config, task)
        super().__init__(self.way.build(), device)

    def batches_left(self) -> Generator[Examples]:
        """The batches of the epoch at hand: a function of (seed, epoch), from the step on."""
        part, size = self.parts["train"], self.config.batch_size
        order = shuffled(len(part), self.config.seed, self.at.epoch).to(self.device)
        for start in range(self.at.step * size, len(part), size):
            yield part.select(order[start : start + size])

    def step(self, batch: Examples) -> Tensor | None:
        """Train on a batch."""
        self.model.train()
        logits, targets = self._answered(self.way.changed(batch))
        loss = F.cross_entropy(logits, targets, label_smoothing=self.config.label_smoothing)
        return descend(loss, self.optimizer, self.clip)

    def validation(self) -> Score:
        """Loss and metric of the validation part; the loss is the mean over all its targets, which
        are the tokens of a translation, however they are batched."""
        self.model.eval()
        sums, count = [], 0
        with torch.no_grad():
            for logits, targets in map(self._answered, self._in_order(self.parts["val"])):
                sums.append(F.cross_entropy(logits, targets, reduction="sum"))
                count += targets.numel()
        return Score(float(torch.stack(sums).sum()) / count, self.metric("val"))

    def metric(self, name: str) -> float:
        """The share of a part's examples that are right."""
        return float(self.right(name).double().mean())

    @torch.no_grad()
    def right(self, name: str) -> Tensor:
        """Which examples of a part the present weights get right, bool [n]."""
        self.model.eval()
        batches = self._in_order(self.parts[name])
        with autocast(self.device, self.config.precision):
            return torch.cat([self.way.right(self.model, batch) for batch in batches])

    def scores(self) -> dict[str, Any]:
        """The metric of each part, NaN of a test part without examples, and what else is told of
        it."""
        right = {name: self.right(name) for name in PARTS}
        shares = {name: float(each.double().mean()) for name, each in right.items()}
        test, measures = self.parts["test"], {}
        if len(test):
            with torch.no_grad(), autocast(self.device, self.config.precision):
                measures = self.way.measures(self.model, self._in_order(test), right["test"])
        return {**shares, "measures": measures}

    def _answered(self, batch: Examples) -> tuple[Tensor, Tensor]:
        """The model's logits, float32 [R, K], and the classes [R] that they are held to."""
        with autocast(self.device, self.config.precision):
            logits, targets = self.way.logits(self.model, batch)
        return logits.float(), targets

    def _in_order(self, part: Examples) -> Iterator[Examples]:
        for rows in torch.arange(len(part), device=self.device).split(self.config.batch_size):
            yield part.select(rows)
