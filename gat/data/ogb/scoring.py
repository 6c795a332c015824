"""The number that OGB's leaderboards print, by ogb's own Evaluator."""

from functools import lru_cache
from typing import Any

from torch import Tensor

from gat.data.ogb.package import require
from gat.errors import InputError

__all__ = ["ogb_metric"]


def ogb_metric(name: str, logits: Tensor, y: Tensor) -> float:
    """``logits`` [n, K] of n nodes against ``y``, from 0 to 1, as OGB scores ``name``.

    y: int64 [n] or [n, 1] where one class is right (accuracy of the largest logit); 0 and 1,
    [n, K], for ogbn-proteins (the ROC-AUC of each label that has both values, averaged).
    Raises InputError (nothing to score, a shape or NaN that ogb refuses, a name that ogb does not
    know), MissingDependencyError.
    """
    evaluator = _evaluator(name)
    if not len(y):
        raise InputError(f"{name}: there are no nodes to score")
    rocauc = evaluator.eval_metric == "rocauc"
    pred = logits.detach().float() if rocauc else logits.detach().argmax(dim=-1, keepdim=True)
    true = y.detach().reshape(len(y), -1)
    try:
        found = evaluator.eval({"y_true": true.cpu().numpy(), "y_pred": pred.cpu().numpy()})
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"{name}: ogb's Evaluator refuses logits {list(logits.shape)} with labels "
            f"{list(y.shape)}: {error}"
        ) from error
    return float(found[evaluator.eval_metric])


@lru_cache
def _evaluator(name: str) -> Any:
    package = require()
    # ogb would print the name and raise a plain ValueError.
    if name not in OGB_NAMES:
        raise InputError(f"OGB has no node data set {name!r}; it has {', '.join(OGB_NAMES)}")
    return package.Evaluator(name)


OGB_NAMES = ("ogbn-arxiv", "ogbn-mag", "ogbn-papers100M", "ogbn-products", "ogbn-proteins")
