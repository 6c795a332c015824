"""`Prepared`: an encoder's outputs as a decoder's attention takes them, sentence after sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gat.errors import InputError
from gat.graph import Graph
from gat.graph.intervals import places, rows_of_blocks
from gat.graph.structure import lazy
from gat.topology import bipartite

__all__ = ["Prepared", "Steps"]

# So many for each sentence, or a number for each.
Steps = int | Sequence[int] | Tensor


@dataclass(frozen=True, eq=False)
class Prepared:
    """An encoder's outputs with what all of a decoder's steps need of them.

    memory [sum(lengths), key_dim]: the outputs of sentence after sentence; keys
    [sum(lengths), 1, C]: the same, projected; lengths: how many each sentence has.
    """

    memory: Tensor
    keys: Tensor
    lengths: tuple[int, ...]

    def select(self, rows: Tensor) -> "Prepared":
        """Those of the sentences ``rows``, int64 [m], which may name one more than once."""
        index = rows_of_blocks(self.sizes, rows.to(self.sizes.device))
        kept = tuple(self.lengths[row] for row in rows.tolist())
        return Prepared(self.memory[index], self.keys[index], kept)

    def graph(self, steps: Steps) -> Graph:
        """Edges to ``steps`` targets for each sentence, or so many for each."""
        device = self.memory.device
        if isinstance(steps, int):
            if steps not in self._graphs:
                self._graphs[steps] = bipartite(self.lengths, steps, device=device)
            return self._graphs[steps]
        if len(steps) != len(self.lengths):
            raise InputError(
                f"steps has {len(steps)} numbers; expected one number, or one for each of the "
                f"{len(self.lengths)} sentences"
            )
        return bipartite(self.lengths, steps, device=device)

    @lazy
    def _graphs(self) -> dict[int, Graph]:
        return {}

    @lazy
    def places(self) -> Tensor:
        """Where in its sentence each output stands, int64 [sum(lengths)]."""
        return places(self.sizes)

    @lazy
    def sizes(self) -> Tensor:
        """The lengths, int64 [sentences]."""
        return torch.tensor(self.lengths, dtype=torch.int64, device=self.memory.device)
