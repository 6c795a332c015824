"""The compiled sampler's functions, called with tensors: pointers passed, no checks.

`gat.sampling` says what they mean; `sampling.cpp` holds the same struct.
"""

import ctypes
from collections.abc import Callable

import torch
from torch import Tensor

from gat.ops import cpu

__all__ = ["Hop", "add_loops", "enter_nodes", "forget_nodes", "transpose"]

_INT, _POINTER = ctypes.c_int64, ctypes.c_void_p


class Hop(ctypes.Structure):
    """`Hop` of sampling.cpp, field by field."""

    _fields_ = [
        ("wide", _INT),
        ("rowptr", _POINTER),
        ("col", _POINTER),
        ("count", _INT),
        *((name, _POINTER) for name in ("frontier", "tree", "tree_time")),
        *((name, _INT) for name in ("fanout", "replace", "last")),
        ("key", ctypes.c_uint64),
        *((name, _POINTER) for name in ("weight", "edge_time", "node_time", "table")),
        ("known", _INT),
        *((name, _POINTER) for name in ("known_nodes", "known_trees")),
        *((name, _POINTER) for name in ("ends", "source", "edge", "found", "found_trees")),
        ("num_found", _INT),
    ]

    def point(self, **tensors: Tensor | None) -> None:
        """Set pointers by field; the caller keeps the tensors, which are contiguous."""
        for name, tensor in tensors.items():
            if tensor is not None:
                setattr(self, name, tensor.data_ptr())

    def run(self) -> None:
        """Sample; MemoryError where memory is short."""
        if _function("gat_cpu_sample_hop")(ctypes.byref(self)):
            raise MemoryError("no memory for sampling neighbours")


def enter_nodes(table: Tensor, nodes: Tensor) -> int:
    """Number ``nodes`` 0, 1, ... in a table of -1; the place of the first double, or -1."""
    return int(_function("gat_cpu_enter_nodes")(_at(table), _INT(nodes.numel()), _at(nodes)))


def forget_nodes(table: Tensor, nodes: Tensor) -> None:
    """Set the nodes' entries back to -1."""
    _function("gat_cpu_forget_nodes")(_at(table), _INT(nodes.numel()), _at(nodes))


def transpose(
    rowptr: Tensor, col: Tensor, listed: Tensor | None, num_src: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Edges int32, sorted by target, as rowptr, col and listed numbers sorted by source, and where
    there each edge has gone."""
    turned = torch.empty(num_src + 1, dtype=torch.int32, device="cpu")
    targets, number, place = (torch.empty_like(col) for _ in range(3))
    _function("gat_cpu_transpose")(
        _INT(rowptr.numel() - 1), _INT(num_src), _at(rowptr), _at(col), _at(listed),
        _at(turned), _at(targets), _at(number), _at(place),
    )  # fmt: skip
    return turned, targets, number, place


def add_loops(rowptr: Tensor, col: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Edges int32 with every target's loop last in its row: rowptr, col, listed numbers, and the
    origin of each listed edge, as `gat.Graph.with_self_loops` has them."""
    num_dst = rowptr.numel() - 1
    most = col.numel() + num_dst
    looped = torch.empty_like(rowptr)
    sources, number, origin = (torch.empty(most, dtype=torch.int32, device="cpu") for _ in range(3))
    function = _function("gat_cpu_add_loops")
    kept = function(
        _INT(num_dst), _at(rowptr), _at(col), _at(looped), _at(sources), _at(number), _at(origin)
    )
    size = kept + num_dst
    return looped, sources[:size], number[:size], origin[:size]


def _function(name: str) -> Callable[..., int]:
    function = getattr(cpu.library(), name)
    function.restype = _INT
    return function


def _at(tensor: Tensor | None) -> ctypes.c_void_p:
    return _POINTER(None if tensor is None else tensor.data_ptr())
