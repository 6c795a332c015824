"""How much memory a training run will need, told before anything is computed.

The figure is derived from what the code keeps (`gat.train.memory_parts`), not fitted to
measurements; those hold it to be right, within -10 % and +35 % of the peak.
"""

from collections import defaultdict
from dataclasses import dataclass

import torch

from gat.machine import gib
from gat.train import generators
from gat.train.config import TrainConfig
from gat.train.memory_evaluation import evaluation_rooms
from gat.train.memory_parts import Room, Tape, follow_step, what_stays
from gat.train.memory_sizes import Sizes, levels_of
from gat.train.session import build_model

__all__ = ["PROCESS", "MemoryPrediction", "PartOfMemory", "predict_memory"]

# What Python, torch and this library take before there are any data.
PROCESS = 500 * 2**20
# The C library maps what is larger than this by itself and gives it back when it is freed. Holes
# between smaller pieces stay: measured, 10 to 45 % of them.
PIECE, HOLES = 32 * 2**20, 0.45
PROCESS_PART, HOLES_PART = "process", "holes between pieces"


@dataclass(frozen=True)
class PartOfMemory:
    """One row of a prediction: bytes per node, per edge, and in all."""

    part: str
    per_node: float
    per_edge: float
    total: int


@dataclass(frozen=True)
class MemoryPrediction:
    """The peak of a training run, in bytes, and what it is made of.

    nodes, edges: of the task. A bound where batches are sampled, since their nodes are drawn.
    """

    nodes: int
    edges: int
    parts: tuple[PartOfMemory, ...]

    @property
    def total(self) -> int:
        return sum(part.total for part in self.parts)

    @property
    def per_node(self) -> float:
        return sum(part.per_node for part in self.parts)

    @property
    def per_edge(self) -> float:
        return sum(part.per_edge for part in self.parts)

    @property
    def fixed(self) -> int:
        """Bytes that grow with neither: the process, the weights, their gradients."""
        return round(self.total - self.per_node * self.nodes - self.per_edge * self.edges)

    def of(self, *names: str) -> int:
        """Bytes of these parts."""
        return sum(part.total for part in self.parts if part.part in names)

    def sum(self) -> str:
        """The total as the sum it is."""
        return (
            f"{gib(self.total)}: {self.per_node:,.0f} bytes for each of {self.nodes:,} nodes, "
            f"{self.per_edge:,.0f} for each of {self.edges:,} edges, {gib(self.fixed)} besides"
        )

    def table(self) -> str:
        """One line for each part, for people."""
        rows = [("part", "bytes/node", "bytes/edge", "in all")]
        rows += [
            (p.part, f"{p.per_node:,.0f}", f"{p.per_edge:,.0f}", gib(p.total)) for p in self.parts
        ]
        rows.append(("in all", f"{self.per_node:,.0f}", f"{self.per_edge:,.0f}", gib(self.total)))
        wide = [max(len(row[column]) for row in rows) for column in range(4)]
        return "\n".join(
            "  ".join([row[0].ljust(wide[0]), *(row[c].rjust(wide[c]) for c in (1, 2, 3))])
            for row in rows
        )


def predict_memory(config: TrainConfig, sizes: Sizes, device: str = "cpu") -> MemoryPrediction:
    """The peak of training as ``config`` says on data of ``sizes``.

    With ``sampling.name`` "none" (or "auto") of whole graphs, else of sampled batches, whose nodes
    and edges are bounded by the fan-outs and by the graph, and of scoring all nodes, bounded by
    ``sampling.inference_memory``; the larger of both. device: "cpu", whose figure is of the
    whole process, or "cuda", of what torch takes on the GPU.
    """
    with generators.borrowed(), torch.device("meta"):
        model = build_model(config.model, sizes.features, sizes.classes, sizes.edge_dim)
    gpu = device.startswith("cuda")
    stays = what_stays(config, sizes, model)
    tape = Tape(stays)
    follow_step(tape, config, sizes, levels_of(config, sizes), gpu)
    peak = tape.peak
    if config.sampling.name not in ("none", "auto"):
        scored = [*stays, *evaluation_rooms(config.sampling, sizes, model, gpu)]
        peak = max(peak, scored, key=lambda rooms: sum(room.total for room in rooms))
    rooms = peak if gpu else [*peak, *_of_the_process(peak)]
    return MemoryPrediction(sizes.nodes, sizes.edges, _summed(rooms, sizes))


def _of_the_process(rooms: list[Room]) -> list[Room]:
    """What a process holds that no tensor does."""
    small = sum(room.total for room in rooms if room.total < PIECE)
    return [Room(HOLES_PART, fixed=HOLES * small), Room(PROCESS_PART, fixed=PROCESS)]


def _summed(rooms: list[Room], sizes: Sizes) -> tuple[PartOfMemory, ...]:
    """Rooms of the same part as one row."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for room in rooms:
        sums[room.part][0] += room.nodes
        sums[room.part][1] += room.edges
        sums[room.part][2] += room.fixed
    return tuple(
        PartOfMemory(
            name,
            nodes / max(sizes.nodes, 1),
            edges / max(sizes.edges, 1),
            round(nodes + edges + fixed),
        )
        for name, (nodes, edges, fixed) in sums.items()
    )
