"""A row the project answers for; `targets.py` lists them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gat.bench.aims import Aim
from gat.bench.case import Plan, Say
from gat.bench.record import Record, as_json

__all__ = ["Target"]


@dataclass(frozen=True)
class Target:
    """One row: ``run`` measures it with a plan, ``options`` are those the record then has.

    note: what a reader should know of it, such as what limits a figure that is out of reach.
    most: samples of a row whose runs take minutes.
    """

    what: str
    run: Callable[[Plan], Record]
    options: dict[str, Any]
    peers: tuple[str, ...]
    aims: tuple[Aim, ...] = ()
    malloc: tuple[str, ...] = ("default", "kept")
    note: str = ""
    most: int | None = None

    def measure(self, repeats: int = 7, threads: int | None = None, say: Say = print) -> Record:
        repeats = min(repeats, self.most or repeats)
        plan = Plan(self.peers, repeats=repeats, threads=threads, malloc=self.malloc, say=say)
        return self.run(plan)

    def stands_for(self, record: Record) -> bool:
        """Whether ``record`` is of what this row measures now."""
        mine = as_json({**self.options, "peers": self.peers, "malloc": self.malloc})
        return all(record.options.get(name) == value for name, value in mine.items())
