"""What `gat.models.Seq2Seq` is put together from: the recurrent encoder and decoder."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gat.graph.intervals import rows_of_blocks
from gat.models.columns import Columns
from gat.nn.alignment import Alignment
from gat.nn.dropout import dropout as drop
from gat.nn.prepared import Prepared

__all__ = ["CELLS", "Decoder", "Encoder", "Memory", "State"]

CELLS: dict[str, Callable[..., nn.Module]] = {"gru": nn.GRU, "lstm": nn.LSTM}

Hidden = tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Memory:
    """Encoded sentences. hidden: what the decoder starts with, [layers, n, hidden] each; prepared:
    the encoder's outputs, None without attention."""

    hidden: Hidden
    prepared: Prepared | None

    def select(self, rows: Tensor) -> "Memory":
        """The memory of the sentences ``rows``, int64 [m]; a sentence may occur more than once."""
        prepared = None if self.prepared is None else self.prepared.select(rows)
        return Memory(_chosen(self.hidden, rows), prepared)


@dataclass(frozen=True, eq=False)
class State:
    """A decoder between two steps. hidden: of the recurrent layers, [layers, n, hidden] each;
    number: of the next step; fed [n, hidden]: what was last given out, with input feeding; weights
    [E, 1] over the outputs of sentences of ``lengths``, where the next step goes on from them."""

    hidden: Hidden
    number: int = 0
    fed: Tensor | None = None
    weights: Tensor | None = None
    lengths: tuple[int, ...] = ()

    def select(self, rows: Tensor) -> "State":
        """The state of the sentences ``rows``, int64 [m]; a sentence may occur more than once."""
        hidden = _chosen(self.hidden, rows)
        fed = None if self.fed is None else self.fed[rows]
        if self.weights is None:
            return State(hidden, self.number, fed)
        sizes = torch.tensor(self.lengths, dtype=torch.int64, device=rows.device)
        weights = self.weights[rows_of_blocks(sizes, rows)]
        lengths = tuple(self.lengths[row] for row in rows.tolist())
        return State(hidden, self.number, fed, weights, lengths)


class Encoder(nn.Module):
    """A bidirectional recurrent network over embedded tokens: outputs [sum(S), hidden], and what a
    decoder starts with, tanh of a projection of where both directions end."""

    def __init__(
        self, size: int, embedding: int, hidden: int, cell: str, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.embedding = nn.Embedding(size, embedding)
        widths = [embedding] + [hidden] * (layers - 1)
        self.ahead = nn.ModuleList(CELLS[cell](width, hidden // 2) for width in widths)
        self.back = nn.ModuleList(CELLS[cell](width, hidden // 2) for width in widths)
        # Both parts of an LSTM's state come from where the outputs end.
        self.parts = 2 if cell == "lstm" else 1
        self.bridge = nn.Linear(hidden, self.parts * hidden)

    def forward(self, tokens: Tensor, lengths: tuple[int, ...]) -> tuple[Tensor, Hidden]:
        columns, ends = Columns(lengths, tokens.device), []
        rows = self.embedding(tokens)
        for ahead, back in zip(self.ahead, self.back, strict=True):
            rows = drop(rows, self.dropout, self.training)
            one, _ = ahead(columns.of(rows))
            other, _ = back(columns.of(rows, turned=True))
            rows = torch.cat([columns.rows(one), columns.rows(other, turned=True)], dim=1)
            ends.append(torch.cat([columns.last(one), columns.last(other)], dim=1))
        return rows, torch.tanh(self.bridge(torch.stack(ends))).chunk(self.parts, dim=2)


class Decoder(nn.Module):
    """A recurrent network over embedded tokens that looks at the encoder's outputs, or at nothing.

    ``before``: it looks with the state before a step, and the context enters the step beside the
    token; otherwise with the state after it. What it gives out is tanh(W [context; state]) either
    way, without attention the state. ``feeding``: that enters the next step beside the token.
    """

    def __init__(
        self,
        size: int,
        embedding: int,
        hidden: int,
        cell: str,
        layers: int,
        dropout: float,
        alignment: Alignment | None,
        before: bool,
        feeding: bool,
    ) -> None:
        super().__init__()
        self.before, self.feeding, self.dropout = before, feeding, dropout
        self.embedding = nn.Embedding(size, embedding)
        between = dropout if layers > 1 else 0.0
        width = embedding + (hidden if before or feeding else 0)
        self.rnn = CELLS[cell](width, hidden, layers, dropout=between)
        self.alignment = alignment
        self.combine = None if alignment is None else nn.Linear(2 * hidden, hidden, bias=False)

    def start(self, memory: Memory) -> State:
        """Before the first step."""
        hidden = memory.hidden
        fed = hidden[0].new_zeros(hidden[0].shape[1:]) if self.feeding else None
        return State(hidden, fed=fed)

    def forward(self, tokens: Tensor, lengths: tuple[int, ...], memory: Memory) -> Tensor:
        """What the steps after ``tokens`` [sum(T)] give out, [sum(T), hidden]."""
        columns = Columns(lengths, tokens.device)
        embedded = columns.of(self._embedded(tokens))
        if self.before or self.feeding:
            # All sentences to the end of the longest.
            found, state = [], self.start(memory)
            for token in embedded.unbind():
                seen, state = self._step(token, memory, state)
                found.append(seen if state.fed is None else state.fed)
            rows = columns.rows(torch.stack(found))
            return rows if self.feeding else self._out(rows)
        tops, _ = self.rnn(embedded, _as_given(memory.hidden))
        rows = columns.rows(tops)
        if self.alignment is None:
            return rows
        context = self.alignment(rows, memory.prepared, lengths)
        return self._out(torch.cat([context, rows], dim=1))

    def step(self, tokens: Tensor, memory: Memory, state: State) -> tuple[Tensor, State]:
        """What one step after ``tokens`` [n] gives out, [n, hidden], and the state after it."""
        seen, state = self._step(self._embedded(tokens), memory, state)
        return self._out(seen) if state.fed is None else state.fed, state

    def _step(self, embedded: Tensor, memory: Memory, state: State) -> tuple[Tensor, State]:
        """One step up to its [context; state], [n, 2 hidden], without attention its state."""
        context, weights, given = None, None, [embedded]
        if self.before:
            context, weights = self._look(state.hidden[0][-1], memory, state)
            given.append(context)
        if state.fed is not None:
            given.append(state.fed)
        tops, after = self.rnn(torch.cat(given, dim=1).unsqueeze(0), _as_given(state.hidden))
        seen = tops.squeeze(0)
        if self.alignment is not None:
            if context is None:
                context, weights = self._look(seen, memory, state)
            seen = torch.cat([context, seen], dim=1)
        hidden = after if isinstance(after, tuple) else (after,)
        lengths = () if memory.prepared is None else memory.prepared.lengths
        fed = self._out(seen) if self.feeding else None
        return seen, State(hidden, state.number + 1, fed, weights, lengths)

    def _look(self, query: Tensor, memory: Memory, state: State) -> tuple[Tensor, Tensor | None]:
        """The context of one step, [n, hidden]; and its weights, if the next goes on from them."""
        assert self.alignment is not None
        assert memory.prepared is not None
        call: dict[str, Any] = {"first": state.number, "previous": state.weights}
        if not self.alignment.goes_on:
            return self.alignment(query, memory.prepared, 1, **call), None
        context, (_, weights) = self.alignment(
            query, memory.prepared, 1, return_attention_weights=True, **call
        )
        return context, weights

    def _out(self, seen: Tensor) -> Tensor:
        return seen if self.combine is None else torch.tanh(self.combine(seen))

    def _embedded(self, tokens: Tensor) -> Tensor:
        return drop(self.embedding(tokens), self.dropout, self.training)


def _chosen(hidden: Hidden, rows: Tensor) -> Hidden:
    return tuple(state.index_select(1, rows) for state in hidden)


def _as_given(hidden: Hidden) -> Any:
    """The state as torch's layers take it."""
    return hidden[0] if len(hidden) == 1 else hidden
