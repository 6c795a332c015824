"""What is in a figure, and whether it can be read: for tests of pictures."""

from itertools import combinations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text


def parts(figure, gid):
    """All artists of that gid, panel by panel."""
    return [[one for one in ax.get_children() if one.get_gid() == gid] for ax in figure.axes]


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def only(figure, gid, panel=0):
    """The one artist of that gid in a panel."""
    (artist,) = parts(figure, gid)[panel]
    return artist


def drawn(artist):
    """The weights an artist shows, NaN where it shows none."""
    return np.ma.filled(artist.get_array().astype(float), np.nan)


def assert_well_laid_out(figure):
    """All text is inside the figure; caption, title, legend and picture do not overlap."""
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    whole = figure.bbox.padded(0.5)
    for text in texts_in_sight(figure):
        box = text.get_window_extent(renderer)
        inside = whole.contains(*box.min) and whole.contains(*box.max)
        assert inside, f"{text.get_text()!r} at {box} leaves {whole}"
    for ax in figure.axes:
        for text in ax.texts:
            assert not text.get_window_extent(renderer).overlaps(
                ax.title.get_window_extent(renderer)
            ), f"{text.get_text()!r} meets the title"
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    boxes += [legend.get_window_extent(renderer) for legend in figure.legends]
    panels = [ax.get_tightbbox(renderer) for ax in figure.axes]
    for box in boxes:
        for panel in panels:
            assert not box.padded(-1).overlaps(panel.padded(-1))
    for one, other in combinations(boxes, 2):
        assert not one.padded(-1).overlaps(other.padded(-1))
    for one, other in combinations(panels, 2):
        assert not one.padded(-1).overlaps(other.padded(-1))


def texts_in_sight(figure):
    """All texts but those of ticks that are not drawn, beyond the limits or switched off."""
    unseen = []
    for ax in figure.axes:
        for axis, limits in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not ax.axison or not min(limits) <= tick.get_loc() <= max(limits):
                    unseen += [tick.label1, tick.label2]
    hidden = set(map(id, unseen))
    texts = figure.findobj(lambda one: isinstance(one, Text) and id(one) not in hidden)
    return [text for text in texts if text.get_visible() and text.get_text().strip()]
