"""Sentences as networks are handed them: tokens one after the other, and how many each has."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gat.errors import ArgumentTypeError, IndexRangeError, InputError

__all__ = ["Lengths", "check_begin", "check_tokens", "counts_of", "shifted", "sizes_of"]

Lengths = Tensor | Sequence[int]
INTEGERS = (torch.int64, torch.int32)


def counts_of(name: str, counts: Lengths, device: torch.device | None = None) -> Tensor:
    """``counts`` as int64 [n]; by ``name`` in errors."""
    given = torch.as_tensor(counts)
    # An empty list is of floats to torch.
    given = given.to(torch.int64) if given.numel() == 0 else given
    if given.dtype not in INTEGERS:
        raise ArgumentTypeError(f"{name} has dtype {given.dtype}; expected torch.int64")
    if given.dim() != 1 or (given.numel() and int(given.min()) < 0):
        raise InputError(
            f"{name} has shape {list(given.shape)}"
            + (f" and a count of {int(given.min())}" if given.numel() else "")
            + "; expected counts of 0 or more, [n]"
        )
    return given.to(device, torch.int64)


def sizes_of(name: str, tokens: Tensor, lengths: Lengths) -> Tensor:
    """The lengths of the sentences that ``tokens`` [sum(lengths)] are, int64 [n] beside them; by
    ``name`` in errors."""
    given = counts_of(f"{name}_lengths", lengths)
    if tokens.dim() != 1 or int(given.sum()) != tokens.numel():
        raise InputError(
            f"{name} has shape {list(tokens.shape)} and {name}_lengths {list(given.shape)}, which "
            f"sum to {int(given.sum())}; expected all sentences one after the other, without "
            f"padding, [sum of the lengths], and [sentences]"
        )
    return given.to(tokens.device)


def check_tokens(name: str, tokens: Tensor, size: int, option: str) -> None:
    """Refuse what are no tokens of a vocabulary of ``size``, which the network was told as
    ``option``."""
    if tokens.dtype not in INTEGERS:
        raise ArgumentTypeError(f"{name} has dtype {tokens.dtype}; expected torch.int64 tokens")
    if tokens.numel() == 0:
        return
    low, high = (int(end) for end in torch.aminmax(tokens))
    if low < 0 or high >= size:
        raise IndexRangeError(
            f"{name} has the token {low if low < 0 else high}; the model was made for tokens in "
            f"[0, {size}), {option}={size}"
        )


def check_begin(begin: int, target_size: int) -> None:
    """Refuse a first token that the target has not."""
    if not 0 <= begin < target_size:
        raise InputError(
            f"begin is {begin}; expected a target token in [0, {target_size}), target_size"
        )


def shifted(target: Tensor, sizes: Tensor, begin: int) -> Tensor:
    """What a decoder reads that is to write ``target``: of each sentence ``begin`` and all but the
    last token."""
    first = sizes.cumsum(0) - sizes
    return target.roll(1).index_fill(0, first[sizes > 0], begin)
