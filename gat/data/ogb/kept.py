"""A copy of a data set as plain .npy files, which later loads map instead of reading.

It lies beside the raw files in mapped/KEY, or in the user's cache where that cannot be written. KEY
tells the raw files (names, sizes, times), the card's options and FORMAT, so other files make
another copy. A copy appears whole or not at all. What is checked when it is opened: the manifest's
sha256, every file's size, and the sha256 of its first and last 4 KiB; not what lies between, which
would have to be read.
"""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gat.data.lock import locked
from gat.data.ogb.arrays import Arrays, Facts
from gat.data.ogb.files import Folder
from gat.data.places import cache_dir
from gat.errors import GatError

__all__ = ["Tensors", "kept_or_made"]

Tensors = dict[str, Tensor]
FORMAT = 1
ENDS = 4096
MANIFEST = "manifest.json"
# Seconds; the largest data set takes many minutes to read for the first time.
WAIT = 3600.0


def kept_or_made(folder: Folder, make: Callable[[], tuple[Arrays, Facts]]) -> tuple[Tensors, Facts]:
    """The arrays mapped from their copy, which is made with ``make`` first if there is no good one.

    Writing to a tensor changes memory only, never the file. Where no place can be written the
    arrays come from memory, with a warning.
    """
    places = _places(folder)
    for place in places:
        if found := _opened(place):
            return found
    made, reason = None, None
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with locked(place.parent, "reading the raw files for", wait=WAIT):
                # Another process may have made it meanwhile.
                if found := _opened(place):
                    return found
                made = made or make()
                _write(place, *made)
            if found := _opened(place):
                return found
        except OSError as error:
            if isinstance(error, GatError):
                raise
            reason = error
    arrays, facts = made or make()
    warnings.warn(f"no copy of {folder.title} could be kept: {reason}", stacklevel=2)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}, facts


def _places(folder: Folder) -> list[Path]:
    """Beside the raw files, then the cache, where the key tells the folder too."""
    facts = [str(FORMAT), repr(sorted(folder.card.options.items()))]
    for path in folder.sources():
        status = path.stat()
        facts.append(f"{path.relative_to(folder.path)} {status.st_size} {status.st_mtime_ns}")
    beside, cached = (
        hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
        for lines in (facts, [*facts, str(folder.path.resolve())])
    )
    name = folder.card.name
    return [
        folder.path / "mapped" / f"v{FORMAT}-{beside}",
        cache_dir() / "mapped" / name / f"v{FORMAT}-{cached}",
    ]


def _write(place: Path, arrays: Arrays, facts: Facts) -> None:
    """Write aside, then rename. Only the holder of the lock may."""
    for stray in place.parent.glob(".part-*"):
        shutil.rmtree(stray, ignore_errors=True)
    aside = place.parent / f".part-{os.getpid()}"
    aside.mkdir()
    try:
        for name, array in arrays.items():
            with (aside / f"{name}.npy").open("wb") as stream:
                np.save(stream, array, allow_pickle=False)
                stream.flush()
                os.fsync(stream.fileno())
        files = {path.name: _signs(path) for path in sorted(aside.iterdir())}
        body = json.dumps({"facts": facts, "files": files})
        digest = hashlib.sha256(body.encode()).hexdigest()
        (aside / MANIFEST).write_text(f"{digest}\n{body}", encoding="utf-8")
        if place.exists():
            shutil.rmtree(place)
        os.replace(aside, place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    _forget_older(place)


def _forget_older(place: Path) -> None:
    """Copies beside the raw files that are of other raw files than are there now."""
    if place.parent.parent.joinpath("raw").is_dir():
        for old in place.parent.glob(f"v{FORMAT}-*"):
            if old != place:
                shutil.rmtree(old, ignore_errors=True)


def _signs(path: Path) -> list[int | str]:
    """Size in bytes, and the sha256 of the file's two ends."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        ends = stream.read(ENDS)
        stream.seek(max(0, size - ENDS))
        ends += stream.read(ENDS)
    return [size, hashlib.sha256(ends).hexdigest()]


def _opened(place: Path) -> tuple[Tensors, Facts] | None:
    """What is kept in ``place``; None if nothing is, or it is damaged."""
    try:
        digest, _, body = (place / MANIFEST).read_text(encoding="utf-8").partition("\n")
        if hashlib.sha256(body.encode()).hexdigest() != digest:
            return None
        manifest = json.loads(body)
        for name, signs in manifest["files"].items():
            if _signs(place / name) != signs:
                return None
        tensors = {name.removesuffix(".npy"): _mapped(place / name) for name in manifest["files"]}
    except (OSError, ValueError):
        return None
    return (tensors, manifest["facts"]) if _sound(tensors) else None


def _mapped(path: Path) -> Tensor:
    # Copy on write; an empty file cannot be mapped.
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except ValueError:
        array = np.load(path, allow_pickle=False)
    return torch.from_numpy(array)


def _sound(tensors: Tensors) -> bool:
    """Whether the sorted edges, which no door will check again, stay within their bounds."""
    rowptr, col, nodes = tensors["rowptr"], tensors["col"], len(tensors["x"])
    edges = tensors["edge_index"].shape[1]
    within = [
        (tensor.numel() == 0 or (int(tensor.min()) >= 0 and int(tensor.max()) < bound))
        for tensor, bound in ((col, nodes), (tensors.get("perm", col[:0]), edges))
    ]
    rises = int(rowptr[0]) == 0 and int(rowptr[-1]) == edges and bool((rowptr.diff() >= 0).all())
    return len(rowptr) == nodes + 1 and len(col) == edges and all(within) and rises
