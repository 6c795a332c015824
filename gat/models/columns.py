"""`Columns`: sentences that stand one after the other, side by side for recurrent layers."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Columns"]


class Columns:
    """From rows [sum(T), F], sentence after sentence, to the columns [longest, n, F] of a recurrent
    layer and back. A column is a sentence from its first row on, or, turned, from its last; after
    it has ended the column repeats what came last, and comes to nothing on the way back.

    torch's layers take columns faster than packed sequences on the CPU. lengths: 1 or more each.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        sizes = torch.tensor(lengths, dtype=torch.int64)
        first, count = sizes.cumsum(0) - sizes, sizes.numel()
        step = torch.arange(int(sizes.max())).unsqueeze(1)
        step = torch.minimum(step, sizes - 1)
        self._rows = [(first + step).to(device), (first + sizes - 1 - step).to(device)]
        column = torch.arange(count).repeat_interleave(sizes)
        at = torch.arange(column.numel()) - first[column]
        places = at * count + column, (sizes[column] - 1 - at) * count + column
        self._places = [place.to(device) for place in places]
        self._last = self._places[0][(first + sizes - 1).to(device)]

    def of(self, rows: Tensor, turned: bool = False) -> Tensor:
        """rows [sum(T), F] as columns [longest, n, F]."""
        index = self._rows[turned]
        return rows.index_select(0, index.flatten()).view(*index.shape, -1)

    def rows(self, columns: Tensor, turned: bool = False) -> Tensor:
        """columns [longest, n, F] as rows [sum(T), F]."""
        return columns.flatten(0, 1).index_select(0, self._places[turned])

    def last(self, columns: Tensor) -> Tensor:
        """The end of each column, turned or not, [n, F]."""
        return columns.flatten(0, 1).index_select(0, self._last)
