"""Memory of this process, bytes: what is held, the peak of a call, a limit."""

import ctypes
import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gat.machine import field, resident

__all__ = ["Peak", "hold_to", "peak_over"]


class Peak(NamedTuple):
    """Bytes above what was held before. ``exact`` False: the system tells only the peak of the
    process's whole life, so this is an upper bound. total: the most that the process ever held, the
    parts of mapped files that it has read included."""

    bytes: int
    exact: bool
    total: int


def hold_to(size: int) -> None:
    """Let this process fail with an error rather than take more than ``size``; where it can be set.

    The kernel's answer to memory that runs out is to kill some process, which may be another.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    with suppress(ImportError, OSError, ValueError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard == resource.RLIM_INFINITY or size <= hard:
            resource.setrlimit(resource.RLIMIT_DATA, (size, hard))


def peak_over(run: Callable[[], object]) -> Peak:
    """The most that ``run`` held beyond what was held before it, its result included."""
    gc.collect()
    # Memory freed but not given back would hide as much of what `run` takes.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    earlier = _peak()
    exact = _reset_peak()
    before = resident()
    result = run()
    peak = _peak()
    del result
    return Peak(max(0, peak - before), exact, max(peak, earlier))


def _reset_peak() -> bool:
    """Whether the peak was set back to what is held now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return field("/proc/self/status", "VmHWM:") is not None


def _peak() -> int:
    peak = field("/proc/self/status", "VmHWM:")
    if peak is not None:
        return peak
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    # macOS counts bytes, the others KiB.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
