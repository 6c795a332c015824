"""`FactoredNormalizer`: weights times factors that the scores do not know and nothing rescales."""

from typing import Any

from torch import Tensor

from gat.graph import Graph
from gat.nn.dropout import dropout as drop
from gat.nn.forms import Attended, Form
from gat.ops import aggregate

__all__ = ["FactoredNormalizer"]


class FactoredNormalizer:
    """A `gat.nn.normalizers.Normalizer` in one call of a layer whose weights are multiplied by
    ``factor``, [E, 1] or [E, H] in listed order, before dropout."""

    def __init__(self, normalizer: Any, factor: Tensor) -> None:
        self.normalizer, self.factor = normalizer, factor

    def __call__(self, graph: Graph, scores: Tensor) -> Tensor:
        return self.normalizer(graph, scores) * self.factor

    def attend(
        self, graph: Graph, form: Form, value: Tensor, dropout: float, return_weights: bool
    ) -> Attended:
        """As `Normalizer.attend`."""
        weights = drop(self(graph, form.scores(graph)), dropout)
        return aggregate(graph, weights, value), weights if return_weights else None
