"""Open Graph Benchmark data sets: the cards exist, reading them needs the package ogb."""

from importlib.util import find_spec
from pathlib import Path

from gat.data.catalog import Card
from gat.data.task import NodeTask
from gat.errors import InputError, MissingDependencyError

__all__ = ["read_ogb"]


def read_ogb(card: Card, raw: Path | None = None) -> NodeTask:
    """MissingDependencyError without ogb; with it, InputError: this version cannot read it yet."""
    # Looked up, not imported: importing ogb asks the network for its newest version.
    if find_spec("ogb") is None:
        raise MissingDependencyError(
            f"the data set {card.name!r} needs the package ogb: pip install graph-attention[ogb]"
        )
    raise InputError(
        f"this version of gat describes {card.name!r} but cannot read it yet; "
        f"see {card.url}, and gat.data.cards() for the data sets it reads"
    )
