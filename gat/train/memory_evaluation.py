"""What scoring all nodes holds, where training sees a part of the graph at a time.

A full batch is scored in less than a training step takes; a sampled one is smaller than the graph
that is scored (`gat.train.layerwise`).
"""

from torch import nn

from gat.train.chunks import FLOAT, costs_of
from gat.train.config import SamplingConfig
from gat.train.memory_parts import Room
from gat.train.memory_sizes import Sizes

__all__ = ["evaluation_rooms"]

PART = "evaluation, a part at a time"


def evaluation_rooms(
    sampling: SamplingConfig, sizes: Sizes, model: nn.Module, gpu: bool = False
) -> list[Room]:
    """At the layer that takes most, beside what stays: what is computed at a time, and what layers
    give all nodes, which the CPU keeps."""
    most: list[Room] = []
    limit = sampling.inference_memory * 2**30
    if sampling.evaluation == "full":
        limit = float("inf")
    costs = costs_of(model, sizes.features, sizes.edge_dim or 0, sizes.nodes)
    whole = all(cost.of(sizes.nodes, sizes.edges) <= limit for cost in costs)
    before = 0
    for stage, cost in zip(model.stages(), costs, strict=True):  # type: ignore[operator]
        given = FLOAT * stage.width * sizes.nodes
        rooms = [Room(PART, sizes.nodes * (cost.source + cost.target), sizes.edges * cost.edge)]
        if rooms[0].total > limit:
            rooms = [Room(PART, fixed=limit)]
        if not whole and not gpu:
            # What takes more lies in a file.
            kept = sum(size for size in (before, given) if size <= limit)
            rooms.append(Room("outputs of layers", nodes=kept))
        most = max(most, rooms, key=lambda each: sum(room.total for room in each))
        before = given
    return most
