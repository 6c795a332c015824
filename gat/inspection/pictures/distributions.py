"""Whether attention chooses: its entropy and its weights beside those of an even spread."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gat.inspection.measures import DegreeWeight, Entropy, degree_weight, entropy
from gat.inspection.pictures.palette import BAND, COLOURS, GREY
from gat.inspection.pictures.style import drawn, finish, grid
from gat.inspection.record import AttentionRecord
from gat.inspection.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_entropy", "draw_weight_by_degree"]

# Heads with a panel of their own.
PANELS = 12
# Edges per degree class from which single points would hide one another.
POINTS = 8
# Below this a share is drawn on the lower edge: a logarithmic axis has no 0.
FLOOR = 1e-6


@drawn
def draw_entropy(record: AttentionRecord) -> "Figure":
    """Histograms over nodes of the effective number of neighbours, exp(entropy): of each head's
    attention, before that of an even spread over the same edges.

    Nodes with one edge are left out, as they have no choice. Raises InputError for negative
    weights.
    """
    found = entropy(record)
    nodes = (found.degree >= 2).cpu().numpy()
    even, heads = found.uniform.exp().cpu().numpy()[nodes], record.heads[:PANELS]
    # Edges between whole numbers: an even spread over d neighbours has exactly d.
    edges = _bins(float(even.max(initial=2.0)))
    figure, axes = grid(len(heads), 2.6, 2.3, sharex=True, sharey=True)
    for column, (ax, head) in enumerate(zip(axes, heads, strict=True)):
        values = found.effective_neighbours[:, column].cpu().numpy()[nodes]
        ax.hist(even, edges, color=BAND, gid="even")
        ax.hist(values, edges, histtype="step", color=COLOURS[0], linewidth=1.8, gid="head")
        ax.set_title(f"head {head}: {_of_even(found, nodes, column)}")
    axes[0].set_ylim(0, None if nodes.any() else 1)
    _degree_axis(axes, 1, edges[-1], "effective number of neighbours", "nodes")
    return finish(
        figure,
        f"How many neighbours attention is spread over in {record.name}",
        " ".join(_entropy_caption(record, found, nodes)),
        _entropy_handles(),
    )


def _of_even(found: Entropy, nodes: np.ndarray, column: int) -> str:
    """The mean of entropy / log degree, as a title says it."""
    part = found.normalised[:, column].cpu().numpy()[nodes]
    part = part[~np.isnan(part)]
    return f"{part.mean():.1%} of even" if part.size else "no node with a choice"


def _bins(largest: float) -> np.ndarray:
    edges = [1.0, 1.5]
    while edges[-1] <= largest:
        edges.append(max(edges[-1] + 1, np.floor(1.3 * edges[-1]) + 0.5))
    return np.array(edges)


def _degree_axis(axes: list[Any], least: int, largest: float, across: str, up: str) -> None:
    """Whole numbers on a logarithmic x axis, and labels on the outer axes alone."""
    ticks = [digit * 10**power for power in range(9) for digit in (1, 2, 5)]
    ticks = [tick for tick in ticks if least <= tick <= largest]
    for ax in axes:
        ax.set_xscale("log")
        ax.set_xlim(0.95 if least == 1 else 1.6, largest)
        ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        ax.minorticks_off()
        place = ax.get_subplotspec()
        below = place.rowspan.stop * place.get_gridspec().ncols + place.colspan.start
        if below >= len(axes):
            ax.set_xlabel(across)
            ax.tick_params(labelbottom=True)
        if place.is_first_col():
            ax.set_ylabel(up)


def _entropy_handles() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        Line2D([], [], color=COLOURS[0], linewidth=1.8, label="this head"),
        Patch(color=BAND, label="even spread"),
    ]


def _entropy_caption(record: AttentionRecord, found: Entropy, nodes: np.ndarray) -> Iterator[str]:
    yield (
        f"{counted(int(nodes.sum()), 'node')}, each by its effective number of neighbours, "
        f"exp(entropy of its weights): as many as it would attend to if it attended to them "
        f"equally. Where the outline follows the grey area, the head treats all neighbours alike; "
        f"the further left of it, the more it chooses."
    )
    yield (
        "Above each panel: the mean of a node's entropy divided by the largest there is, that of "
        "an even spread."
    )
    alone = int(((found.degree == 1).cpu().numpy() & ~nodes).sum())
    if alone:
        yield f"Left out: {counted(alone, 'node')} with a single edge, which leaves no choice."
    yield from _more_heads(record)


def _more_heads(record: AttentionRecord) -> Iterator[str]:
    if record.num_heads > PANELS:
        yield f"Drawn are the first {PANELS} of {record.num_heads} heads."


@drawn
def draw_weight_by_degree(record: AttentionRecord) -> "Figure":
    """Each edge's weight against the degree of the node it enters, with 1 / degree for reference.

    By degree class: the median, the middle half and the middle nine tenths of the edges; single
    points where there are few. Loops are left out. Raises InputError for negative weights.
    """
    found = degree_weight(record)
    degree = found.target_degree.cpu().numpy()
    heads = record.heads[:PANELS]
    edges = _bins(float(degree.max(initial=2)))
    figure, axes = grid(len(heads), 2.6, 2.3, sharex=True, sharey=True)
    for column, (ax, head) in enumerate(zip(axes, heads, strict=True)):
        share = found.relative[:, column].cpu().numpy() / degree
        reference = np.geomspace(2, max(3, degree.max(initial=2)), 50)
        ax.plot(reference, 1 / reference, color=COLOURS[4], linestyle="--", linewidth=1.2)
        _spreads(ax, degree, np.maximum(share, FLOOR), edges)
        ax.set_yscale("log")
        ax.set_title(f"head {head}")
    _degree_axis(axes, 2, edges[-1], "degree: edges that enter the node", "weight of an edge")
    return finish(
        figure,
        f"Weight against degree in {record.name}",
        " ".join(_degree_caption(record, found)),
        _degree_handles(),
    )


def _spreads(ax: Any, degree: np.ndarray, share: np.ndarray, edges: np.ndarray) -> None:
    """For each degree class its quantiles, or its points."""
    share, degree = share[~np.isnan(share)], degree[~np.isnan(share)]
    classes = np.digitize(degree, edges)
    for number in np.unique(classes):
        inside = classes == number
        middle, values = np.exp(np.log(degree[inside]).mean()), share[inside]
        if len(values) < POINTS:
            ax.scatter(degree[inside], values, s=7, color=GREY, linewidths=0, gid="points")
            continue
        low, lower, median, upper, high = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
        ax.vlines(middle, low, high, color=COLOURS[0], linewidth=1)
        ax.vlines(middle, lower, upper, color=COLOURS[0], linewidth=4)
        ax.plot(middle, median, "o", color="white", markeredgecolor="black", markersize=4)


def _degree_handles() -> list[Any]:
    from matplotlib.lines import Line2D

    blue: dict[str, Any] = {"color": COLOURS[0], "marker": "|", "linestyle": "none"}
    dot: dict[str, Any] = {"marker": "o", "linestyle": "none"}
    return [
        Line2D([], [], color="white", markeredgecolor="black", markersize=4, label="median", **dot),
        Line2D([], [], markersize=8, markeredgewidth=4, label="middle half", **blue),
        Line2D([], [], markersize=12, markeredgewidth=1, label="middle 90 %", **blue),
        Line2D([], [], color=GREY, markersize=3, label="single edge", **dot),
        Line2D([], [], color=COLOURS[4], linestyle="--", label="1 / degree: even"),
    ]


def _degree_caption(record: AttentionRecord, found: DegreeWeight) -> Iterator[str]:
    yield (
        f"{counted(found.edge.numel(), 'edge')} between different nodes, by the degree of the node "
        f"they enter (its loop counted where it has one; nodes with one edge left out). On the "
        f"dashed line every neighbour gets the same weight; the longer the bars, the more the head "
        f"tells neighbours apart. Both axes are logarithmic."
    )
    if bool((found.relative <= FLOOR * found.target_degree.unsqueeze(1)).any()):
        yield f"Weights below {FLOOR:g} are drawn there."
    yield from _more_heads(record)
