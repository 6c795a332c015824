"""The edges as compiled kernels read them: CSR arrays with indices no wider than sizes need."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["CompactEdges", "index_dtype"]


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
    return torch.int32 if max(sizes) < torch.iinfo(torch.int32).max else torch.int64
