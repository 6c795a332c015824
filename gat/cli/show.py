"""How things are shown: tables and a live progress line on a terminal, plain lines elsewhere."""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from gat.train.run import EpochRecord

__all__ = ["live_line", "percent", "progress", "progress_line", "say", "table"]

OnEpoch = Callable[["EpochRecord"], None]


def say(text: str) -> None:
    """One line to stdout, as it is."""
    print(text, flush=True)


def percent(value: float) -> str:
    """A fraction as per cent with two digits; a dash where there is none."""
    return "–" if math.isnan(value) else f"{100 * value:.2f}"


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    wide: str = "",
    spare: Sequence[str] = (),
) -> None:
    """Rows under a header: ruled on a terminal, else aligned columns that scripts can cut.

    On a terminal without room the columns ``spare`` are left out, the first first, until the
    column ``wide`` has 30 characters; the others, the last apart, are then never broken.
    """
    columns = {name: [str(row[n]) for row in rows] for n, name in enumerate(header)}
    if not sys.stdout.isatty():
        _plain([list(columns), *map(list, zip(*columns.values(), strict=True))])
        return
    console = Console()
    left_out = _spared(columns, console.width, wide, spare)
    shown = {name: cells for name, cells in columns.items() if name not in left_out}
    ruled = Table(box=box.SIMPLE_HEAD)
    for n, name in enumerate(shown):
        # fold: a word that is too long goes on in the next line, nothing is cut off.
        whole = n == 0 or bool(wide and name != wide)
        ruled.add_column(name, no_wrap=whole, overflow="fold")
    for row in zip(*shown.values(), strict=True):
        # Text, so that brackets in names are not read as markup.
        ruled.add_row(*(Text(cell) for cell in row))
    console.print(ruled)
    if left_out:
        say(f"left out for want of width: {', '.join(n for n in columns if n in left_out)}")


def _spared(columns: dict[str, list[str]], width: int, wide: str, spare: Sequence[str]) -> set[str]:
    """The columns to leave out so that ``wide`` has room."""
    # Each column has a space on both sides, and one more between it and the next.
    needs = {name: max(map(len, [name, *cells])) + 3 for name, cells in columns.items()}
    needs |= {wide: 30 + 3} if wide else {}
    left_out: set[str] = set()
    for name in spare:
        if sum(need for key, need in needs.items() if key not in left_out) <= width:
            break
        left_out.add(name)
    return left_out


def _plain(rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    sys.stdout.flush()


@contextmanager
def progress(name: str, epochs: int) -> Iterator[OnEpoch]:
    """A line on stderr that follows training; nothing where stderr is no terminal."""
    with live_line(f"{name}: reading") as show:
        yield lambda record: show(progress_line(name, record, epochs))


@contextmanager
def live_line(text: str) -> Iterator[Callable[[str], None]]:
    """A line on stderr and the function that changes it; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    console = Console(stderr=True)
    # Lines printed to the same terminal go above the live one; a redirected stdout is left alone.
    live = Live(
        Text(text),
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    )
    with live:
        yield lambda text: live.update(Text(text))


def progress_line(name: str, record: "EpochRecord", epochs: int) -> str:
    """What the live line says."""
    rate = record.epoch / max(record.seconds, 1e-9)
    return (
        f"{name}: epoch {record.epoch}/{epochs}  loss {record.train_loss:.3f}  "
        f"val {percent(record.val)} (best {percent(record.best_val)} at {record.best_epoch})  "
        f"{rate:.0f} epochs/s"
    )
