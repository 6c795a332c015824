"""Figures from processes of their own: a malloc mode, a number of threads, nothing left over.

`run` starts ``python -m gat.bench.child`` with the name of a function of this room and its
arguments, and gives back what it returned. Everything crosses as JSON.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from gat import errors
from gat.errors import DoesNotFitError, GatError, InputError

__all__ = ["MALLOC", "check_malloc", "is_shortage", "run"]

# How the C library treats freed memory. By default glibc maps large tensors anew each time, and
# page faults dominate; "kept" holds on to what was freed.
MALLOC: dict[str, dict[str, str]] = {
    "default": {},
    "kept": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "99999999999"},
}


def run(
    function: str,
    arguments: dict[str, Any],
    *,
    threads: int,
    malloc: str | None = "default",
    held: bool = True,
) -> Any:
    """What ``function`` ("layer.times", of this room) returns for ``arguments``.

    malloc: a name of `MALLOC`, or None for what this process itself was started with. held: the
    process holds itself to the memory that is free. Errors are raised here as they were there;
    DoesNotFitError if it ran out of memory.
    """
    if malloc is not None:
        check_malloc(malloc)
    with tempfile.TemporaryDirectory(prefix="gat-bench-") as folder:
        answer = Path(folder) / "answer.json"
        job = {"function": function, "arguments": arguments, "threads": threads, "held": held}
        # -P: whatever lies in the folder this was called from is not to be imported.
        command = [sys.executable, "-P", "-m", "gat.bench.child", str(answer)]
        done = subprocess.run(
            command,
            input=json.dumps(job),
            text=True,
            env=_environment(threads, malloc),
            check=False,
        )
        if not answer.exists():
            raise _ended(function, done.returncode)
        said = json.loads(answer.read_text())
    if "error" in said:
        raise getattr(errors, said["error"], GatError)(said["message"])
    return said["result"]


def check_malloc(mode: str) -> None:
    if mode not in MALLOC:
        raise InputError(f"malloc is {mode!r}; expected {' or '.join(MALLOC)}")


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that memory ran out, the GPU's too; torch's own are RuntimeErrors."""
    said = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("allocate memory" in said or "out of memory" in said)
    )


def _environment(threads: int, malloc: str | None) -> dict[str, str]:
    kept = dict(os.environ)
    if malloc is not None:
        kept = {name: value for name, value in kept.items() if not name.startswith("MALLOC_")}
        kept |= MALLOC[malloc]
    places = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    count = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    return {**kept, **count, "PYTHONPATH": os.pathsep.join(filter(None, places))}


def _ended(function: str, code: int) -> BaseException:
    if code == -signal.SIGINT:
        return KeyboardInterrupt()
    if code < 0 or code == 137:
        return DoesNotFitError(
            f"the process that ran {function} was killed (out of memory?); measure a smaller "
            f"graph, or leave out a peer"
        )
    return RuntimeError(f"the process that ran {function} ended with {code}; see the lines above")
