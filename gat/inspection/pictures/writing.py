"""Lines of words on shaded grounds, each line with a name before it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gat.inspection.pictures.palette import GREY, shortened
from gat.inspection.pictures.shades import Shades
from gat.inspection.pictures.style import LEAST_WIDTH, inches_of, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Line", "write"]

# Points, and inches: of letters; the ground of a word beyond its letters, from word to word, from
# line to line, between the lines of two names; the widest text, the margin around all.
SIZE = 10
PAD, GAP, DOWN, APART, WIDEST, MARGIN = 0.05, 0.045, 0.265, 0.1, 7.5, 0.15
HEIGHT = 0.22
NAME_LENGTH, WORD_LENGTH = 16, 32


class Line(NamedTuple):
    """A name, words and the weight of each, [words], NaN where there is no edge; ``looks``: the
    place of the word that is framed; weight: what the name itself is shaded by."""

    name: str
    words: Sequence[str]
    weights: np.ndarray
    looks: int | None = None
    weight: float | None = None


class _Spot(NamedTuple):
    """Where a word stands, in inches from the left and from the top."""

    left: float
    top: float
    width: float


def write(lines: Sequence[Line], shades: Shades, names: Shades | None = None) -> "Figure":
    """A figure of the lines, as wide as they are and at most `WIDEST`; longer ones are wrapped.

    shades: of the words; names: of the names that have a weight.
    """
    inches, bold = inches_of(SIZE), inches_of(SIZE, "bold")
    labels = [shortened(line.name, NAME_LENGTH) for line in lines]
    beside = max(map(bold, labels), default=0.0) + 2 * PAD + 2 * GAP
    texts = [[shortened(word, WORD_LENGTH) for word in line.words] for line in lines]
    spots, firsts, top = [], [], 0.0
    for line, words in zip(lines, texts, strict=True):
        placed = _placed(words, line.looks, inches, bold, beside, top)
        wrapped = bool(placed) and placed[-1].top > top
        firsts.append(top)
        spots.append(placed)
        top = (placed[-1].top if placed else top) + DOWN + APART * wrapped
    right = max((spot.left + spot.width for row in spots for spot in row), default=beside)
    width, height = max(right + 2 * MARGIN, LEAST_WIDTH), max(top, DOWN) + 2 * MARGIN
    figure, ax = _sheet(width, height)
    _grounds(ax, spots, lines, shades)
    frames = [
        row[line.looks] for row, line in zip(spots, lines, strict=True) if line.looks is not None
    ]
    _boxes(ax, frames, "frames", facecolors="none", edgecolors="black", linewidths=1.3, zorder=2)
    _names(ax, labels, lines, firsts, names, beside)
    for row, line, words in zip(spots, lines, texts, strict=True):
        _words(ax, row, line, words)
    return figure


def _placed(
    words: Sequence[str],
    looks: int | None,
    inches: Callable[[str], float],
    bold: Callable[[str], float],
    left: float,
    top: float,
) -> list[_Spot]:
    """Where the words of a line stand."""
    spots, at = [], left
    for place, word in enumerate(words):
        width = (bold if place == looks else inches)(word) + 2 * PAD
        if at > left and at + width > left + WIDEST:
            at, top = left, top + DOWN
        spots.append(_Spot(at, top, width))
        at += width + GAP
    return spots


def _sheet(width: float, height: float) -> "tuple[Figure, Any]":
    """A figure with one axes over all of it, in inches from its upper left corner."""
    figure, (ax,) = sheet(1, width, height, 0)
    ax.set(xlim=(-MARGIN, width - MARGIN), ylim=(height - MARGIN, -MARGIN))
    ax.axis("off")
    return figure, ax


def _grounds(ax: Any, spots: list[list[_Spot]], lines: Sequence[Line], shades: Shades) -> None:
    weights = np.concatenate([line.weights for line in lines]) if lines else np.zeros(0)
    grounds = _boxes(
        ax, [spot for row in spots for spot in row], "words", zorder=1, **shades.look()
    )
    grounds.set_array(np.abs(np.ma.masked_invalid(weights)))


def _boxes(ax: Any, spots: Sequence[_Spot], gid: str, **look: Any) -> Any:
    from matplotlib.collections import PolyCollection

    inset = (DOWN - HEIGHT) / 2
    corners = [
        [(x, y), (x + wide, y), (x + wide, y + HEIGHT), (x, y + HEIGHT)]
        for x, y, wide in ((spot.left, spot.top + inset, spot.width) for spot in spots)
    ]
    boxes = PolyCollection(corners, gid=gid, **{"linewidths": 0, **look})
    return ax.add_collection(boxes)


def _names(
    ax: Any,
    labels: list[str],
    lines: Sequence[Line],
    tops: list[float],
    shades: Shades | None,
    beside: float,
) -> None:
    weighed = [place for place, line in enumerate(lines) if line.weight is not None]
    if shades is not None:
        spots = [_Spot(0, tops[place], beside - 2 * GAP) for place in weighed]
        look = {"edgecolors": GREY, "linewidths": 0.5, **shades.look()}
        boxes = _boxes(ax, spots, "names", zorder=1, **look)
        boxes.set_array(np.abs(np.ma.masked_invalid([lines[place].weight for place in weighed])))
    for label, top in zip(labels, tops, strict=True):
        ax.text(
            beside - 2 * GAP - PAD, top + DOWN / 2, label, size=SIZE, weight="bold", ha="right",
            va="center_baseline", parse_math=False, gid="name", zorder=3,
        )  # fmt: skip


def _words(ax: Any, spots: list[_Spot], line: Line, words: list[str]) -> None:
    for place, (spot, word) in enumerate(zip(spots, words, strict=True)):
        ax.text(
            spot.left + spot.width / 2, spot.top + DOWN / 2, word, size=SIZE, ha="center",
            va="center_baseline", parse_math=False, gid="word", zorder=3,
            weight="bold" if place == line.looks else "normal",
            color=GREY if np.isnan(line.weights[place]) else "black",
        )  # fmt: skip
