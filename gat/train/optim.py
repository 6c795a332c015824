"""torch's optimisers and learning-rate schedules from a configuration, and gradient clipping."""

from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler

from gat.errors import ConfigError
from gat.train.config import ClipConfig, OptimizerConfig, ScheduleConfig

__all__ = ["Clipper", "Schedule", "make_optimizer"]


def make_optimizer(config: OptimizerConfig, model: nn.Module) -> Optimizer:
    """Adam, AdamW or RMSprop over all parameters; L2 falls on biases too, as in the GAT code."""
    parameters = list(model.parameters())
    common: dict[str, Any] = {
        "lr": config.lr,
        "weight_decay": config.weight_decay,
        "eps": config.eps,
    }
    if config.name == "rmsprop":
        return torch.optim.RMSprop(
            parameters, alpha=config.alpha, momentum=config.momentum, **common
        )
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    # One fused kernel per step: on small graphs the step would otherwise be mostly bookkeeping.
    return kind(parameters, betas=config.betas, fused=True, **common)


class Schedule:
    """Linear warm-up, then constant, plateau or cosine to ``min_lr`` at the last epoch."""

    def __init__(self, config: ScheduleConfig, optimizer: Optimizer, epochs: int):
        self.monitor = config.monitor
        self.warmup = config.warmup_epochs
        self.epoch = 0
        steps: list[Any] = []
        if self.warmup:
            # The rate of epoch k = 1, 2, ... is lr * k / warmup_epochs, as in the recipes of OGB.
            rise = lr_scheduler.LinearLR(optimizer, 1 / self.warmup, total_iters=self.warmup - 1)
            steps.append(rise)
        if config.name == "cosine":
            rest = epochs - self.warmup
            steps.append(lr_scheduler.CosineAnnealingLR(optimizer, rest, config.min_lr))
        self.timed: Any = steps[0] if steps else None
        if len(steps) > 1:
            self.timed = lr_scheduler.SequentialLR(optimizer, steps, [self.warmup])
        self.plateau: Any = None
        if config.name == "plateau":
            self.plateau = lr_scheduler.ReduceLROnPlateau(
                optimizer,
                mode="min" if config.monitor == "loss" else "max",
                factor=config.factor,
                patience=config.patience,
                min_lr=config.min_lr,
            )

    def step_epoch(self) -> None:
        """An epoch is over."""
        self.epoch += 1
        if self.timed is not None:
            self.timed.step()

    def step_evaluation(self, metric: float, loss: float) -> None:
        """The validation nodes have been evaluated; plateaus are not looked for in the warm-up."""
        if self.plateau is not None and self.epoch > self.warmup:
            self.plateau.step(loss if self.monitor == "loss" else metric)

    def state_dict(self) -> dict[str, Any]:
        """JSON values only."""
        parts = {"timed": self.timed, "plateau": self.plateau}
        states = {k: v.state_dict() for k, v in parts.items() if v is not None}
        return {"epoch": self.epoch, **states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = state["epoch"]
        for name, part in (("timed", self.timed), ("plateau", self.plateau)):
            if part is not None:
                part.load_state_dict(state[name])


class Clipper:
    """Clips a model's gradients in place, between backward and the optimiser's step.

    Raises ConfigError when a pattern of ``clip.bounds`` matches no parameter.
    """

    def __init__(self, config: ClipConfig, model: nn.Module):
        self.config = config
        self.parameters = list(model.parameters())
        self.bounded: list[tuple[Tensor, float, float]] = []
        named = dict(model.named_parameters())
        unused = set(config.bounds)
        for name, parameter in named.items():
            hits = [p for p in config.bounds if fnmatchcase(name, p)]
            unused -= set(hits)
            if hits:
                self.bounded.append((parameter, *config.bounds[hits[0]]))
        if unused:
            raise ConfigError(
                f"clip.bounds: no parameter matches {', '.join(map(repr, sorted(unused)))}; "
                f"the model's parameters are {', '.join(named)}"
            )

    def __call__(self) -> None:
        if self.config.value is not None:
            nn.utils.clip_grad_value_(self.parameters, self.config.value)
        elif self.config.norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.config.norm)
        for parameter, low, high in self.bounded:
            if parameter.grad is not None:
                parameter.grad.clamp_(low, high)
