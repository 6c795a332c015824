"""Whether attention matters to the prediction: deletion and insertion curves by method."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gat.errors import InputError
from gat.inspection.pictures.style import GREY, drawn, finish, grid, plural, shortened, stroke

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_deletion_curves"]

# The method that the others are held against.
BASELINE = "random"


@drawn
def draw_deletion_curves(methods: Mapping[str, Any], title: str | None = None) -> "Figure":
    """The class's probability as edges are taken out, and put in, in the order of each method.

    methods: what `faithfulness` returns, or any mapping from a method's name to an object with the
    curves ``deletion`` and ``insertion``, each with fraction, mean, low and high [K] and an
    ``area``. NaN for low and high draws no band.
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
        ax.set_xlim(-2, 102)
    heading = title or "What happens when the edges a method points at go"
    handles = [_handle(number, *one) for number, one in enumerate(methods.items())]
    about = "area under both curves\n(deletion, insertion)"
    return finish(figure, heading, _caption(methods), handles, about)


def _curve(ax: Any, curve: Any, number: int, name: str) -> None:
    percent = 100 * curve.fraction.cpu()
    low, high = curve.low.cpu(), curve.high.cpu()
    look = _look(number, name)
    ax.fill_between(percent, low, high, color=look["color"], alpha=0.18, linewidth=0, gid="band")
    # Each method has its markers in other places, so that equal curves show both.
    every = max(1, len(percent) // 8)
    ax.plot(percent, curve.mean.cpu(), **look, markevery=(number % every, every), gid="curve")


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
    over = "nodes" if nodes is None else plural(len(nodes), "node")
    confidence = getattr(methods, "settings", {}).get("confidence")
    band = "confidence intervals" if confidence is None else f"{confidence:.0%} intervals"
    beside = (
        "The broken grey line is the baseline, edges in random order: a method that does no better "
        "says nothing about the model."
    )
    beside = beside if BASELINE in methods else ""
    return (
        f"Means over {over} of the probability of the followed class; the bands are {band} of the "
        f"means. Left, the edges a method ranks highest are taken out first: a method that knows "
        f"what the model uses falls early. Right, they are put in first: it rises "
        f"early. {beside}"
    )
