"""How scores become weights: what `AttentionConv` takes as ``normalizer``, by name or as an object.

A normaliser of your own is one class: derive from `Normalizer`, give weights [E, H] for scores
[E, H] in ``forward``, and name it with ``@NORMALIZERS.add("name")`` if you want a name. Where the
weights are a softmax of scores that can be had otherwise, `Normalizer.attend` may hand them to the
form's fused operator (`gat.nn.forms`) instead. A score of -inf is a mask: its weight is 0.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from gat.errors import InputError
from gat.graph import Graph
from gat.nn.dropout import dropout as drop
from gat.nn.forms import Additive, Attended, Edgewise, Form
from gat.nn.registry import Registry
from gat.ops import aggregate, largest_scores, segment_entmax, segment_softmax
from gat.ops.precision import wide

__all__ = [
    "NORMALIZERS",
    "Entmax",
    "Entmax15",
    "Gumbel",
    "Normalizer",
    "Sigmoid",
    "Softmax",
    "Sparsemax",
    "Tanh",
    "Threshold",
    "TopK",
    "Uniform",
]

# How far above 1 a learned alpha stays: at 1 entmax is softmax, and its formula divides by 0.
LEAST = 1e-3


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

    def reset_parameters(self) -> None:
        """Go back to the state of a new layer."""


NORMALIZERS: Registry[Normalizer] = Registry("normalizer", Normalizer)


@NORMALIZERS.add("softmax")
class Softmax(Normalizer):
    """exp(s / T) over its sum. With ``clip`` c, scores become c * tanh(s / c) first (Bello et al.
    2017, "Neural Combinatorial Optimization with Reinforcement Learning", appendix A.2).
    """

    def __init__(self, temperature: float = 1.0, clip: float | None = None) -> None:
        super().__init__()
        self.temperature = _positive("temperature", temperature)
        self.clip = None if clip is None else _positive("clip", clip)

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
            form = Edgewise(clipped.masked_fill(_masked(scores), -torch.inf))
        return form if self.temperature == 1 else form.scaled(1 / self.temperature)


@NORMALIZERS.add("entmax")
class Entmax(Normalizer):
    """alpha-entmax (Peters et al. 2019, "Sparse Sequence-to-Sequence Models", eq. 10): some weights
    are exactly 0, the more the larger alpha > 1; they sum to 1.

    ``learned``: an alpha per head between 1 and 2, which starts at ``alpha`` (Correia et al. 2019,
    "Adaptively Sparse Transformers", section 3.1).
    """

    def __init__(self, alpha: float = 1.5, learned: bool = True) -> None:
        super().__init__()
        if not alpha > 1 or (learned and not 1 + LEAST < alpha < 2):
            bounds = f"between {1 + LEAST} and 2 where it is learned" if learned else "above 1"
            raise InputError(f"alpha is {alpha}; expected a number {bounds}")
        self.start, self.learned = alpha, learned

    def setup(self, heads: int) -> None:
        self.raw = nn.Parameter(torch.empty(heads)) if self.learned else None
        self.reset_parameters()

    def alpha(self) -> Tensor | float:
        """The alpha of each head [H], or the number that was given."""
        if self.raw is None:
            return self.start
        # In 16 bits 1 + LEAST would be 1.
        return 1 + LEAST + (1 - LEAST) * torch.sigmoid(wide(self.raw))

    def forward(self, graph: Graph, scores: Tensor) -> Tensor:
        alpha = self.alpha()
        if isinstance(alpha, Tensor):
            alpha = alpha.repeat(scores.size(1) // alpha.numel())
        return segment_entmax(graph, scores, alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.start}, learned={self.learned}"

    def reset_parameters(self) -> None:
        if self.raw is not None:
            nn.init.constant_(self.raw, math.log((self.start - 1 - LEAST) / (2 - self.start)))


@NORMALIZERS.add("sparsemax")
class Sparsemax(Entmax):
    """The projection onto the simplex (Martins and Astudillo 2016, "From Softmax to Sparsemax",
    eq. 2): entmax with alpha 2."""

    def __init__(self) -> None:
        super().__init__(2.0, learned=False)


@NORMALIZERS.add("entmax15")
class Entmax15(Entmax):
    """Entmax with alpha 1.5 (Peters et al. 2019, section 3.2)."""

    def __init__(self) -> None:
        super().__init__(1.5, learned=False)


@NORMALIZERS.add("topk")
class TopK(Softmax):
    """Hard attention: softmax over the ``k`` largest scores of each target; the others' weights are
    exactly 0. Of equal scores the edge that is listed first wins."""

    def __init__(self, k: int = 8, temperature: float = 1.0) -> None:
        super().__init__(temperature)
        if k < 1 or k != int(k):
            raise InputError(f"k is {k}; expected 1 or more edges per target")
        self.k = int(k)

    def extra_repr(self) -> str:
        return f"k={self.k}, {super().extra_repr()}"

    def _settle(self, form: Form, graph: Graph) -> Form:
        scores = form.scores(graph)
        kept = largest_scores(graph, scores.detach(), self.k)
        return super()._settle(Edgewise(scores.masked_fill(~kept, -torch.inf)), graph)


@NORMALIZERS.add("threshold")
class Threshold(Softmax):
    """Hard attention: softmax, in which weights below ``cut`` become exactly 0 and the others are
    rescaled to sum to 1; they alone have gradients. The largest stays, be it below the cut; of
    equals the one that is listed first. With `temperature`, the cut is on the weights it gives."""

    def __init__(self, cut: float = 0.05, temperature: float = 1.0) -> None:
        super().__init__(temperature)
        if not 0 <= cut < 1:
            raise InputError(f"cut is {cut}; expected a weight of 0 or more, below 1")
        self.cut = cut

    def extra_repr(self) -> str:
        return f"cut={self.cut}, {super().extra_repr()}"

    def _settle(self, form: Form, graph: Graph) -> Form:
        scores = super()._settle(form, graph).scores(graph)
        fixed = scores.detach()
        kept = (segment_softmax(graph, fixed) >= self.cut) | largest_scores(graph, fixed, 1)
        return Edgewise(scores.masked_fill(~kept, -torch.inf))


@NORMALIZERS.add("gumbel")
class Gumbel(Normalizer):
    """Softmax of (s + Gumbel noise) / T: in training a differentiable draw of one edge per target
    (Jang et al. 2017, "Categorical Reparameterization with Gumbel-Softmax", eq. 2).

    T = max(minimum, temperature * exp(-rate * step)) falls when `anneal` is called, once a training
    step; the step is part of the state_dict. With ``hard`` the weights are 1 for the edge drawn and
    0 elsewhere, with the gradient of the soft ones (straight-through). Outside training there is
    no noise: ``hard`` then takes the largest score.
    """

    step: Tensor

    def __init__(
        self,
        temperature: float = 1.0,
        hard: bool = False,
        minimum: float = 0.1,
        rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.temperature = _positive("temperature", temperature)
        self.minimum = _positive("minimum", minimum)
        if not 0 <= rate < math.inf:
            raise InputError(f"rate is {rate}; expected 0 or more, by which T falls per step")
        self.hard, self.rate = hard, rate
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def anneal(self) -> None:
        """Let the temperature fall by one step.

        Not done by ``forward``, which may run twice for a step (activation checkpointing).
        """
        self.step += 1

    def current(self) -> Tensor:
        """The temperature now, a scalar tensor."""
        fallen = self.temperature * torch.exp(-self.rate * self.step)
        return fallen.clamp(min=min(self.minimum, self.temperature))

    def forward(self, graph: Graph, scores: Tensor) -> Tensor:
        drawn = self._draw(scores)
        soft = segment_softmax(graph, drawn)
        if not self.hard:
            return soft
        largest = largest_scores(graph, drawn.detach(), 1) & ~_masked(scores)
        return largest.to(soft.dtype) - soft.detach() + soft

    def attend(
        self, graph: Graph, form: Form, value: Tensor, dropout: float, return_weights: bool
    ) -> Attended:
        if self.hard:
            return super().attend(graph, form, value, dropout, return_weights)
        drawn = Edgewise(self._draw(form.scores(graph)))
        return drawn.attend(graph, value, dropout, return_weights)

    def _draw(self, scores: Tensor) -> Tensor:
        temperature = self.current().to(scores.dtype)
        if self.training:
            # -log of an exponential draw is a Gumbel draw.
            noise = torch.empty_like(scores).exponential_().log()
            scores = scores - noise
        return scores / temperature

    def extra_repr(self) -> str:
        return (
            f"temperature={self.temperature}, hard={self.hard}, minimum={self.minimum}, "
            f"rate={self.rate}"
        )

    def reset_parameters(self) -> None:
        self.step.zero_()


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
        masked = _masked(scores)
        weights = torch.tanh(scores).masked_fill(masked, 0)
        if not self.symmetric_norm:
            return weights
        scale = torch.ones_like(scores)
        for end, count in zip(graph.edge_index, (graph.num_src, graph.num_dst), strict=True):
            degree = weights.new_zeros((count, weights.size(1))).index_add(
                0, end, (~masked).to(weights.dtype)
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


def _masked(scores: Tensor) -> Tensor:
    return scores == -torch.inf


def _silent(scores: Tensor) -> Tensor:
    return torch.zeros_like(scores).masked_fill(_masked(scores), -torch.inf)


def _positive(name: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise InputError(f"{name} is {value}; expected a number above 0")
    return value
