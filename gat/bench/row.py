"""A row the project answers for; `targets.py` lists them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gat.bench.aims import Aim
from gat.bench.case import Plan, Say
from gat.bench.gpu import name as name_of_gpu
from gat.bench.record import Record, as_json
from gat.errors import BackendError

__all__ = ["Target"]


@dataclass(frozen=True)
class Target:
    """One row: ``run`` measures it with a plan, ``options`` are those the record then has.

    note: what a reader should know of it, such as what limits a figure that is out of reach.
    most: samples of a row whose runs take minutes. gpu: what the GPU's name says for which a row
    is; None for a row of the CPU.
    """

    what: str
    run: Callable[[Plan], Record]
    options: dict[str, Any]
    peers: tuple[str, ...]
    aims: tuple[Aim, ...] = ()
    malloc: tuple[str, ...] = ("default", "kept")
    note: str = ""
    most: int | None = None
    gpu: str | None = None

    def measure(self, repeats: int = 7, threads: int | None = None, say: Say = print) -> Record:
        if reason := self.why_open():
            raise BackendError(
                f"{self.what} cannot be measured: {reason}; use gat bench layer on what is here"
            )
        repeats = min(repeats, self.most or repeats)
        plan = Plan(self.peers, repeats=repeats, threads=threads, malloc=self.malloc, say=say)
        return self.run(plan)

    def stands_for(self, record: Record) -> bool:
        """Whether ``record`` is of what this row measures now."""
        mine = as_json({**self.options, "peers": self.peers, "malloc": self.malloc})
        same = all(record.options.get(name) == value for name, value in mine.items())
        return same and self._is_of("" if record.gpu is None else record.gpu.name)

    def why_open(self) -> str:
        """Why the row cannot be measured on this machine; "" if it can."""
        here = "" if self.gpu is None else name_of_gpu()
        return "" if self._is_of(here) else f"it is of an {self.gpu}, here is {here or 'no GPU'}"

    def _is_of(self, name: str) -> bool:
        """Whether the row is of the GPU of that name, "" for the CPU."""
        return not name if self.gpu is None else self.gpu in name
