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

__all__ = ["percent", "progress", "say", "table"]

OnEpoch = Callable[["EpochRecord"], None]


def say(text: str) -> None:
    """One line to stdout, as it is."""
    print(text, flush=True)


def percent(value: float) -> str:
    """A fraction as per cent with two digits; a dash where there is none."""
    return "–" if math.isnan(value) else f"{100 * value:.2f}"


def table(header: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """Rows under a header: ruled on a terminal, else aligned columns that scripts can cut."""
    texts = [[str(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        _plain(title, [list(header), *texts])
        return
    ruled = Table(*header, title=title or None, title_justify="left", box=box.SIMPLE_HEAD)
    for row in texts:
        # Text, so that brackets in names are not read as markup.
        ruled.add_row(*(Text(cell) for cell in row))
    Console().print(ruled)


def _plain(title: str, rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if title:
        print(title)
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    sys.stdout.flush()


@contextmanager
def progress(name: str, epochs: int) -> Iterator[OnEpoch]:
    """A line on stderr that follows training; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda record: None
        return
    console = Console(stderr=True)
    # Lines printed to the same terminal go above the live one; a redirected stdout is left alone.
    live = Live(
        Text(f"{name}: reading"),
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    )
    with live:
        yield lambda record: live.update(Text(progress_line(name, record, epochs)))


def progress_line(name: str, record: "EpochRecord", epochs: int) -> str:
    """What the live line says."""
    rate = record.epoch / max(record.seconds, 1e-9)
    return (
        f"{name}: epoch {record.epoch}/{epochs}  loss {record.train_loss:.3f}  "
        f"val {percent(record.val)} (best {percent(record.best_val)} at {record.best_epoch})  "
        f"{rate:.0f} epochs/s"
    )
