"""What was measured, as a JSON file that can be judged on its own: what, on what, with what.

Times are seconds, sizes bytes, bandwidths bytes per second; every sample is kept.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gat.bench import gpu
from gat.bench.timing import median
from gat.errors import CorruptDataError, InputError
from gat.ops import cpu
from gat.shelf import checkout
from gat.train.checkpoint import write_atomically
from gat.train.results import commit_and_changes, machine, versions

__all__ = [
    "Bandwidth",
    "Case",
    "Checked",
    "Figure",
    "Gpu",
    "Held",
    "Record",
    "new_record_path",
    "provenance",
    "results_folder",
    "stored",
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Figure(_Part):
    """Seconds of one peer under one malloc mode: {part: samples}, of which one is "together"."""

    peer: str
    malloc: str
    parts: dict[str, list[float]]

    def seconds(self, part: str = "together") -> float:
        return median(self.parts[part])


class Held(_Part):
    """Peak memory of one run over its inputs, and of its whole process where that counts; see
    `memory.Peak`."""

    peer: str
    bytes: int
    inputs: int
    exact: bool
    total: int | None = None


class Bandwidth(_Part):
    """Of this machine under one malloc mode, rows of the case's width in the case's order; by
    ``floor_at`` the floor is told."""

    malloc: str
    copied: float
    gathered: float
    floor_at: Literal["copied", "gathered"] = "gathered"

    @property
    def of_floor(self) -> float:
        return self.copied if self.floor_at == "copied" else self.gathered


class Checked(_Part):
    """Errors by peer and tensor beside what is tolerated, relative to the largest value; ``on``:
    how much of the case was checked."""

    on: str
    tolerance: dict[str, float]
    errors: dict[str, dict[str, float]]

    def worst(self) -> tuple[str, str, float]:
        """Peer, tensor and share of its tolerance that the largest error takes."""
        shares = (
            (peer, tensor, error / self.tolerance[tensor])
            for peer, found in self.errors.items()
            for tensor, error in found.items()
        )
        return max(shares, key=lambda share: share[2])


class Case(_Part):
    """One thing that was measured. ``floor``: bytes by part; ``absent``: who is left out, why."""

    name: str
    facts: dict[str, int | float | str]
    checked: Checked
    figures: list[Figure]
    memory: list[Held] = Field(default_factory=list)
    bandwidth: list[Bandwidth] = Field(default_factory=list)
    floor: dict[str, int] = Field(default_factory=dict)
    absent: dict[str, str] = Field(default_factory=dict)

    def figure(self, peer: str, malloc: str) -> Figure | None:
        found = (f for f in self.figures if (f.peer, f.malloc) == (peer, malloc))
        return next(found, None)

    def held(self, peer: str) -> Held | None:
        return next((held for held in self.memory if held.peer == peer), None)

    def over_floor(self, figure: Figure, part: str = "together") -> float | None:
        """How many times longer than its bytes take at the measured bandwidth."""
        for bandwidth in self.bandwidth:
            if bandwidth.malloc == figure.malloc and part in self.floor:
                return figure.seconds(part) / (self.floor[part] / bandwidth.of_floor)
        return None

    def times_faster(self, peer: str, than: str, malloc: str) -> float | None:
        ours, theirs = self.figure(peer, malloc), self.figure(than, malloc)
        return None if ours is None or theirs is None else theirs.seconds() / ours.seconds()


class Gpu(_Part):
    """What was measured on, and the versions of what computes for it where they are known."""

    name: str
    cuda: str | None = None
    driver: str | None = None
    triton: str | None = None


class Record(_Part):
    """One run of `gat bench`. ``options``: what would measure the same again; ``gpu``: of what was
    measured on one."""

    format: int = 1
    kind: str
    title: str
    options: dict[str, Any]
    cases: list[Case]
    versions: dict[str, str]
    machine: dict[str, Any]
    gpu: Gpu | None = None
    commit: str | None = None
    uncommitted_changes: bool = False
    day: str = ""

    def write(self, path: Path) -> Path:
        """Store as JSON; a reader never sees half a file."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, (self.model_dump_json(indent=1) + "\n").encode())
        except OSError as error:
            raise InputError(
                f"{path} cannot be written ({error.strerror or error}); name another with --output"
            ) from None
        return path

    @classmethod
    def load(cls, path: Path) -> "Record":
        """The record in ``path``; CorruptDataError if it is not one."""
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (ValidationError, ValueError) as error:
            first = str(error).splitlines()
            raise CorruptDataError(
                f"{path} is not a record of gat bench ({' '.join(first[:2])}); remove it and "
                "measure again"
            ) from None


def provenance(threads: int, device: str = "cpu") -> dict[str, Any]:
    """Versions, machine (no host name, no paths), GPU, commit and day, as `Record` has them."""
    library = cpu.status()
    commit, changed = commit_and_changes()
    compiled = (library.version or "unknown") if library.available else "none"
    return {
        "versions": {**versions(), "compiled library": compiled},
        "machine": {**machine(), "threads": threads},
        "gpu": None if device == "cpu" else Gpu(**gpu.told()),
        "commit": commit,
        "uncommitted_changes": changed,
        "day": datetime.now().strftime("%Y-%m-%d"),
    }


def results_folder() -> Path:
    """Where the targets' records are kept: the checkout's, else ``gat-benchmarks`` here."""
    root = checkout()
    return root / "benchmarks" / "results" if root else Path("gat-benchmarks")


def new_record_path(kind: str, parent: Path = Path("runs")) -> Path:
    """``runs/bench-layer-20260131-235959.json``, not yet taken."""
    stem = f"bench-{kind}-{datetime.now().strftime('%Y%m%d-%H%M%S')}"
    names = [stem, *(f"{stem}-{number}" for number in range(2, 100))]
    return next(p for p in (parent / f"{n}.json" for n in names) if not p.exists())


def stored(folder: Path) -> dict[str, Record]:
    """Every record in ``folder`` by its file's name."""
    return {path.stem: Record.load(path) for path in sorted(folder.glob("*.json"))}


def as_json(values: Any) -> Any:
    """``values`` as they come back from a file, so that options can be compared."""
    return json.loads(json.dumps(values))
