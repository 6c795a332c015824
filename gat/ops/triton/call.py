"""A call of an operator: its tensors in groups, its shapes, and the launches over units of work."""

import contextlib
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from gat.ops.dropout import threshold
from gat.ops.triton.backward import sum_parts
from gat.ops.triton.shapes import Drop, Edges, Given, Numbers, Shape
from gat.ops.triton.tiles import heads_of_tile, tile_for
from gat.ops.walk import Options, Walk, stats_dtype

__all__ = ["Call", "Direction"]

# Programs that each go through many rows, where each leaves a sum of its own: the same number on
# every GPU, or results would not have the same bits.
PROGRAMS = 2048


class Direction(NamedTuple):
    """Edges by target or by source: for the kernels, how many nodes there are at their other ends,
    and how many units of work of each class."""

    edges: Edges
    others: int
    hubs: int
    middle: int
    light: int
    chunk: int

    @property
    def rows(self) -> int:
        return self.edges.rowptr.numel() - 1

    def classes(self) -> Iterator[tuple[str, int, int]]:
        """Name, first unit and number of units of the classes that have any."""
        first = 0
        for name, count in (("hubs", self.hubs), ("middle", self.middle), ("light", self.light)):
            if count:
                yield name, first, count
            first += count


class Call:
    """key_channels: of the scores of GATv2 and dot attention. shared: keys are values."""

    def __init__(
        self,
        kind: str,
        walk: Walk,
        options: Options,
        seed: Tensor | None,
        given: Given,
        like: Tensor,
        *,
        key_channels: int = 1,
        value_channels: int = 1,
        shared: bool = False,
    ) -> None:
        self.kind, self.walk, self.shared = kind, walk, shared
        self.given = Given(*(None if x is None else x.contiguous() for x in given))
        self.dtype, self.device, self.heads = like.dtype, like.device, like.size(1)
        self.key_channels, self.value_channels = key_channels, value_channels
        self.activation = options.activation
        self.acc = stats_dtype(self.dtype)
        self.stats = 4 + value_channels if options.rated else 2
        dropped = options.dropout > 0
        self.drop = Drop(seed if dropped else None, threshold(options.dropout))
        edges = Edges(walk.rowptr, walk.col, walk.number, walk.units)
        self.by_target = Direction(edges, like.size(0), *_plain(walk.counts))
        self.numbers = Numbers(
            _bits(options.negative_slope),
            _bits(options.scale),
            _bits(0.0 if options.dropout >= 1 else 1 / (1 - options.dropout)),
            self.by_target.chunk,
        )

    @property
    def num_edges(self) -> int:
        return self.by_target.edges.col.numel()

    @property
    def by_source(self) -> Direction:
        walk = self.walk
        edges = Edges(walk.source_rowptr, walk.source_col, walk.source_number, walk.source_units)
        return Direction(edges, self.by_target.rows, *_plain(walk.source_counts))

    def collecting(self) -> Direction:
        """By target, each edge numbered by where it stands by source."""
        edges = self.by_target.edges._replace(number=self.walk.transposed)
        return self.by_target._replace(edges=edges)

    def empty(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """A tensor to be filled, by default of what is summed in."""
        return torch.empty(shape, dtype=dtype or self.acc, device=self.device)

    def part(self, direction: Direction, wanted: Any, *shape: int) -> Tensor | None:
        """Room for the chunks of hubs, [units, ...], where there are any and it is wanted."""
        return self.empty(direction.hubs, *shape) if direction.hubs and wanted is not None else None

    def launch(
        self,
        kernel: Any,
        direction: Direction,
        *,
        width: int,
        tiles: int = 1,
        programs: int | None = None,
        **arguments: Any,
    ) -> int:
        """Run a kernel over all units; how many programs of a group of heads that took.

        width: channels of the rows it gathers; tiles: how many such rows it holds of an edge.
        ``programs`` bounds the programs of each class. A keyword "grads" whose ``att`` has a row
        per program is handed the rows of each class.
        """
        launched = 0
        group = heads_of_tile(
            self.heads, width, self.dtype.itemsize, direction.others, self.num_edges
        )
        for name, first, count in direction.classes():
            running = min(count, programs or count)
            grads = arguments.get("grads")
            if grads is not None and grads.att is not None:
                arguments["grads"] = grads._replace(att=grads.att[:running])
                rest = grads._replace(att=grads.att[running:])
            shape, warps = self.shape(group, width, tiles, name)
            grid = (running, triton.cdiv(self.heads, group))
            self._run(
                kernel, grid, warps, edges=direction.edges, first=first, count=count, S=shape,
                **arguments,
            )  # fmt: skip
            if grads is not None and grads.att is not None:
                arguments["grads"] = rest
            launched += running
        return launched

    def launch_rows(self, kernel: Any, count: int, *, width: int, **arguments: Any) -> None:
        """Run a kernel whose programs take S.BE rows each, of ``count``."""
        group = heads_of_tile(self.heads, width, self.dtype.itemsize, count, 0)
        shape, warps = self.shape(group, width, 2, "middle")
        grid = (triton.cdiv(count, shape.BE.value), triton.cdiv(self.heads, group))
        self._run(kernel, grid, warps, count=count, S=shape, **arguments)

    def launch_hubs(self, kernel: Any, direction: Direction, **arguments: Any) -> None:
        """Run a kernel that puts the chunks of hubs together."""
        if direction.hubs:
            group = heads_of_tile(self.heads, self.value_channels, self.dtype.itemsize, 0, 0)
            shape, warps = self.shape(group, self.value_channels, 1, "middle")
            grid = (direction.hubs, triton.cdiv(self.heads, group))
            self._run(kernel, grid, warps, edges=direction.edges, S=shape, **arguments)

    def add_parts(self, direction: Direction, parts: Tensor | None, out: Tensor | None) -> None:
        """Put the chunks' sums [units, ...] into the hubs' rows of ``out`` [rows, ...]."""
        if parts is None or out is None:
            return
        width = parts[0].numel()
        block = min(triton.next_power_of_2(max(width, 1)), 1024)
        self._run(
            sum_parts, (direction.hubs, triton.cdiv(width, block)), max(block // 256, 1),
            edges=direction.edges, numbers=self.numbers, parts=parts, out=out, WIDTH=width,
            BLOCK=block,
        )  # fmt: skip

    def shape(self, group: int, width: int, tiles: int, degrees: str) -> tuple[Shape, int]:
        """What a kernel is compiled for, and its warps."""
        row = group * triton.next_power_of_2(max(width, 1))
        tile = tile_for(row, self.dtype.itemsize, tiles, degrees == "light")
        acc = tl.float64 if self.acc is torch.float64 else tl.float32
        chosen = Shape(
            KIND=self.kind,
            ACTIVATION=self.activation,
            H=self.heads,
            C=self.value_channels,
            K=self.key_channels,
            BE=tile.edges,
            BH=group,
            BC=triton.next_power_of_2(max(self.value_channels, 1)),
            BK=triton.next_power_of_2(max(self.key_channels, 1)),
            ACC=acc,
            LARGEST=torch.finfo(self.acc).max,
            STORED=torch.finfo(self.dtype).max,
            SHARED=self.shared,
            PART=degrees == "hubs",
            STATS=self.stats,
            RATED=self.stats > 2,
        )
        return Shape(*map(tl.constexpr, chosen)), tile.warps

    def _run(self, kernel: Any, grid: tuple[int, int], warps: int, **arguments: Any) -> None:
        if 0 in grid:
            return
        with _current(self.device):
            kernel[grid](**arguments, num_warps=warps)


def _plain(counts: Tensor | None) -> list[int]:
    assert counts is not None
    return counts.tolist()


def _bits(number: float) -> int:
    return struct.unpack("q", struct.pack("d", number))[0]


def _current(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Triton launches on the current GPU, on torch's current stream of it."""
    if device.type != "cuda" or device.index == torch.cuda.current_device():
        return contextlib.nullcontext()
    return torch.cuda.device(device)
