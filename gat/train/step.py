"""One training step and one evaluation: the only places where a model meets a batch."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gat.train import metrics
from gat.train.batches import Batch

__all__ = ["Score", "evaluate_batches", "forward", "train_step"]


class Score(NamedTuple):
    """Of one part: the mean loss, and the metric as a fraction (NaN for a part without rows)."""

    loss: float
    metric: float


def forward(model: nn.Module, batch: Batch, precision: str = "float32") -> Tensor:
    """The logits [R, K] of the nodes the batch's edges end in; "bfloat16" under autocast."""
    edges = (batch.edges,) if batch.edge_attr is None else (batch.edges, batch.edge_attr)
    with torch.autocast(batch.x.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        return model(batch.x, *edges)


def train_step(
    model: nn.Module,
    batch: Batch,
    optimizer: Optimizer,
    clip: Callable[[], None] | None = None,
    *,
    label_smoothing: float = 0.0,
    precision: str = "float32",
) -> Tensor:
    """Forward, loss on the training rows, backward, clip, optimiser. Returns the loss, detached.

    The loss stays on the device: reading it is the caller's decision, since it waits for a GPU.
    """
    model.train()
    part = batch.parts["train"]
    loss = metrics.loss(part.select(forward(model, batch, precision)), part.y, label_smoothing)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if clip is not None:
        clip()
    optimizer.step()
    return loss.detach()


@torch.no_grad()
def evaluate_batches(
    model: nn.Module,
    batches: Sequence[Batch],
    metric: str,
    parts: Sequence[str] = ("val",),
    precision: str = "float32",
) -> dict[str, Score]:
    """Loss and metric of each part over all its rows in all graphs, without dropout or smoothing.

    One forward pass per graph that has rows of these parts.
    """
    model.eval()
    logits: dict[str, list[Tensor]] = {part: [] for part in parts}
    labels: dict[str, list[Tensor]] = {part: [] for part in parts}
    for batch in batches:
        present = [part for part in parts if part in batch.parts]
        if present:
            outputs = forward(model, batch, precision).float()
            for part in present:
                logits[part].append(batch.parts[part].select(outputs))
                labels[part].append(batch.parts[part].y)
    return {part: _score(logits[part], labels[part], metric) for part in parts}


def _score(logits: list[Tensor], labels: list[Tensor], metric: str) -> Score:
    if not logits:
        return Score(float("nan"), float("nan"))
    scores = torch.cat(logits) if len(logits) > 1 else logits[0]
    y = torch.cat(labels) if len(labels) > 1 else labels[0]
    return Score(float(metrics.loss(scores, y)), metrics.metric(metric, scores, y))
