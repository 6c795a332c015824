"""The numbers that are reported: of every part, by OGB's own Evaluator where the data are OGB's.

The epoch loop has its own metrics (:mod:`gat.train.metrics`), which agree with these.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gat.data import NodeTask, ogb_metric
from gat.train import metrics
from gat.train.batches import PARTS, Batch

__all__ = ["part_scores", "reported_metric"]


def part_scores(
    task: NodeTask, batches: Sequence[Batch], outputs: Sequence[Tensor]
) -> dict[str, float]:
    """The task's metric of train, val and test, NaN for a part without rows; outputs: logits, or
    scores in their place, float32 [N, K] of all nodes of each graph."""
    found = {}
    for part in PARTS:
        pairs = [
            (batch.parts[part].select(rows), batch.parts[part].y)
            for batch, rows in zip(batches, outputs, strict=True)
            if part in batch.parts
        ]
        found[part] = float("nan")
        if pairs:
            logits, labels = (torch.cat(each) for each in zip(*pairs, strict=True))
            found[part] = reported_metric(task, logits, labels)
    return found


def reported_metric(task: NodeTask, logits: Tensor, y: Tensor) -> float:
    """Of logits [R, K] and labels y as :func:`gat.train.metrics.metric`."""
    if task.card is not None and task.card.reader == "ogb":
        return ogb_metric(task.card.name, logits, y)
    return metrics.metric(task.metric, logits, y)
