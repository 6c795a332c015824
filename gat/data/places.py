"""Where raw files lie: ``PLACE/NAME/raw/FILE``, in root, then GAT_DATA, then the user's cache.

OGB's data sets keep the folders of their archives: ``PLACE/ogbn_arxiv/raw/FILE``, ``split/...``.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from gat.data.catalog import Card, RawFile
from gat.errors import CorruptDataError, DownloadError

__all__ = ["cache_dir", "check_file", "find_or_fetch"]

# Folders by which a whole folder of OGB's is known.
BEGUN = ("raw", "processed")


def cache_dir() -> Path:
    """The user's cache of data sets: GAT_CACHE if set, else the platform's cache folder."""
    if chosen := os.environ.get("GAT_CACHE"):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("graph-attention", appauthor=False) / "data"


def _places(root: str | Path | None) -> list[Path]:
    given = [root, os.environ.get("GAT_DATA")]
    return [Path(place).expanduser() for place in given if place] + [cache_dir()]


def find_or_fetch(
    card: Card,
    root: str | Path | None,
    *,
    download: bool,
    ready: Callable[[], object] | None = None,
) -> Path:
    """The folder (``card.home``) that holds every file of ``card``, each checked.

    Fetches what is missing into ``root`` if given, else into the cache. A file whose size or
    sha256 differs from the card's is refused, wherever it lies, and never replaced unasked.

    ready: called before anything is fetched, to fail while that is cheap.
    """
    places = [place / card.home for place in _places(root)]
    for raw in places:
        if card.whole and any((raw / part).is_dir() for part in BEGUN):
            # Its reader says what is missing; nothing is fetched over files of the user's.
            return raw
        if all((raw / file.name).is_file() for file in card.files):
            for file in card.files:
                check_file(raw / file.name, file)
            return raw
    target = places[0] if root else places[-1]
    if not download:
        missing = [file.name for file in card.files if not (target / file.name).is_file()]
        raise DownloadError(
            f"{card.name} is not on this machine and download=False; put {', '.join(missing)} "
            f"into {target} (from {_source(card)}), or allow the download"
        )
    from gat.data.download import fetch_card

    if ready:
        ready()
    fetch_card(card, target)
    for file in card.files:
        check_file(target / file.name, file)
    return target


def _source(card: Card) -> str:
    return card.archive.url if card.archive else str(card.files[0].url).rpartition("/")[0]


def check_file(path: Path, facts: RawFile) -> None:
    """CorruptDataError unless the file is not empty and has the card's size and sha256.

    A file that the card says ``may_be_empty`` may.
    """
    size = path.stat().st_size
    problem = None
    if size == 0 and not facts.may_be_empty:
        problem = "is empty"
    elif facts.size is not None and size != facts.size:
        problem = f"has {size} bytes, expected {facts.size}"
    elif facts.sha256 is not None and (found := sha256(path)) != facts.sha256:
        problem = f"has sha256 {found}, expected {facts.sha256}"
    if problem:
        where = f" and fetch it again from {facts.url}" if facts.url else ""
        raise CorruptDataError(f"{path} {problem}; nothing of it was used. Delete it{where}.")


def sha256(path: Path) -> str:
    """The file's sha256 in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
