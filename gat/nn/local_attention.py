"""Luong's local attention: a decoder looks at a window of its source."""

import torch
from torch import Tensor, nn

from gat.checks import check_sizes
from gat.errors import InputError
from gat.graph.intervals import ranges
from gat.nn.alignment import LuongAttention
from gat.nn.normalizers import Normalizer
from gat.nn.prepared import Prepared, Steps
from gat.ops.precision import wide

__all__ = ["LocalAttention"]


class LocalAttention(LuongAttention):
    """Luong's attention over the sources s with |s - p| <= D, D = ``window``, around the place p
    that a step looks at (Luong et al. 2015, "Effective Approaches to Attention-based Neural Machine
    Translation", section 3.2).

    predict: p = S sigmoid(v . tanh(W q)) in a sentence of S (eq. 9), and the weights, normalised
    over the window, are multiplied by exp(-(s - p)^2 / (2 sigma^2)), sigma = D / 2 (eq. 10;
    "local-p"). Otherwise p is the number of the step, without that factor ("local-m"); where the
    sentence is shorter than that, its last place, which the paper leaves open.

    Places are counted from 0 in each sentence. To `gat.nn.Attend` the window is a ``mask`` and the
    factor a ``weight_factor``, so with it weights sum to less than 1, and a normaliser that goes on
    from the weights of the step before cannot be had. The other arguments are
    `gat.nn.LuongAttention`'s.
    """

    def __init__(
        self,
        query_dim: int,
        key_dim: int,
        *,
        window: int = 10,
        predict: bool = True,
        score: str = "general",
        scale: bool = False,
        normalizer: str | Normalizer = "softmax",
        channels: int | None = None,
    ) -> None:
        super().__init__(
            query_dim, key_dim, score=score, scale=scale, normalizer=normalizer, channels=channels
        )
        check_sizes(window=window)
        if predict and self.goes_on:
            raise InputError(
                f"{type(self.attention.normalizer).__name__} goes on from the weights of the step "
                f"before, which predict=True multiplies by a factor; use predict=False "
                f"(attention='local-m' of Seq2Seq), or LuongAttention"
            )
        self.window, self.predict = window, predict
        self.lin_place = nn.Linear(query_dim, query_dim, bias=False) if predict else None
        self.place = nn.Linear(query_dim, 1, bias=False) if predict else None

    def centers(
        self, query: Tensor, prepared: Prepared, steps: Steps = 1, first: int = 0
    ) -> Tensor:
        """The place p that each step looks at, [sum(steps)] in float32 or wider, which bfloat16
        could not count to; arguments as of ``forward``."""
        counts = torch.as_tensor(steps, device=query.device).expand(len(prepared.lengths))
        sizes = prepared.sizes.repeat_interleave(counts)
        if self.lin_place is not None and self.place is not None:
            likely = self.place(torch.tanh(self.lin_place(query))).squeeze(1)
            return sizes * torch.sigmoid(wide(likely))
        number = ranges(torch.full_like(counts, first), counts)
        return torch.minimum(number, sizes - 1).to(wide(query).dtype)

    def _within(
        self, query: Tensor, prepared: Prepared, steps: Steps, first: int
    ) -> dict[str, Tensor]:
        source, target = prepared.graph(steps).edge_index
        center = self.centers(query, prepared, steps, first)
        distance = prepared.places[source] - center[target]
        inside = {"mask": distance.detach().abs() <= self.window}
        if not self.predict:
            return inside
        # 2 sigma^2 = D^2 / 2.
        return inside | {"weight_factor": torch.exp(-2 * (distance / self.window).square())}

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, window={self.window}, predict={self.predict}"
