"""Unpacking zip and tar archives from elsewhere: everything is judged before anything is written.

Refused: absolute paths, ``..``, links, devices, encrypted members, and bombs (more bytes than
MAX_BYTES, or a packing ratio that honest data does not reach). Only wanted files are unpacked,
flat, or one folder of the archive with its sub-folders.
"""

import gzip
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from gat.errors import CorruptDataError

__all__ = ["unpack"]

MAX_BYTES = 8 << 30
# Deflate reaches 1032 on zeros; the label files of PPI, mostly zeros, stay far below this.
MAX_RATIO = 250
SMALL = 16 << 20
# File types in a zip made on Unix; other systems write none.
PLAIN = (0, stat.S_IFREG)
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    RuntimeError,
)


def unpack(archive: Path, folder: Path, wanted: Iterable[str], *, top: str | None = None) -> None:
    """Bring the members whose file names are ``wanted`` (at any depth) into ``folder``.

    top: bring everything below this folder of the archive instead, sub-folders kept; ``wanted``
    are paths below it that must be among that.

    Raises CorruptDataError, with nothing written, if any member of the archive is unsafe, a
    wanted one is missing or double, or the archive is damaged. Existing files are replaced.
    """
    wanted = set(wanted)
    aside = Path(tempfile.mkdtemp(prefix=".unpack-", dir=folder))
    try:
        with _opened(archive) as box:
            members = box.members()
            _judge(archive, members)
            chosen = _choose(archive, members, wanted, top)
            for name, member in chosen.items():
                (aside / name).parent.mkdir(parents=True, exist_ok=True)
                # Both libraries read no more than the member's judged size, and check its end.
                with box.open(member["raw"]) as source, (aside / name).open("xb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
        # Folders at once, and raw/ last: whoever sees it finds everything.
        for part in sorted({name.partition("/")[0] for name in chosen}, key=lambda p: p == "raw"):
            if (aside / part).is_dir() and (folder / part).exists():
                shutil.rmtree(folder / part)
            os.replace(aside / part, folder / part)
    except DAMAGE as error:
        raise CorruptDataError(f"the archive {archive} is damaged: {error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


class _Zip:
    def __init__(self, path: Path) -> None:
        self.file = zipfile.ZipFile(path)
        self.open = self.file.open

    def members(self) -> list[dict[str, Any]]:
        return [
            {
                "raw": info,
                "name": info.orig_filename,
                "size": info.file_size,
                "plain": info.is_dir() or stat.S_IFMT(info.external_attr >> 16) in PLAIN,
                "folder": info.is_dir(),
                "locked": bool(info.flag_bits & 1),
            }
            for info in self.file.infolist()
        ]


class _Tar:
    def __init__(self, path: Path) -> None:
        self.file = tarfile.open(path)  # noqa: SIM115 - closed by _opened

    def open(self, info: tarfile.TarInfo) -> IO[bytes]:
        stream = self.file.extractfile(info)
        assert stream is not None, "only plain files are chosen"
        return stream

    def members(self) -> list[dict[str, Any]]:
        return [
            {
                "raw": info,
                "name": info.name,
                "size": info.size,
                "plain": info.isreg() or info.isdir(),
                "folder": info.isdir(),
                "locked": False,
            }
            for info in self.file
        ]


@contextmanager
def _opened(path: Path) -> Iterator["_Zip | _Tar"]:
    box: _Zip | _Tar
    if zipfile.is_zipfile(path):
        box = _Zip(path)
    elif tarfile.is_tarfile(path):
        box = _Tar(path)
    else:
        raise CorruptDataError(f"{path} is neither a zip nor a tar archive")
    with box.file:
        yield box


def _judge(archive: Path, members: list[dict[str, Any]]) -> None:
    """Refuse the whole archive for one unsafe member."""
    total = 0
    for member in members:
        name = member["name"]
        path = PurePosixPath(name.replace("\\", "/"))
        problem = None
        if path.is_absolute() or ":" in name or "\0" in name:
            problem = "has an absolute path"
        elif ".." in path.parts:
            problem = "leads out of the folder (..)"
        elif not member["plain"]:
            problem = "is a link or a device"
        elif member["locked"]:
            problem = "is encrypted"
        if problem:
            raise CorruptDataError(
                f"the archive {archive} was refused: its member {name!r} {problem}; "
                "nothing was unpacked"
            )
        total += member["size"]
    packed = max(1, archive.stat().st_size)
    if total > MAX_BYTES or (total > SMALL and total / packed > MAX_RATIO):
        raise CorruptDataError(
            f"the archive {archive} was refused: {packed} bytes would unpack to {total}, which "
            "honest data does not; nothing was unpacked"
        )


def _choose(
    archive: Path, members: list[dict[str, Any]], wanted: set[str], top: str | None
) -> dict[str, Any]:
    """Members by the path that they get below the folder."""
    chosen: dict[str, Any] = {}
    for member in members:
        path = PurePosixPath(member["name"].replace("\\", "/"))
        below = top is not None and path.parts[:1] == (top,) and len(path.parts) > 1
        name = str(path.relative_to(str(top))) if below else path.name
        if member["folder"] or not (name in wanted if top is None else below):
            continue
        if name in chosen:
            raise CorruptDataError(f"the archive {archive} holds {name} twice")
        chosen[name] = member
    if missing := sorted(wanted - set(chosen)):
        raise CorruptDataError(f"the archive {archive} lacks {', '.join(missing)}")
    return chosen
