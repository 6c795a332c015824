"""Whether attention matters to the prediction: deletion and insertion curves by method."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from gat.errors import InputError
from gat.inspection.pictures.palette import GREY, shortened, stroke
from gat.inspection.pictures.style import drawn, finish, grid
from gat.inspection.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_deletion_curves"]

# The method that the others are held against.
BASELINE = "random"
# Markers and intervals along a curve.
POINTS = 10


@drawn
def draw_deletion_curves(methods: Mapping[str, Any], title: str | None = None) -> "Figure":
    """The class's probability as edges are taken out, and put in, in the order of each method.

    methods: what `faithfulness` returns, or any mapping from a method's name to an object with the
    curves ``deletion`` and ``insertion``, each with fraction, mean, low and high [K] and an
    ``area``. NaN for low and high draws no interval.
    """
    if not methods:
        raise InputError("there are no curves to draw; expected at least one method")
    figure, axes = grid(2, 4.0, 3.4, columns=2, sharey=True)
    for number, (name, one) in enumerate(methods.items()):
        for ax, curve in zip(axes, (one.deletion, one.insertion), strict=True):
            _curve(ax, curve, number, name)
    axes[0].set(title="deletion: most important first", ylabel="probability of the class")
    axes[0].set_xlabel("share of the node's edges taken out (%)")
    axes[1].set(title="insertion: most important first")
    axes[1].set_xlabel("share of the node's edges put in (%)")
    for ax in axes:
        ax.set_xlim(-4, 104)
        ax.autoscale_view(scalex=False)
    heading = title or "What happens when the edges a method points at go"
    handles = [_handle(number, *one) for number, one in enumerate(methods.items())]
    about = "area under both curves\n(deletion, insertion)"
    return finish(figure, heading, _caption(methods), handles, about)


def _curve(ax: Any, curve: Any, number: int, name: str) -> None:
    from matplotlib.transforms import ScaledTranslation

    percent, mean = 100 * curve.fraction.cpu(), curve.mean.cpu()
    look = _look(number, name)
    every = max(1, len(percent) // POINTS)
    ax.plot(percent, mean, **look, markevery=every, gid="curve")
    # Side by side, as bars on one another could not be told apart.
    aside = ScaledTranslation(2.2 * (number - 1) / 72, 0, ax.figure.dpi_scale_trans)
    low, high = curve.low.cpu()[::every], curve.high.cpu()[::every]
    ax.vlines(
        percent[::every], low, high, color=look["color"], linewidth=1.1, zorder=1,
        transform=ax.transData + aside, gid="interval",
    )  # fmt: skip
    ax.update_datalim([(0, value) for value in torch.cat([low, high]).tolist() if value == value])


def _look(number: int, name: str) -> dict[str, Any]:
    if name == BASELINE:
        return {**stroke(number), "color": GREY, "linestyle": "--", "marker": None}
    return stroke(number)


def _handle(number: int, name: str, one: Any) -> Any:
    from matplotlib.lines import Line2D

    areas = f"({float(one.deletion.area):.3f}, {float(one.insertion.area):.3f})"
    return Line2D([], [], label=f"{shortened(name)} {areas}", **_look(number, name))


def _caption(methods: Mapping[str, Any]) -> str:
    nodes = getattr(methods, "nodes", None)
    over = "nodes" if nodes is None else counted(len(nodes), "node")
    confidence = getattr(methods, "settings", {}).get("confidence")
    bars = "confidence intervals" if confidence is None else f"{confidence:.0%} intervals"
    beside = (
        "The broken grey line is the baseline, edges in random order: a method that does no better "
        "says nothing about the model. All are measured on the same nodes: a difference can be "
        "certain although the bars overlap."
    )
    beside = beside if BASELINE in methods else ""
    return (
        f"Means over {over} of the probability of the followed class; the bars, set side by "
        f"side, are {bars} of the means. Left, the edges a method ranks highest are taken out "
        f"first: a method that knows what the model uses falls early. Right, they are put in "
        f"first: it rises early. {beside}"
    )
