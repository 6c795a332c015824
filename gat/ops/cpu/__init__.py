"""The compiled CPU library: found, loaded, checked to be of this build. `kernels.py` calls it.

A missing library, or one of another build, is no error: the torch path serves, with one line of
notice naming the remedy, given once and only when something asks for the library.

The environment's ``GAT_CPU_LIBRARY`` names a folder that holds another build of it, to be used
instead of the installed one (`make sanitize` does). ``GAT_CPU_INSTRUCTIONS`` names the instruction
set to compute with; one that is unknown, or that the machine lacks, is refused.
"""

import ctypes
import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gat._version import __version__
from gat.notices import warn_once

__all__ = ["Status", "library", "notice_if_missing", "status"]

REMEDY = (
    "install a C++ compiler (g++ or clang) and then reinstall: `make compile` in a checkout, "
    "else `pip install --force-reinstall --no-deps graph-attention`"
)
SUFFIXES = {".so", ".dylib", ".dll"}
FOLDER = "GAT_CPU_LIBRARY"
INSTRUCTIONS = "GAT_CPU_INSTRUCTIONS"


@dataclass(frozen=True)
class Status:
    """Whether the compiled library serves here; if not, ``reason`` and ``remedy`` say what to do.

    ``version`` is the library's own, also where it is refused for being another than expected;
    ``instructions`` the instruction set it chose for this machine: "x86-64-v4".
    """

    available: bool
    path: Path | None = None
    version: str | None = None
    reason: str = ""
    remedy: str = ""
    instructions: str = ""

    def __str__(self) -> str:
        if self.available:
            return (
                f"compiled CPU library gat_cpu {self.version} ({self.instructions}): loaded from "
                f"{self.path}"
            )
        return (
            f"compiled CPU library not used: {self.reason}; attention on the CPU runs through "
            f"torch, several times slower. To mend it, {self.remedy}"
        )


def status() -> Status:
    """Where the library is and whether it serves; loads it at the first call."""
    return _load(_folders(), __version__)[0]


def library() -> ctypes.CDLL | None:
    """The loaded library, or None after one notice that says why and names the remedy."""
    found, lib = _load(_folders(), __version__)
    if not found.available:
        warn_once(str(found), RuntimeWarning)
    return lib


def notice_if_missing() -> bool:
    """Give the notice if the library does not serve; True if it serves."""
    return library() is not None


def _folders() -> tuple[Path, ...]:
    if named := os.environ.get(FOLDER):
        return (Path(named),)
    # An editable install has two: the checkout, and the one that holds what was built.
    return tuple(Path(folder) for folder in __path__)


@functools.cache
def _load(folders: tuple[Path, ...], expected: str) -> tuple[Status, ctypes.CDLL | None]:
    candidates = [
        path
        for folder in folders
        for path in sorted(folder.glob("gat_cpu.*"))
        if path.suffix in SUFFIXES
    ]
    if not candidates:
        return _none_found(), None
    attempts = [_open(path, expected) for path in candidates]
    return next((attempt for attempt in attempts if attempt[0].available), attempts[0])


def _none_found() -> Status:
    if named := os.environ.get(FOLDER):
        reason = f"there is none in the folder {named} that {FOLDER} names"
        return Status(False, reason=reason, remedy=f"unset {FOLDER} or name the library's folder")
    return Status(False, reason="it was not built at install", remedy=REMEDY)


def _open(path: Path, expected: str) -> tuple[Status, ctypes.CDLL | None]:
    # torch first: the library then shares torch's OpenMP runtime instead of loading a second one.
    import torch  # noqa: F401

    try:
        lib = ctypes.CDLL(str(path))
        version = _ask(lib, "gat_cpu_version", ctypes.c_char_p).decode()
        if version != expected:
            reason = f"{path} is of version {version}, expected {expected}"
            return Status(False, path, version, reason, REMEDY), None
        if reason := _of_another_build(lib):
            return Status(False, path, version, f"{path} {reason}", REMEDY), None
        instructions = _ask(lib, "gat_cpu_instructions", ctypes.c_char_p)
        if instructions is None:
            return _refused(path, version, lib), None
    except (OSError, AttributeError) as error:
        reason = f"{path} cannot be loaded ({error})"
        return Status(False, path, reason=reason, remedy=REMEDY), None
    return Status(True, path, version, instructions=instructions.decode()), lib


def _refused(path: Path, version: str, lib: ctypes.CDLL) -> Status:
    """For an instruction set that is unknown or not to be had here."""
    possible = _ask(lib, "gat_cpu_possible_instructions", ctypes.c_char_p).decode()
    reason = f"{INSTRUCTIONS} is {os.environ.get(INSTRUCTIONS)!r}; possible here: {possible}"
    return Status(False, path, version, reason, f"unset {INSTRUCTIONS} or name one of these")


def _ask(lib: ctypes.CDLL, name: str, result: type) -> Any:
    function = getattr(lib, name)
    function.restype = result
    return function()


def _of_another_build(lib: ctypes.CDLL) -> str:
    """Why calls cannot be passed to it: a struct read as another would crash. "" if they can."""
    from gat.ops.cpu.kernels import Call
    from gat.ops.cpu.sampling import Hop

    for name, struct in (("call", Call), ("hop", Hop)):
        size = _ask(lib, f"gat_cpu_{name}_size", ctypes.c_longlong)
        if size != (expected := ctypes.sizeof(struct)):
            return f"is of another build: it reads {name}s of {size} bytes, expected {expected}"
    return ""
