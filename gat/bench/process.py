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
from contextlib import suppress
from pathlib import Path
from typing import Any

from gat import errors
from gat.errors import DoesNotFitError, GatError, InputError

__all__ = ["MALLOC", "Companion", "check_malloc", "is_shortage", "run"]

# How the C library treats freed memory. By default glibc maps large tensors anew each time, and
# page faults dominate; "kept" holds on to what was freed.
MALLOC: dict[str, dict[str, str]] = {
    "default": {},
    "kept": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "99999999999"},
}


def run(function: str, arguments: dict[str, Any], *, threads: int, malloc: str = "default") -> Any:
    """What ``function`` ("layer.times", of this room) returns for ``arguments``.

    Its errors are raised here as they were there; DoesNotFitError if it ran out of memory.
    """
    check_malloc(malloc)
    with tempfile.TemporaryDirectory(prefix="gat-bench-") as folder:
        answer = Path(folder) / "answer.json"
        job = {"function": function, "arguments": arguments, "threads": threads}
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
    return _result(said)


class Companion:
    """A process that takes samples when asked: what ``function`` returns is called there each time.

    It has this process's environment and threads. Use it as a context manager; it ends with the
    block. Errors are raised here as they were there.
    """

    def __init__(self, function: str, arguments: dict[str, Any]) -> None:
        import torch

        threads = torch.get_num_threads()
        job = {"function": function, "arguments": arguments, "threads": threads}
        self._function = function
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "gat.bench.child", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._say(json.dumps(job))
        try:
            self._hear()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> "Companion":
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def sample(self) -> dict[str, float]:
        self._say("sample")
        return self._hear()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        # A process that has ended is noticed when its answer is missing.
        with suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise _ended(self._function, self._process.wait())
        return _result(json.loads(line))


def check_malloc(mode: str) -> None:
    if mode not in MALLOC:
        raise InputError(f"malloc is {mode!r}; expected {' or '.join(MALLOC)}")


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that memory ran out; torch's own is a plain RuntimeError."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )


def _result(said: dict[str, Any]) -> Any:
    if "error" in said:
        raise getattr(errors, said["error"], GatError)(said["message"])
    return said["result"]


def _environment(threads: int, malloc: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    places = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    count = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    return {**kept, **count, **MALLOC[malloc], "PYTHONPATH": os.pathsep.join(filter(None, places))}


def _ended(function: str, code: int) -> BaseException:
    if code == -signal.SIGINT:
        return KeyboardInterrupt()
    if code < 0 or code == 137:
        return DoesNotFitError(
            f"the process that ran {function} was killed (out of memory?); measure a smaller "
            f"graph, or leave out a peer"
        )
    return RuntimeError(f"the process that ran {function} ended with {code}; see the lines above")
