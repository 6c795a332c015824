"""An image beside the map of what one of its pixels, or all of them, look at."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from gat.errors import InputError
from gat.inspection.pairs import Pairs, pairs_of
from gat.inspection.pictures.palette import MARKERS, shortened
from gat.inspection.pictures.shades import Shades
from gat.inspection.pictures.style import drawn, finish, sheet
from gat.inspection.pixels import Pixel, Pixels, chosen, pixels_of
from gat.inspection.record import AttentionRecord
from gat.inspection.words import counted, head_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_image_attention"]

# Inches: the width of a panel, and the height of its title.
SIDE, TITLE = 2.6, 0.25


@drawn
def draw_image_attention(
    record: AttentionRecord,
    image: Tensor,
    pixel: Pixel | Sequence[Pixel] | None = None,
    head: int | None = None,
    *,
    size: tuple[int, int] | None = None,
) -> "Figure":
    """The image, and beside it for each chosen pixel the map of what it looks at.

    record: of one image (`gat.inspection.block`), nodes row by row. image [H, W] or [C, H, W].
    pixel: (row, column) in the image, or several. None: the mean over all targets, which parts of
    the image are looked at most; it serves a read-out too, whose targets are no pixels. size:
    height and width of the map where it is not the image scaled down by a whole number; a part of
    the map is drawn as large as the pixels it lies over. head: a head's number in the layer, or
    None for the mean of all. One scale serves all maps; what has no edge is hatched.

    Raises InputError for an image that does not fit the record, a pixel where targets are none, and
    weights that are not finite; IndexRangeError for a pixel or head that is not there.
    """
    pixels = pixels_of(record, image, size)
    places = chosen(pixel)
    part = record.mean() if head is None else record.head(head)
    pairs = pairs_of(part)
    if places:
        nodes = [_node(record, pixels, place) for place in places]
        maps = [pixels.map(pairs.row(node)[0].numpy()) for node in nodes]
        titles = [f"pixel ({row}, {column})" for row, column in places]
    else:
        maps = [pixels.map(_mean(pairs, record))]
        titles = ["mean over all pixels" if _own(record) else _of_targets(record)]
    shades = Shades(np.stack(maps))
    tall, wide = pixels.shown.shape[:2]
    height = SIDE * min(max(tall / wide, 0.3), 2.5) + TITLE
    figure, axes = sheet(1 + len(maps), SIDE, height, 0.08)
    _show(axes[0], pixels.shown, pixels, cmap="gray", vmin=0, vmax=255, gid="image")
    axes[0].set_title("image")
    for ax, values, title in zip(axes[1:], maps, titles, strict=True):
        shades.hatch(ax)
        weights = np.abs(np.ma.masked_invalid(values))
        _show(ax, weights, pixels, gid="weights", **shades.look())
        ax.set_title(title)
    handles = shades.handles("no edge")
    for number, place in enumerate(places):
        handles.append(_mark(axes[0], axes[1 + number], place, number))
    title = f"What {_who(places, record)} in {shortened(record.name, 40)}"
    caption = " ".join(_caption(record, head, pixels, maps, shades, places))
    return finish(figure, title, caption, handles)


def _own(record: AttentionRecord) -> bool:
    """Whether the targets are the pixels."""
    return record.num_dst == record.num_src


def _of_targets(record: AttentionRecord) -> str:
    return "the target" if record.num_dst == 1 else f"mean over {counted(record.num_dst, 'target')}"


def _node(record: AttentionRecord, pixels: Pixels, place: Pixel) -> int:
    node = pixels.node(place)
    if not _own(record):
        raise InputError(
            f"{record.name} has {counted(record.num_dst, 'target')}, which are not the "
            f"{record.num_src} parts of the image; leave pixel away for the mean over them"
        )
    if record.seen is not None and not bool(record.seen[node]):
        raise InputError(f"{record.name} has no record of pixel {place}; record it with nodes=")
    return node


def _mean(pairs: Pairs, record: AttentionRecord) -> np.ndarray:
    """What a source gets from a target on average, [num_src]; NaN where no target has an edge."""
    sums = pairs.weights.new_full((pairs.num_src,), float("nan"))
    looked = pairs.source.unique()
    sums[looked] = 0
    sums.index_add_(0, pairs.source, pairs.weights[:, 0])
    targets = record.num_dst if record.seen is None else int(record.seen.sum())
    return (sums / max(targets, 1)).numpy()


def _show(ax: Any, values: np.ndarray, pixels: Pixels, **look: Any) -> None:
    """Values over the whole image: a smaller map's parts are as large as what they lie over."""
    tall, wide = pixels.shown.shape[:2]
    extent = (-0.5, wide - 0.5, tall - 0.5, -0.5)
    ax.imshow(values, extent=extent, interpolation="nearest", **look)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(True)


def _mark(image: Any, panel: Any, place: Pixel, number: int) -> Any:
    """The pixel's marker on the image and on its map, and the legend's entry."""
    from matplotlib.lines import Line2D

    look: dict[str, Any] = {
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 8,
        "markerfacecolor": "white",
        "markeredgecolor": "black",
        "markeredgewidth": 1.2,
        "linestyle": "none",
    }
    for ax in (image, panel):
        ax.add_line(Line2D([place[1]], [place[0]], gid="pixel", **look))
    return Line2D([], [], label=f"pixel ({place[0]}, {place[1]})", **look)


def _who(places: list[Pixel], record: AttentionRecord) -> str:
    if len(places) == 1:
        return f"pixel {places[0]} looks at"
    if places:
        return f"{len(places)} pixels look at"
    return "the pixels look at" if _own(record) else "is looked at"


def _caption(
    record: AttentionRecord,
    head: int | None,
    pixels: Pixels,
    maps: list[np.ndarray],
    shades: Shades,
    places: list[Pixel],
) -> Iterator[str]:
    yield f"Left the image, then the weights of {head_name(record, head)}."
    if places:
        yield "The darker a part, the more weight the marked pixel gives it."
    elif _own(record) or record.num_dst > 1:
        yield "The darker a part, the more weight it gets on average."
    else:
        yield "The darker a part, the more weight it gets."
    if len(maps) > 1:
        yield "One scale for all maps."
    tall, wide = pixels.shown.shape[:2]
    if (pixels.height, pixels.width) != (tall, wide):
        yield (
            f"The layer attends over {pixels.height} x {pixels.width} parts of the image of "
            f"{tall} x {wide} pixels."
        )
    if not shades.missing:
        yield f"Spread evenly, each part would get {1 / record.num_src:.2g}."
    else:
        yield "Hatched: no edge leads from there."
    yield from shades.words()
