"""Whether attention follows degree: weight against an even spread, beside the source's edges."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gat.inspection.measures.shares import Shares, shares_of
from gat.inspection.record import AttentionRecord

__all__ = ["DegreeWeight", "degree_weight"]

# Relative weights closer than this many roundings of the record's dtype are ties.
ROUNDINGS = 16
# Relative weights are ranked as whole steps in int64, which torch sorts four times as fast; a finer
# step than this could overflow at a hub.
FINEST = 1e-12


@dataclass(frozen=True, eq=False)
class DegreeWeight:
    """The weights of a record against degree, as a picture needs them.

    K edges: those that are no self-loop and enter a target with two edges or more.

    edge: int64 [K], rows of the record.
    relative: float64 [K, H], an edge's share times its target's degree; 1 for an even spread.
    source_degree: int64 [K], how many recorded edges other than self-loops leave the source.
    target_degree: int64 [K], edges the target attends over, the loop that was added among them.
    correlation: float64 [H], Spearman's, between relative and source_degree over the edges; NaN
    where either does not vary beyond rounding.
    """

    edge: Tensor
    relative: Tensor
    source_degree: Tensor
    target_degree: Tensor
    correlation: Tensor


@torch.no_grad()
def degree_weight(record: AttentionRecord | Shares) -> DegreeWeight:
    """Each edge's weight relative to an even spread, and its rank correlation with source degree.

    Multiplying by the target's degree takes out what every softmax does, smaller weights where
    there are more edges. In a record of some nodes or of sampled batches the sources' degrees are
    of the recorded edges.
    """
    shares = shares_of(record)
    record = shares.record
    between = ~record.is_loop
    leaving = torch.bincount(record.source[between], minlength=record.num_src)
    edge = (between & shares.chooses[record.target]).nonzero().squeeze(1)
    target_degree = shares.degree[record.target[edge]]
    relative = shares.edges[edge] * target_degree.unsqueeze(1)
    source_degree = leaving[record.source[edge]]
    step = max(ROUNDINGS * torch.finfo(record.weights.dtype).eps, FINEST)
    columns = [_spearman(head / step, source_degree) for head in relative.unbind(1)]
    correlation = torch.stack(columns) if columns else relative.new_empty(0)
    return DegreeWeight(edge, relative, source_degree, target_degree, correlation)


def _spearman(steps: Tensor, degrees: Tensor) -> Tensor:
    """Spearman's rank correlation where ``steps`` is not NaN; equal values share their rank."""
    known = ~steps.isnan()
    first, second = _ranks(steps[known].round().long()), _ranks(degrees[known])
    first, second = first - first.mean(), second - second.mean()
    return (first @ second) / (first.square().sum() * second.square().sum()).sqrt()


def _ranks(values: Tensor) -> Tensor:
    _, at, copies = torch.unique(values, return_inverse=True, return_counts=True)
    return (copies.cumsum(0).double() - (copies - 1) / 2)[at]
