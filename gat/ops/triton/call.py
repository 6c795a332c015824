"""A call of an operator: its tensors in groups, its shapes, and the launches over units of work."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import triton.language as tl
from torch import Tensor

from gat.ops.dropout import threshold
from gat.ops.triton.backward import sum_parts
from gat.ops.triton.shapes import Edges, Given, Shape
from gat.ops.triton.tiles import Tile, ceil_div, heads_of_tile, power_of_two, tile_for
from gat.ops.triton.tuning import choose
from gat.ops.walk import Options, Walk, stats_dtype

__all__ = ["Call", "Degrees", "Direction"]


class Degrees(NamedTuple):
    """A class of rows: "hubs", "middle" or "light", its first unit and how many there are."""

    name: str
    first: int
    units: int


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

    def classes(self) -> Iterator["Degrees"]:
        """Those that have any rows."""
        first = 0
        for name in ("hubs", "middle", "light"):
            count = getattr(self, name)
            if count:
                yield Degrees(name, first, count)
            first += count


class Call:
    """What all launches of one call share: inputs made contiguous, edges, numbers, sizes.

    kind: see `shapes.Shape`. like: the input that tells dtype, device and heads. key_channels: of
    the scores of GATv2 and dot attention. shared: keys are the values.
    """

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
        self.rated = options.rated
        self.stats = 4 + value_channels if self.rated else 2
        self.drops = options.dropout > 0
        edges = Edges(walk.rowptr, walk.col, walk.number, walk.units)
        self.by_target = Direction(edges, like.size(0), *_plain(walk.counts))
        self.chunk = {"chunk": self.by_target.chunk}
        self.slope = {"slope": options.negative_slope}
        self.numbers = {**self.slope, "scale": options.scale}
        self.dropout = {
            "seed": seed if self.drops else None,
            "threshold": threshold(options.dropout),
            "factor": 0.0 if options.dropout >= 1 else 1 / (1 - options.dropout),
        }

    @property
    def kind_of_call(self) -> tuple[Any, ...]:
        """What the tile that is the fastest may depend on, but for sizes of the graph."""
        given = "+".join(name for name, x in self.given._asdict().items() if x is not None)
        sizes = (self.heads, self.value_channels, self.key_channels)
        options = (self.activation, self.stats, self.shared, self.drops)
        return (self.kind, *sizes, str(self.dtype), given, *options)

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

    def launch(self, kernel: Any, direction: Direction, **named: Any) -> None:
        """Run a kernel over all units; named: as `launch_class` takes them."""
        for degrees in direction.classes():
            self.launch_class(kernel, direction, degrees, **named)

    def launch_class(
        self,
        kernel: Any,
        direction: Direction,
        degrees: Degrees,
        *,
        width: int,
        tiles: int = 1,
        programs: int | None = None,
        **arguments: Any,
    ) -> None:
        """Run a kernel over the units of one class.

        width: channels of the rows it gathers; tiles: how many such rows it holds of an edge;
        programs: how many there are for each group of heads, by default one for each unit.
        """
        size, edges = self.dtype.itemsize, self.num_edges
        group = self._group(direction, width)
        row = group * power_of_two(width)
        grid = (programs or degrees.units, ceil_div(self.heads, group))

        def run(tile: Tile) -> None:
            self._run(
                kernel, grid, tile.warps, edges=direction.edges, **self.chunk, first=degrees.first,
                count=degrees.units, S=self.shape(group, tile, degrees.name), **arguments,
            )  # fmt: skip

        reckoned = tile_for(row, size, tiles, degrees.name == "light")
        kind = (kernel.fn.__name__, *self.kind_of_call, group, degrees.name)
        run(choose(kind, reckoned, run, edges * row, self.device))

    def groups(self, direction: Direction, width: int) -> int:
        """How many groups of heads a launch over rows of ``width`` channels has."""
        return ceil_div(self.heads, self._group(direction, width))

    def _group(self, direction: Direction, width: int) -> int:
        size, edges = self.dtype.itemsize, self.num_edges
        return heads_of_tile(self.heads, width, size, direction.others, edges)

    def launch_rows(self, kernel: Any, count: int, *, width: int, **arguments: Any) -> None:
        """Run a kernel whose programs take S.BE rows each, of ``count``."""
        size = self.dtype.itemsize
        group = heads_of_tile(self.heads, width, size, count, 0)
        tile = tile_for(group * power_of_two(width), size, 2, False)
        grid = (ceil_div(count, tile.edges), ceil_div(self.heads, group))
        shape = self.shape(group, tile, "middle")
        self._run(kernel, grid, tile.warps, count=count, S=shape, **arguments)

    def launch_hubs(self, kernel: Any, direction: Direction, **arguments: Any) -> None:
        """Run a kernel that puts the chunks of hubs together."""
        if direction.hubs:
            size, width = self.dtype.itemsize, self.value_channels
            group = heads_of_tile(self.heads, width, size, 0, 0)
            tile = tile_for(group * power_of_two(width), size, 1, False)
            grid = (direction.hubs, ceil_div(self.heads, group))
            shape = self.shape(group, tile, "middle")
            named = {"edges": direction.edges, **self.chunk, **arguments}
            self._run(kernel, grid, tile.warps, S=shape, **named)

    def add_parts(self, direction: Direction, parts: Tensor | None, out: Tensor | None) -> None:
        """Put the chunks' sums [units, ...] into the hubs' rows of ``out`` [rows, ...]."""
        if parts is None or out is None:
            return
        width = parts[0].numel()
        block = min(power_of_two(width), 1024)
        self._run(
            sum_parts, (direction.hubs, ceil_div(width, block)), max(block // 256, 1),
            edges=direction.edges, **self.chunk, parts=parts, out=out, WIDTH=width, BLOCK=block,
            BE=16,
        )  # fmt: skip

    def shape(self, group: int, tile: Tile, degrees: str) -> Shape:
        """What a kernel is compiled for."""
        return _shape(
            KIND=self.kind,
            ACTIVATION=self.activation,
            H=self.heads,
            C=self.value_channels,
            K=self.key_channels,
            BE=tile.edges,
            BH=group,
            BC=power_of_two(self.value_channels),
            BK=power_of_two(self.key_channels),
            ACC=tl.float64 if self.acc is torch.float64 else tl.float32,
            LARGEST=torch.finfo(self.acc).max,
            STORED=torch.finfo(self.dtype).max,
            SHARED=self.shared,
            PART=degrees == "hubs",
            STATS=self.stats,
            RATED=self.rated,
            DROPS=self.drops,
        )

    def _run(self, kernel: Any, grid: tuple[int, int], warps: int, **arguments: Any) -> None:
        if 0 in grid:
            return
        with _current(self.device):
            kernel[grid](**arguments, num_warps=warps)


# The same objects each time: Triton looks its compiled kernels up by them, and equal ones that are
# not the same it compares one by one.
@functools.cache
def _shape(**known: Any) -> Shape:
    return Shape(**{name: tl.constexpr(value) for name, value in known.items()})


def _plain(counts: Tensor | None) -> list[int]:
    assert counts is not None
    return counts.tolist()


def _current(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Triton launches on the current GPU, on torch's current stream of it."""
    if device.type != "cuda" or device.index == torch.cuda.current_device():
        return contextlib.nullcontext()
    return torch.cuda.device(device)
