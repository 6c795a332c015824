"""Graphs in code that torch.compile or torch.export traces: arrays that an operator looks up.

The sort is no part of the compiled code. When that runs, gat::sorted_edges asks the cache, so the
same edge_index is sorted once, compiled or not, and checks the edges as an eager call would.
"""

from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import guard_or_false, statically_known_true

from gat.errors import InputError
from gat.graph.cache import remembered_by_value
from gat.graph.compact import LARGEST, CompactEdges, index_dtype
from gat.graph.compact_graph import CompactGraph
from gat.graph.schedule import Schedule, most_units
from gat.graph.structure import lazy

__all__ = ["TracedGraph"]


class TracedGraph(CompactGraph):
    """The `Graph` of an ``edge_index`` that has a shape while it is traced and values later.

    Each part of it is asked for where it is used, so what nobody uses is not copied. ``perm`` is
    always a tensor, and a symmetric graph shares nothing with its transpose.
    """

    def __init__(
        self, edge_index: Tensor, num_src: int, num_dst: int, flow: str, self_loops: bool
    ) -> None:
        self.num_src, self.num_dst = num_src, num_dst
        self.num_loops = torch.sym_min(num_src, num_dst) if self_loops else 0
        self.num_caller_edges = edge_index.size(-1)
        self._edges = edge_index
        self._options = (num_src, num_dst, flow, self_loops)
        self._wide = _needs_int64(self.num_caller_edges + self.num_loops, num_src, num_dst)
        self.by_target = CompactEdges(*self._ask("by_target", None))

    def _ask(self, part: str, col: Tensor | None) -> list[Tensor]:
        ask = torch.ops.gat.sorted_edges
        return ask(self._edges, *self._options, self._wide, part, col)

    @lazy
    def origin(self) -> Tensor | None:
        return self._ask("origin", self.by_target.col)[0] if self._options[-1] else None

    @lazy
    def edge_index(self) -> Tensor:
        return self._ask("edge_index", self.by_target.col)[0]

    @lazy
    def by_source(self) -> CompactEdges:
        rowptr, col, number, self.transposed = self._ask("by_source", self.by_target.col)
        return CompactEdges(rowptr, col, number)

    @lazy
    def schedule(self) -> Schedule:
        return Schedule(*self._ask("schedule", self.by_target.col))

    @lazy
    def source_schedule(self) -> Schedule:
        return Schedule(*self._ask("source_schedule", self.by_target.col))

    @lazy
    def _looped(self) -> "TracedGraph":
        num_src, num_dst, flow, _ = self._options
        return TracedGraph(self._edges, num_src, num_dst, flow, True)


def _needs_int64(*sizes: int) -> bool:
    """By guards of the compiled code, where it has any: else the operator refuses larger graphs."""
    if torch.compiler.is_exporting():
        return False
    return any(guard_or_false(size >= LARGEST) for size in sizes)


# Not for CUDA graphs, which would replay what the first edges gave.
@torch.library.custom_op("gat::sorted_edges", mutates_args=(), tags=(torch.Tag.cudagraph_unsafe,))
def _sorted_edges(
    edge_index: Tensor,
    num_src: int,
    num_dst: int,
    flow: str,
    self_loops: bool,
    wide: bool,
    part: str,
    col: Tensor | None,
) -> list[Tensor]:
    """One part of the sorted edges: a kernel's arrays in int64 if ``wide``, else int32; the others
    in int64. ``col`` is that of "by_target", which is asked for first."""
    graph = remembered_by_value(
        edge_index, (num_src, num_dst), flow, self_loops, compare=part == "by_target"
    )
    if not wide and index_dtype(graph.num_edges, num_src, num_dst) is torch.int64:
        raise InputError(
            f"{graph} is too large for this compiled or exported program, whose indices have 32 "
            f"bits; pass the Graph instead of its edge_index, or call the module itself"
        )
    # Copies: they are the compiled code's, which may use the memory again.
    if part in ("origin", "edge_index"):
        return [getattr(graph, part).clone()]
    dtype = torch.int64 if wide else torch.int32
    if part in ("schedule", "source_schedule"):
        schedule = getattr(graph, part)
        return [schedule.units.to(dtype, copy=True), schedule.counts.clone()]
    edges = getattr(graph, part)
    number = edges.number
    if number is None:
        number = torch.arange(graph.num_edges, device=graph.device)
    arrays = [edges.rowptr, edges.col, number]
    if part == "by_source":
        arrays.append(graph.transposed)
    return [array.to(dtype, copy=True) for array in arrays]


@_sorted_edges.register_fake
def _(
    edge_index: Tensor,
    num_src: int,
    num_dst: int,
    flow: str,
    self_loops: bool,
    wide: bool,
    part: str,
    col: Tensor | None,
) -> list[Tensor]:
    edges = _count(edge_index, num_src, num_dst, self_loops) if col is None else col.size(0)
    if part == "edge_index":
        return [_empty(edge_index, 2, edges)]
    if part == "origin":
        return [_empty(edge_index, edges)]
    dtype = torch.int64 if wide else torch.int32
    rows = num_dst if part in ("by_target", "schedule") else num_src
    if part in ("schedule", "source_schedule"):
        units = edge_index.new_empty((most_units(rows, edges), 2), dtype=dtype)
        return [units, torch.empty(4, dtype=torch.int64, device="cpu")]
    sizes = [rows + 1, *[edges] * (2 if part == "by_target" else 3)]
    return [edge_index.new_empty(size, dtype=dtype) for size in sizes]


def _count(edge_index: Tensor, num_src: Any, num_dst: Any, self_loops: bool) -> Any:
    """How many edges are listed: how many are no loops is known when the code runs."""
    if not self_loops:
        return edge_index.size(-1)
    loops = torch.sym_min(num_src, num_dst)
    # torch's compiler would index what has no rows by an index of unknown length.
    if statically_known_true(edge_index.size(-1) == 0):
        return loops
    edges = torch.library.get_ctx().new_dynamic_size()
    torch._check(edges >= loops)
    return edges


def _empty(like: Tensor, *shape: Any) -> Tensor:
    return like.new_empty(shape, dtype=torch.int64)
