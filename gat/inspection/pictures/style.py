"""The look the pictures share: the figure, its title, its legend and the caption under it."""

from collections.abc import Callable, Sequence
from functools import cache, wraps
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ParamSpec

from gat.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["caption_of", "drawn", "finish", "grid", "inches_of", "sheet"]

P = ParamSpec("P")

LOOK = {
    "figure.facecolor": "white",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
CAPTION_SIZE, TITLE_SIZE = 9, 12
# Dots per inch at which a picture may be saved or shown: in few dots letters are wider.
SAVED_AT = (60, 72, 100, 150)
# Inches: left free around the texts; below which a caption has too many lines.
MARGIN, LEAST_WIDTH = 0.15, 5.0


def drawn(draw: "Callable[P, Figure]") -> "Callable[P, Figure]":
    """Let ``draw`` draw in this look whatever rcParams say; refuse where matplotlib is missing."""

    @wraps(draw)
    def in_our_look(*args: P.args, **kwargs: P.kwargs) -> "Figure":
        if find_spec("matplotlib") is None:
            raise MissingDependencyError(
                f"{draw.__name__} needs matplotlib, which is not installed: "
                f"pip install graph-attention[plot]"
            )
        import matplotlib.style

        with matplotlib.style.context(["default", LOOK]):
            return draw(*args, **kwargs)

    return in_our_look


def grid(
    count: int, width: float, height: float, columns: int = 4, **options: Any
) -> "tuple[Figure, list[Any]]":
    """A figure with ``count`` axes of ``width`` x ``height`` inches; one alone is larger."""
    from matplotlib.figure import Figure

    if count == 1:
        width, height = max(width, 3.6), max(height, 3.0)
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    options = {"squeeze": False, **options}
    axes = figure.subplots(rows, columns, **options).ravel().tolist()
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def sheet(count: int, width: float, height: float, margin: float) -> "tuple[Figure, list[Any]]":
    """As `grid`, of one row and in just this size, with ``margin`` inches around each axes."""
    figure, axes = grid(count, width, height, columns=count)
    figure.set_size_inches(count * width, height)
    engine = figure.get_layout_engine()
    engine.set(w_pad=margin, h_pad=margin)  # type: ignore[union-attr, call-arg]
    return figure, axes


def finish(
    figure: "Figure", title: str, caption: str, handles: Sequence[Any] = (), about: str = ""
) -> "Figure":
    """The title above the picture, the legend of ``handles`` (headed ``about``) to its right and
    the caption under it. The picture keeps its size: the figure grows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    width, height = figure.get_size_inches()
    legend = _legend(figure, handles, about, height) if handles else None
    beside = 0.0
    if legend is not None:
        box = legend.get_window_extent(renderer)
        beside, height = box.width / figure.dpi + MARGIN, max(height, box.height / figure.dpi)
    whole = max(width + beside, LEAST_WIDTH)
    above = _Block(title, TITLE_SIZE, whole)
    below = _Block(caption, CAPTION_SIZE, whole)
    tall = above.inches + height + below.inches
    figure.set_size_inches(whole, tall)
    picture = (0, below.inches / tall, 1 - beside / whole, height / tall)
    figure.get_layout_engine().set(rect=picture)  # type: ignore[union-attr, call-arg]
    above.write(figure, 1 - MARGIN / tall, "top", "title")
    below.write(figure, MARGIN / tall, "bottom", "caption")
    if legend is not None:
        legend.set_bbox_to_anchor((1 - beside / whole, 1 - above.inches / tall))
    return figure


class _Block:
    """Text in lines over the whole figure's width, and the height it needs with its margins."""

    def __init__(self, text: str, size: float, width: float) -> None:
        self.text, self.size, self.left = text, size, MARGIN / width
        self.lines = _wrap(text, width - 2 * MARGIN, inches_of(size))
        self.inches = 1.45 * size / 72 * len(self.lines) + 2 * MARGIN

    def write(self, figure: "Figure", y: float, side: str, gid: str) -> None:
        figure.text(
            self.left, y, "\n".join(self.lines), size=self.size, linespacing=1.2, va=side,
            parse_math=False, gid=gid, label=self.text,
        )  # fmt: skip


def inches_of(size: float, weight: str = "normal") -> Callable[[str], float]:
    """What tells how many inches wide a text of ``size`` points is, at whatever dots per inch."""
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.font_manager import FontProperties

    font = FontProperties(size=size, weight=weight)
    renderers = [RendererAgg(1, 1, dpi) for dpi in SAVED_AT]

    @cache
    def inches(part: str) -> float:
        sizes = (one.get_text_width_height_descent(part, font, False) for one in renderers)
        return max(size[0] / dpi for size, dpi in zip(sizes, SAVED_AT, strict=True))

    return inches


def _legend(figure: "Figure", handles: Sequence[Any], about: str, height: float) -> Any:
    """In as many columns as the picture's height asks for; no name is read as a formula."""
    legend = figure.legend(
        handles=list(handles),
        labels=[handle.get_label() for handle in handles],
        loc="upper left",
        borderaxespad=0,
        title=about or None,
        alignment="left",
        ncols=-(-len(handles) // max(8, int(height / 0.22))),
    )
    legend.set_in_layout(False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return legend


def caption_of(figure: "Figure") -> str:
    """The caption of one of these pictures in one line: also the text for who cannot see it."""
    return next((str(text.get_label()) for text in figure.texts if text.get_gid() == "caption"), "")


def _wrap(text: str, room: float, inches: Callable[[str], float]) -> list[str]:
    """``text`` in lines of at most ``room`` inches; a longer word has a line of its own."""
    lines, used = [""], 0.0
    # Measured between letters: a space alone may have no ink and so no width.
    space = inches("a a") - inches("aa")
    for word in text.split():
        width = inches(word)
        if lines[-1] and used + space + width > room:
            lines.append(word)
            used = width
        else:
            used += width + space * bool(lines[-1])
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
