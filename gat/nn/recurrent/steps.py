"""Sequences laid out step by step, as `torch.nn.utils.rnn.PackedSequence` has them.

S rows of all steps of all sequences; step t has a row for each sequence that is so long, longest
sequence first, and the rows of one step stand together. Nothing is padded.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gat.errors import InputError
from gat.graph.structure import lazy

__all__ = ["Steps", "pack_ragged"]


@dataclass(frozen=True)
class Steps:
    """Which of S rows are which step: ``sizes[t]`` rows of step t, never more than of t - 1."""

    sizes: tuple[int, ...]
    device: torch.device

    @lazy
    def places(self) -> tuple[Tensor, Tensor]:
        """Of each row its step and its sequence, int64 [S] each."""
        sizes = torch.tensor(self.sizes, dtype=torch.int64, device=self.device)
        total = sum(self.sizes)
        step = torch.arange(sizes.numel(), device=self.device)
        step = step.repeat_interleave(sizes, output_size=total)
        return step, torch.arange(total, device=self.device) - self._starts(sizes)[step]

    @lazy
    def from_end(self) -> Tensor:
        """For each row that of the same sequence as far from its end as this is from its start,
        int64 [S]: what turns all sequences round, and back."""
        step, sequence = self.places
        sizes = torch.tensor(self.sizes, dtype=torch.int64, device=self.device)
        number = torch.arange(self.sizes[0], device=self.device)
        length = (sizes.unsqueeze(1) > number).sum(0)
        return self._starts(sizes)[length[sequence] - 1 - step] + sequence

    @staticmethod
    def _starts(sizes: Tensor) -> Tensor:
        return sizes.cumsum(0) - sizes


def pack_ragged(values: Tensor, lengths: Tensor) -> tuple[PackedSequence, Tensor]:
    """Ragged rows as torch's recurrent modules take sequences of unequal length.

    values [sum(lengths), ...], one sequence after the other; lengths int64 [n] on any device.
    Sequences without steps are left out of the packed ones.

    Returns the packed sequences, and where each ragged row stands in their data, int64
    [sum(lengths)]: ``module(packed)[0].data[place]`` is ragged again. Raises InputError if the
    lengths do not sum to the rows.
    """
    lengths = lengths.to(values.device)
    if int(lengths.sum()) != values.size(0):
        raise InputError(
            f"lengths sum to {int(lengths.sum())} and values have {values.size(0)} rows; expected "
            f"a row for each step, one sequence after the other"
        )
    start = (lengths.cumsum(0) - lengths)[lengths > 0]
    lengths = lengths[lengths > 0]
    order = torch.argsort(lengths, descending=True, stable=True)
    ended = torch.bincount(lengths).cumsum(0)[:-1]
    sizes = (lengths.numel() - ended).cpu()
    step, sequence = Steps(tuple(sizes.tolist()), values.device).places
    row = start[order][sequence] + step
    place = torch.empty_like(row).index_copy_(0, row, torch.arange(row.numel(), device=row.device))
    return PackedSequence(values[row], sizes, order, torch.argsort(order)), place
