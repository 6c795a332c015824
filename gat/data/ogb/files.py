"""OGB's own layout: what must lie in a folder before ogb is let near it, and what a replica says.

ogbn_arxiv/RELEASE_v1.txt, raw/*.csv.gz (or *.npz), split/SPLIT/*.csv.gz, mapping/, processed/
ogbn_arxiv/replica.toml    in a replica (gat.data.synthetic) only
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gat.data.catalog import Card, Counts, RawFile
from gat.data.places import check_file
from gat.errors import CorruptDataError

__all__ = ["Folder", "look"]

# The copy that ogb itself makes of the raw files; used only where those are gone.
PROCESSED = "processed/geometric_data_processed.pt"
REPLICA = "replica.toml"
BINARY = ("raw/data.npz", "raw/node-label.npz")
BINARY_HETERO = (
    "raw/edge_index_dict.npz",
    "raw/num_edges_dict.npz",
    "raw/num_nodes_dict.npz",
    "raw/node_feat_dict.npz",
    "raw/node-label.npz",
)


@dataclass(frozen=True)
class Folder:
    """A folder that is complete, as ``look`` found it.

    card: without the published counts for a replica. replica: what its replica.toml says, else
    None. binary: npz files in place of csv.gz. processed: ogb's own copy, where raw/ is not there.
    """

    path: Path
    card: Card
    replica: dict[str, Any] | None = None
    binary: bool = False
    processed: Path | None = None

    @property
    def title(self) -> str:
        """The data set's name, and whether it is a replica."""
        if self.replica is None:
            return self.card.name
        return f"{self.card.name} (replica {self.replica['scale']:g})"

    @property
    def remedy(self) -> str:
        """What to do about damaged files, as the end of a sentence."""
        if self.replica is not None:
            return "write the replica again"
        return "delete the folder and load again, which fetches it"

    @property
    def hetero(self) -> bool:
        """Whether the data set has several types of nodes."""
        return "target" in self.card.options

    def sources(self) -> list[Path]:
        """Every file that what is read depends on, sorted."""
        found = [self.path / REPLICA, *self.path.glob("RELEASE_*")]
        found += [*self.path.glob("raw/**/*"), *self.path.glob("split/**/*")]
        if self.processed:
            found.append(self.processed)
        return sorted(path for path in found if path.is_file())


def look(card: Card, path: Path) -> Folder:
    """Check that the folder ``path`` holds all that ogb will open, so that ogb asks nothing.

    Raises CorruptDataError naming the missing or empty files and the next step.
    """
    replica = _replica(card, path / REPLICA)
    if replica is not None:
        card = card.model_copy(update={"counts": Counts()})
    names = [file.name for file in card.files]
    binary = any((path / name[0]).is_file() for name in (BINARY, BINARY_HETERO))
    if binary:
        hetero = "target" in card.options
        names = [name for name in names if not name.startswith("raw/")]
        names += BINARY_HETERO if hetero else BINARY
    processed = None
    if not (path / "raw").is_dir() and (path / PROCESSED).is_file():
        processed = path / PROCESSED
        names = [name for name in names if not name.startswith("raw/")]
    _check_there(card, path, names)
    return Folder(path, card, replica, binary, processed)


def _check_there(card: Card, path: Path, names: list[str]) -> None:
    missing = [name for name in names if not (path / name).is_file()]
    if missing:
        url = card.archive.url if card.archive else card.url
        raise CorruptDataError(
            f"{path} lacks {', '.join(missing)}; {card.name} cannot be read without. Put what is "
            f"missing there (from {url}), or delete the folder and load again, which fetches it"
        )
    for name in names:
        check_file(path / name, RawFile(name=name))


def _replica(card: Card, path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CorruptDataError(
            f"{path} is not valid TOML ({error}); write the replica again"
        ) from None
    if facts.get("dataset") != card.name or not isinstance(facts.get("scale"), int | float):
        raise CorruptDataError(
            f"{path} says dataset = {facts.get('dataset')!r}, scale = {facts.get('scale')!r}; "
            f"expected {card.name!r} and a number. Write the replica again"
        )
    return facts
