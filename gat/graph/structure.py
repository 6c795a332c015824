"""`Graph`: the edges sorted by target (CSR), the transpose on demand, and three edge numberings.

*Caller*: the order of the edges passed in. *Listed*: the order of ``graph.edge_index``; the same,
except after `Graph.with_self_loops`. *Sorted*: by (target, source), the order of ``rowptr`` and
``col``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gat.errors import InputError
from gat.graph.compact import CompactEdges, index_dtype
from gat.graph.door import EdgeList, Sizes, read_edges
from gat.graph.schedule import Schedule, schedule_rows

__all__ = ["Graph", "Transpose"]


class lazy:
    """A property worked out at first use and kept, like functools.cached_property.

    It has no lock, which torch.compile cannot trace, and leaves torch.inference_mode: a tensor made
    there could never be saved for a backward pass later.
    """

    def __init__(self, compute: Callable[[Any], Any]) -> None:
        self.compute, self.__doc__ = compute, compute.__doc__

    def __get__(self, graph: Any, owner: type | None = None) -> Any:
        if graph is None:
            return self
        with torch.inference_mode(False):
            value = self.compute(graph)
        graph.__dict__[self.compute.__name__] = value
        return value


@dataclass(frozen=True, eq=False)
class Transpose:
    """The same edges sorted by (source, target).

    rowptr [num_src + 1] and col [E] (targets), int64; ``edge`` [E]: the sorted number, in the
    graph, of each edge here.
    """

    rowptr: Tensor
    col: Tensor
    edge: Tensor


@dataclass(eq=False, repr=False)
class Graph:
    """Directed edges j -> i from ``num_src`` source nodes to ``num_dst`` target nodes.

    Parallel edges are kept, each with its own weight. Build one with `Graph.from_edge_index` (or
    `from_sparse`, `from_networkx`), which check the input; this constructor does not.

    rowptr  [num_dst + 1] int64: the edges entering target i are rowptr[i] .. rowptr[i+1]-1
    col     [E] int64: their sources
    perm    [E] int64 or None: listed number of each sorted edge; None when they are the same
    origin  [E] int64 or None: caller's number of each listed edge, -1 for a loop that was added;
            None when they are the same
    num_loops: how many listed edges, the last ones, are the loops of `with_self_loops`
    num_caller_edges: how many edges the caller passed
    """

    rowptr: Tensor
    col: Tensor
    num_src: int
    num_dst: int
    perm: Tensor | None = None
    origin: Tensor | None = None
    num_loops: int = 0
    num_caller_edges: int = -1

    def __post_init__(self) -> None:
        if self.num_caller_edges < 0:
            self.num_caller_edges = self.col.numel()

    @classmethod
    def from_edge_index(
        cls, edge_index: Any, num_nodes: Sizes = None, *, flow: str = "source_to_target"
    ) -> Graph:
        """Build from an ``edge_index`` [2, E] or anything else `gat.graph.read_edges` takes.

        ``num_nodes``: one number, or (num_src, num_dst) for a bipartite graph; by default one more
        than the largest node number. Raises IndexRangeError for a node outside that range.
        """
        return cls.from_edge_list(read_edges(edge_index, num_nodes, flow=flow))

    @classmethod
    def from_sparse(cls, matrix: Any) -> Graph:
        """Build from a sparse matrix [num_dst, num_src] (PyG's ``adj_t``): COO, CSR or CSC."""
        return cls.from_edge_list(read_edges(matrix))

    @classmethod
    def from_networkx(cls, graph: Any) -> Graph:
        """Build from a networkx graph; node k is ``list(graph.nodes)[k]``."""
        return cls.from_edge_list(read_edges(graph))

    @classmethod
    def from_edge_list(cls, edges: EdgeList, *, self_loops: bool = False) -> Graph:
        """Sort checked edges by (target, source), with or without self-loops; one stable sort."""
        num_caller_edges = edges.source.numel()
        origin, num_loops = None, 0
        if self_loops:
            edges, origin = _add_loops(edges)
            num_loops = min(edges.num_src, edges.num_dst)
        rowptr, col, perm = _sort(edges)
        return cls(
            rowptr, col, edges.num_src, edges.num_dst, perm, origin, num_loops, num_caller_edges
        )

    def __repr__(self) -> str:
        loops = f", num_loops={self.num_loops}" if self.num_loops else ""
        return (
            f"Graph(num_src={self.num_src}, num_dst={self.num_dst}, "
            f"num_edges={self.num_edges}{loops}, device={str(self.device)!r})"
        )

    @property
    def num_edges(self) -> int:
        return self.col.numel()

    @property
    def device(self) -> torch.device:
        return self.col.device

    @lazy
    def row(self) -> Tensor:
        """Target of each sorted edge, int64 [E]."""
        nodes = torch.arange(self.num_dst, device=self.device)
        return nodes.repeat_interleave(self.rowptr.diff(), output_size=self.num_edges)

    @lazy
    def edge_index(self) -> Tensor:
        """Sources and targets in listed order, int64 [2, E]."""
        return self.to_listed(torch.stack([self.col, self.row], dim=1)).t().contiguous()

    @lazy
    def in_degree(self) -> Tensor:
        """Edges entering each target, int64 [num_dst]."""
        return self.rowptr.diff()

    @lazy
    def out_degree(self) -> Tensor:
        """Edges leaving each source, int64 [num_src]."""
        return torch.bincount(self.col, minlength=self.num_src)

    @lazy
    def transpose(self) -> Transpose:
        """The edges sorted by source; a symmetric graph shares rowptr and col with it."""
        # Sorted by target already, so a stable sort by source leaves targets in order.
        source, edge = torch.sort(self.col, stable=True)
        rowptr = torch.searchsorted(source, torch.arange(self.num_src + 1, device=self.device))
        col = self._passing("row")[edge]
        # torch.compile cannot trace a decision that depends on values.
        if torch.compiler.is_compiling():
            return Transpose(rowptr, col, edge)
        if torch.equal(rowptr, self.rowptr) and torch.equal(col, self.col):
            rowptr, col = self.rowptr, self.col
        return Transpose(rowptr, col, edge)

    @lazy
    def by_target(self) -> CompactEdges:
        """The edges for a kernel that walks over targets."""
        return CompactEdges(
            self._compact(self.rowptr),
            self._compact(self.col),
            None if self.perm is None else self._compact(self.perm),
        )

    @lazy
    def by_source(self) -> CompactEdges:
        """The edges for a kernel that walks over sources; rowptr and col shared if symmetric."""
        turned, same = self._passing("transpose"), self.by_target
        position = torch.arange(self.num_edges, device=self.device)
        back = torch.empty_like(turned.edge).index_copy(0, turned.edge, position)
        self.transposed = self._compact(back)
        number = turned.edge if self.perm is None else self.perm[turned.edge]
        if turned.col is self.col:
            return CompactEdges(same.rowptr, same.col, self._compact(number))
        return CompactEdges(
            self._compact(turned.rowptr), self._compact(turned.col), self._compact(number)
        )

    @property
    def ends_by_source(self) -> CompactEdges:
        """`by_source`, whose listed numbers may be left out: not every walk asks for them."""
        return self.by_source

    @lazy
    def transposed(self) -> Tensor:
        """Where in `by_source` each edge of `by_target` stands, [E]."""
        _ = self.by_source
        return self.__dict__["transposed"]

    @lazy
    def schedule(self) -> Schedule:
        """How a GPU's programs share the edges of `by_target`."""
        return schedule_rows(self.by_target.rowptr, self.num_edges)

    @lazy
    def source_schedule(self) -> Schedule:
        """How they share those of `by_source`."""
        rowptr = self.by_source.rowptr
        if rowptr is self.by_target.rowptr:
            return self.schedule
        return schedule_rows(rowptr, self.num_edges)

    @lazy
    def edges_as_sources(self) -> Graph:
        """The same targets with listed edge e as source e: for sums of what edges hold."""
        edges, count = self.by_target, self.num_edges
        each = torch.arange(count + 1, dtype=edges.col.dtype, device=self.device)
        number = each[:count] if edges.number is None else edges.number
        graph = Graph(self.rowptr, number.long(), count, self.num_dst, self.perm)
        # A source has one edge, so nothing need be sorted for the way back.
        graph.by_target = CompactEdges(edges.rowptr, number, edges.number)
        graph.by_source = CompactEdges(each, self.edge_index[1].to(each.dtype), each[:count])
        graph.transposed = number
        return graph

    def _passing(self, name: str) -> Any:
        """A lazy property's value, worked out without being kept: for what is needed once."""
        kept = self.__dict__.get(name)
        return getattr(Graph, name).compute(self) if kept is None else kept

    def _compact(self, index: Tensor) -> Tensor:
        return index.to(index_dtype(self.num_edges, self.num_src, self.num_dst))

    @property
    def is_symmetric(self) -> bool:
        """Whether every edge j -> i has its i -> j, counted with multiplicity."""
        return self.transpose.col is self.col

    def to_listed(self, values: Tensor) -> Tensor:
        """Per-edge values [E, ...] from sorted to listed order."""
        self._check_rows(values)
        if self.perm is None:
            return values
        return torch.empty_like(values).index_copy(0, self.perm, values)

    def to_sorted(self, values: Tensor) -> Tensor:
        """Per-edge values [E, ...] from listed to sorted order."""
        self._check_rows(values)
        return values if self.perm is None else values.index_select(0, self.perm)

    def to_caller(self, values: Tensor) -> Tensor:
        """Per-edge values [E, ...] from listed order to one row per edge the caller passed.

        A loop the caller passed gets its node's loop; a second copy of it, which
        `with_self_loops` removed, gets 0. Loops that were added are left out: see `added_loops`.
        Over the edges entering a node, these and the added loop together sum to what they summed
        to before.
        """
        self._check_rows(values)
        if self.origin is None:
            return values
        out = values.new_zeros((self.num_caller_edges, *values.shape[1:]))
        # Narrowed: indexing would copy what may be all the weights of a large graph.
        first = self.num_edges - self.num_loops
        out.index_copy_(0, self.origin.narrow(0, 0, first), values.narrow(0, 0, first))
        origin = self.origin.narrow(0, first, self.num_loops)
        own = (origin >= 0).nonzero().squeeze(1)
        return out.index_copy_(0, origin[own], values.narrow(0, first, self.num_loops)[own])

    def added_loops(self, values: Tensor) -> Tensor:
        """Rows of per-edge values [E, ...] (listed) that belong to added loops: [num_dst, ...].

        0 for a node without one, or whose loop the caller passed (it is in `to_caller`).
        """
        self._check_rows(values)
        out = values.new_zeros((self.num_dst, *values.shape[1:]))
        if self.num_loops == 0 or self.origin is None:
            return out
        first = self.num_edges - self.num_loops
        loops = (self.origin.narrow(0, first, self.num_loops) < 0).nonzero().squeeze(1)
        return out.index_copy(0, loops, values.narrow(0, first, self.num_loops)[loops])

    @lazy
    def _looped(self) -> Graph:
        source, target = self.edge_index
        edges = EdgeList(source, target, self.num_src, self.num_dst)
        return Graph.from_edge_list(edges, self_loops=True)

    def with_self_loops(self) -> Graph:
        """Every node's loop exactly once, as PyG's GATConv does it: loops removed, N appended.

        For a bipartite graph N is the smaller of the two sizes. The result is kept, so asking
        twice costs nothing.
        """
        return self if self.num_loops else self._looped

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Graph:
        """The graph, and whatever it has worked out so far, on ``device``."""
        device = torch.device(device)
        if self.device.type == device.type and device.index in (None, self.device.index):
            return self
        return _move(self, device, non_blocking, {})

    def _check_rows(self, values: Tensor) -> None:
        if values.size(0) != self.num_edges:
            raise InputError(
                f"per-edge values have {values.size(0)} rows; expected {self.num_edges}, one per "
                f"edge of this graph. Weights of a layer that adds self-loops belong to "
                f"graph.with_self_loops()"
            )


def _move(value: Any, device: torch.device, non_blocking: bool, moved: dict[int, Any]) -> Any:
    """A copy on ``device`` in which what was one object stays one (a symmetric graph's halves)."""
    if id(value) in moved:
        return moved[id(value)]
    if isinstance(value, Tensor):
        copy: Any = value.to(device, non_blocking=non_blocking)
    elif isinstance(value, Schedule):
        copy = value.to(device, non_blocking)
    elif isinstance(value, Graph | Transpose | CompactEdges):
        copy = object.__new__(type(value))
        for name, part in vars(value).items():
            object.__setattr__(copy, name, _move(part, device, non_blocking, moved))
    else:
        return value
    moved[id(value)] = copy
    return copy


def _add_loops(edges: EdgeList) -> tuple[EdgeList, Tensor]:
    """The edges without their loops, then every node's loop; and the origin of each [E]."""
    source, target = edges.source, edges.target
    is_loop = source == target
    kept = (~is_loop).nonzero().squeeze(1)
    loops = is_loop.nonzero().squeeze(1)
    nodes = torch.arange(min(edges.num_src, edges.num_dst), device=source.device)
    # A node's loop stands for the first loop the caller passed there, if any.
    none = source.numel()
    first = torch.full_like(nodes, none).scatter_reduce(0, target[loops], loops, "amin")
    origin = torch.cat([kept, first.masked_fill(first == none, -1)])
    source, target = torch.cat([source[kept], nodes]), torch.cat([target[kept], nodes])
    return EdgeList(source, target, edges.num_src, edges.num_dst), origin


def _pointer(index: Tensor, count: int) -> Tensor:
    """CSR pointer [count + 1] of an index [E]."""
    pointer = torch.zeros(count + 1, dtype=torch.int64, device=index.device)
    pointer[1:] = torch.bincount(index, minlength=count).cumsum(0)
    return pointer


def _sort(edges: EdgeList) -> tuple[Tensor, Tensor, Tensor | None]:
    """rowptr, col and perm (None if already sorted) of edges sorted by (target, source)."""
    key = edges.target * max(edges.num_src, 1) + edges.source
    rowptr = _pointer(edges.target, edges.num_dst)
    if bool((key[1:] >= key[:-1]).all()):
        # A copy: the caller may change its edge_index in place later.
        return rowptr, edges.source.clone(), None
    perm = torch.sort(key, stable=True).indices
    return rowptr, edges.source[perm], perm
