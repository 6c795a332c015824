"""Rows of unequal length, one after the other without padding: sentences, and documents of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gat.errors import ArgumentTypeError, IndexRangeError, InputError

__all__ = ["Ragged", "check_rows"]


@dataclass(eq=False, repr=False)
class Ragged:
    """n rows of unequal length.

    values: the rows' entries, [sum(lengths), ...]; or another Ragged of sum(lengths) rows, where
    each row is itself made of rows (a document of sentences).
    lengths: int64 [n], on the device of the values.
    Raises ArgumentTypeError and InputError where the two do not fit together.
    """

    values: Tensor | Ragged
    lengths: Tensor

    def __post_init__(self) -> None:
        lengths = self.lengths
        if not isinstance(lengths, Tensor) or lengths.dtype != torch.int64 or lengths.dim() != 1:
            raise ArgumentTypeError(f"lengths must be int64 of shape [n], got {_shape(lengths)}")
        if not isinstance(self.values, Tensor | Ragged):
            raise ArgumentTypeError(
                f"values must be a Tensor or a Ragged, got {type(self.values).__name__}"
            )
        if isinstance(self.values, Tensor) and self.values.dim() == 0:
            raise InputError("values must have an entry for each place of a row, got a number")
        if lengths.numel() and int(lengths.min()) < 0:
            row = int(lengths.argmin())
            raise InputError(f"lengths must be counts, but row {row} has {int(lengths[row])}")
        if int(lengths.sum()) != len(self.values):
            raise InputError(
                f"lengths sum to {int(lengths.sum())}, but there are {len(self.values)} values; "
                "expected one for each place of each row"
            )

    @classmethod
    def of(cls, rows: Sequence[Tensor] | Sequence[Ragged]) -> Ragged:
        """The rows [length, ...], one after the other; Raggeds give rows made of rows.

        Without rows the values are int64 [0].
        """
        counts = [len(row) for row in rows]
        if not counts:
            return cls(*(torch.empty(0, dtype=torch.int64) for _ in range(2)))
        lengths = torch.tensor(counts, dtype=torch.int64, device=_device(rows[0]))
        tensors = [row for row in rows if isinstance(row, Tensor)]
        if tensors and len(tensors) < len(rows):
            raise ArgumentTypeError("rows must be all Tensors or all Raggeds, got some of each")
        if tensors:
            return cls(torch.cat(tensors), lengths)
        inner = [row for row in rows if isinstance(row, Ragged)]
        return cls(Ragged.joined(inner), lengths)

    @classmethod
    def joined(cls, parts: Sequence[Ragged]) -> Ragged:
        """All rows of the first part, then all of the second, ...; at least one part."""
        lengths = torch.cat([part.lengths for part in parts])
        tensors = [part.values for part in parts if isinstance(part.values, Tensor)]
        if len(tensors) == len(parts):
            return cls(torch.cat(tensors), lengths)
        return cls(
            cls.joined([part.values for part in parts if isinstance(part.values, Ragged)]), lengths
        )

    def __len__(self) -> int:
        return int(self.lengths.numel())

    @cached_property
    def starts(self) -> Tensor:
        """Where each row begins among the values, int64 [n]."""
        return self.lengths.cumsum(0) - self.lengths

    @property
    def longest(self) -> int:
        """The length of the longest row; 0 without rows."""
        return int(self.lengths.max()) if len(self) else 0

    def __getitem__(self, row: int) -> Tensor | Ragged:
        """The values of row ``row`` (from the end if negative), a view of them."""
        if not -len(self) <= row < len(self):
            raise IndexRangeError(f"there is no row {row}; there are {len(self)}, counted from 0")
        start = int(self.starts[row])
        return _piece(self.values, start, start + int(self.lengths[row]))

    def __iter__(self) -> Iterator[Tensor | Ragged]:
        return (self[row] for row in range(len(self)))

    def select(self, rows: Tensor) -> Ragged:
        """These rows in this order, repeats allowed. rows: int64 [m], 0 to n - 1."""
        check_rows(rows, len(self))
        # Imported here, so that reading data does not wait for PyTorch Geometric.
        from gat.graph.intervals import rows_of_blocks

        entry = rows_of_blocks(self.lengths, rows)
        values = self.values
        picked = values.select(entry) if isinstance(values, Ragged) else values[entry]
        return _trusted(picked, self.lengths[rows])

    def to(self, device: torch.device | str) -> Ragged:
        """The same rows on ``device``."""
        return _trusted(self.values.to(device), self.lengths.to(device))

    def __repr__(self) -> str:
        inner = self.values
        what = repr(inner) if isinstance(inner, Ragged) else f"{inner.dtype} {list(inner.shape)}"
        return f"Ragged({len(self)} rows of {what}, longest {self.longest})"


def check_rows(rows: Tensor, count: int) -> None:
    """Refuse anything but int64 [m] of numbers of ``count`` rows."""
    if not isinstance(rows, Tensor) or rows.dtype != torch.int64 or rows.dim() != 1:
        raise ArgumentTypeError(f"rows must be int64 of shape [m], got {_shape(rows)}")
    if rows.numel():
        low, high = (int(end) for end in rows.aminmax())
        if low < 0 or high >= count:
            bad = low if low < 0 else high
            raise IndexRangeError(f"there is no row {bad}; there are {count}, counted from 0")


def _trusted(values: Tensor | Ragged, lengths: Tensor) -> Ragged:
    """Made of a Ragged that was checked: without the checks, which on a GPU would wait for it."""
    ragged = object.__new__(Ragged)
    ragged.values, ragged.lengths = values, lengths
    return ragged


def _piece(values: Tensor | Ragged, start: int, end: int) -> Tensor | Ragged:
    if isinstance(values, Tensor):
        return values[start:end]
    lengths = values.lengths[start:end]
    first = int(values.starts[start]) if start < len(values) else len(values.values)
    return _trusted(_piece(values.values, first, first + int(lengths.sum())), lengths)


def _device(values: Tensor | Ragged) -> torch.device:
    return values.device if isinstance(values, Tensor) else values.lengths.device


def _shape(given: object) -> str:
    if isinstance(given, Tensor):
        return f"{given.dtype} of shape {list(given.shape)}"
    return type(given).__name__
