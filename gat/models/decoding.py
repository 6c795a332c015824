"""Writing translations: greedy and beam search, for any model that decodes step by step.

Such a model has three methods, and what the first two return can be selected from:

    memory = model.encode(source, source_lengths)       # memory.select(rows)
    state = model.start(memory)                         # state.select(rows)
    logits, state = model.step(tokens, memory, state)   # [n], the last tokens written: [n, V]

`gat.models.Transformer` is one. The model decodes in the mode it is in: call ``model.eval()``
first. No gradients are kept.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from gat.checks import check_sizes
from gat.errors import InputError
from gat.models.tokens import Lengths
from gat.ops.precision import wide

__all__ = ["Decoder", "beam", "greedy", "right_sentences", "sequence_accuracy"]


class Decoder(Protocol):
    """What `greedy` and `beam` ask of a model."""

    def encode(self, source: Tensor, source_lengths: Lengths) -> Any:
        """The memory of n sentences, source [sum(S)]; ``memory.select(rows)`` is that of some."""

    def start(self, memory: Any) -> Any:
        """The state before the first token; ``state.select(rows)`` is that of some sentences."""

    def step(self, tokens: Tensor, memory: Any, state: Any) -> tuple[Tensor, Any]:
        """Scores [n, V] of the token after ``tokens`` [n], and the state after them."""


@torch.no_grad()
def greedy(
    model: Decoder,
    source: Tensor,
    source_lengths: Lengths,
    *,
    max_length: int,
    begin: int | None = None,
    end: int = 1,
) -> list[Tensor]:
    """At each step the likeliest token: a translation int64 [T] of each sentence, without ``end``.

    source [sum(S)]: tokens of all sentences, one after the other; source_lengths [n]. A sentence
    that has not ended after ``max_length`` tokens is cut there. Sentences that have ended leave the
    batch. begin: the token before the first, by default ``model.begin``, of a model without it 0.
    """
    check_sizes(max_length=max_length)
    count = len(source_lengths)
    if count == 0:
        return []
    written = torch.full((count, max_length), end, dtype=torch.int64, device=source.device)
    rows = torch.arange(count, device=source.device)
    tokens = torch.full_like(rows, _begin(model, begin))
    memory = model.encode(source, source_lengths)
    state = model.start(memory)
    for place in range(max_length):
        logits, state = model.step(tokens, memory, state)
        _check_numbers(logits)
        tokens = logits.argmax(1)
        written[rows, place] = tokens
        going = (tokens != end).nonzero().squeeze(1)
        if going.numel() == 0:
            break
        if going.numel() < rows.numel():
            rows, tokens = rows[going], tokens[going]
            memory, state = memory.select(going), state.select(going)
    return [_before_end(sentence, end) for sentence in written]


@torch.no_grad()
def beam(
    model: Decoder,
    source: Tensor,
    source_lengths: Lengths,
    *,
    width: int = 4,
    max_length: int,
    length_penalty: float = 0.6,
    begin: int | None = None,
    end: int = 1,
) -> list[Tensor]:
    """The best translation found by keeping ``width`` beginnings of each sentence (Sutskever et al.
    2014, "Sequence to Sequence Learning with Neural Networks", section 3.2), int64 [T], without
    ``end``.

    A beginning is judged by its probability, a translation Y, ``end`` included, by
    log P(Y) / lp(Y), lp(Y) = ((5 + |Y|) / 6)^length_penalty (Wu et al. 2016, "Google's Neural
    Machine Translation System", eq. 14, without the coverage penalty); 0 judges by probability
    alone. A translation that has not ended after ``max_length`` tokens is cut there and judged as
    it is. A sentence is done when none of its beginnings can become better than its best
    translation; it then leaves the batch. Width 1 is `greedy`. The other arguments as there.
    """
    check_sizes(max_length=max_length, width=width)
    if not length_penalty >= 0:
        raise InputError(f"length_penalty is {length_penalty}; expected 0 or more")
    count = len(source_lengths)
    if count == 0:
        return []
    best = _Best(count, max_length, length_penalty, end, source.device)
    rows = torch.arange(count, device=source.device)
    memory = model.encode(source, source_lengths).select(rows.repeat_interleave(width))
    state = model.start(memory)
    first = _begin(model, begin)
    tokens = torch.full((count, width), first, dtype=torch.int64, device=source.device)
    written = tokens.new_empty(count, width, 0)
    # All but one of the beginnings, which are equal, are out.
    scores = torch.full((count, width), -torch.inf, device=source.device)
    scores[:, 0] = 0
    for _ in range(max_length):
        logits, state = model.step(tokens.flatten(), memory, state)
        totals = scores.unsqueeze(2) + wide(logits).log_softmax(1).unflatten(0, (-1, width))
        # What a model says after an end may be anything, NaN too.
        totals = totals.masked_fill(scores.isneginf().unsqueeze(2), -torch.inf)
        _check_numbers(totals)
        scores, chosen = totals.flatten(1).topk(width)
        origin, tokens = chosen // logits.size(1), chosen % logits.size(1)
        before = written.gather(1, origin.unsqueeze(2).expand(-1, -1, written.size(2)))
        written = torch.cat([before, tokens.unsqueeze(2)], dim=2)
        scores = best.update(rows, written, scores)
        going = best.can_rise(rows, scores).nonzero().squeeze(1)
        if going.numel() == 0:
            break
        state = state.select((width * going.unsqueeze(1) + origin[going]).flatten())
        if going.numel() < rows.numel():
            beams = torch.arange(width, device=source.device)
            memory = memory.select((width * going.unsqueeze(1) + beams).flatten())
            rows, tokens = rows[going], tokens[going]
            written, scores = written[going], scores[going]
    return [_before_end(sentence, end) for sentence in best.written]


def _check_numbers(scores: Tensor) -> None:
    if bool(scores.isnan().any()):
        raise InputError(
            "the model's scores of the next token hold NaN, so none is the best; look at its "
            "weights, which a training that failed may have left so"
        )


class _Best:
    """The best translation of each sentence so far."""

    def __init__(
        self, count: int, max_length: int, penalty: float, end: int, device: torch.device
    ) -> None:
        self.max_length, self.penalty, self.end = max_length, penalty, end
        self.written = torch.full((count, max_length), end, dtype=torch.int64, device=device)
        self.value = torch.full((count,), -torch.inf, dtype=torch.float64, device=device)

    def update(self, rows: Tensor, written: Tensor, scores: Tensor) -> Tensor:
        """Take note of what has ended among the beginnings [n, width, T] of sentences ``rows`` with
        log-probabilities ``scores`` [n, width]; return these, -inf for what has ended."""
        length = written.size(2)
        ended = written[..., -1] == self.end
        if length == self.max_length:
            ended = torch.ones_like(ended)
        values = (scores / self._by_length(length)).masked_fill(~ended, -torch.inf)
        value, which = values.max(1)
        better = (value > self.value[rows]).nonzero().squeeze(1)
        self.value[rows[better]] = value[better].double()
        # What was best before is shorter, and overwritten.
        self.written[rows[better], :length] = written[better, which[better]]
        return scores.masked_fill(ended, -torch.inf)

    def can_rise(self, rows: Tensor, scores: Tensor) -> Tensor:
        """Whether a beginning may yet be the best, bool [n]: probabilities only fall, and are
        judged mildest at the greatest length."""
        return scores.amax(1) / self._by_length(self.max_length) > self.value[rows]

    def _by_length(self, length: int) -> float:
        return ((5 + length) / 6) ** self.penalty


def sequence_accuracy(
    predicted: Sequence[Tensor], expected: Sequence[Tensor], *, end: int = 1
) -> float:
    """The share of sentences that are right to the last token.

    predicted, expected: tokens of each sentence, int64 [T]; what stands from the first ``end`` on
    does not count, so it may be left out in one and not in the other.
    """
    if len(predicted) != len(expected) or not len(expected):
        raise InputError(
            f"there are {len(predicted)} predicted and {len(expected)} expected sentences; "
            f"expected as many, and at least one"
        )
    return sum(right_sentences(predicted, expected, end=end)) / len(expected)


def right_sentences(
    predicted: Sequence[Tensor], expected: Sequence[Tensor], *, end: int = 1
) -> list[bool]:
    """Which sentences are right to the last token; arguments as of `sequence_accuracy`."""
    pairs = zip(predicted, expected, strict=True)
    return [_equal(_before_end(p, end), _before_end(e, end)) for p, e in pairs]


def _begin(model: Decoder, begin: int | None) -> int:
    return getattr(model, "begin", 0) if begin is None else begin


def _before_end(sentence: Tensor, end: int) -> Tensor:
    ends = (sentence == end).nonzero()
    return sentence[: int(ends[0])] if len(ends) else sentence


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one == other.to(one.device)).all())
