"""What every normaliser is."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from gat.errors import InputError
from gat.graph import Graph
from gat.nn.dropout import dropout as drop
from gat.nn.forms import Attended, Form
from gat.nn.registry import Registry
from gat.ops import aggregate

__all__ = ["NORMALIZERS", "Normalizer", "masked", "positive"]


class Normalizer(nn.Module, ABC):
    """Gives weights [E, H] of scores [E, H], over the edges that enter each target. An object
    serves one layer."""

    heads: int = 0

    def attach(self, heads: int) -> None:
        """Make the parameters for a layer of ``heads``."""
        if self.heads:
            raise InputError(
                f"this {type(self).__name__} belongs to a layer already; make another object, or "
                f"give the normalizer by name"
            )
        self.heads = heads
        self.setup(heads)

    def setup(self, heads: int) -> None:
        """Make the parameters, and draw them."""

    @abstractmethod
    def forward(self, graph: Graph, scores: Tensor) -> Tensor:
        """Weights [E, H] of scores [E, H], both in listed order; H as in `Score.forward`."""

    def attend(
        self, graph: Graph, form: Form, value: Tensor, dropout: float, return_weights: bool
    ) -> Attended:
        """The weighted sum [num_dst, H, C] of value [num_src, H, C], and the weights it used, after
        dropout. Step by step: E x H memory."""
        weights = drop(self(graph, form.scores(graph)), dropout)
        return aggregate(graph, weights, value), weights if return_weights else None

    def following(self, previous: Tensor) -> "Normalizer":
        """The normaliser of a decoder's next step, where its weights depend on those of the step
        before, ``previous`` [E, H]. Most do not, and refuse: InputError."""
        raise InputError(
            f"{type(self).__name__} weighs each step by itself; leave out previous, or use "
            f"normalizer='monotonic'"
        )

    @property
    def goes_on(self) -> bool:
        """Whether a step's weights depend on those of the step before (`following`)."""
        return type(self).following is not Normalizer.following

    def reset_parameters(self) -> None:
        """Go back to the state of a new layer."""


NORMALIZERS: Registry[Normalizer] = Registry("normalizer", Normalizer)


def masked(scores: Tensor) -> Tensor:
    """Which scores are those of no edge, bool [E, H]."""
    return scores == -torch.inf


def positive(name: str, value: float) -> float:
    """``value``; InputError, by ``name``, if it is not above 0."""
    if not 0 < value < math.inf:
        raise InputError(f"{name} is {value}; expected a number above 0")
    return value
