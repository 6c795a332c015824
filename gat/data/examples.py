"""Tasks made of separate examples: sentences to translate, sequences, images and documents to
classify. An ExampleTask has three parts of Examples; their rows are Tensors or Ragged.

n examples of a part, T steps of a sequence, K classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import get_args

import torch
from torch import Tensor

from gat.data.catalog import Card, Metric, TaskKind
from gat.data.ragged import Ragged, check_rows
from gat.data.vocabulary import BEGIN, END, UNKNOWN, Vocabulary
from gat.errors import ArgumentTypeError, InputError

__all__ = [
    "BEGIN",
    "END",
    "KINDS",
    "PARTS",
    "UNKNOWN",
    "ExampleTask",
    "Examples",
    "Ragged",
    "Vocabulary",
]

PARTS = ("train", "val", "test")
KINDS = tuple(kind for kind in get_args(TaskKind) if kind != "node classification")
# What the lengths of rows count, level by level.
LEVELS = {"document classification": ("sentences", "words of a sentence")}
Rows = Tensor | Ragged


@dataclass(eq=False, repr=False)
class Examples:
    """One part of a task: n inputs and what is to be said of each.

    inputs: a Tensor [n, ...], or Ragged of n rows.
    targets: a class for each, int64 [n]; or Ragged of n rows of int64 tokens that end in END.
    """

    inputs: Rows
    targets: Rows

    def __post_init__(self) -> None:
        for name in ("inputs", "targets"):
            rows = getattr(self, name)
            if not isinstance(rows, Tensor | Ragged) or (
                isinstance(rows, Tensor) and not rows.dim()
            ):
                raise ArgumentTypeError(
                    f"{name} must be a Tensor [n, ...] or a Ragged, got {type(rows).__name__}"
                )
        if len(self.inputs) != len(self.targets):
            raise InputError(
                f"there are {len(self.inputs)} inputs and {len(self.targets)} targets; expected "
                "one target for each input"
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def select(self, rows: Tensor) -> "Examples":
        """These examples in this order, repeats allowed. rows: int64 [m], 0 to n - 1."""
        check_rows(rows, len(self))
        return Examples(*(_select(each, rows) for each in (self.inputs, self.targets)))

    def to(self, device: torch.device | str) -> "Examples":
        """The same examples on ``device``."""
        return Examples(self.inputs.to(device), self.targets.to(device))

    def __repr__(self) -> str:
        sides = (
            repr(rows) if isinstance(rows, Ragged) else f"{rows.dtype} {list(rows.shape)}"
            for rows in (self.inputs, self.targets)
        )
        return "Examples(inputs={}, targets={})".format(*sides)


@dataclass(eq=False)
class ExampleTask:
    """Examples in three parts, and what their numbers mean.

    kind: "translation", "sequence classification", "image classification" or "document
    classification". parts: "train", "val" and "test".
    metric: "sequence-accuracy" (of translations: the share of examples whose whole target is
    right), else "accuracy".
    num_classes: of what is to be classified, class k being called class_names[k].
    source_vocabulary: of the inputs' tokens, where inputs are tokens; target_vocabulary: of a
    translation's targets.
    options: what it was made with, where `gat.data.load_examples` made it.
    notes: sentences that a user would want to know.
    """

    name: str
    kind: TaskKind
    parts: dict[str, Examples]
    metric: Metric = "accuracy"
    num_classes: int | None = None
    source_vocabulary: Vocabulary | None = None
    target_vocabulary: Vocabulary | None = None
    class_names: tuple[str, ...] | None = None
    card: Card | None = None
    notes: tuple[str, ...] = ()
    options: dict[str, str | int | float | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"kind {self.kind!r} is unknown; known are {', '.join(KINDS)}")
        if set(self.parts) != set(PARTS):
            given = ", ".join(map(str, self.parts)) or "none"
            raise InputError(f"{self.name}: expected the parts train, val and test, got {given}")
        self.parts = {part: self.parts[part] for part in PARTS}

    @property
    def train(self) -> Examples:
        return self.parts["train"]

    @property
    def val(self) -> Examples:
        return self.parts["val"]

    @property
    def test(self) -> Examples:
        return self.parts["test"]

    def to(self, device: torch.device | str) -> "ExampleTask":
        """The same task with its examples on ``device``."""
        return replace(self, parts={name: part.to(device) for name, part in self.parts.items()})

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor by name ("train.inputs.values", ...), in a fixed order: for fingerprints."""
        for name, part in self.parts.items():
            for side in ("inputs", "targets"):
                yield from _tensors(f"{name}.{side}", getattr(part, side))

    def describe(self) -> dict[str, str | int]:
        """Names and numbers for a table, in reading order; lengths over all parts, END counted."""
        sizes = "/".join(str(len(part)) for part in self.parts.values())
        facts: dict[str, str | int] = {"name": self.name, "kind": self.kind}
        facts["train/val/test"] = sizes
        if self.num_classes is not None:
            facts["classes"] = self.num_classes
        for side, vocabulary in self._vocabularies().items():
            facts[f"{side} vocabulary"] = len(vocabulary)
        facts |= self._lengths("inputs")
        if self.kind == "translation":
            facts |= self._lengths("targets")
        return facts | {"metric": self.metric}

    def validate(self, *, allow_overlap: bool = False) -> "ExampleTask":
        """Check the task and return it; the error names the part and the example.

        allow_overlap: permit an input in two parts (a leak unless it is meant).
        """
        # The checks are long enough for a room of their own.
        from gat.data.example_checks import check_examples

        check_examples(self, allow_overlap=allow_overlap)
        return self

    def _vocabularies(self) -> dict[str, Vocabulary]:
        both = {"source": self.source_vocabulary, "target": self.target_vocabulary}
        return {side: each for side, each in both.items() if each is not None}

    def _lengths(self, side: str) -> dict[str, str]:
        rows = [getattr(part, side) for part in self.parts.values()]
        if isinstance(rows[0], Tensor):
            return {f"shape of {side}": " x ".join(map(str, rows[0].shape[1:]))}
        names = iter(LEVELS.get(self.kind, (f"length of {side}",)))
        facts = {}
        while isinstance(rows[0], Ragged):
            lengths = torch.cat([each.lengths for each in rows])
            mean, longest = float(lengths.double().mean()), int(lengths.max())
            facts[f"{next(names)}, mean/longest"] = f"{mean:.1f}/{longest}"
            rows = [each.values for each in rows]
        return facts


def _select(rows: Rows, chosen: Tensor) -> Rows:
    return rows.select(chosen) if isinstance(rows, Ragged) else rows[chosen]


def _tensors(name: str, rows: Rows) -> Iterator[tuple[str, Tensor]]:
    if isinstance(rows, Ragged):
        yield from _tensors(f"{name}.values", rows.values)
        yield f"{name}.lengths", rows.lengths
    else:
        yield name, rows
