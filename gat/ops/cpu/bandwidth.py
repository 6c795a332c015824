"""Bytes per second that this machine's memory gives: copying, and reading rows in random order.

What a kernel must move at least, over these, is the time below which it cannot come.
"""

import ctypes
import time
from collections.abc import Callable

import torch
from torch import Tensor

from gat.errors import BackendError
from gat.ops import cpu

__all__ = ["copy_bandwidth", "gather_bandwidth"]


def copy_bandwidth(threads: int | None = None, *, megabytes: int = 400, repeats: int = 7) -> float:
    """Copying ``megabytes`` of float32, read and written both counted; the best of ``repeats``.

    threads: by default torch's number. Raises BackendError without the compiled library.
    """
    copy = _function("gat_cpu_copy", ctypes.c_double)
    threads = torch.get_num_threads() if threads is None else threads
    source = torch.ones(megabytes * 1_000_000 // 4)
    target = torch.empty_like(source)
    count, places = ctypes.c_int64(source.numel()), (_at(source), _at(target))
    return 8 * source.numel() / _best(lambda: copy(threads, count, *places), repeats)


def gather_bandwidth(
    rows: Tensor, num_rows: int, width: int, threads: int | None = None, *, repeats: int = 7
) -> float:
    """Reading rows of ``width`` float32 of a table [num_rows, width], the best of ``repeats``.

    rows: int [E], the rows' numbers in the order they are read (``graph.col``: what an operator
    gathers). Raises BackendError without the compiled library.
    """
    gather = _function("gat_cpu_gather", ctypes.c_float)
    threads = torch.get_num_threads() if threads is None else threads
    rows = rows.to(torch.int32).contiguous()
    table = torch.ones(num_rows, width)
    edges, columns = ctypes.c_int64(rows.numel()), ctypes.c_int64(width)
    seconds = _best(lambda: gather(threads, edges, columns, _at(rows), _at(table)), repeats)
    return 4 * rows.numel() * width / seconds


def _function(name: str, result: type) -> Callable[..., object]:
    library = cpu.library()
    function = getattr(library, name, None)
    if function is None:
        reason = "the library was built before it could" if library else cpu.status().reason
        raise BackendError(f"memory bandwidth cannot be measured: {reason}; {cpu.REMEDY}")
    function.restype = result
    return function


def _at(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _best(run: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest run; the first one, which touches the memory, does not count."""
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
