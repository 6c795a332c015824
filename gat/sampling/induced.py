"""The edges among nodes that were found."""

import torch
from torch import Tensor

from gat.sampling.grow import Relation
from gat.sampling.hops import Known

__all__ = ["induced_edges"]


def induced_edges(
    relation: Relation, targets: Tensor, sources: Known
) -> tuple[Tensor, Tensor, Tensor]:
    """Local sources and targets and caller's numbers of the edges from nodes known to ``targets``.

    By target in their order; ``sources`` has its table, so before it is given back.
    """
    assert sources.table is not None
    edges = relation.edges
    begin = edges.rowptr[targets].long()
    degree = edges.rowptr[targets + 1].long() - begin
    col = torch.arange(targets.numel()).repeat_interleave(degree)
    before = degree.cumsum(0) - degree
    position = torch.arange(col.numel()) + (begin - before)[col]
    row = sources.table[edges.col[position].long()].long()
    kept = row >= 0
    return row[kept], col[kept], relation.numbers(position[kept])
