"""Entropy of each target's attention, beside that of an even spread over the same edges."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gat.inspection.measures.shares import Shares, shares_of
from gat.inspection.record import AttentionRecord

__all__ = ["DegreeClass", "Entropy", "entropy"]


@dataclass(frozen=True, eq=False)
class DegreeClass:
    """The targets with ``low`` to ``high`` edges.

    nodes: how many there are; entropy, effective: [H], means over them of the entropy (nats) and of
    its exponential; uniform: the mean entropy of an even spread (nats).
    """

    low: int
    high: int
    nodes: int
    entropy: Tensor
    uniform: float
    effective: Tensor


@dataclass(frozen=True, eq=False)
class Entropy:
    """The entropy of attention, in nats; float64, NaN for a target without a distribution.

    entropy: [num_dst, H], -sum p log p over the target's edges, the layer's loop among them; p is a
    weight divided by the sum of its target's weights.
    uniform: [num_dst], log of the degree: the entropy of an even spread, the largest there is.
    degree: int64 [num_dst], edges with the loop that was added; 0 for a target not seen.
    by_degree: means for 1, 2 to 3, 4 to 7, 8 to 15, ... edges, classes without a target left out.
    """

    entropy: Tensor
    uniform: Tensor
    degree: Tensor
    by_degree: tuple[DegreeClass, ...]

    @property
    def effective_neighbours(self) -> Tensor:
        """exp(entropy) [num_dst, H]: an even spread over as many edges has this entropy."""
        return self.entropy.exp()

    @property
    def normalised(self) -> Tensor:
        """entropy / log degree [num_dst, H], 1 for an even spread; NaN for one edge (0 / 0)."""
        return self.entropy / self.uniform.unsqueeze(1)

    @property
    def gap(self) -> Tensor:
        """log degree - entropy [num_dst, H], nats: the divergence from an even spread."""
        return self.uniform.unsqueeze(1) - self.entropy


@torch.no_grad()
def entropy(record: AttentionRecord | Shares) -> Entropy:
    """The entropy of every target's attention at every head, and means by degree.

    InputError for weights that are negative or not finite; what holds for targets without edges or
    not seen, and for weights that do not sum to 1, stands in `gat.inspection.measures.shares`.
    """
    shares = shares_of(record)
    inside = -torch.special.xlogy(shares.edges, shares.edges)
    values = -torch.special.xlogy(shares.loops, shares.loops)
    # Rounding leaves -0.0 and the like for a target with one edge.
    values = values.index_add(0, shares.record.target, inside).clamp(min=0)
    degree = shares.degree
    uniform = degree.double().log().where(degree > 0, torch.nan)
    return Entropy(values, uniform, degree, _by_degree(values, uniform, degree))


def _by_degree(values: Tensor, uniform: Tensor, degree: Tensor) -> tuple[DegreeClass, ...]:
    classes = []
    low, largest = 1, int(degree.max()) if degree.numel() else 0
    while low <= largest:
        inside = (degree >= low) & (degree < 2 * low)
        if bool(inside.any()):
            chosen = values[inside]
            classes.append(
                DegreeClass(
                    low=low,
                    high=2 * low - 1,
                    nodes=int(inside.sum()),
                    entropy=chosen.nanmean(0),
                    uniform=float(uniform[inside].mean()),
                    effective=chosen.exp().nanmean(0),
                )
            )
        low *= 2
    return tuple(classes)
