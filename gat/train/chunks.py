"""How many targets of an attention layer are computed at a time, so that they fit into memory."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from gat.models.stages import Stage

__all__ = ["Cost", "chunks", "cost_of", "costs_of"]

FLOAT = 4
# A part of a graph, as it is drawn, without and with self-loops: indices of each edge.
EDGE_INDICES = 40
NODE_INDICES = 32


@dataclass(frozen=True)
class Cost:
    """Bytes that one source, target and edge take while a layer is computed without gradients.

    most_sources: as many as there are.
    """

    source: int
    target: int
    edge: int
    most_sources: int

    def of(self, targets: int, edges: int) -> int:
        """A bound for so many targets with all their edges, whose sources may all differ."""
        sources = min(self.most_sources, targets + edges)
        return sources * self.source + targets * self.target + edges * self.edge


def costs_of(model: Any, features: int, edge_dim: int, num_nodes: int) -> list[Cost]:
    """Of each stage of a `gat.models.GAT`, on x [num_nodes, features]; edge_dim 0: none."""
    stages = model.stages()
    first = features if model.input is None else model.input[0].out_features
    widths = [first, *(stage.width for stage in stages)]
    return [
        cost_of(stage, width, edge_dim, num_nodes)
        for stage, width in zip(stages, widths, strict=False)
    ]


def cost_of(stage: "Stage", width: int, edge_dim: int, num_nodes: int) -> Cost:
    """Of a stage on features [N, width] and edge features [E, edge_dim]."""
    layer = stage.layer
    conv: Any = getattr(layer, "conv", layer)
    projected = conv.heads * conv.out_channels
    # Gathered, projected, maybe scaled, scored.
    source = width + projected * (2 if conv.symmetric_norm else 1) + conv.heads
    # Its query, the sum, and what residual, normalisation and activation make of it.
    target = 2 * projected + 3 * stage.width
    edge = conv.heads
    if edge_dim:
        entering = conv.edge_dim or edge_dim
        # As given, in the layer's order, embedded; and projected, where scores need each vector.
        edge += 2 * edge_dim + 2 * entering + (projected if hasattr(conv, "att") else conv.heads)
    # Each target may have a loop.
    return Cost(
        FLOAT * source + NODE_INDICES,
        FLOAT * target + FLOAT * edge + EDGE_INDICES,
        FLOAT * edge + EDGE_INDICES,
        num_nodes,
    )


def chunks(
    pointer: Tensor, cost: Cost, limit: float, most: int | None = None
) -> Iterator[tuple[int, int]]:
    """Ranges of consecutive targets that together cover all; at least one, empty without targets.

    pointer: int [T + 1], target t has the edges pointer[t] .. pointer[t + 1]. A range costs at most
    ``limit`` bytes and has at most ``most`` targets, but never less than one.
    """
    count, begin = pointer.numel() - 1, 0
    if count == 0:
        yield 0, 0
    while begin < count:
        first = int(pointer[begin])

        def bytes_until(end: int, begin: int = begin, first: int = first) -> int:
            return cost.of(end - begin, int(pointer[end]) - first)

        last = count if most is None else min(count, begin + most)
        ends = range(begin + 1, last + 1)
        end = begin + max(1, bisect_right(ends, limit, key=bytes_until))
        yield begin, end
        begin = end
