"""A folder that holds attention on disk: its numbered files, its index, its one writer.

``000001.edges.arrow`` and ``000001.nodes.arrow`` hold a record, ``index.json`` says which numbers
count. A new attention gets new numbers beside the old one's, and the index is replaced last: at
whatever moment a process dies the index names whole files, the old ones or the new. Layers' names
stand inside the files and the index, never in a file's name. What the files hold is the business of
`gat.inspection.storing.arrow_files`.
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from gat._version import __version__
from gat.errors import CorruptDataError, InputError, RunLockedError

__all__ = ["AttentionFolder", "Entry", "leftovers", "read_index"]

INDEX, LOCK = "index.json", ".lock"
KIND, FORMAT = "attention", 1
RECORD = re.compile(r"(\d{6,})\.(edges\.arrow|nodes\.arrow|scratch)")


@dataclass(frozen=True)
class Entry:
    """A record in the index: its number, its layer, and the sizes of its two files in bytes."""

    number: int
    layer: str
    edge_type: list[str] | None
    edges_bytes: int
    nodes_bytes: int

    def files(self, folder: Path) -> tuple[Path, Path]:
        """The file of its edges and that of its nodes."""
        return folder / f"{self.number:06d}.edges.arrow", folder / f"{self.number:06d}.nodes.arrow"


class AttentionFolder:
    """A folder open for writing: made if missing, locked against other processes until closed.

    What was not committed is removed when it is closed; what a killed process left, when it is next
    opened. Raises InputError for a folder that holds other things, RunLockedError while another
    process writes here.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).resolve()
        _refuse_foreign(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        # One lock object for all of this process: a recording has a spool for each layer.
        self._lock = FileLock(self.path / LOCK, timeout=0, thread_local=False, is_singleton=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise RunLockedError(
                f"another process is writing attention to {self.path}; wait for it to end, or "
                f"choose another folder"
            ) from None
        self._clean_if_alone()

    def __enter__(self) -> "AttentionFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._clean_if_alone()
        self._lock.release()

    def claim(self) -> Path:
        """A new scratch folder, whose name holds the number of the record to come."""
        while True:
            scratch = self.path / f"{max(_numbers(self.path), default=0) + 1:06d}.scratch"
            with contextlib.suppress(FileExistsError):  # another thread was faster
                scratch.mkdir()
                return scratch

    def keep(self, scratch: Path, layer: str, edge_type: Iterable[str] | None) -> Entry:
        """Move the record written in ``scratch`` to its place; it counts once it is committed."""
        sizes = [(scratch / name).stat().st_size for name in ("edges.arrow", "nodes.arrow")]
        kind = None if edge_type is None else list(edge_type)
        entry = Entry(int(scratch.stem), layer, kind, *sizes)
        for path in entry.files(self.path):
            _sync(scratch / path.name.partition(".")[2])
            os.replace(scratch / path.name.partition(".")[2], path)
        return entry

    def commit(self, entries: Iterable[Entry]) -> None:
        """Make these records the folder's attention, then remove the files of the one before."""
        before, records = self._listed(), [asdict(entry) for entry in entries]
        index = {"kind": KIND, "format": FORMAT, "gat": __version__, "records": records}
        temporary = self.path / f".{INDEX}.tmp"
        temporary.write_text(json.dumps(index, indent=1) + "\n", encoding="ascii")
        _sync(temporary)
        os.replace(temporary, self.path / INDEX)
        if os.name == "posix":  # makes the rename last; elsewhere a folder cannot be opened
            _sync(self.path)
        kept = {entry["number"] for entry in records}
        for entry in before:
            if entry.number not in kept:
                _remove(entry.files(self.path))

    def _listed(self) -> list[Entry]:
        # A damaged index keeps nobody from saving anew.
        with contextlib.suppress(CorruptDataError, FileNotFoundError):
            return read_index(self.path)
        return []

    def _clean_if_alone(self) -> None:
        """Remove scratch and records that no index names, unless this process is still at them."""
        if self._lock.lock_counter > 1:
            return
        try:
            listed = {entry.number for entry in read_index(self.path)}
        except FileNotFoundError:
            listed = set()
        except CorruptDataError:
            return  # somebody may mend the index, as long as there is no new one
        for path in list(self.path.iterdir()):
            name = RECORD.fullmatch(path.name)
            if name and name[2] == "scratch":
                shutil.rmtree(path, ignore_errors=True)
            elif name and int(name[1]) not in listed:
                _remove([path])


def read_index(folder: Path) -> list[Entry]:
    """The records that count. Raises CorruptDataError, and FileNotFoundError without an index."""
    path = folder / INDEX
    try:
        index = json.loads(path.read_bytes())
        if index["kind"] != KIND:
            raise ValueError(f"kind is {index['kind']!r}; expected {KIND!r}")
        if index["format"] == FORMAT:
            entries = [Entry(**entry) for entry in index["records"]]
            if not all(_sound(entry) for entry in entries):
                raise ValueError("unexpected values")
            return entries
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptDataError(
            f"{path} is not the index of an attention folder ({error}); restore it from a copy, or "
            f"record the attention again"
        ) from None
    raise CorruptDataError(
        f"{path}: format {index['format']!r} is not the one this version of gat reads ({FORMAT}); "
        f"use the version that wrote it, {index.get('gat')}"
    )


def leftovers(folder: Path) -> list[str]:
    """The names of what a recording or saving that is not completed has in the folder."""
    return sorted(path.name for path in folder.iterdir() if RECORD.fullmatch(path.name))


def _sync(path: Path) -> None:
    """Have the system write a file or folder to the disk now."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sound(entry: Entry) -> bool:
    numbers = (entry.number, entry.edges_bytes, entry.nodes_bytes)
    return all(type(number) is int and number >= 0 for number in numbers)


def _numbers(folder: Path) -> list[int]:
    return [int(name[1]) for path in folder.iterdir() if (name := RECORD.fullmatch(path.name))]


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        # Windows keeps a file that is mapped; the next writer removes it.
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _refuse_foreign(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; expected a folder for the attention: name another")
    names = sorted(path.name for path in folder.iterdir())
    ours = {name for name in names if RECORD.fullmatch(name)} | {LOCK, f".{INDEX}.tmp"}
    if INDEX in names:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            if json.loads((folder / INDEX).read_bytes())["kind"] == KIND:
                return
        # An index torn by a disk is ours if nothing but records lies beside it.
        ours |= {INDEX} if any(RECORD.fullmatch(name) for name in names) else set()
    foreign = [name for name in names if name not in ours]
    if foreign:
        raise InputError(
            f"{folder} is not an attention folder: it holds {', '.join(foreign[:3])}"
            f"{' and more' if len(foreign) > 3 else ''}; nothing was written. Choose a new or "
            f"empty folder"
        )
