"""The door by which interventions change a layer's attention (`gat.inspection.interventions`).

While one is in force a layer works in steps: scores, weights, what becomes of the weights, dropout,
sum. That takes E x H memory, never E x H x C, and all of it can be differentiated.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from gat.graph import Graph
from gat.nn.batched import repeat_heads
from gat.nn.forms import Attended, Form
from gat.ops import aggregate, segment_softmax
from gat.ops.dropout import drop_weights
from gat.ops.precision import wide

__all__ = ["Change", "ChangedNormalizer", "Weighing"]


class Weighing:
    """The attention of one call of a layer, before dropout: scores, until the weights are asked
    for or set. Its methods return a new one.

    E edges in the graph's listed order; H heads of the layer, K = H, or B*H of a batch.

    graph: the edges attended over, with the loops the layer added. over: the same edges, to the
    targets for each of which the weights are normalised. value [., K, C]: what will be summed.
    score: gives the scores [E, K]; normalize: the weights of scores. edge_index: the edges as the
    layer was given them, flow: its own; edge_type: in a layer of several, which one. masked: bool
    [E, 1] or [E, K], edges that are not attended over; None: none.
    """

    def __init__(
        self,
        graph: Graph,
        value: Tensor,
        score: Callable[[], Tensor],
        *,
        over: Graph | None = None,
        normalize: Callable[[Tensor], Tensor] | None = None,
        batch: int | None = None,
        edge_index: Any = None,
        flow: str = "source_to_target",
        edge_type: tuple[str, str, str] | None = None,
        masked: Tensor | None = None,
    ) -> None:
        self.graph, self.value, self.batch = graph, value, batch
        self.over = graph if over is None else over
        self.edge_index, self.flow, self.edge_type = edge_index, flow, edge_type
        self.masked = masked
        self._off: Tensor | None = None
        self._score, self._normalize = score, normalize
        # Weights that were set, and those worked out of scores.
        self._set: Tensor | None = None
        self._known: Tensor | None = None

    @property
    def heads(self) -> int:
        """H, those of the layer."""
        return self.value.size(1) // (self.batch or 1)

    @property
    def weights(self) -> Tensor:
        """The weights so far, [E, K]; 0 of heads that are off."""
        weights = self._worked_out() if self._set is None else self._set
        return weights if self._off is None else weights.masked_fill(self._off, 0.0)

    def without(self, columns: Tensor) -> Weighing:
        """Heads, bool [K], switched off: their weights are 0, whatever follows."""
        new = self._copy()
        new._off = columns if self._off is None else self._off | columns
        return new

    def with_weights(self, weights: Tensor) -> Weighing:
        """Other weights [E, 1], [E, H] or [E, K] in the place of these."""
        if weights.size(1) == self.heads:
            weights = repeat_heads(weights, self.batch)
        shape = (self.graph.num_edges, self.value.size(1))
        new = self._copy()
        new._set = weights.to(self.value).expand(shape)
        return new

    def biased(self, bias: Tensor) -> Weighing:
        """``bias`` [E, 1] or [E, H] added to the scores, -inf for a mask.

        Weights that were set are as a softmax's: multiplied by exp(bias) and rescaled to sum, in
        magnitude, to what they did.
        """
        bias = bias if bias.size(1) == 1 else repeat_heads(bias, self.batch)
        new = self._copy()
        left_out = bias == -torch.inf
        new.masked = left_out if self.masked is None else self.masked | left_out
        if self._set is None:
            score, new._known = self._score, None
            new._score = lambda: _sum(score(), bias)
        else:
            new._set = self._rescaled(self._set, bias)
        return new

    def parts(self) -> list[Weighing]:
        """The edges of each edge type, one after the other as they are listed, where several types
        are weighed against one another; else this."""
        return [self]

    def uniform(self) -> Tensor:
        """The same weight for all edges of a target that are not masked: [E, K]."""
        scores = self.value.new_zeros((self.graph.num_edges, self.value.size(1)))
        if self.masked is not None:
            scores = scores.masked_fill(self.masked, -torch.inf)
        return self._softmax(scores)

    @property
    def origin(self) -> Tensor | None:
        """The caller's number of each listed edge, -1 for an added loop; None: they are the same.
        Loops of a Graph that was given are edges like others, as `gat.record_attention` has it."""
        return None if self.edge_index is self.graph else self.graph.origin

    @property
    def num_caller_edges(self) -> int:
        """E_caller."""
        return self.graph.num_edges if self.origin is None else self.graph.num_caller_edges

    def to_caller(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Listed rows [E, .] as those of the caller's edges [E_caller, .] and of the loops the
        layer added [num_dst, .]."""
        if self.origin is None:
            return values, values.new_zeros((self.graph.num_dst, *values.shape[1:]))
        return self.graph.to_caller(values), self.graph.added_loops(values)

    def listed(self, own: Tensor, loops: Tensor) -> Tensor:
        """Rows of `to_caller` listed again."""
        graph, origin = self.graph, self.origin
        if origin is None:
            return own
        rows = torch.cat([own, own.new_zeros((1, *own.shape[1:]))])[origin]
        nodes = graph.edge_index[1].clamp(max=max(loops.size(0) - 1, 0))
        added = (origin < 0).view(-1, *[1] * (own.dim() - 1))
        return torch.where(added, loops[nodes], rows)

    def caller_edges(self) -> Tensor:
        """The edges as the caller passed them, int64 [2, E_caller]."""
        given = self.edge_index
        if isinstance(given, EdgeIndex):
            given = given.as_tensor()
        if isinstance(given, Tensor) and given.layout is torch.strided:
            return given
        edges = self.to_caller(self.graph.edge_index.t())[0].t()
        return edges if self.flow == "source_to_target" else edges.flip(0)

    def _worked_out(self) -> Tensor:
        if self._known is None:
            scores, normalize = self._score(), self._normalize
            self._known = self._softmax(scores) if normalize is None else normalize(scores)
        return self._known

    def _softmax(self, scores: Tensor) -> Tensor:
        return segment_softmax(self.over, scores)

    def _rescaled(self, weights: Tensor, bias: Tensor) -> Tensor:
        size = wide(weights.abs())
        # Clamped, so that a weight of 0 has a gradient of 0 and not a NaN.
        logs = size.clamp(min=torch.finfo(size.dtype).tiny).log().masked_fill(size == 0, -torch.inf)
        target = self.over.edge_index[1]
        sums = size.new_zeros((self.over.num_dst, size.size(1))).index_add(0, target, size)
        return weights.sign() * (self._softmax(_sum(logs, bias)) * sums[target]).to(weights.dtype)

    def _copy(self) -> Weighing:
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        return new


def _sum(scores: Tensor, bias: Tensor) -> Tensor:
    return scores + bias.to(scores)


Change = Callable[[Weighing], Weighing]


class ChangedNormalizer:
    """A `gat.nn.normalizers.Normalizer` in one call of a layer whose attention something changes.

    changed: what makes weights [E, K] of a `Weighing`; bias: [E, 1] or [E, K], what the scores
    hold already, -inf for a mask; call: the rest of a `Weighing`.
    """

    def __init__(
        self,
        normalizer: Callable[[Graph, Tensor], Tensor],
        changed: Callable[[Weighing], Tensor],
        value: Tensor,
        bias: Tensor | None,
        **call: Any,
    ) -> None:
        self.normalizer, self.changed, self.value, self.call = normalizer, changed, value, call
        self.masked = None if bias is None else bias == -torch.inf

    def __call__(self, graph: Graph, scores: Tensor) -> Tensor:
        options = {"normalize": partial(self.normalizer, graph), "masked": self.masked, **self.call}
        return self.changed(Weighing(graph, self.value, lambda: scores, **options))

    def attend(
        self, graph: Graph, form: Form, value: Tensor, dropout: float, asked: bool
    ) -> Attended:
        """As `Normalizer.attend`."""
        weights = self(graph, form.scores(graph))
        weights = drop_weights(weights, dropout) if dropout > 0 else weights
        return aggregate(graph, weights, value), weights if asked else None
