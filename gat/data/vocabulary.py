"""Tokens as numbers: characters or words, after three tokens that every vocabulary has."""

from collections.abc import Iterable

import torch
from torch import Tensor

from gat.errors import ArgumentTypeError, IndexRangeError, InputError

__all__ = ["BEGIN", "END", "UNKNOWN", "Vocabulary"]

# What a decoder is fed first, what every sequence of a translation ends with, and what stands for
# a symbol that the vocabulary lacks.
BEGIN, END, UNKNOWN = 0, 1, 2
SPECIAL = ("<s>", "</s>", "<unk>")


class Vocabulary:
    """Numbers for symbols: token k of ``tokens`` has number k; the first three are BEGIN "<s>",
    END "</s>" and UNKNOWN "<unk>".

    symbols: the others, in this order, each once.
    joiner: what stands between two symbols of a text: "" for characters, " " for words.
    """

    def __init__(self, symbols: Iterable[str], joiner: str = "") -> None:
        self.tokens: tuple[str, ...] = (*SPECIAL, *symbols)
        self.joiner = joiner
        self._numbers = {token: number for number, token in enumerate(self.tokens)}
        if len(self._numbers) < len(self.tokens):
            twice = next(token for token in self.tokens if self.tokens.count(token) > 1)
            raise InputError(f"a vocabulary has each symbol once, but {twice!r} came twice")
        for symbol in self.tokens[len(SPECIAL) :]:
            whole = len(symbol) == 1 if not joiner else symbol and joiner not in symbol
            if not whole:
                what = f"words without {joiner!r}" if joiner else "single characters"
                raise InputError(f"the symbols of this vocabulary are {what}, got {symbol!r}")

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str, *, end: bool = True) -> Tensor:
        """The numbers of a text's symbols, int64 [length], END behind them unless ``end`` is False.

        A symbol that the vocabulary lacks, and the text of a special token, become UNKNOWN.
        """
        symbols = (text.split(self.joiner) if text else []) if self.joiner else list(text)
        first = len(SPECIAL)
        found = (self._numbers.get(symbol, UNKNOWN) for symbol in symbols)
        numbers = [number if number >= first else UNKNOWN for number in found]
        return torch.tensor([*numbers, END] if end else numbers, dtype=torch.int64)

    def decode(self, numbers: Tensor) -> str:
        """The text of numbers [length] up to the first END, without BEGIN."""
        names = self.names(numbers)
        names = names[: names.index(SPECIAL[END])] if SPECIAL[END] in names else names
        return self.joiner.join(name for name in names if name != SPECIAL[BEGIN])

    def names(self, numbers: Tensor) -> list[str]:
        """The token of each of the numbers [length], special ones too: labels for a picture."""
        if numbers.dim() != 1 or numbers.is_floating_point():
            raise ArgumentTypeError(
                f"numbers must be integers of shape [length], got {numbers.dtype} of shape "
                f"{list(numbers.shape)}"
            )
        for number in numbers.tolist():
            if not 0 <= number < len(self):
                raise IndexRangeError(
                    f"there is no token {number}; the vocabulary has {len(self)}, counted from 0"
                )
        return [self.tokens[number] for number in numbers.tolist()]

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} tokens, joiner={self.joiner!r})"
