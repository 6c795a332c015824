"""Fetching raw files: verified https, size and sha256, temporary file then rename, one retry.

A file appears under its name only when it is whole and checked; damaged ones are removed. http://
is allowed for this machine itself only (tests). Offline, the error comes within 30 seconds and
says where to put the file by hand. Nothing here ever asks a question.
"""

import http.client
import os
import queue
import shutil
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gat.data.archive import unpack
from gat.data.catalog import Archive, Card, RawFile
from gat.data.lock import locked
from gat.data.places import check_file
from gat.errors import CorruptDataError, DownloadError, GatError

__all__ = ["fetch_card", "fetch_file"]

# Seconds. Two attempts of ANSWER and a PAUSE stay below 30.
ANSWER, SILENCE, PAUSE = 12.0, 10.0, 1.0
ATTEMPTS = 2
LOCK_WAIT = 600.0
# A transfer slower than this (bytes a second, looked at after SILENCE seconds) is given up.
SLOWEST = 256
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class _FinalError(Exception):
    """Not worth a second attempt."""


def fetch_card(card: Card, folder: Path) -> None:
    """Bring every file of ``card`` into ``folder``; other processes wait at the lock meanwhile."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder, "fetching into", wait=LOCK_WAIT):
            _clear_strays(folder)
            missing = [file for file in card.files if not (folder / file.name).exists()]
            if missing and card.archive:
                _fetch_archive(card, card.archive, folder)
            for file in missing if not card.archive else ():
                fetch_file(file, folder, file.name)
    except OSError as error:
        if isinstance(error, GatError):
            raise
        raise DownloadError(
            f"cannot write {card.name} into {folder}: {error.strerror}; name another folder "
            "with root= or the environment variable GAT_CACHE"
        ) from error


def fetch_file(
    file: RawFile | Archive, folder: Path, name: str, by_hand: str | None = None
) -> Path:
    """Download one file into ``folder``, check it, and only then call it ``name``.

    by_hand: what a user may do with a copy, for messages; by default, put it where it belongs.
    Raises DownloadError (network) or CorruptDataError (damaged, after one more attempt).
    """
    target = folder / name
    by_hand = by_hand or f"put it at {target}"
    if not file.url:
        raise DownloadError(f"no URL is known for {name}; {by_hand}")
    _check_url(file.url)
    for attempt in range(1, ATTEMPTS + 1):
        part = folder / f".{name}.part-{os.getpid()}"
        try:
            _transfer(file.url, part, file.size)
            _check_part(part, file, name)
            os.replace(part, target)
            return target
        except PermissionError:
            raise
        except (_FinalError, CorruptDataError, OSError, http.client.HTTPException) as error:
            if attempt == ATTEMPTS or isinstance(error, _FinalError):
                raise _explain(error, file.url, by_hand) from error
            time.sleep(PAUSE)
        finally:
            part.unlink(missing_ok=True)
    raise AssertionError("unreachable")


def _explain(error: Exception, url: str, by_hand: str) -> Exception:
    if isinstance(error, CorruptDataError):
        return CorruptDataError(
            f"{url} gave a damaged file {ATTEMPTS} times: {error}. It was removed. "
            f"Try later, or get a good copy elsewhere and {by_hand}."
        )
    reason = getattr(error, "reason", None) or error
    return DownloadError(
        f"could not download {url}: {reason}. Without network, fetch it elsewhere and "
        f"{by_hand}, or in the same layout under the folder named by GAT_DATA."
    )


def _clear_strays(folder: Path) -> None:
    """Remove what a killed process left; only the holder of the lock may."""
    for stray in [*folder.glob(".*.part-*"), *folder.glob("*.fetched")]:
        stray.unlink(missing_ok=True)
    for stray in folder.glob(".unpack-*"):
        shutil.rmtree(stray, ignore_errors=True)


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return
    raise DownloadError(f"{url} is refused: data is fetched over https only")


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        _check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(url: str) -> urllib.request.OpenerDirector:
    context = ssl.create_default_context()
    # Python of some platforms has no certificates of its own; certifi's are the usual remedy.
    with suppress(ImportError):
        import certifi

        context.load_verify_locations(certifi.where())
    handlers: list[Any] = [_CheckedRedirects, urllib.request.HTTPSHandler(context=context)]
    if urlsplit(url).hostname in LOOPBACK:
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _open(url: str) -> http.client.HTTPResponse:
    """The answer to a GET, within ANSWER seconds, name look-up (which has no timeout) included."""
    request = urllib.request.Request(
        url, headers={"User-Agent": "graph-attention", "Accept-Encoding": "identity"}
    )
    box: queue.Queue[Any] = queue.Queue()

    def ask() -> None:
        try:
            box.put(_opener(url).open(request, timeout=SILENCE))
        except BaseException as error:
            box.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = box.get(timeout=ANSWER)
    except queue.Empty:
        raise TimeoutError(f"no answer in {ANSWER:.0f} seconds") from None
    if isinstance(answer, urllib.error.HTTPError) and answer.code < 500 and answer.code != 429:
        raise _FinalError(f"the server says {answer.code} {answer.reason}")
    if isinstance(answer, DownloadError):
        raise _FinalError(str(answer))
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _transfer(url: str, part: Path, size: int | None) -> None:
    """Write the body of ``url`` to ``part``; a body shorter or longer than announced is corrupt."""
    with _open(url) as answer, part.open("wb") as stream:
        announced = answer.headers.get("Content-Length")
        encoded = answer.headers.get("Content-Encoding", "identity") != "identity"
        expected = int(announced) if announced and announced.isdigit() and not encoded else size
        with _progress(part.name.split(".part")[0].lstrip("."), expected) as advance:
            received = _copy(answer, stream, expected, advance)
        stream.flush()
        os.fsync(stream.fileno())
    if expected is not None and received != expected:
        raise CorruptDataError(f"{received} of {expected} bytes arrived")


def _copy(answer: Any, stream: Any, expected: int | None, advance: Callable[[int], None]) -> int:
    received, start = 0, time.monotonic()
    while chunk := answer.read1(1 << 16):
        stream.write(chunk)
        received += len(chunk)
        advance(len(chunk))
        seconds = time.monotonic() - start
        if seconds > SILENCE and received < SLOWEST * seconds:
            raise TimeoutError(f"only {received} bytes in {seconds:.0f} seconds")
        if expected is not None and received > expected:
            raise CorruptDataError(f"more than the expected {expected} bytes arrived")
    return received


@contextmanager
def _progress(name: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr while it is a terminal, silence otherwise."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"downloading {name}", total=total)
        yield lambda count: bar.advance(task, count)


def _check_part(part: Path, file: RawFile | Archive, name: str) -> None:
    """Size and sha256 as the card has them, and no web page in place of data."""
    with part.open("rb") as stream:
        start = stream.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        raise CorruptDataError(f"{name} is a web page (HTML), not data")
    try:
        check_file(part, RawFile(name=name, sha256=file.sha256, size=file.size))
    except CorruptDataError as error:
        # The temporary name would only confuse; it is gone when the user reads this.
        problem = str(error).removeprefix(str(part)).partition(";")[0].strip()
        raise CorruptDataError(f"{name} {problem}") from None


def _fetch_archive(card: Card, archive: Archive, folder: Path) -> None:
    """Download the archive, unpack it aside, move the card's files in, throw the rest away."""
    name = archive.url.rpartition("/")[2] or "archive.zip"
    what = f"its folder {archive.top} as" if archive.top else "its files into"
    path = fetch_file(archive, folder, f"{name}.fetched", f"unpack {what} {folder}")
    try:
        unpack(path, folder, [file.name for file in card.files], top=archive.top)
    finally:
        path.unlink(missing_ok=True)
