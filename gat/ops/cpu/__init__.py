"""The compiled CPU library: found, loaded, version-checked. What it computes is `gat.ops`' to say.

A missing library, or one of another version, is no error: the torch path serves, with one line of
notice naming the remedy, given once and only when something asks for the library.
"""

import ctypes
import functools
from dataclasses import dataclass
from pathlib import Path

from gat._version import __version__
from gat.notices import warn_once

__all__ = ["Status", "library", "notice_if_missing", "status"]

REMEDY = (
    "install a C++ compiler (g++ or clang) and then reinstall: `make compile` in a checkout, "
    "else `pip install --force-reinstall --no-deps graph-attention`"
)
SUFFIXES = {".so", ".dylib", ".dll"}


@dataclass(frozen=True)
class Status:
    """Whether the compiled library serves here; if not, ``reason`` and ``remedy`` say what to do.

    ``version`` is the library's own, also where it is refused for being another than expected.
    """

    available: bool
    path: Path | None = None
    version: str | None = None
    reason: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        if self.available:
            return f"compiled CPU library gat_cpu {self.version}: loaded from {self.path}"
        return (
            f"compiled CPU library not used: {self.reason}; attention on the CPU runs through "
            f"torch, which is slower on large graphs than the kernels that are to come in it. "
            f"To mend it, {self.remedy}"
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
        return Status(False, reason="it was not built at install", remedy=REMEDY), None
    attempts = [_open(path, expected) for path in candidates]
    return next((attempt for attempt in attempts if attempt[0].available), attempts[0])


def _open(path: Path, expected: str) -> tuple[Status, ctypes.CDLL | None]:
    # torch first: the library then shares torch's OpenMP runtime instead of loading a second one.
    import torch  # noqa: F401

    try:
        lib = ctypes.CDLL(str(path))
        ask = lib.gat_cpu_version
    except (OSError, AttributeError) as error:
        reason = f"{path} cannot be loaded ({error})"
        return Status(False, path, reason=reason, remedy=REMEDY), None
    ask.restype = ctypes.c_char_p
    version = ask().decode()
    if version != expected:
        reason = f"{path} is of version {version}, expected {expected}"
        return Status(False, path, version, reason, REMEDY), None
    return Status(True, path, version), lib
