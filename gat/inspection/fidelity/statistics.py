"""Means over nodes, with intervals by the bootstrap."""

import math

import torch
from torch import Tensor

__all__ = ["Resampling"]


class Resampling:
    """Draws of n nodes with replacement, the same for all that is averaged over these nodes.

    The interval of a mean is the middle ``confidence`` of the means of the draws (the percentile
    bootstrap: Efron and Tibshirani 1993, chapter 13). Of few nodes, below about 20, such intervals
    are too narrow; of one node there is none.
    """

    def __init__(self, n: int, draws: int, confidence: float, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(n, (draws, n), generator=generator)
        one = torch.ones((), dtype=torch.float64).expand(draws, n)
        self.weights = torch.zeros(draws, n, dtype=torch.float64).scatter_add_(1, drawn, one) / n
        self.confidence = confidence
        tail = (1 - confidence) / 2
        self.tails = torch.tensor([tail, 1 - tail], dtype=torch.float64)

    def interval(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The mean over nodes, and its interval's low and high end: [n, ...] to [...] each."""
        values = values.double()
        mean = values.mean(0)
        if values.size(0) < 2:
            nothing = torch.full_like(mean, math.nan)
            return mean, nothing, nothing
        means = self.weights @ values.reshape(values.size(0), -1)
        low, high = torch.quantile(means, self.tails, dim=0).view(2, *mean.shape)
        return mean, low, high
