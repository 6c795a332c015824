"""Monotonic attention: a decoder that reads its source from left to right and never goes back."""

import copy
import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from gat.errors import InputError
from gat.graph import Graph
from gat.nn.normalizers.base import NORMALIZERS, Normalizer
from gat.ops.precision import wide

__all__ = ["Monotonic"]


@NORMALIZERS.add("monotonic")
class Monotonic(Normalizer):
    """Each step of a decoder reads on from the source where the step before it stopped, and stops
    at source j with probability p_ij = sigmoid(s_ij + r) (Raffel et al. 2017, "Online and
    Linear-Time Attention by Enforcing Monotonic Alignments", eq. 8-11, algorithms 1 and 2).

    In training a weight is the probability that step i stops at j, worked out without division:

        q_ij = (1 - p_i,j-1) q_i,j-1 + a_i-1,j;   a_ij = p_ij q_ij

    and s has Gaussian noise of deviation ``noise``, which drives p towards 0 and 1. Outside
    training nothing is left to chance: step i stops at the first source, from where step i - 1
    stopped, with s_ij + r > 0; its weight is 1. A step that stops nowhere has weights of 0, and so
    have all after it.

    The steps are the targets in order of their numbers, the sources of each in order of theirs. All
    targets of a sentence look at the same sources, and no other's targets do, as in
    `gat.topology.bipartite`; other graphs raise InputError. The first step begins at the first
    source; after `following` at those where the step before stopped.

    offset: where r, a parameter per head, starts; below 0 steps read further before they stop.
    """

    _previous: Tensor | None = None

    def __init__(self, offset: float = -1.0, noise: float = 1.0) -> None:
        super().__init__()
        if not math.isfinite(offset):
            raise InputError(f"offset is {offset}; expected a finite number")
        if not 0 <= noise < math.inf:
            raise InputError(f"noise is {noise}; expected a deviation of 0 or more")
        self.start, self.noise = offset, noise

    def setup(self, heads: int) -> None:
        self.offset = nn.Parameter(torch.empty(heads))
        self.reset_parameters()

    def following(self, previous: Tensor) -> "Monotonic":
        """The same, whose first step goes on from ``previous``, the weights of one step, before
        dropout: a row for each edge of the first step of every sentence in this graph's order,
        [E', H], or of a batch [B, E', H]."""
        twin = copy.copy(self)
        twin._previous = previous if previous.dim() < 3 else previous.movedim(0, 1).flatten(1)
        return twin

    def forward(self, graph: Graph, scores: Tensor) -> Tensor:
        if not graph.num_edges:
            return scores
        track = _track(graph)
        return track.reached(self._stop(scores), self._previous).to(scores.dtype)

    def _stop(self, scores: Tensor) -> Tensor:
        """The probability of stopping at each edge [E, H], outside training 0 or 1."""
        logits = wide(scores)
        logits = logits + self.offset.to(logits).repeat(scores.size(1) // self.offset.numel())
        if not self.training:
            return (logits > 0).to(logits.dtype)
        if self.noise:
            logits = logits + self.noise * torch.randn_like(logits)
        return torch.sigmoid(logits)

    def extra_repr(self) -> str:
        return f"offset={self.start}, noise={self.noise}"

    def reset_parameters(self) -> None:
        nn.init.constant_(self.offset, self.start)


@dataclass(frozen=True, eq=False)
class Track:
    """Where the edges of a graph stand in waves: source j of step i is in wave i + j, so what it
    needs, source j - 1 of step i and source j of step i - 1, is in the wave before.

    shape: waves, steps, sentences. edge: int64 [E], the place in it, flat, of each listed edge;
    first: int64 [E'], the place in waves x sentences of each edge of a first step.
    """

    shape: tuple[int, int, int]
    edge: Tensor
    first: Tensor

    def reached(self, stop: Tensor, previous: Tensor | None) -> Tensor:
        """The probability of stopping at each edge and nowhere before, [E, H] like ``stop``, the
        probability of stopping there once it is reached. previous: [E', H] of the step before."""
        waves, steps, sentences = self.shape
        heads = stop.size(1)
        spread = stop.new_zeros((waves * steps * sentences, heads))
        spread = spread.index_copy(0, self.edge, stop).view(waves, steps, sentences, heads)
        entered = self._entered(stop, previous)
        if steps == 1:
            found = spread.squeeze(1) * _arriving(1 - spread.squeeze(1), entered)
        else:
            found = _in_waves(spread, entered)
        return found.view(-1, heads).index_select(0, self.edge)

    def _entered(self, stop: Tensor, previous: Tensor | None) -> Tensor:
        """Where the first steps begin, [waves, sentences, H]: the weights of the step before."""
        (waves, _, sentences), heads = self.shape, stop.size(1)
        none = stop.new_zeros((waves * sentences, heads))
        if previous is None:
            none[:sentences] = 1
        elif previous.shape != (self.first.numel(), heads):
            raise InputError(
                f"previous has shape {list(previous.shape)}; expected the weights of one step, "
                f"[{self.first.numel()}, {heads}], a row for each source of every sentence"
            )
        else:
            none = none.index_copy(0, self.first, previous.to(none.dtype))
        return none.view(waves, sentences, heads)


def _in_waves(stop: Tensor, entered: Tensor) -> Tensor:
    """The probability of stopping at each place [waves, steps, sentences, H] and nowhere before."""
    begins, found = entered.unsqueeze(1).unbind(), []
    inside = torch.cat([begins[0], torch.zeros_like(stop[0, 1:])])
    for wave, probability in enumerate(stop.unbind(), start=1):
        stopped = probability * inside
        found.append(stopped)
        if wave < len(begins):
            # Who did not stop is at the next source; where one stopped the next step begins.
            inside = inside - stopped + torch.cat([begins[wave], stopped[:-1]])
    return torch.stack(found)


def _arriving(move: Tensor, entered: Tensor) -> Tensor:
    """Of a single step the probability of coming to each source, q_j = move_j-1 q_j-1 + entered_j,
    all [S, sentences, H]: sums over 1, 2, 4, ... sources, as many rounds as S has binary digits."""
    passed, reach = torch.cat([torch.zeros_like(move[:1]), move[:-1]]), 1
    while reach < len(entered):
        later = torch.addcmul(entered[reach:], passed[reach:], entered[:-reach])
        entered = torch.cat([entered[:reach], later])
        passed = torch.cat([passed[:reach], passed[reach:] * passed[:-reach]])
        reach *= 2
    return entered


# A graph's goes when the graph goes.
_TRACKS: WeakKeyDictionary[Graph, Track] = WeakKeyDictionary()


def _track(graph: Graph) -> Track:
    if graph not in _TRACKS:
        with torch.inference_mode(False):
            _TRACKS[graph] = _laid_out(graph)
    return _TRACKS[graph]


def _laid_out(graph: Graph) -> Track:
    count, row = graph.in_degree, graph.row
    place = torch.arange(graph.num_edges, device=graph.device) - graph.rowptr[row]
    begins = _begins(graph, count, row)
    sentence = begins.cumsum(0) - 1
    target = torch.arange(graph.num_dst, device=graph.device)
    step = (target - begins.nonzero().squeeze(1)[sentence])[row]
    _check(graph, place, step)
    waves, steps, sentences = (
        int((step + place).max()) + 1,
        int(step.max()) + 1,
        int(sentence[-1]) + 1,
    )
    edge = ((step + place) * steps + step) * sentences + sentence[row]
    first = graph.to_listed(torch.where(step == 0, place * sentences + sentence[row], -1))
    return Track((waves, steps, sentences), graph.to_listed(edge), first[first >= 0])


def _begins(graph: Graph, count: Tensor, row: Tensor) -> Tensor:
    """Whether each target looks at other sources than the one before it: bool [num_dst]."""
    begins = torch.ones_like(count, dtype=torch.bool)
    begins[1:] = count[1:] != count[:-1]
    before = torch.arange(graph.num_edges, device=graph.device) - count[row]
    other = ~begins[row] & (graph.col != graph.col[before.clamp(min=0)])
    return begins.index_fill(0, row[other], True)


def _check(graph: Graph, place: Tensor, step: Tensor) -> None:
    """Each source is one sentence's, and each target looks at it once."""
    again = (place[1:] > 0) & (graph.col[1:] == graph.col[:-1])
    uses = torch.bincount(graph.col[step == 0], minlength=graph.num_src)
    if bool(again.any()) or int(uses.max()) > 1:
        source = int(graph.col[1:][again][0] if bool(again.any()) else uses.argmax())
        raise InputError(
            f"monotonic attention needs sentences apart, whose targets all look once at each of "
            f"the same sources, as gat.topology.bipartite has it; source {source} enters targets "
            f"that look at other sources too, or one target twice"
        )
