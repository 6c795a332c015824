"""Replicas: folders in a data set's own layout that hold made-up data (``gat.data.synthetic``).

Their file replica.toml says so, beside raw/; without it they could be taken for the real thing.
"""

import math
import tomllib
from pathlib import Path
from typing import Any

from gat.data.catalog import Card, Counts
from gat.data.task import NodeTask
from gat.errors import CorruptDataError

__all__ = ["REPLICA", "mark_replica", "read_replica", "title"]

REPLICA = "replica.toml"


def read_replica(card: Card, folder: Path) -> dict[str, Any] | None:
    """What ``folder/replica.toml`` says; None where there is none.

    CorruptDataError unless it is of ``card`` and has a scale above 0; its ``classes``, if it tells
    them, are a whole number above 0.
    """
    path = folder / REPLICA
    if not path.is_file():
        return None
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CorruptDataError(
            f"{path} is not valid TOML ({error}); write the replica again"
        ) from None
    scale, classes = facts.get("scale"), facts.get("classes", 1)
    good = isinstance(scale, int | float) and not isinstance(scale, bool) and 0 < scale < math.inf
    good = good and type(classes) is int and classes > 0
    if facts.get("dataset") != card.name or not good:
        raise CorruptDataError(
            f"{path} says dataset = {facts.get('dataset')!r}, scale = {scale!r}, classes = "
            f"{classes!r}; expected {card.name!r} and numbers above 0. Write the replica again"
        )
    return facts


def title(card: Card, replica: dict[str, Any] | None) -> str:
    """The data set's name, and whether it is a replica."""
    return card.name if replica is None else f"{card.name} (replica {replica['scale']:g})"


def mark_replica(task: NodeTask, card: Card, replica: dict[str, Any]) -> None:
    """Let ``task`` say that it is a replica, and forget the published counts, which it has not."""
    task.name = title(card, replica)
    task.card = card.model_copy(update={"counts": Counts()})
    note = (
        f"These are not the real data of {card.name} but a replica of scale "
        f"{replica['scale']:g}, made by gat.data.synthetic."
    )
    task.notes = (note, *task.notes)
