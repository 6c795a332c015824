"""What a process started by `process.run` does: it calls one function of this room and ends."""

import importlib
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gat.bench.memory import hold_to
from gat.bench.process import is_shortage
from gat.errors import GatError
from gat.machine import available

__all__ = ["fill", "main", "probe"]

# Share of the free memory that the process may take.
SHARE = 0.95


def _prepare(job: dict[str, Any]) -> Callable[..., Any]:
    """The function a job names, in a process made ready for it."""
    import torch

    torch.set_num_threads(job["threads"])
    # Said once, by the process that started this one.
    warnings.filterwarnings("ignore", "compiled CPU library", RuntimeWarning)
    # torch's own, at the first sparse tensor; nobody here can act on it.
    warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
    free = available() if job["held"] else None
    if free is not None:
        hold_to(int(free * SHARE))
    module, _, name = job["function"].partition(".")
    return getattr(importlib.import_module(f"gat.bench.{module}"), name)


def _answer(function: str, call: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """What ``call(**given)`` returned, or the error it raised, as JSON can hold it."""
    try:
        return {"result": call(**given)}
    except GatError as error:
        return {"error": type(error).__name__, "message": str(error)}
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        sentence = (
            f"{function} needs more memory than is free ({str(error).splitlines()[0]}); "
            "measure a smaller graph, or leave out a peer"
        )
        return {"error": "DoesNotFitError", "message": sentence}


def main() -> int:
    # Ctrl-C reaches the whole group of processes; the one that started this one answers it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    job = json.loads(sys.stdin.read())
    answer = _answer(job["function"], _prepare(job), job["arguments"])
    Path(sys.argv[1]).write_text(json.dumps(answer))
    return 0


def probe(megabytes: int = 64) -> dict[str, Any]:
    """What is true in this process: malloc settings, threads, and page faults per MiB of memory
    that was freed and is taken again (0 where it is kept, 256 where it is mapped anew)."""
    import ctypes

    import torch

    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    size, faults = ctypes.c_size_t(megabytes << 20), 0
    for _ in range(3):
        before = _faults()
        place = ctypes.c_void_p(libc.malloc(size))
        libc.memset(place, 1, size)
        faults = _faults() - before
        libc.free(place)
    return {
        "malloc": {k: v for k, v in os.environ.items() if k.startswith("MALLOC_")},
        "threads": torch.get_num_threads(),
        "faults": faults / megabytes,
    }


def fill(gibibytes: int) -> int:
    """Take that much memory at once."""
    import torch

    return torch.empty(gibibytes << 28).numel()


def _faults() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


if __name__ == "__main__":
    sys.exit(main())
