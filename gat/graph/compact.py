"""The edges as compiled kernels read them: CSR arrays with indices no wider than sizes need."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["LARGEST", "CompactEdges", "index_dtype"]

# What int32 does not count to; sizes are one more than the largest index.
LARGEST = torch.iinfo(torch.int32).max


@dataclass(frozen=True, eq=False)
class CompactEdges:
    """Edges sorted by row: rowptr [rows + 1], col [E], number [E] or None.

    ``number``: each one's listed number; None where that is its position. int32 where the graph's
    sizes allow, else int64: half the bytes for what every walk over the edges reads.
    """

    rowptr: Tensor
    col: Tensor
    number: Tensor | None

    @property
    def rows(self) -> int:
        return self.rowptr.numel() - 1


def index_dtype(*sizes: int) -> torch.dtype:
    """int32 if it can count to every size, else int64."""
    # Each by itself: traced, a comparison between sizes would hold for the order of these alone.
    fits = all(size < LARGEST for size in sizes)
    return torch.int32 if fits else torch.int64
