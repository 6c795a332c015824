"""From scores of edges to the order in which they are taken out."""

import torch
from torch import Tensor

from gat.inspection.fidelity.inputs import Inputs

__all__ = ["counts_of", "kept", "order", "share_tied", "unit_scores", "units"]


def units(inputs: Inputs, undirected: bool) -> tuple[Tensor, int]:
    """What is taken out as one thing: the number of each edge's unit, [m], and how many there are.

    A unit is an edge, or, undirected, all edges between two nodes, either way. Self-loops belong to
    none (-1): they stay, since a node's look at itself is no neighbour, and a layer that adds loops
    would put them back.
    """
    ends = inputs.edge_index
    real = ends[0] != ends[1]
    number = torch.full_like(ends[0], -1)
    if undirected:
        low, high = ends.min(0).values[real], ends.max(0).values[real]
        _, number[real] = torch.unique(low * inputs.num_nodes + high, return_inverse=True)
    else:
        number[real] = torch.arange(int(real.sum()), device=ends.device)
    return number, int(number.max()) + 1 if number.numel() else 0


def unit_scores(scores: Tensor, unit: Tensor, count: int, reduce: str = "sum") -> Tensor:
    """A unit's score is the sum, or "amax", of its edges': [m] to [count], float64 on the CPU."""
    scores, unit = scores.detach().double().cpu(), unit.cpu()
    real = unit >= 0
    found = scores.new_zeros(count)
    return found.scatter_reduce_(0, unit[real], scores[real], reduce, include_self=False)


def order(scores: Tensor, generator: torch.Generator) -> Tensor:
    """The units, highest score first, equal ones at random: [U]."""
    shuffled = torch.randperm(scores.numel(), generator=generator)
    return shuffled[torch.argsort(scores[shuffled], descending=True, stable=True)]


def share_tied(scores: Tensor) -> float:
    """The share of units whose score another one has too."""
    _, which, times = torch.unique(scores, return_inverse=True, return_counts=True)
    return float((times[which] > 1).double().mean())


def counts_of(count: int, fractions: Tensor, top_k: Tensor) -> tuple[Tensor, Tensor]:
    """How many of ``count`` units are meant by each fraction (rounded, halves up) and each k."""
    return (fractions * count + 0.5).floor().long(), top_k.clamp(max=count)


def kept(order: Tensor, counts: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    """The edges left after taking out the first ``counts`` [K] units, and those of these alone.

    bool [K, m] each; self-loops are always among them.
    """
    rank = torch.empty_like(order).index_copy_(0, order, torch.arange(order.numel()))
    rank, counts = rank.to(unit.device), counts.to(unit.device)
    place = rank[unit.clamp(min=0)]
    first, loop = place < counts.unsqueeze(1), unit < 0
    return ~first | loop, first | loop
