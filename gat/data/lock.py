"""One process at a time in a folder: others wait, then are told who keeps them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gat.errors import RunLockedError

__all__ = ["locked"]


@contextmanager
def locked(folder: Path, doing: str, *, wait: float) -> Iterator[None]:
    """Hold ``folder/.lock``; RunLockedError if another process does for ``wait`` seconds.

    doing: what a holder does, for the message, e.g. "fetching into".
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise RunLockedError(
            f"another process has been {doing} {folder} for {wait:.0f} seconds; "
            "wait for it or end it, then try again"
        ) from None
    try:
        yield
    finally:
        lock.release()
