"""OGB's own layout: what must lie in a folder before ogb is let near it, and what a replica says.

ogbn_arxiv/RELEASE_v1.txt, raw/*.csv.gz (or *.npz), split/SPLIT/*.csv.gz, mapping/, processed/
ogbn_arxiv/replica.toml    in a replica (gat.data.synthetic) only
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gat.data.catalog import Card, RawFile
from gat.data.places import check_file
from gat.data.replica import REPLICA, read_replica, title
from gat.errors import CorruptDataError

__all__ = ["Folder", "look"]

# The copy that ogb itself makes of the raw files; used only where those are gone.
PROCESSED = "processed/geometric_data_processed.pt"
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

    replica: what its replica.toml says, else None. binary: npz files in place of csv.gz.
    processed: ogb's own copy, where raw/ is not there.
    """

    path: Path
    card: Card
    replica: dict[str, Any] | None = None
    binary: bool = False
    processed: Path | None = None

    @property
    def title(self) -> str:
        """The data set's name, and whether it is a replica."""
        return title(self.card, self.replica)

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
    replica = read_replica(card, path)
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
    _check_there(card, path, names, replica is not None)
    return Folder(path, card, replica, binary, processed)


def _check_there(card: Card, path: Path, names: list[str], replica: bool) -> None:
    missing = [name for name in names if not (path / name).is_file()]
    if missing:
        url = card.archive.url if card.archive else card.url
        remedy = (
            "Write the replica again"
            if replica
            else f"Put what is missing there (from {url}), or delete the folder and load again, "
            "which fetches it"
        )
        raise CorruptDataError(
            f"{path} lacks {', '.join(missing)}; {card.name} cannot be read without. {remedy}"
        )
    known = {file.name: file for file in card.files}
    for name in names:
        check_file(path / name, known.get(name, RawFile(name=name)))
