"""Tensors too large for memory, in a temporary file."""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor

from gat.train.checkpoint import SaveError

__all__ = ["room_for"]


def room_for(rows: int, width: int, dtype: torch.dtype, limit: float, stack: ExitStack) -> Tensor:
    """A tensor [rows, width], not filled: in memory up to ``limit`` bytes, else in a file, which is
    gone when ``stack`` is left. Raises SaveError where the disk has no room for it."""
    size = rows * width * dtype.itemsize
    if size <= limit:
        return torch.empty((rows, width), dtype=dtype)
    # Where files that are in use cannot be removed, the system's cleaning will.
    folder = tempfile.TemporaryDirectory(prefix="gat-", ignore_cleanup_errors=True)
    path = Path(stack.enter_context(folder)) / "rows"
    _reserve(path, size)
    return torch.from_file(str(path), True, rows * width, dtype=dtype).view(rows, width)


def _reserve(path: Path, size: int) -> None:
    """Take the room now: a full disk would later end the process without a word."""
    try:
        with open(path, "wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
    except OSError as error:
        raise SaveError(
            f"no room for {size} bytes in {path.parent.parent}, the folder for temporary files: "
            f"{error.strerror or error}; free space, name another folder in TMPDIR, or let more be "
            "kept in memory (bytes, sampling.inference_memory)"
        ) from error
