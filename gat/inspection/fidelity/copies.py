"""What the model predicts for one node when edges are taken out: many graphs in one forward pass.

The copies of a neighbourhood, each with its own edges left, stand side by side as one graph without
edges between them. A copy holds only what still reaches its centre, and equal copies are run once.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gat.inspection.fidelity.inputs import Inputs
from gat.inspection.fidelity.subgraph import Neighbourhood, reached

__all__ = ["predictions"]

# Two int64 a copied edge.
EDGE_BYTES = 16


def predictions(model: nn.Module, part: Neighbourhood, keep: Tensor, memory: int) -> Tensor:
    """The model's output for the centre with the kept edges alone: keep bool [B, m] to [B, C].

    memory: bytes that the features and edges of the copies in one forward pass may take, if one
    copy does not take more.
    """
    nodes, taken = reached(part.inputs, part.centre, keep, part.steps)
    distinct, which = torch.unique(taken, dim=0, return_inverse=True)
    nodes = torch.empty_like(nodes[: distinct.size(0)]).index_copy_(0, which, nodes)
    row = part.inputs.x[:1].nbytes
    sizes = nodes.sum(1) * row + distinct.sum(1) * EDGE_BYTES
    found = [
        _together(model, part, nodes[rows], distinct[rows])
        for rows in _runs(sizes.tolist(), memory)
    ]
    return torch.cat(found)[which]


def _together(model: nn.Module, part: Neighbourhood, nodes: Tensor, keep: Tensor) -> Tensor:
    """The outputs of copies with these nodes [B, n] and edges [B, m], in one pass: [B, C]."""
    inputs = part.inputs
    number = (nodes.flatten().cumsum(0) - 1).view_as(nodes)
    copy, edge = keep.nonzero(as_tuple=True)
    joined: Inputs = inputs.part(
        nodes.nonzero(as_tuple=True)[1], edge, number[copy, inputs.edge_index[:, edge]]
    )
    return joined.run(model)[number[:, part.centre]]


def _runs(sizes: list[int], limit: int) -> Iterator[slice]:
    """Consecutive items of at most ``limit`` together, one at least."""
    start, total = 0, 0
    for at, size in enumerate(sizes):
        if at > start and total + size > limit:
            yield slice(start, at)
            start, total = at, 0
        total += size
    yield slice(start, len(sizes))
