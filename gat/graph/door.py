"""The door: whatever a caller calls edges is checked once and becomes an `EdgeList`.

Nothing behind this file checks an index again, so nothing gets past it that a kernel could trip on.
"""

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from gat.errors import ArgumentTypeError, IndexRangeError, InputError

__all__ = ["EdgeList", "Sizes", "as_pair", "read_edges"]

Sizes = int | tuple[int | None, int | None] | None

INDEX_DTYPES = (torch.int64, torch.int32)


@dataclass(frozen=True)
class EdgeList:
    """Checked edges ``source[e] -> target[e]`` in the caller's order, int64 [E] each."""

    source: Tensor
    target: Tensor
    num_src: int
    num_dst: int


def read_edges(edges: Any, sizes: Sizes = None, *, flow: str = "source_to_target") -> EdgeList:
    """Check ``edges`` and give them as one `EdgeList`.

    ``edges`` is an ``edge_index`` [2, E] (int64 or int32; row 0 sources, row 1 targets), PyG's
    ``EdgeIndex``, a torch sparse COO/CSR/CSC tensor or ``torch_sparse.SparseTensor`` of shape
    [num_dst, num_src] (PyG's ``adj_t``: rows are targets), or a networkx graph, whose nodes are
    numbered in its own order and whose undirected edges count in both directions.

    ``sizes`` is the number of nodes, or (num_src, num_dst) for a bipartite graph; what is not given
    is taken from ``edges``. With ``flow="target_to_source"`` row 1 of an ``edge_index`` holds the
    sources of the messages and row 0 their targets.

    Raises ArgumentTypeError, InputError or IndexRangeError, naming the first bad entry.
    """
    if flow not in ("source_to_target", "target_to_source"):
        raise InputError(f"flow is {flow!r}; expected 'source_to_target' or 'target_to_source'")
    sizes = as_pair(sizes)
    if isinstance(edges, EdgeIndex):
        rows, cols = edges.sparse_size()
        own = (rows, cols) if flow == "source_to_target" else (cols, rows)
        sizes, edges = _merge_sizes(sizes, own), edges.as_tensor()
    if isinstance(edges, Tensor) and edges.layout is torch.strided:
        _check_edge_index(edges)
        source, target = edges[0].long(), edges[1].long()
    else:
        if flow == "target_to_source" and not _is_networkx(edges):
            raise InputError(
                "flow='target_to_source' has no meaning for a sparse matrix, whose rows are the "
                "targets; pass the transposed matrix instead"
            )
        source, target, own_sizes = _read_other(edges)
        sizes = _merge_sizes(sizes, own_sizes)
    if flow == "target_to_source":
        source, target = target, source
    num_src, num_dst = _settle_sizes(sizes, source, target)
    row = 0 if flow == "source_to_target" else 1
    check_range(source, num_src, f"edge_index[{row}]", "source")
    check_range(target, num_dst, f"edge_index[{1 - row}]", "target")
    return EdgeList(source, target, num_src, num_dst)


def _check_edge_index(edge_index: Tensor) -> None:
    if edge_index.dtype not in INDEX_DTYPES:
        raise ArgumentTypeError(
            f"edge_index has dtype {edge_index.dtype}; expected torch.int64 or torch.int32 node "
            f"numbers (convert with edge_index.long())"
        )
    if edge_index.dim() != 2 or edge_index.size(0) != 2:
        shape = list(edge_index.shape)
        transposed = edge_index.dim() == 2 and edge_index.size(1) == 2
        hint = "; it looks transposed: pass edge_index.t()" if transposed else ""
        raise InputError(
            f"edge_index has shape {shape}; expected [2, E], sources in row 0 and targets in "
            f"row 1{hint}"
        )


def _is_networkx(edges: Any) -> bool:
    # By name, so that networkx is imported only by those who use it.
    return any(c.__module__.startswith("networkx.") for c in type(edges).__mro__)


def _read_other(edges: Any) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Sources, targets and sizes of a sparse matrix [num_dst, num_src] or networkx graph."""
    if isinstance(edges, Tensor):
        target, source = _sparse_indices(edges)
        return source, target, (edges.size(1), edges.size(0))
    if _is_networkx(edges):
        number = {node: k for k, node in enumerate(edges.nodes)}
        pairs = [(number[u], number[v]) for u, v in edges.edges()]
        if not edges.is_directed():
            pairs += [(v, u) for u, v in pairs if u != v]
        index = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
        return index[:, 0], index[:, 1], (len(number), len(number))
    if type(edges).__name__ == "SparseTensor" and hasattr(edges, "coo"):
        target, source, _ = edges.coo()
        return source.long(), target.long(), (edges.size(1), edges.size(0))
    raise ArgumentTypeError(
        f"edges are of type {type(edges).__name__}; expected an edge_index tensor [2, E], a "
        f"torch sparse matrix [num_dst, num_src], a networkx graph or a gat.Graph "
        f"(a numpy array becomes a tensor with torch.from_numpy)"
    )


def _sparse_indices(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of the stored entries, in storage order."""
    if matrix.layout is torch.sparse_coo:
        rows, cols = matrix._indices()  # keeps parallel edges, which coalescing would add up
        return rows, cols
    if matrix.layout is torch.sparse_csr:
        return _compressed(matrix, "row", matrix.crow_indices(), "column", matrix.col_indices())
    if matrix.layout is torch.sparse_csc:
        given = _compressed(matrix, "column", matrix.ccol_indices(), "row", matrix.row_indices())
        return given[1], given[0]
    raise ArgumentTypeError(
        f"the sparse matrix has layout {matrix.layout}; expected COO, CSR or CSC "
        f"(convert with matrix.to_sparse_csr())"
    )


def _compressed(
    matrix: Tensor, outer: str, pointer: Tensor, inner: str, index: Tensor
) -> tuple[Tensor, Tensor]:
    """Checked outer and inner numbers of the entries of a CSR matrix (outer rows) or a CSC one.

    torch makes such a matrix of any numbers unless it is asked to check them.
    """
    if pointer.dim() != 1:
        raise InputError(
            f"the sparse matrix has shape {list(matrix.shape)}; expected one matrix, not a batch"
        )
    size = matrix.size(1 if outer == "row" else 0)
    counts = pointer.diff()
    sound = int(pointer[0]) == 0 and int(pointer[-1]) == index.numel()
    if not sound or bool((counts < 0).any()):
        raise InputError(
            f"the sparse matrix's {outer} pointers do not rise from 0 to {index.numel()}, the "
            f"number of its entries; build it with check_invariants=True to see what is wrong"
        )
    wrong = (index < 0) | (index >= size)
    if bool(wrong.any()):
        position = int(wrong.nonzero()[0])
        raise IndexRangeError(
            f"entry {position} of the sparse matrix is in {inner} {int(index[position])}, outside "
            f"[0, {size}); its shape is {list(matrix.shape)}. Check that {inner}s are counted "
            f"from 0"
        )
    numbers = torch.arange(counts.numel(), device=pointer.device).repeat_interleave(counts)
    return numbers, index.long()


def as_pair(sizes: Any) -> tuple[int | None, int | None]:
    """(num_src, num_dst) from a number, a pair or None; numpy's and torch's integers count."""
    pair = tuple(sizes) if isinstance(sizes, tuple | list | torch.Size) else (sizes, sizes)
    try:
        num_src, num_dst = (size if size is None else _index(size) for size in pair)
    except (TypeError, ValueError):
        raise ArgumentTypeError(
            f"the number of nodes is {sizes!r}; expected a number, or (num_src, num_dst)"
        ) from None
    for role, size in (("source", num_src), ("target", num_dst)):
        if size is not None and size < 0:
            raise InputError(f"the number of {role} nodes is {size}; expected 0 or more")
    return num_src, num_dst


def _index(size: Any) -> Any:
    # A size that is being traced stays one: as a number it would hold for this graph alone.
    return size if isinstance(size, int | torch.SymInt) else operator.index(size)


def _merge_sizes(
    asked: tuple[int | None, int | None], own: tuple[int | None, int | None]
) -> tuple[int | None, int | None]:
    """The caller's sizes where given, else those the object itself has; a conflict is refused."""
    merged = []
    for name, given, known in zip(("sources", "targets"), asked, own, strict=True):
        if given is not None and known is not None and given != known:
            raise InputError(f"the number of {name} is given as {given}, but the edges say {known}")
        merged.append(known if given is None else given)
    return merged[0], merged[1]


def _settle_sizes(
    sizes: tuple[int | None, int | None], source: Tensor, target: Tensor
) -> tuple[int, int]:
    """Sizes that are not given, from the edges: of both sides at once if neither is."""
    num_src, num_dst = sizes
    if num_src is None and num_dst is None:
        num_src = num_dst = max(_needed(source), _needed(target))
    return (
        _needed(source) if num_src is None else num_src,
        _needed(target) if num_dst is None else num_dst,
    )


def _needed(index: Tensor) -> int:
    return 1 + int(index.max()) if index.numel() else 0


def check_range(index: Tensor, size: int, name: str, role: str) -> None:
    """Refuse an index outside [0, size), naming the first bad entry and its position."""
    if index.numel() == 0:
        return
    low, high = torch.aminmax(index)
    if int(low) >= 0 and int(high) < size:
        return
    position = int(((index < 0) | (index >= size)).nonzero()[0])
    raise IndexRangeError(
        f"{name}, position {position}, names {role} node {int(index[position])}, outside "
        f"[0, {size}): the graph has {size} {role} nodes. Check that node numbers start at 0 and "
        f"that the features have one row per node"
    )
