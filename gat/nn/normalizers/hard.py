"""Normalisers under which edges may get a weight of exactly 0: sparse and hard attention."""

import math

import torch
from torch import Tensor, nn

from gat.errors import InputError
from gat.graph import Graph
from gat.nn.forms import Attended, Edgewise, Form
from gat.nn.normalizers.base import NORMALIZERS, Normalizer, masked, positive
from gat.nn.normalizers.smooth import Softmax
from gat.ops import largest_scores, segment_entmax, segment_softmax
from gat.ops.precision import wide

__all__ = ["Entmax", "Entmax15", "Gumbel", "Sparsemax", "Threshold", "TopK"]

# How far above 1 a learned alpha stays: at 1 entmax is softmax, and its formula divides by 0.
LEAST = 1e-3


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

    T = temperature * exp(-rate * step) falls down to ``minimum`` when `anneal` is called, once a
    training step; the step is part of the state_dict. One that starts below stays where it is.
    With ``hard`` the weights are 1 for the edge drawn and 0 elsewhere, with the gradient of the
    soft ones (straight-through). Outside training there is no noise: ``hard`` then takes the
    largest score.
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
        self.temperature = positive("temperature", temperature)
        self.minimum = positive("minimum", minimum)
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
        largest = largest_scores(graph, drawn.detach(), 1) & ~masked(scores)
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
