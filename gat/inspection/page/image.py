"""`write_image_page`: an image and what its pixels look at, as an HTML file."""

import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from gat.errors import InputError
from gat.inspection.files import check_file
from gat.inspection.page.looks import check_size, layers_of
from gat.inspection.page.text import MAX_WEIGHTS
from gat.inspection.page.writing import start_at, write_html
from gat.inspection.pixels import Pixel, chosen, pixels_of
from gat.inspection.record import Attention, AttentionRecord, in_order

__all__ = ["write_image_page"]

SCRIPTS = ("common.js", "looks.js", "canvas.js", "image.js")


def write_image_page(
    path: str | os.PathLike[str],
    attention: Attention | Sequence[AttentionRecord] | AttentionRecord,
    image: Tensor,
    title: str | None = None,
    *,
    pixel: Pixel | None = None,
    size: tuple[int, int] | None = None,
    layer: str | None = None,
    head: int | None = None,
) -> Path:
    """Write one HTML file to look at the attention of an image in, and return its path.

    Pointing at a pixel, or going to it by the keyboard, draws the map of what it looks at; a click
    keeps it. Without a pixel the map is the mean over all. The page loads nothing from the network.

    attention: the records of one or more layers over the same image (of a batch, each one's
    `gat.inspection.block`), nodes row by row; read-outs, whose targets are no pixels, have the mean
    alone. image: [H, W] or [C, H, W]. pixel: (row, column) of the one chosen first. size: height
    and width of the map where it is not the image scaled down by a whole number. layer, head: as in
    `write_text_page`.

    Raises InputError for an image that does not fit a record, for records without edges or with
    more than a million weights, weights that are not finite, and where the file cannot be written;
    IndexRangeError for a pixel or head that is not there.
    """
    target = check_file(Path(path), "image.html")
    records = in_order(attention)
    maps = [pixels_of(record, image, size) for record in records]
    pixels = maps[-1]
    if len({(each.height, each.width) for each in maps}) > 1:
        shown = ", ".join(
            f"{record.name} {each.height} x {each.width}"
            for record, each in zip(records, maps, strict=True)
        )
        raise InputError(f"layers have maps of different sizes ({shown}); write a page for each")
    check_size(records, MAX_WEIGHTS, "Draw a smaller image, or a layer of smaller reach")
    layers = layers_of(records)
    for document, record in zip(layers, records, strict=True):
        document["own"] = record.num_dst == record.num_src
    start = start_at(records, layer, head)
    places = chosen(pixel)
    if len(places) > 1 or (places and not layers[start["layer"]]["own"]):
        raise InputError(
            f"pixel is {pixel!r}; expected one pixel, of a layer whose targets are the pixels"
        )
    document = {
        "image": pixels.shown.tolist(),
        "size": [pixels.height, pixels.width],
        "layers": layers,
        "start": start | {"node": pixels.node(places[0]) if places else None},
    }
    heading = "What each pixel looks at" if title is None else title
    styles = ("page.css", "looks.css")
    return write_html(target, "image.html.j2", heading, document, SCRIPTS, styles)
