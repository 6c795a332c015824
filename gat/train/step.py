"""One training step and one evaluation: the only places where a model meets a batch."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gat.train import metrics
from gat.train.batches import Batch
from gat.train.layerwise import run
from gat.train.objectives import Objective

__all__ = [
    "Score",
    "autocast",
    "descend",
    "evaluate_batches",
    "fed",
    "forward",
    "predict_batches",
    "train_step",
]


class Score(NamedTuple):
    """Of one part: the mean loss, and the metric as a fraction (NaN for a part without rows)."""

    loss: float
    metric: float


def forward(model: nn.Module, batch: Batch, precision: str = "float32") -> Tensor:
    """The logits [R, K] of the nodes the batch's edges end in; "bfloat16" under autocast."""
    return _outputs(model, fed(model, batch, precision), batch, precision)


def fed(model: nn.Module, batch: Batch, precision: str = "float32") -> Tensor:
    """The features of the batch's last forward pass: its own, or, where predictions take the place
    of labels (``labels.reuse``), those after the passes before; no gradient reaches these."""
    x, labels = batch.x, batch.labels
    for _ in range(0 if labels is None else labels.reuse):
        assert labels is not None
        with torch.no_grad():
            x = labels.fed_back(x, _outputs(model, x, batch, precision))
    return x


def _outputs(model: nn.Module, x: Tensor, batch: Batch, precision: str) -> Tensor:
    device = next(model.parameters(), x).device
    edges = (batch.edges,) if batch.edge_attr is None else (batch.edges, batch.edge_attr)
    with autocast(device, precision):
        if batch.inference is not None:
            return run(model, x, batch.edges, batch.edge_attr, batch.inference)
        return model(x, *edges)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """What a network is called in, by a configuration's ``precision``."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def train_step(
    model: nn.Module,
    batch: Batch,
    optimizer: Optimizer,
    clip: Callable[[], None] | None = None,
    *,
    objective: Callable[[Tensor, Batch], Tensor] | None = None,
    precision: str = "float32",
) -> Tensor:
    """Forward, loss, backward, clip, optimiser. Returns the loss, detached.

    objective: the loss of outputs and batch; None is the cross entropy of the training rows. The
    loss stays on the device: reading it is the caller's decision, since it waits for a GPU.
    """
    model.train()
    loss = (objective or Objective())(forward(model, batch, precision), batch)
    return descend(loss, optimizer, clip)


def descend(loss: Tensor, optimizer: Optimizer, clip: Callable[[], None] | None = None) -> Tensor:
    """Backward, clip, optimiser. Returns the loss, detached."""
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
    loss: metrics.LossName = "cross-entropy",
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
    return {part: _score(logits[part], labels[part], metric, loss) for part in parts}


@torch.no_grad()
def predict_batches(
    model: nn.Module, batches: Sequence[Batch], precision: str = "float32"
) -> list[Tensor]:
    """The logits, float32 [N, K], of all nodes of each graph, without dropout."""
    model.eval()
    return [forward(model, batch, precision).float() for batch in batches]


def _score(
    logits: list[Tensor], labels: list[Tensor], metric: str, loss: metrics.LossName
) -> Score:
    if not logits:
        return Score(float("nan"), float("nan"))
    scores = torch.cat(logits) if len(logits) > 1 else logits[0]
    y = torch.cat(labels) if len(labels) > 1 else labels[0]
    return Score(float(metrics.loss(scores, y, name=loss)), metrics.metric(metric, scores, y))
