"""What a row should come to: measured on its record, judged, and said in words."""

from dataclasses import dataclass

from gat.bench.record import Record

__all__ = [
    "NAMES",
    "Added",
    "AddedMemory",
    "Aim",
    "Faster",
    "Finishes",
    "Floor",
    "Growth",
    "LessMemory",
    "Memory",
    "Rate",
    "Slower",
    "Total",
    "Within",
]

NAMES = {"pyg": "PyG", "torch": "plain torch", "sdpa": "torch's dense attention"}
NAMES |= {"turbo-gnn": "Turbo-GNN"}


@dataclass(frozen=True)
class Faster:
    """How many times faster a peer of ours is than another, forward and backward together, under
    a malloc mode ("kept" where nothing is said). on_gpu: there is one mode, not worth a word."""

    least: float
    than: str = "pyg"
    peer: str = "gat"
    malloc: str = "kept"
    on_gpu: bool = False

    def measured(self, record: Record) -> float | None:
        return record.cases[0].times_faster(self.peer, self.than, self.malloc)

    def met(self, value: float) -> bool:
        return value >= self.least

    def shown(self, value: float) -> str:
        return f"{value:.1f} times"

    def __str__(self) -> str:
        than = NAMES.get(self.than, self.than)
        mode = "" if self.on_gpu or self.malloc == "kept" else f", {self.malloc} malloc"
        return f"at least {self.least:g} times {than}'s speed{mode}"


@dataclass(frozen=True)
class Floor:
    """How many times longer than its bytes take at the measured bandwidth: of gathered rows, on a
    GPU of a copy."""

    most: float
    malloc: str = "kept"
    of: str = "gather"

    def measured(self, record: Record) -> float | None:
        figure = record.cases[0].figure("gat", self.malloc)
        return None if figure is None else record.cases[0].over_floor(figure)

    def met(self, value: float) -> bool:
        return value <= self.most

    def shown(self, value: float) -> str:
        return f"{value:.2f} times"

    def __str__(self) -> str:
        return f"at most {self.most:g} times the {self.of} floor"


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
    """Time per edge on the slowest graph over that on the first, by default the smallest."""

    most: float
    malloc: str = "kept"
    first: str = "the smallest graph"

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
        return f"at most {self.most:g} times {self.first}'s time per edge"


@dataclass(frozen=True)
class Added:
    """What recording adds to a plain forward pass, in passes."""

    below: float
    malloc: str = "default"

    def measured(self, record: Record) -> float | None:
        slower = record.cases[0].times_faster("plain", "recorded", self.malloc)
        return None if slower is None else slower - 1

    def met(self, value: float) -> bool:
        return value < self.below

    def shown(self, value: float) -> str:
        return f"{value:.2f} of a pass"

    def __str__(self) -> str:
        return f"adds less than {self.below:g} of a forward pass"


@dataclass(frozen=True)
class AddedMemory:
    """Peak memory over the plain pass's, in units of the recorded edges' weights, E x H each."""

    most: float

    def measured(self, record: Record) -> float | None:
        case = record.cases[0]
        plain, recorded = case.held("plain"), case.held("recorded")
        if plain is None or recorded is None:
            return None
        return (recorded.bytes - plain.bytes) / float(case.facts["bytes of E x H"])

    def met(self, value: float) -> bool:
        return value <= self.most

    def shown(self, value: float) -> str:
        return f"{value:.2f} times"

    def __str__(self) -> str:
        return f"at most {self.most:g} times E x H x 4 bytes over the plain pass"


@dataclass(frozen=True)
class Within:
    """Seconds that a peer of ours takes, or one part of what it does."""

    seconds: float
    peer: str
    malloc: str = "default"
    part: str = "together"

    def measured(self, record: Record) -> float | None:
        figure = record.cases[0].figure(self.peer, self.malloc)
        return None if figure is None else figure.seconds(self.part)

    def met(self, value: float) -> bool:
        return value < self.seconds

    def shown(self, value: float) -> str:
        return f"{1e3 * value:.3g} ms" if value < 1 else f"{value:.2f} s"

    def __str__(self) -> str:
        bound = f"{1e3 * self.seconds:g} ms" if self.seconds < 1 else f"{self.seconds:g} s"
        who = {"node": "a node drawn", "hub": "the largest hub", "all": "all nodes"}
        who |= {"later": "a later load", "gat": "forward and backward"}
        what = who.get(self.peer, self.peer) if self.part == "together" else f"{self.part} step"
        return f"{what} under {bound}"


@dataclass(frozen=True)
class Rate:
    """Edges a second that a peer of ours samples."""

    least: float
    peer: str = "gat"
    malloc: str = "default"

    def measured(self, record: Record) -> float | None:
        case = record.cases[0]
        figure = case.figure(self.peer, self.malloc)
        return None if figure is None else float(case.facts["sampled edges"]) / figure.seconds()

    def met(self, value: float) -> bool:
        return value >= self.least

    def shown(self, value: float) -> str:
        return f"{value / 1e6:.1f} million/s"

    def __str__(self) -> str:
        return f"at least {self.least / 1e6:g} million edges a second"


@dataclass(frozen=True)
class Slower:
    """How many times longer a peer of ours takes than another."""

    most: float
    than: str
    peer: str = "gat"
    malloc: str = "default"

    def measured(self, record: Record) -> float | None:
        return record.cases[0].times_faster(self.than, self.peer, self.malloc)

    def met(self, value: float) -> bool:
        return value <= self.most

    def shown(self, value: float) -> str:
        return f"{value:.2f} times"

    def __str__(self) -> str:
        return f"at most {self.most:g} times {NAMES.get(self.than, self.than)}'s time"


@dataclass(frozen=True)
class Total:
    """The most that the process of a peer of ours held, GiB."""

    most: float
    peer: str = "gat"

    def measured(self, record: Record) -> float | None:
        held = record.cases[0].held(self.peer)
        return None if held is None or held.total is None else held.total / 2**30

    def met(self, value: float) -> bool:
        return value <= self.most

    def shown(self, value: float) -> str:
        return f"{value:.1f} GiB"

    def __str__(self) -> str:
        return f"fits into {self.most:g} GiB"


@dataclass(frozen=True)
class Finishes:
    """That a peer of ours comes to an end, in however many seconds."""

    peer: str = "gat"
    malloc: str = "default"

    def measured(self, record: Record) -> float | None:
        figure = record.cases[0].figure(self.peer, self.malloc)
        return None if figure is None else figure.seconds()

    def met(self, value: float) -> bool:
        return True

    def shown(self, value: float) -> str:
        return f"{value / 60:.1f} min" if value >= 60 else f"{value:.1f} s"

    def __str__(self) -> str:
        return "finishes"


Aim = (
    Rate
    | Faster
    | Floor
    | Memory
    | LessMemory
    | Growth
    | Added
    | AddedMemory
    | Within
    | Slower
    | Total
    | Finishes
)
