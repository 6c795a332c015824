"""A copy of a data set as plain .npy files, which later loads map instead of reading.

It lies beside the raw files in mapped/KEY, or in the user's cache where that cannot be written. KEY
tells the raw files (names, sizes, times), the card's options and FORMAT, so other files make
another copy. A copy appears whole or not at all. What is checked when it is opened: the
manifest's sha256, every file's size, the sha256 of its first and last 4 KiB, that arrays fit
together, and that edges which no door will check again stay within their nodes; of the rest nothing
that lies between a file's ends. A copy that fails is made again.
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
from gat.data.ogb.arrays import Arrays, Facts, relation_key
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
        facts = manifest["facts"]
        sound = _fitting(tensors, facts) and _sorted(tensors) and _within(tensors, facts)
    # Whatever files that we did not write may lead to.
    except (OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, RuntimeError):
        return None
    return (tensors, facts) if sound else None


def _mapped(path: Path) -> Tensor:
    # Copy on write; an empty file cannot be mapped.
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except ValueError:
        array = np.load(path, allow_pickle=False)
    return torch.from_numpy(array)


def _fitting(tensors: Tensors, facts: Facts) -> bool:
    """Whether there is a row for each node and edge."""
    nodes, edges = int(facts["nodes"]), tensors["edge_index"].shape[1]
    rows = dict.fromkeys(("x", "y", "train", "val", "test", "year"), nodes)
    rows |= {"edge_attr": edges, "col": edges, "perm": edges, "rowptr": nodes + 1}
    needed = {"x", "y", "train", "val", "test", "col", "rowptr"} <= tensors.keys()
    fits = all(len(tensors[name]) == count for name, count in rows.items() if name in tensors)
    return needed and fits and int(facts["classes"]) >= 0


def _sorted(tensors: Tensors) -> bool:
    """Whether the sorted edges name nodes and edges that there are."""
    rowptr, col = tensors["rowptr"], tensors["col"]
    rises = int(rowptr[0]) == 0 and int(rowptr[-1]) == len(col) and bool((rowptr.diff() >= 0).all())
    perm = tensors.get("perm", col[:0])
    return rises and _below(col, len(rowptr) - 1) and _below(perm, len(col))


def _within(tensors: Tensors, facts: Facts) -> bool:
    """Whether the edges of every relation but the task's own, which its door checks, name nodes."""
    sizes = facts.get("sizes", {})
    for head, relation, tail in facts.get("relations", ()):
        edges = tensors.get(relation_key((head, relation, tail)))
        if edges is not None and not (
            _below(edges[0], sizes[head]) and _below(edges[1], sizes[tail])
        ):
            return False
    return True


def _below(numbers: Tensor, bound: int) -> bool:
    """Whether all are 0 to ``bound`` - 1, in one pass without a temporary."""
    low, high = numbers.aminmax() if numbers.numel() else (0, -1)
    return bool(low >= 0 and high < bound)
