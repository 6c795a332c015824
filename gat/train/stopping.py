"""When training stops and whose weights are reported: rules by name, pure state machines.

Each evaluation hands ``metric`` (higher is better) and ``loss`` of the validation nodes to
``update``; the answer says whether these weights are to be kept and whether to stop.

``official-gat`` is the rule of the official code (github.com/PetarV-/GAT, execute_cora.py): when
the metric or the loss is at least as good as the best seen, patience starts again; the weights are
kept only when both are. ``monitor`` narrows it to one of the two, as for Citeseer.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from gat.train.config import StoppingConfig

__all__ = ["Stopping", "Verdict", "make_stopping"]


class Verdict(NamedTuple):
    """keep: report these weights unless better ones come. stop: train no further."""

    keep: bool
    stop: bool


@dataclass
class Stopping(ABC):
    """Counts evaluations without progress; subclasses say what progress is. patience 0: no end."""

    patience: int = 100
    best_metric: float = -math.inf
    best_loss: float = math.inf
    waited: int = 0

    def update(self, metric: float, loss: float) -> Verdict:
        """Take one evaluation of the validation nodes."""
        keep, progress = self._judge(metric, loss)
        self.best_metric = max(metric, self.best_metric)
        self.best_loss = min(loss, self.best_loss)
        self.waited = 0 if progress else self.waited + 1
        return Verdict(keep, bool(self.patience) and self.waited >= self.patience)

    @abstractmethod
    def _judge(self, metric: float, loss: float) -> tuple[bool, bool]:
        """Whether to keep these weights, and whether this is progress."""

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in asdict(self):
            setattr(self, name, state[name])


@dataclass
class OfficialGat(Stopping):
    """Patience restarts on either measure, weights are kept on both; ties count as good."""

    monitor: str = "both"

    def _judge(self, metric: float, loss: float) -> tuple[bool, bool]:
        measures = {"accuracy": metric >= self.best_metric, "loss": loss <= self.best_loss}
        if self.monitor != "both":
            return (measures[self.monitor],) * 2
        return all(measures.values()), any(measures.values())


class BestMetric(Stopping):
    """Progress is a strictly higher validation metric."""

    def _judge(self, metric: float, loss: float) -> tuple[bool, bool]:
        return (metric > self.best_metric,) * 2


class BestLoss(Stopping):
    """Progress is a strictly lower validation loss."""

    def _judge(self, metric: float, loss: float) -> tuple[bool, bool]:
        return (loss < self.best_loss,) * 2


class Never(Stopping):
    """Train all epochs and report the last weights."""

    def _judge(self, metric: float, loss: float) -> tuple[bool, bool]:
        return True, True


def make_stopping(config: StoppingConfig) -> Stopping:
    """The rule a configuration names."""
    if config.name == "official-gat":
        return OfficialGat(patience=config.patience, monitor=config.monitor)
    rules: dict[str, Callable[..., Stopping]]
    rules = {"best-val-accuracy": BestMetric, "best-val-loss": BestLoss, "none": Never}
    return rules[config.name](patience=config.patience)
