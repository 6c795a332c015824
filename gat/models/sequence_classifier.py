"""Classes of sequences: a recurrent network over the steps, a read-out, a linear layer."""

from typing import Any

import torch
from torch import Tensor, nn

from gat import topology
from gat.checks import check_sizes, one_of
from gat.errors import ArgumentTypeError, InputError
from gat.models.parts import reset_children
from gat.models.tokens import Lengths, check_tokens, counts_of
from gat.nn.dropout import dropout
from gat.nn.readout import make_readout
from gat.nn.recurrent import CELLS, pack_ragged
from gat.ops.dropout import check_probability

__all__ = ["SequenceClassifier"]

ATTENTIVE = ("form", "score", "normalizer", "heads", "projections")
# What may be said of each cell beyond its sizes.
OPTIONS: dict[str, tuple[str, ...]] = {
    "attentive-rnn": ATTENTIVE,
    "attentive-lstm": ATTENTIVE,
    "janet": ("memory",),
    "indrnn": ("memory",),
}
# What a cell itself calls the number of steps it is to remember over.
MEMORY = {"janet": "chrono", "indrnn": "long_memory"}


class SequenceClassifier(nn.Module):
    """Embedding, recurrent layers, read-out, linear layer.

    inputs: how many tokens there are, which are embedded; None with ``features``, the numbers of a
    step. embedding: of a token, by default hidden_channels. hidden_channels: of a direction.
    cell: "rnn", "lstm", "gru" (torch's), "janet", "indrnn", "attentive-rnn" or "attentive-lstm"
    (`gat.nn.recurrent`); layers and bidirectional as there. readout: a name `gat.nn.readout` knows
    ("last", "mean", "attention"), or a module that takes the steps [S, C] and the graph from them
    to the sequences; "last" is of the last step's output, in which the direction from the end has
    seen that step alone. dropout: of what enters the recurrent layers, each next one and the linear
    layer.

    form, score, normalizer, heads, projections: of the attentive cells; memory: of "janet" and
    "indrnn", steps to be remembered over (``chrono`` and ``long_memory``). None: the cell's own
    default.
    """

    def __init__(
        self,
        inputs: int | None,
        num_classes: int,
        *,
        features: int | None = None,
        embedding: int | None = None,
        hidden_channels: int = 64,
        cell: str = "lstm",
        layers: int = 1,
        bidirectional: bool = False,
        readout: str | nn.Module = "last",
        dropout: float = 0.0,
        form: str | None = None,
        score: Any = None,
        normalizer: Any = None,
        heads: int | None = None,
        projections: str | None = None,
        memory: int | None = None,
    ) -> None:
        # All it takes to make such a network again.
        self.options = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        one_of("cell", cell, CELLS)
        check_sizes(num_classes=num_classes, hidden_channels=hidden_channels)
        check_sizes(layers=layers)
        check_probability("dropout", dropout)
        self.dropout = dropout
        width = hidden_channels if embedding is None else embedding
        self.embedding, self.entering = _entrance(inputs, features, width)
        between = dropout if layers > 1 else 0.0
        self.rnn = CELLS[cell](
            self.entering,
            hidden_channels,
            num_layers=layers,
            batch_first=True,
            dropout=between,
            bidirectional=bidirectional,
            **_cell_options(cell, self.options),
        )
        self.width = hidden_channels * (2 if bidirectional else 1)
        self.readout = (
            readout if isinstance(readout, nn.Module) else make_readout(readout, self.width)
        )
        self.output = nn.Linear(self.width, num_classes)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        reset_children(self)

    def forward(self, x: Tensor, lengths: Lengths | None = None) -> Tensor:
        """Scores of the classes [n, num_classes].

        x: tokens int64 [n, T], or steps [n, T, features], of sequences of one length; with lengths
        int64 [n] those of unequal length, one after the other: [sum(lengths)] or [sum(lengths),
        features]. A sequence without steps is read as the read-out reads nothing.

        Raises InputError, ArgumentTypeError or IndexRangeError for what does not fit.
        """
        x, lengths = self._steps(x, lengths)
        x = dropout(x, self.dropout, self.training)
        x = self._recur(x, lengths)
        graph = topology.hierarchy(lengths, device=x.device)[0]
        x = self.readout(x, graph)
        return self.output(dropout(x, self.dropout, self.training))

    def _steps(self, x: Tensor, lengths: Lengths | None) -> tuple[Tensor, Tensor]:
        """The steps of all sequences [S, .], embedded, and how many each has, int64 [n]."""
        _check_steps(x, self.embedding, self.entering, ragged=lengths is not None)
        if lengths is None:
            lengths = [x.size(1)] * x.size(0)
            x = x.flatten(0, 1)
        counts = counts_of("lengths", lengths)
        if int(counts.sum()) != x.size(0):
            raise InputError(
                f"lengths sum to {int(counts.sum())} and x has {x.size(0)} steps; expected as many"
            )
        return (x if self.embedding is None else self.embedding(x)), counts

    def _recur(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The outputs of the recurrent layers [S, width], of steps [S, .]."""
        if x.size(0) == 0:
            return x.new_zeros((0, self.width))
        if bool((lengths == lengths[0]).all()):
            out, _ = self.rnn(x.unflatten(0, (lengths.numel(), -1)))
            return out.flatten(0, 1)
        packed, place = pack_ragged(x, lengths)
        return self.rnn(packed)[0].data.index_select(0, place)


def _entrance(
    inputs: int | None, features: int | None, width: int
) -> tuple[nn.Embedding | None, int]:
    """The embedding of tokens, if there are any, and how many numbers a step has."""
    if (inputs is None) is (features is None):
        raise InputError(
            f"inputs is {inputs} and features is {features}; expected one of the two: how many "
            f"tokens there are, or how many numbers a step has"
        )
    if inputs is None:
        assert features is not None
        check_sizes(features=features)
        return None, features
    check_sizes(inputs=inputs, embedding=width)
    return nn.Embedding(inputs, width), width


def _cell_options(cell: str, given: dict[str, Any]) -> dict[str, Any]:
    """What was said of the cell beyond its sizes, by the cell's own names."""
    said = {n: given[n] for n in (*ATTENTIVE, "memory") if given[n] is not None}
    known = OPTIONS.get(cell, ())
    for name in said:
        if name not in known:
            users = [each for each, names in OPTIONS.items() if name in names]
            raise InputError(
                f"{name} is {said[name]!r}, an option of cell {' and '.join(map(repr, users))}; "
                f"{cell!r} has none: leave it out"
            )
    return {MEMORY[cell] if name == "memory" else name: value for name, value in said.items()}


def _check_steps(x: Tensor, embedding: nn.Embedding | None, width: int, ragged: bool) -> None:
    if not isinstance(x, Tensor):
        raise ArgumentTypeError(f"x is of type {type(x).__name__}; expected a tensor")
    shape = ["sum(lengths)"] if ragged else ["n", "T"]
    if embedding is not None:
        kind, fits = "tokens of dtype torch.int64", x.dtype == torch.int64
    else:
        kind, fits = "a floating dtype", x.is_floating_point()
        shape = [*shape, str(width)]
    if not fits:
        raise ArgumentTypeError(f"x has dtype {x.dtype}; expected {kind}")
    if x.dim() != len(shape) or (embedding is None and x.size(-1) != width):
        how = "with lengths" if ragged else "without lengths"
        raise InputError(f"x has shape {list(x.shape)}; expected [{', '.join(shape)}] {how}")
    if embedding is not None:
        check_tokens("x", x, embedding.num_embeddings, "inputs")
