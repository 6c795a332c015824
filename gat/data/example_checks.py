"""The checks behind ``ExampleTask.validate``: what must hold before anything trains on it.

Each message names the data set, the part, the first bad example and what was expected.
"""

from itertools import combinations, pairwise
from typing import Any

import torch
from torch import Tensor

from gat.data.examples import END, Examples, ExampleTask
from gat.data.ragged import Ragged
from gat.errors import ArgumentTypeError, IndexRangeError, InputError

__all__ = ["check_examples"]


def check_examples(task: ExampleTask, *, allow_overlap: bool) -> None:
    """Raise the first fault of ``task``; the order is cheap and structural before contents."""
    _check_facts(task)
    form = _form(task.train.inputs)
    for name, part in task.parts.items():
        where = f"{task.name}, {name}"
        # Without a test part a task can still be trained on.
        if not len(part) and name != "test":
            raise InputError(f"{where}: there is no example; expected at least one")
        if _form(part.inputs) != form:
            raise InputError(
                f"{where}: inputs are {_form(part.inputs)}, those of train are {form}; expected "
                "the same of every part"
            )
        _check_inputs(task, part, where)
        _check_targets(task, part, where)
    if not allow_overlap:
        _check_overlap(task)


def _check_facts(task: ExampleTask) -> None:
    """Whether metric, classes and vocabularies are those of the kind."""
    translates = task.kind == "translation"
    metric = "sequence-accuracy" if translates else "accuracy"
    if task.metric != metric:
        raise InputError(f"{task.name}: the metric of {task.kind} is {metric}, got {task.metric}")
    if translates:
        for side in ("source", "target"):
            if getattr(task, f"{side}_vocabulary") is None:
                raise InputError(f"{task.name}: a translation needs a {side}_vocabulary")
    elif task.num_classes is None or task.num_classes < 2:
        raise InputError(
            f"{task.name}: {task.kind} needs num_classes of 2 or more, got {task.num_classes}"
        )
    if task.class_names is not None and len(task.class_names) != task.num_classes:
        raise InputError(
            f"{task.name}: class_names has {len(task.class_names)} names for {task.num_classes} "
            "classes; expected one for each"
        )


def _form(rows: Tensor | Ragged) -> str:
    """What may not differ between parts, in words: kind of rows, dtype, sizes of one entry."""
    if isinstance(rows, Ragged):
        return f"Ragged of {_form(rows.values)}"
    return f"{rows.dtype} [n{''.join(f', {size}' for size in rows.shape[1:])}]"


def _check_inputs(task: ExampleTask, part: Examples, where: str) -> None:
    _check_no_empty_row(part.inputs, f"{where}: input")
    entries = _entries(part.inputs)
    if task.source_vocabulary is not None:
        _check_numbers(part.inputs, len(task.source_vocabulary), f"{where}: input", "token")
    elif not entries.is_floating_point():
        raise ArgumentTypeError(
            f"{where}: inputs are {entries.dtype}; expected floating point, or int64 tokens and "
            "a source_vocabulary"
        )
    elif not bool(torch.isfinite(entries).all()):
        row = _example_of(part.inputs, ~torch.isfinite(entries))
        raise InputError(f"{where}: input {row} has an entry that is not finite; clean it")
    if task.kind == "translation":
        _check_ends(part.inputs, f"{where}: input")


def _check_targets(task: ExampleTask, part: Examples, where: str) -> None:
    targets = part.targets
    if task.kind == "translation":
        if not isinstance(targets, Ragged):
            raise ArgumentTypeError(f"{where}: the targets of a translation must be Ragged")
        assert task.target_vocabulary is not None
        _check_no_empty_row(targets, f"{where}: target")
        _check_numbers(targets, len(task.target_vocabulary), f"{where}: target", "token")
        _check_ends(targets, f"{where}: target")
        return
    if isinstance(targets, Ragged) or targets.dim() != 1:
        found = _form(targets)
        raise ArgumentTypeError(f"{where}: targets must be int64 [n], one class each, got {found}")
    assert task.num_classes is not None
    _check_numbers(targets, task.num_classes, f"{where}: target", "class")


def _check_numbers(rows: Tensor | Ragged, count: int, where: str, what: str) -> None:
    """Refuse entries that are not int64 or not in [0, count)."""
    entries = _entries(rows)
    if entries.dtype != torch.int64:
        raise ArgumentTypeError(f"{where}s must be int64, got {entries.dtype}")
    bad = (entries < 0) | (entries >= count)
    if bool(bad.any()):
        raise IndexRangeError(
            f"{where} {_example_of(rows, bad)} has {what} {int(entries[bad][0])}; expected 0 to "
            f"{count - 1}"
        )


def _check_no_empty_row(rows: Tensor | Ragged, where: str) -> None:
    if isinstance(rows, Tensor):
        return
    empty = rows.lengths == 0
    if bool(empty.any()):
        raise InputError(f"{where} {int(empty.nonzero()[0])} is empty; leave it out")
    if isinstance(rows.values, Ragged):
        _check_no_empty_row(rows.values, f"{where} row")


def _check_ends(rows: Tensor | Ragged, where: str) -> None:
    """Each row of tokens has END once: as its last."""
    if not isinstance(rows, Ragged) or not isinstance(rows.values, Tensor):
        raise ArgumentTypeError(f"{where}s of a translation must be Ragged of int64 tokens")
    last = torch.zeros_like(rows.values, dtype=torch.bool)
    last[rows.starts + rows.lengths - 1] = True
    bad = (rows.values == END) != last
    if bool(bad.any()):
        raise InputError(
            f"{where} {_example_of(rows, bad)} must have the token END ({END}) as its last and "
            "nowhere else"
        )


def _check_overlap(task: ExampleTask) -> None:
    for one, other in combinations(task.parts, 2):
        first = {row: number for number, row in enumerate(_keys(task.parts[one].inputs))}
        for number, row in enumerate(_keys(task.parts[other].inputs)):
            if row in first:
                raise InputError(
                    f"{task.name}: input {number} of {other} is input {first[row]} of {one} too; "
                    "leave one out, or pass allow_overlap=True if it is meant"
                )


def _keys(rows: Tensor | Ragged) -> list[Any]:
    """A value for each row, equal only where the rows are."""
    if isinstance(rows, Tensor):
        flat = rows.detach().cpu().flatten(1) if rows.dim() > 1 else rows.detach().cpu()[:, None]
        return [row.tobytes() for row in flat.numpy()]
    inner, ends = _keys(rows.values), [0, *rows.lengths.cumsum(0).tolist()]
    return [tuple(inner[start:end]) for start, end in pairwise(ends)]


def _entries(rows: Tensor | Ragged) -> Tensor:
    """The numbers themselves, below all lengths."""
    return _entries(rows.values) if isinstance(rows, Ragged) else rows


def _example_of(rows: Tensor | Ragged, bad: Tensor) -> int:
    """The number of the first example with an entry that ``bad`` marks."""
    place = int(bad.nonzero()[0, 0])
    lengths = []
    while isinstance(rows, Ragged):
        lengths.append(rows.lengths)
        rows = rows.values
    for each in reversed(lengths):
        place = int(torch.searchsorted(each.cumsum(0), place, right=True))
    return place
