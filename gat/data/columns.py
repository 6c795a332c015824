"""Columns of text into features: numbers as they are (or standardised), texts one-hot."""

import math
from collections.abc import Sequence

import numpy as np

from gat.data.tables import Table
from gat.errors import InputError

__all__ = ["features", "labels"]

MAX_CATEGORIES = 256


def features(
    table: Table,
    columns: Sequence[str],
    *,
    categorical: Sequence[str] = (),
    standardize: bool = False,
) -> tuple[np.ndarray, list[str]]:
    """Features float32 [N, F] of ``columns``, and sentences on what was done with each.

    A column is numeric when its cells are numbers, one-hot otherwise or when named in
    ``categorical``. A column that is mostly numbers but not wholly raises InputError with the
    line of the first that is not, and so do missing, NaN and infinite numbers.
    standardize: subtract the mean and divide by the standard deviation over all nodes.
    """
    blocks, numeric, encoded = [], [], []
    for name in columns:
        position = table.position(name, "features")
        cells = table.cells(position)
        if name in categorical or not _is_numeric(table, name, cells):
            block = _one_hot(table, name, cells)
            encoded.append(f"{name} ({block.shape[1]})")
        else:
            block = _numbers(table, name, cells)
            numeric.append(name)
            if standardize:
                spread = block.std()
                block = (block - block.mean()) / (spread if spread > 0 else 1.0)
        blocks.append(block)
    notes = []
    if numeric:
        how = "standardised to mean 0 and deviation 1 over all nodes" if standardize else "as given"
        notes.append(f"numeric features, {how}: {', '.join(numeric)}")
    if encoded:
        notes.append(f"one-hot features (number of values): {', '.join(encoded)}")
    return np.concatenate(blocks, axis=1).astype(np.float32), notes


def _setting(option: str, column: str) -> str:
    """How to name ``column`` in a list of columns, in Python and on the command line."""
    value = f'{option}=["{column}"]'
    return f"{value} (on the command line: --set 'data.files.{value}')"


def _number(cell: str) -> float | None:
    try:
        # Python would read 1_000 as a number; other tools do not.
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _is_numeric(table: Table, name: str, cells: list[str]) -> bool:
    filled = [row for row, cell in enumerate(cells) if cell]
    strange = [row for row in filled if _number(cells[row]) is None]
    if not strange:
        return bool(filled)
    if 2 * len(strange) >= len(filled):
        return False
    raise InputError(
        f"{table.where(strange[0])}: column {name!r} holds {cells[strange[0]]!r} where a number "
        f"belongs ({len(filled) - len(strange)} of {len(filled)} cells are numbers); mend the "
        f"cell, or read the column as texts, {_setting('categorical', name)}"
    )


def _numbers(table: Table, name: str, cells: list[str]) -> np.ndarray:
    values = np.empty((len(cells), 1))
    for row, cell in enumerate(cells):
        if not cell:
            raise InputError(
                f"{table.where(row)}: the number in column {name!r} is missing; fill it in, "
                f"or leave the column out, {_setting('ignore', name)}"
            )
        value = float(cell)
        if not math.isfinite(np.float32(value) if abs(value) < 3e38 else math.inf):
            raise InputError(
                f"{table.where(row)}: column {name!r} holds {cell!r}, which is not a finite "
                "number (of 32 bits)"
            )
        values[row] = value
    return values


def _one_hot(table: Table, name: str, cells: list[str]) -> np.ndarray:
    """One column per text, in sorted order; a missing cell is a row of zeros."""
    texts = sorted(set(cells) - {""})
    if len(texts) > MAX_CATEGORIES:
        raise InputError(
            f"{table.source}: column {name!r} has {len(texts)} different texts, too many to "
            f"one-hot encode (at most {MAX_CATEGORIES}); make it a number, or leave it out, "
            f"{_setting('ignore', name)}"
        )
    number = {text: position for position, text in enumerate(texts)}
    block = np.zeros((len(cells), len(texts)))
    for row, cell in enumerate(cells):
        if cell:
            block[row, number[cell]] = 1.0
    return block


def labels(table: Table, column: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class numbers int64 [N] (-1 where the cell is empty) and the classes' names, sorted.

    Names that are all whole numbers are sorted as numbers.
    """
    cells = table.cells(table.position(column, "label"))
    names = sorted(set(cells) - {""})
    if len(names) < 2:
        raise InputError(
            f"{table.source}: the label column {column!r} has {len(names)} classes "
            f"({', '.join(names) or 'all cells are empty'}); classification needs two"
        )
    values = [_number(name) for name in names]
    if all(value is not None and math.isfinite(value) for value in values):
        if len(names) > MAX_CATEGORIES:
            raise InputError(
                f"{table.source}: the label column {column!r} has {len(names)} different numbers; "
                "this is classification, make classes of them"
            )
        names.sort(key=float)
    if "nan" in {name.lower() for name in names}:
        row = next(row for row, cell in enumerate(cells) if cell.lower() == "nan")
        raise InputError(
            f"{table.where(row)}: the label is {cells[row]!r}; leave the cell empty for an "
            "unlabelled node"
        )
    number = {name: position for position, name in enumerate(names)} | {"": -1}
    return np.array([number[cell] for cell in cells], dtype=np.int64), tuple(names)
