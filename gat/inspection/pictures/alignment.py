"""The alignment of two sentences: how much each target word looks at each source word."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gat.inspection.pairs import pairs_of
from gat.inspection.pictures.palette import shortened
from gat.inspection.pictures.shades import Shades
from gat.inspection.pictures.style import drawn, finish, inches_of, sheet
from gat.inspection.record import AttentionRecord
from gat.inspection.tokens import words_of
from gat.inspection.words import head_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_alignment"]

# Inches: of a cell and of the longer side at their largest; between the middles of two words on an
# axis; of what an axis' own name needs. Points of the words.
CELL, LONGEST, APART, NAMED, SIZE = 0.3, 12.0, 0.16, 0.5, 9
# Cells of this size have room for their numbers.
NUMBERED = 12
WORD_LENGTH = 20


@drawn
def draw_alignment(
    record: AttentionRecord,
    source_tokens: Sequence[str],
    target_tokens: Sequence[str],
    head: int | None = None,
) -> "Figure":
    """A matrix of weights: a row for each target word, a column for each source word.

    record: of one pair of sentences (`gat.inspection.block`), or of one sentence, whose words are
    then passed twice. source_tokens [num_src], target_tokens [num_dst]: the words on the axes.
    head: a head's number in the layer, or None for the mean of all. Cells without an edge are
    hatched; small matrices have their numbers written in.

    Raises InputError for tokens that do not fit the record and for weights that are not finite,
    IndexRangeError for a head that is not recorded.
    """
    sources = words_of("source_tokens", source_tokens, record.num_src, f"sources of {record.name}")
    targets = words_of("target_tokens", target_tokens, record.num_dst, f"targets of {record.name}")
    part = record.mean() if head is None else record.head(head)
    matrix = pairs_of(part).matrix()[0].numpy()
    shades = Shades(matrix)
    cell = min(CELL, LONGEST / max(1, *matrix.shape))
    inches = inches_of(SIZE)
    names = [[shortened(word, WORD_LENGTH) for word in words] for words in (sources, targets)]
    above, beside = (max(map(inches, words), default=0.0) for words in names)
    upright = above <= 0.9 * cell
    width = max(cell * len(sources), 1.0) + beside + NAMED
    height = max(cell * len(targets), 1.0) + (SIZE / 72 if upright else above) + NAMED
    figure, (ax,) = sheet(1, width, height, 0.1)
    # Squares leave room over; in its middle the words beside them would be measured wrongly.
    ax.set_anchor("NW")
    shades.hatch(ax)
    if matrix.size:
        ax.imshow(np.abs(np.ma.masked_invalid(matrix)), gid="weights", **shades.look())
    _label(ax, names, cell, upright)
    if 0 < max(matrix.shape) <= NUMBERED:
        _write_numbers(ax, matrix)
    title = f"What each target word looks at in {shortened(record.name, 40)}"
    caption = " ".join(_caption(record, head, matrix, shades, cell))
    return finish(figure, title, caption, shades.handles("no edge"))


def _label(ax: Any, names: list[list[str]], cell: float, upright: bool) -> None:
    """Words on both axes, as many as there is room for, turned above unless ``upright``; thin
    lines between the cells."""
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.set(xlabel="source", ylabel="target")
    every = _every(cell)
    for axis, words in zip((ax.xaxis, ax.yaxis), names, strict=True):
        axis.set_ticks(range(0, len(words), every), words[::every], size=SIZE, parse_math=False)
        # Lines between the cells, where there is room for them.
        axis.set_ticks(np.arange(1, len(words) * (every == 1)) - 0.5, minor=True)
    ax.tick_params(length=0, which="both")
    ax.xaxis.set_tick_params(rotation=0 if upright else 90)
    ax.grid(which="minor", color="white", linewidth=0.6)
    ax.spines[:].set_visible(True)
    ax.spines[:].set(linewidth=0.5)


def _every(cell: float) -> int:
    """Every how many-th word has room on an axis."""
    return int(np.ceil(APART / cell))


def _write_numbers(ax: Any, matrix: np.ndarray) -> None:
    for (row, column), value in np.ndenumerate(matrix):
        if not np.isnan(value):
            # ".07" for 0.07: the cells are small.
            text = f"{value:.2f}".replace("0.", ".", 1) if abs(value) < 0.995 else f"{value:.0f}"
            ax.text(column, row, text, ha="center", va="center", size=7, gid="number")


def _caption(
    record: AttentionRecord, head: int | None, matrix: np.ndarray, shades: Shades, cell: float
) -> Iterator[str]:
    yield f"Weights of {head_name(record, head)}."
    if not matrix.size:
        yield "One of the sentences is empty."
        return
    yield "A row is a target word; the darker a cell, the more weight it gives the source word."
    if shades.missing:
        yield "Hatched: the target has no edge from this source."
    yield from shades.words()
    if _every(cell) > 1:
        yield f"One word in {_every(cell)} is written on the axes."
