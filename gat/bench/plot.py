"""A picture of a record: bars of milliseconds per peer, or time per edge over growing graphs."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gat.bench.record import Record
from gat.errors import InputError, MissingDependencyError

__all__ = ["check_can_plot", "plot"]


def check_can_plot(path: Path) -> None:
    """Refuse before minutes of measuring what could not be drawn after them."""
    if find_spec("matplotlib") is None:
        raise MissingDependencyError(
            "a plot needs matplotlib, which is not installed: pip install 'graph-attention[plot]', "
            "or leave out --plot; the figures are in the JSON file either way"
        )
    if path.suffix not in (".png", ".pdf", ".svg"):
        raise InputError(f"--plot {path}: expected a name that ends in .png, .pdf or .svg")


def plot(record: Record, path: Path) -> Path:
    """Draw ``record`` into ``path``."""
    check_can_plot(path)
    if not any(case.figures for case in record.cases):
        raise InputError(f"{record.title}: nothing was measured that could be drawn")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(record.title)
    (_lines if len(record.cases) > 1 else _bars)(record, axes)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


def _bars(record: Record, axes: Any) -> None:
    """A bar per peer and malloc mode, made of its parts, the floor as a line."""
    case = record.cases[0]
    parts = [part for part in case.figures[0].parts if part != "together"] or ["together"]
    places = range(len(case.figures))
    left = [0.0] * len(case.figures)
    for part in parts:
        widths = [1e3 * figure.seconds(part) for figure in case.figures]
        axes.barh(places, widths, left=left, label=part)
        left = [so_far + width for so_far, width in zip(left, widths, strict=True)]
    axes.set_yticks(places, [f"{figure.peer}, {figure.malloc}" for figure in case.figures])
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds")
    if case.floor and case.bandwidth:
        floor = 1e3 * case.floor["together"] / case.bandwidth[-1].of_floor
        axes.axvline(floor, color="black", linestyle="--", label="the bytes' floor")


def _lines(record: Record, axes: Any) -> None:
    """Nanoseconds per edge of each peer over the graphs."""
    series: dict[str, list[tuple[float, float]]] = {}
    for case in record.cases:
        edges = float(case.facts["edges"])
        for figure in case.figures:
            point = (edges, 1e9 * figure.seconds() / edges)
            series.setdefault(f"{figure.peer}, {figure.malloc}", []).append(point)
    for name, points in series.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("edges")
    axes.set_ylabel("nanoseconds per edge")
