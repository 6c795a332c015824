"""What a row should come to: measured on its record, judged, and said in words."""

from dataclasses import dataclass

from gat.bench.record import Record

__all__ = ["NAMES", "Aim", "Faster", "Floor", "Growth", "LessMemory", "Memory"]

NAMES = {"pyg": "PyG", "torch": "plain torch"}


@dataclass(frozen=True)
class Faster:
    """How many times faster a peer of ours is than another, forward and backward together, under
    a malloc mode ("kept" where nothing is said)."""

    least: float
    than: str = "pyg"
    peer: str = "gat"
    malloc: str = "kept"

    def measured(self, record: Record) -> float | None:
        return record.cases[0].times_faster(self.peer, self.than, self.malloc)

    def met(self, value: float) -> bool:
        return value >= self.least

    def shown(self, value: float) -> str:
        return f"{value:.1f} times"

    def __str__(self) -> str:
        than = NAMES.get(self.than, self.than)
        mode = "" if self.malloc == "kept" else f", {self.malloc} malloc"
        return f"at least {self.least:g} times {than}'s speed{mode}"


@dataclass(frozen=True)
class Floor:
    """How many times longer than its bytes take at the measured gather bandwidth."""

    most: float
    malloc: str = "kept"

    def measured(self, record: Record) -> float | None:
        figure = record.cases[0].figure("gat", self.malloc)
        return None if figure is None else record.cases[0].over_floor(figure)

    def met(self, value: float) -> bool:
        return value <= self.most

    def shown(self, value: float) -> str:
        return f"{value:.2f} times"

    def __str__(self) -> str:
        return f"at most {self.most:g} times the gather floor"


@dataclass(frozen=True)
class Memory:
    """Peak memory over the inputs, GiB."""

    most: float

    def measured(self, record: Record) -> float | None:
        held = record.cases[0].held("gat")
        return None if held is None else held.bytes / 2**30

    def met(self, value: float) -> bool:
        return value <= self.most

    def shown(self, value: float) -> str:
        return f"{value:.2f} GiB"

    def __str__(self) -> str:
        return f"at most {self.most:g} GiB over the inputs"


@dataclass(frozen=True)
class LessMemory:
    """How many times less memory a peer of ours takes over the inputs than another."""

    least: float
    than: str = "pyg"
    peer: str = "gat"

    def measured(self, record: Record) -> float | None:
        ours, theirs = record.cases[0].held(self.peer), record.cases[0].held(self.than)
        return None if ours is None or theirs is None else theirs.bytes / max(ours.bytes, 1)

    def met(self, value: float) -> bool:
        return value >= self.least

    def shown(self, value: float) -> str:
        return f"1/{value:.1f}"

    def __str__(self) -> str:
        return f"at most 1/{self.least:g} of {NAMES.get(self.than, self.than)}'s memory"


@dataclass(frozen=True)
class Growth:
    """Time per edge on the slowest graph over that on the smallest."""

    most: float
    malloc: str = "kept"

    def measured(self, record: Record) -> float | None:
        each = []
        for case in record.cases:
            figure = case.figure("gat", self.malloc)
            if figure is None:
                return None
            each.append(figure.seconds() / float(case.facts["edges"]))
        return max(each) / each[0]

    def met(self, value: float) -> bool:
        return value <= self.most

    def shown(self, value: float) -> str:
        return f"{value:.2f} times"

    def __str__(self) -> str:
        return f"at most {self.most:g} times the smallest graph's time per edge"


Aim = Faster | Floor | Memory | LessMemory | Growth
