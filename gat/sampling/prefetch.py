"""Work ahead of training: batches made in the background, and the rows of features they need."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from gat.errors import ArgumentTypeError, InputError

__all__ = ["gather", "prefetched"]

T = TypeVar("T")


def prefetched(
    make: Callable[[int], T], steps: Iterable[int], depth: int = 2
) -> Generator[T, None, None]:
    """``make(step)`` for each step in turn, worked out up to ``depth`` ahead in one other thread.

    What make raises is raised here, when its turn has come. Leaving early (break, an exception,
    close) waits for the call under way and makes no more. depth 0: nothing ahead, no thread.

    make has the thread to itself with one torch thread, so that training keeps the cores; what
    torch keeps by thread (no_grad, inference_mode, autocast) is as in a new thread. Raises
    InputError for a depth below 0.
    """
    if depth < 0:
        raise InputError(
            f"depth is {depth}; expected how many results to work out ahead, 0 or more"
        )
    if depth == 0:
        return (make(step) for step in steps)
    return _ahead(make, iter(steps), depth)


def _ahead(make: Callable[[int], T], steps: Iterator[int], depth: int) -> Generator[T, None, None]:
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gat-prefetch")
    try:
        _keep_to_one_core(worker)
        waiting = deque(worker.submit(make, step) for step in islice(steps, depth))
        while waiting:
            first = waiting.popleft()
            # The next is asked for before this one is used, so that it is made meanwhile.
            result = first.result()
            waiting.extend(worker.submit(make, step) for step in islice(steps, 1))
            del first
            yield result
            del result
    finally:
        worker.shutdown(wait=True, cancel_futures=True)


def _keep_to_one_core(worker: ThreadPoolExecutor) -> None:
    """One torch thread for the worker, which would start as many as training has.

    torch.set_num_threads rules the calling thread and those that start later, so the second call
    here gives the latter what they had.
    """
    threads = torch.get_num_threads()
    device = torch.cuda.current_device() if torch.cuda.is_initialized() else None
    worker.submit(_settle, device).result()
    torch.set_num_threads(threads)


def _settle(device: int | None) -> None:
    """Called in the worker."""
    # A thread that has never asked would later be given the common number.
    torch.get_num_threads()
    torch.set_num_threads(1)
    if device is not None:
        # Pinned memory belongs to the thread's device, by default the first.
        torch.cuda.set_device(device)


def gather(x: Tensor, nodes: Tensor, pin: bool = False) -> Tensor:
    """Rows ``nodes`` (int64 [n]) of x [N, ...], a copy on its device; of a CSR matrix, another.

    x may lie in a file: torch.from_numpy(numpy.load(path, mmap_mode="c")) reads the rows that are
    asked for. pin: into pinned memory, where there is a GPU that can fetch it from there.
    Raises ArgumentTypeError for other sparse layouts.
    """
    nodes = nodes.to(x.device)
    if x.layout == torch.sparse_csr:
        return _csr_rows(x, nodes)
    if x.layout != torch.strided:
        raise ArgumentTypeError(
            f"x is {x.layout}; rows can be gathered of a dense tensor or of torch.sparse_csr. "
            "Pass x.to_sparse_csr()"
        )
    pinned = pin and x.device.type == "cpu" and torch.cuda.is_available()
    if not pinned:
        # Not sorted first: a file not in memory is then read now faster, now slower; one that is,
        # at half the speed.
        return x.index_select(0, nodes)
    rows = torch.empty((nodes.numel(), *x.shape[1:]), dtype=x.dtype, pin_memory=True)
    return torch.index_select(x, 0, nodes, out=rows)


def _csr_rows(x: Tensor, nodes: Tensor) -> Tensor:
    starts, columns = x.crow_indices(), x.col_indices()
    counts = starts.diff()[nodes]
    rowptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    # Entry k of the rows together is entry k - rowptr[row] + starts[node] of x.
    shift = (starts[nodes] - rowptr[:-1]).repeat_interleave(counts)
    entry = torch.arange(shift.numel(), device=x.device) + shift
    return torch.sparse_csr_tensor(
        rowptr.to(starts.dtype), columns[entry], x.values()[entry], (nodes.numel(), x.size(1))
    )
