"""Open Graph Benchmark data sets: they have cards, but this version cannot read them yet."""

from pathlib import Path

from gat.data.catalog import Card
from gat.data.task import NodeTask
from gat.errors import InputError

__all__ = ["read_ogb"]


def read_ogb(card: Card, raw: Path | None = None) -> NodeTask:
    """InputError: not in this version, with or without the package ogb."""
    raise InputError(
        f"this version of gat cannot read {card.name} yet, nor any other OGB data set; they are "
        f"listed for their facts (see {card.url}). The other names in gat.data.cards() "
        "(on the command line: gat datasets) can be read"
    )
