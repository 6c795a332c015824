"""Which edges of a target score highest: the cut of hard attention. Plain torch on any device."""

import torch
from torch import Tensor

from gat.errors import InputError
from gat.graph import Graph
from gat.ops.checks import Fit

__all__ = ["largest_scores"]


def largest_scores(graph: Graph, scores: Tensor, k: int) -> Tensor:
    """Whether an edge is among the ``k`` of largest score that enter its target: bool [E, H].

    scores [E, H] in listed order; of equal ones the first listed counts as larger. A target of
    fewer than k edges keeps them all. Not differentiable, as no choice is.
    """
    Fit(graph, "scores", scores, "E, H")
    if k < 1:
        raise InputError(f"k is {k}; expected 1 or more edges per target")
    # By score, then by target without disturbing that order: each head has its ranks by target.
    by_score = torch.argsort(scores, dim=0, descending=True, stable=True)
    target = graph.edge_index[1][by_score]
    order = by_score.gather(0, torch.argsort(target, dim=0, stable=True))
    rank = torch.arange(graph.num_edges, device=scores.device) - graph.rowptr[graph.row]
    kept = (rank < k).unsqueeze(1).expand_as(order)
    return torch.empty_like(kept, dtype=torch.bool).scatter(0, order, kept)
