"""What is measured on a GPU: time by device events, memory of torch's allocator, bandwidth.

A GPU computes after the call that asked for it has returned, so no clock of the host is read, and
malloc's modes make no difference.
"""

import gc
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from typing import Any

import torch
from torch import Tensor
from torch.autograd import grad

from gat.bench import timing
from gat.bench.memory import Peak
from gat.bench.process import is_shortage
from gat.errors import BackendError, DoesNotFitError

__all__ = [
    "Sampler",
    "check_device",
    "copy_bandwidth",
    "flusher",
    "gather_bandwidth",
    "name",
    "peak_over",
    "told",
    "with_backward",
]

# Runs of a sample that is asked for: one takes milliseconds, and the median of many is steady.
RUNS = 15
# Runs and seconds that warm up before each turn: kernels are compiled and memory is taken in the
# first ones, and the clock of a GPU that was idle rises over the next.
WARM_RUNS = 3
WARM_SECONDS = 0.5
# Bytes that are written between runs, and how many times the cache that is at least.
FLUSHED = 512 << 20
CACHES = 4
# Bytes that are copied, or of rows that are gathered.
MOVED = 4 << 30


def check_device(device: str) -> None:
    """Refuse a device that is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise BackendError(
            f"device 'cuda' was asked for, and torch {torch.__version__} sees no GPU here; measure "
            "on a machine with an NVIDIA GPU and a torch built for CUDA, or with --device cpu"
        )


def name() -> str:
    """Of the GPU that torch computes on; "" where there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def told() -> dict[str, Any]:
    """The GPU's name, and what computes for it, as `record.Gpu` has them."""
    triton = None
    with suppress(metadata.PackageNotFoundError):
        triton = metadata.version("triton")
    return {"name": name(), "cuda": torch.version.cuda, "driver": _driver(), "triton": triton}


def _driver() -> str | None:
    """Version of the NVIDIA driver; None where nvidia-smi does not tell."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return said.stdout.splitlines()[0].strip() if said.stdout.strip() else None
    return None


def flusher() -> Callable[[], object]:
    """Writes so much that nothing else is left in the GPU's cache."""
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    size = max(FLUSHED, CACHES * getattr(properties, "L2_cache_size", 0))
    return torch.empty(size, dtype=torch.uint8, device="cuda").zero_


def with_backward(
    forward: Callable[[], Tensor],
    leaves: list[Tensor],
    grad_out: Tensor,
    flush: Callable[[], object],
) -> timing.Run:
    """A run of ``forward`` and its backward to ``leaves``, which finds a cache without its data.

    All three marks are in the stream before the host waits, so its own pace shows only where it
    falls behind the GPU.
    """

    def run() -> timing.Parts:
        flush()
        start, middle, end = (torch.cuda.Event(enable_timing=True) for _ in range(3))
        start.record()
        out = forward()
        middle.record()
        grad(out, leaves, grad_out)
        end.record()
        end.synchronize()
        return {
            "forward": _seconds(start, middle),
            "backward": _seconds(middle, end),
            "together": _seconds(start, end),
        }

    return run


def _seconds(start: torch.cuda.Event, end: torch.cuda.Event) -> float:
    return 1e-3 * start.elapsed_time(end)


class Sampler:
    """Samples of the run that ``prepare`` makes at the first call, RUNS for each that is asked for;
    every call warms up before, since other peers had their turns."""

    def __init__(self, prepare: Callable[[], timing.Run]) -> None:
        self.prepare = prepare
        self.run: timing.Run | None = None

    def __call__(self, count: int) -> list[timing.Parts]:
        """Raises DoesNotFitError where the GPU's memory is too small."""
        try:
            self.run = self.run or self.prepare()
            with timing.quiet():
                _warm(self.run)
                return [self.run() for _ in range(count * RUNS)]
        except RuntimeError as error:
            if not is_shortage(error):
                raise
            raise DoesNotFitError(str(error).splitlines()[0]) from None
        finally:
            # What this peer let go of is the next one's to take.
            torch.cuda.empty_cache()


def _warm(run: timing.Run) -> None:
    until, count = time.perf_counter() + WARM_SECONDS, 0
    while count < WARM_RUNS or time.perf_counter() < until:
        run()
        count += 1


def peak_over(run: Callable[[], object]) -> Peak:
    """The most that ``run`` held in the GPU's memory beyond what was held before it, its result
    included; tensors, not what the allocator keeps beside them."""
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = run()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated()
    del result
    return Peak(peak - before, True, peak)


def copy_bandwidth(device: str = "cuda", repeats: int = 20) -> float:
    """Bytes a second of a copy from the GPU's memory to it, read and written both counted; the
    best of ``repeats``."""
    size = _moved() // 8
    source = torch.randn(size, device=device)
    target = torch.empty_like(source)
    return 8 * size / _best(lambda: target.copy_(source), repeats)


def gather_bandwidth(
    rows: Tensor, num_rows: int, width: int, dtype: torch.dtype, repeats: int = 20
) -> float:
    """Bytes a second of `torch.index_select` of rows [width] of a table [num_rows, width], read and
    written both counted; the best of ``repeats``.

    rows: int [E], the rows' numbers in the order they are read; the first ones, where all are many.
    """
    each = 2 * width * dtype.itemsize
    rows = rows[: max(1, _moved() // each)]
    table = torch.randn(num_rows, width, device=rows.device).to(dtype)
    out = table.new_empty(rows.numel(), width)
    return rows.numel() * each / _best(lambda: torch.index_select(table, 0, rows, out=out), repeats)


def _moved() -> int:
    """MOVED, or what a GPU with less memory has free for it and its kin."""
    free, _ = torch.cuda.mem_get_info()
    return min(MOVED, free // 4)


def _best(call: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest run, each with the cache flushed."""
    flush, seconds = flusher(), []
    for _ in range(WARM_RUNS + repeats):
        flush()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        seconds.append(_seconds(start, end))
    return min(seconds[WARM_RUNS:])
