"""Files that people ask for by name: refused before anything is computed, and written whole."""

import contextlib
import os
from pathlib import Path

from gat.errors import InputError

__all__ = ["check_file", "check_folder", "make_folder", "write_whole"]


def check_file(path: Path, example: str) -> Path:
    """``path`` as one that a file can be written to; InputError for a folder, or one in none."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected the name of a file, such as {example}")
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {path.parent}; make it")
    return path


def check_folder(path: Path) -> Path:
    """``path`` as a folder that is there or can be made; InputError for a file."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; expected the name of a folder, there or not")
    return path


def make_folder(path: Path) -> Path:
    """``path`` as a folder, made if it is not there; InputError where it cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{path} cannot be made a folder: {error.strerror or error}; name another one"
        ) from error
    return path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all; InputError where it cannot be."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(
            f"could not write {path} ({len(data)} bytes): {error.strerror or error}; free space, "
            f"mend the permissions or name another file"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
