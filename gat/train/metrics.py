"""Losses and metrics over the labelled rows of a task.

R rows, K classes (or labels). ``logits`` [R, K]; ``y`` int64 [R] with -1 unlabelled, or float32
[R, K] of 0 and 1 with NaN unlabelled (multi-label). Metrics are fractions in 0..1; NaN where
nothing is labelled. Accuracy and micro-F1 are counted in torch, since they stand in the epoch
loop (the tests hold them equal to scikit-learn's); ROC-AUC is scikit-learn's.
"""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from gat.errors import InputError

__all__ = ["LossName", "loss", "metric"]

LossName = Literal["cross-entropy", "log-eps"]

# log-eps: with this the loss of an even guess between two classes, log 2, has slope 1.
EPSILON = 1 - math.log(2)


def loss(
    logits: Tensor,
    y: Tensor,
    label_smoothing: float = 0.0,
    name: LossName = "cross-entropy",
    weight: Tensor | None = None,
) -> Tensor:
    """Mean cross entropy (y of class numbers) or binary cross entropy per label (y of 0 and 1).

    Always computed in float32 at least. Smoothing moves targets towards the uniform distribution:
    1/K per class, 1/2 per label. "log-eps" replaces each node's (each label's) cross entropy z by
    log(eps + z) - log(eps), eps = 1 - log 2, before the mean: the robust loss of Wang et al. 2021
    (arXiv 2103.13355), under which badly wrong nodes pull less. weight: [R]; the sum of the rows'
    losses, each times its weight, then takes the place of their mean. Returns a scalar tensor, NaN
    where nothing is labelled.
    """
    logits = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
    if name == "cross-entropy" and y.dim() == 1 and weight is None:
        return F.cross_entropy(logits, y, ignore_index=-1, label_smoothing=label_smoothing)
    each, known = _cross_entropies(logits, y, label_smoothing)
    if name == "log-eps":
        each = torch.log1p(each / EPSILON)
    each = torch.where(known, each, 0.0)
    if weight is None:
        return each.sum() / known.sum()
    if y.dim() == 2:
        each = each.sum(dim=1) / known.sum(dim=1).clamp(min=1)
    return (weight * each).sum()


def _cross_entropies(logits: Tensor, y: Tensor, label_smoothing: float) -> tuple[Tensor, Tensor]:
    """Of each row [R] or label [R, K], and which of them are labelled."""
    if y.dim() == 1:
        each = F.cross_entropy(
            logits, y, ignore_index=-1, label_smoothing=label_smoothing, reduction="none"
        )
        return each, y >= 0
    known = ~y.isnan()
    target = torch.where(known, y, 0.0) * (1 - label_smoothing) + label_smoothing / 2
    each = F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype), reduction="none")
    return each, known


def metric(name: str, logits: Tensor, y: Tensor) -> float:
    """``name`` is "accuracy", "micro-f1" or "roc-auc", as in ``NodeTask.metric``."""
    if name == "roc-auc":
        return _roc_auc(logits, y)
    if name not in ("accuracy", "micro-f1"):
        raise InputError(f"metric: expected accuracy, micro-f1 or roc-auc, got {name!r}")
    if y.dim() == 1:
        # With one class per node micro-F1 is accuracy.
        known = y >= 0
        return _fraction((logits.argmax(dim=-1) == y) & known, known)
    known, predicted, true = ~y.isnan(), logits > 0, y > 0.5
    if name == "accuracy":
        return _fraction((predicted == true) & known, known)
    hits = (predicted & true & known).sum()
    # Predicted plus true counts hits twice: 2 TP / (2 TP + FP + FN).
    either = (predicted & known).sum() + (true & known).sum()
    return float(2 * hits.double() / either)


def _fraction(part: Tensor, whole: Tensor) -> float:
    return float(part.sum().double() / whole.sum())


def _roc_auc(logits: Tensor, y: Tensor) -> float:
    """Area under the ROC curve; multi-label: the mean over labels that have both values, as OGB."""
    from sklearn.metrics import roc_auc_score

    if y.dim() == 1:
        if logits.shape[-1] != 2:
            raise InputError(f"roc-auc needs two classes, the scores have {logits.shape[-1]}")
        logits = (logits[:, 1] - logits[:, 0])[:, None]
        y = torch.where(y < 0, torch.nan, y.float())[:, None]
    scores, labels = logits.detach().float().cpu().numpy(), y.cpu().numpy()
    areas = []
    for column in range(labels.shape[1]):
        known = labels[:, column] == labels[:, column]
        truth = labels[known, column]
        if len(truth) and truth.min() != truth.max():
            areas.append(roc_auc_score(truth, scores[known, column]))
    return float(sum(areas) / len(areas)) if areas else float("nan")
