"""Normalisers under which every edge keeps a weight."""

import torch
from torch import Tensor

from gat.graph import Graph
from gat.nn.forms import Additive, Attended, Edgewise, Form
from gat.nn.normalizers.base import NORMALIZERS, Normalizer, masked, positive
from gat.ops import segment_softmax

__all__ = ["Sigmoid", "Softmax", "Tanh", "Uniform"]


@NORMALIZERS.add("softmax")
class Softmax(Normalizer):
    """exp(s / T) over its sum. With ``clip`` c, scores become c * tanh(s / c) first, which leaves
    small ones as they are (Bello et al. 2017, "Neural Combinatorial Optimization with Reinforcement
    Learning", appendix A.2, have c * tanh(s)).
    """

    def __init__(self, temperature: float = 1.0, clip: float | None = None) -> None:
        super().__init__()
        self.temperature = positive("temperature", temperature)
        self.clip = None if clip is None else positive("clip", clip)

    def extra_repr(self) -> str:
        clip = "" if self.clip is None else f", clip={self.clip}"
        return f"temperature={self.temperature}{clip}"

    def forward(self, graph: Graph, scores: Tensor) -> Tensor:
        return segment_softmax(graph, self._settle(Edgewise(scores), graph).scores(graph))

    def attend(
        self, graph: Graph, form: Form, value: Tensor, dropout: float, return_weights: bool
    ) -> Attended:
        return self._settle(form, graph).attend(graph, value, dropout, return_weights)

    def _settle(self, form: Form, graph: Graph) -> Form:
        if self.clip is not None:
            scores = form.scores(graph)
            clipped = self.clip * torch.tanh(scores / self.clip)
            form = Edgewise(clipped.masked_fill(masked(scores), -torch.inf))
        return form if self.temperature == 1 else form.scaled(1 / self.temperature)


@NORMALIZERS.add("sigmoid")
class Sigmoid(Normalizer):
    """1 / (1 + exp(-s)): every edge by itself, between 0 and 1; no sum is kept."""

    def forward(self, graph: Graph, scores: Tensor) -> Tensor:
        return torch.sigmoid(scores)


@NORMALIZERS.add("tanh")
class Tanh(Normalizer):
    """tanh(s): signed weights between -1 and 1 (Bo et al. 2021, "Beyond Low-Frequency Information
    in Graph Convolutional Networks", eq. 8).

    With ``symmetric_norm``, divided by sqrt(in-degree of i * out-degree of j), as FAGCN's eq. 7;
    masked edges do not count.
    """

    def __init__(self, symmetric_norm: bool = False) -> None:
        super().__init__()
        self.symmetric_norm = symmetric_norm

    def extra_repr(self) -> str:
        return f"symmetric_norm={self.symmetric_norm}"

    def forward(self, graph: Graph, scores: Tensor) -> Tensor:
        none = masked(scores)
        weights = torch.tanh(scores).masked_fill(none, 0)
        if not self.symmetric_norm:
            return weights
        scale = torch.ones_like(scores)
        for end, count in zip(graph.edge_index, (graph.num_src, graph.num_dst), strict=True):
            degree = weights.new_zeros((count, weights.size(1))).index_add(
                0, end, (~none).to(weights.dtype)
            )
            scale = scale * degree.clamp(min=1).rsqrt()[end]
        return weights * scale


@NORMALIZERS.add("uniform")
class Uniform(Normalizer):
    """1 / number of edges that are not masked, whatever the score: the ablation of attention."""

    def forward(self, graph: Graph, scores: Tensor) -> Tensor:
        return segment_softmax(graph, _silent(scores))

    def attend(
        self, graph: Graph, form: Form, value: Tensor, dropout: float, return_weights: bool
    ) -> Attended:
        # Only scores that were given edge by edge can hold a mask.
        if isinstance(form, Edgewise):
            even: Form = Edgewise(_silent(form.given))
        else:
            even = Additive(value.new_zeros(value.shape[:2]))
        return even.attend(graph, value, dropout, return_weights)


def _silent(scores: Tensor) -> Tensor:
    return torch.zeros_like(scores).masked_fill(masked(scores), -torch.inf)
