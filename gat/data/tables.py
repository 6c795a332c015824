"""Reading CSV (and TSV) files into rows of text that remember their line, with strict errors.

Python's csv module does the parsing: UTF-8 with or without BOM, LF or CRLF, blank lines skipped.
What the cells mean is settled elsewhere (columns.py, own.py).
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gat.errors import InputError

__all__ = ["Table", "check_ids", "read_table", "unreadable"]

INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True)
class Table:
    """Rows of text cells; ``places[i]`` is the line of row i, or other words for where it is."""

    source: str
    header: tuple[str, ...]
    rows: list[list[str]]
    places: Sequence[int | str]

    def where(self, row: int) -> str:
        """Where row ``row`` stands: "nodes.csv, line 7"."""
        place = self.places[row]
        return f"{self.source}, {f'line {place}' if isinstance(place, int) else place}"

    def position(self, column: str, option: str) -> int:
        """The number of the column called ``column``; ``option`` names the argument at fault."""
        if column not in self.header:
            raise InputError(
                f"{self.source} has no column {column!r} ({option}); "
                f"its columns are {', '.join(self.header)}"
            )
        return self.header.index(column)

    def cells(self, position: int) -> list[str]:
        """One column, top to bottom."""
        return [row[position] for row in self.rows]


def read_table(path: Path, *, header: bool | None = None) -> Table:
    """The table in the text file ``path``; a name ending in .tsv or .tab is split at tabs.

    header: whether the first row names the columns; None: it does unless all its cells are whole
    numbers (an edge list without a header). Cells are stripped of surrounding spaces.
    Raises InputError with the line number for a row that is shorter or longer than the first.
    """
    delimiter = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    rows = [(line, [cell.strip() for cell in row]) for line, row in _lines(path, delimiter)]
    if not rows:
        raise InputError(f"{path} is empty; expected a CSV file with a header and rows")
    if header is None:
        header = not all(_whole(cell) for cell in rows[0][1])
    if header:
        first_line, names = rows.pop(0)
        _check_header(path, first_line, names)
        if not rows:
            raise InputError(f"{path} has a header ({', '.join(names)}) but no rows below it")
    else:
        names = [f"column {number + 1}" for number in range(len(rows[0][1]))]
    for line, row in rows:
        if len(row) != len(names):
            problem = "short" if len(row) < len(names) else "long"
            raise InputError(
                f"{path}, line {line}: the row is too {problem}, it has {len(row)} cells where "
                f"{len(names)} belong ({', '.join(names)})"
            )
    return Table(
        str(path),
        tuple(names),
        [row for _, row in rows],
        [line for line, _ in rows],
    )


def _lines(path: Path, delimiter: str) -> Iterator[tuple[int, Sequence[str]]]:
    """(line number where the row begins, cells), blank lines left out."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=delimiter, strict=True)
            line = 1
            for row in reader:
                if any("\0" in cell for cell in row):
                    raise InputError(f"{path}, line {line}: not a text file (it has NUL bytes)")
                if any(cell.strip() for cell in row):
                    yield line, row
                # A quoted cell may span lines: the next row begins after the last line read.
                line = reader.line_num + 1
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}, line {_line_of_byte(path)}: not UTF-8 text ({error.reason}); "
            "save the file as UTF-8"
        ) from None
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}") from None
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> InputError:
    """The error for a file that is there but cannot be opened or read, with the system's reason."""
    return InputError(
        f"{path} could not be read: {error.strerror or error}; "
        "check that it is a file and that you may read it"
    )


def _line_of_byte(path: Path) -> int:
    """The first line that does not decode (the decoder's own position is within a block)."""
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            return number
    return 1


def _check_header(path: Path, line: int, names: list[str]) -> None:
    for position, name in enumerate(names, start=1):
        if not name:
            raise InputError(f"{path}, line {line}: column {position} has no name")
    if len(set(names)) != len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}, line {line}: two columns are called {double!r}")


def _whole(cell: str) -> bool:
    return cell.removeprefix("-").isascii() and cell.removeprefix("-").isdigit()


def check_ids(table: Table, position: int) -> list[str]:
    """The node names in a column: any text, but not empty, and whole numbers within int64."""
    names = table.cells(position)
    for row, name in enumerate(names):
        if not name:
            raise InputError(
                f"{table.where(row)}: the node id in column {table.header[position]!r} is missing"
            )
        if len(name) > 18 and _whole(name) and int(name) not in INT64:
            raise InputError(
                f"{table.where(row)}: the node id {name} does not fit into 64 bits "
                f"(at most {2**63 - 1}); use a shorter number or a text id"
            )
    return names
