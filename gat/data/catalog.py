"""Data set cards: one TOML file per data set in ``datasets/``, its facts and nothing else.

A card says where the files are, what they must hash to, who made them, how they are split and
what the published counts are. Unknown facts are absent, never guessed.
"""

import difflib
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gat.errors import ConfigError, InputError
from gat.shelf import shelf

__all__ = ["Archive", "Card", "Counts", "RawFile", "card", "cards", "read_card"]

Reader = Literal[
    "digits",
    "karate",
    "planetoid",
    "npz",
    "pyg",
    "ogb",
    "dates",
    "numbers",
    "recall",
    "documents",
    "digit-images",
    "digit-rows",
]
NodeMetric = Literal["accuracy", "micro-f1", "roc-auc"]
Metric = Literal["accuracy", "micro-f1", "roc-auc", "sequence-accuracy"]
TaskKind = Literal[
    "node classification",
    "translation",
    "sequence classification",
    "image classification",
    "document classification",
]
# Data sets that readers of OGB's pages will ask for, and why there is none.
ABSENT = {
    "ogbn-papers100m": "111 million nodes and 1.6 billion edges are beyond what this library "
    "reads; ogbn-products is the largest of OGB's that it does",
}
Sha256 = Field(default=None, pattern=r"^[0-9a-f]{64}$")


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RawFile(_Facts):
    """One file below the card's ``home``, by its path there; ``size`` in bytes."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$")
    url: str | None = None
    sha256: str | None = Sha256
    size: int | None = Field(default=None, ge=1)
    may_be_empty: bool = False


class Archive(_Facts):
    """A zip file whose members are the raw files; fetched, unpacked and thrown away.

    top: the folder in it that becomes FOLDER, with all its sub-folders; without one the members
    are found by their file names, at any depth, and lie flat in FOLDER/raw.
    """

    url: str
    top: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    sha256: str | None = Sha256
    size: int | None = Field(default=None, ge=1)


class Counts(_Facts):
    """What the loaded task must hold; ``edges`` are columns of ``edge_index``, each direction
    counted, summed over graphs like ``nodes``; ``edges_counted`` says how papers count them."""

    nodes: int | None = None
    edges: int | None = None
    edges_counted: str | None = None
    features: int | None = None
    classes: int | None = None
    graphs: int = 1


class Card(_Facts):
    """The facts of one data set. ``folder`` is the NAME of the layout (see ``home``); ``recipe``
    the experiment that trains on it by default; ``options`` those of its reader."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    reader: Reader
    folder: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    licence: str | None = None
    citation: str
    url: str | None = None
    split: str
    splits: int = Field(default=1, ge=1)
    task: TaskKind = "node classification"
    inductive: bool = False
    multilabel: bool = False
    metric: Metric
    notes: str | None = None
    class_names: tuple[str, ...] | None = None
    recipe: str | None = None
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    counts: Counts = Counts()
    archive: Archive | None = None
    files: tuple[RawFile, ...] = ()

    @property
    def needs_files(self) -> bool:
        """Whether raw files must be found or fetched (False: made by an installed library)."""
        return bool(self.files)

    @property
    def is_graph(self) -> bool:
        """Whether nodes of graphs are classified (``load``); else it is made of separate examples
        (``load_examples``)."""
        return self.task == "node classification"

    @property
    def whole(self) -> bool:
        """Whether the archive's own folder is kept, sub-folders and all."""
        return bool(self.archive and self.archive.top)

    @property
    def home(self) -> str:
        """Where the files lie below root: ``FOLDER/raw``, or FOLDER if it is kept whole."""
        return str(self.folder) if self.whole else f"{self.folder}/raw"


def read_card(path: Path) -> Card:
    """The card in ``path``; ConfigError names the file, the bad key and the known ones."""
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the card {path} is not valid TOML: {error}") from None
    return make_card(facts, str(path))


def make_card(facts: dict[str, Any], where: str) -> Card:
    """Check ``facts`` (a parsed card); ``where`` names them in the error."""
    try:
        return Card.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(sorted(Card.model_fields))
        raise ConfigError(
            f"the card {where}: {key}: {first['msg']}; the keys of a card are {known}"
        ) from None


@lru_cache(maxsize=1)
def _all_cards() -> dict[str, Card]:
    found = [read_card(path) for path in sorted(shelf("datasets").glob("*.toml"))]
    return {entry.name: entry for entry in found}


def cards() -> dict[str, Card]:
    """Every card by name, in alphabetical order."""
    return dict(_all_cards())


def card(name: str) -> Card:
    """The card called ``name`` (case and ``_``/``-`` do not matter)."""
    known = _all_cards()
    wanted = name.strip().lower().replace("_", "-")
    if wanted in known:
        return known[wanted]
    if wanted in ABSENT:
        raise InputError(f"there is no card for {wanted}: {ABSENT[wanted]}")
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise InputError(
        f"there is no data set {name!r}{hint} Known are: {', '.join(known)}. "
        "For a graph of your own see gat.data.from_files (gat train --edges ... --nodes ...)."
    )
