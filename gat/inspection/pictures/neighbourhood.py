"""What one node looks at: its neighbourhood, edges by weight, nodes by class, head by head."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gat.errors import InputError
from gat.inspection.measures.classes import Labels, labels_of
from gat.inspection.pictures.placing import Hood, gather, place
from gat.inspection.pictures.style import (
    Classes,
    drawn,
    finish,
    grid,
    plural,
    shortened,
)
from gat.inspection.record import Attention, AttentionRecord, in_order

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_neighbourhood"]

# Heads drawn beside their mean unless the caller names some.
HEADS = 5
# More nodes than this, and more on inner rings, have no room for their names.
NAMED, INNER = 32, 6
# Points; letters per inch of a panel.
NAME_SIZE, NAME_LENGTH = 7, 2.6
THIN, WIDE = 0.3, 4.0


@drawn
def draw_neighbourhood(
    attention: Attention | Sequence[AttentionRecord] | AttentionRecord,
    node: int,
    y: Labels | None = None,
    class_names: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    hops: int = 1,
    heads: Sequence[int] | None = None,
    max_nodes: int = 60,
) -> "Figure":
    """Node ``node`` in the middle, around it the nodes within ``hops`` whose messages reach it.

    Lines are as wide and dark as the weight of the edge, on one scale in all panels; a ring around
    a node is its weight on itself. Panels: the mean of all heads and the first five, or ``heads``,
    by their numbers in the layer; an empty list leaves the mean alone. Of more than ``max_nodes``
    nodes the most attended are drawn, and the caption tells how many are missing.

    attention: one record; of several layers the last is drawn.
    y: classes of the nodes, integers [N], negative where unknown; of a bipartite graph a pair, of
    sources and of targets; or by node type. names: of the source nodes, [num_src], else their
    numbers are shown.
    Raises IndexRangeError for a node or head that is not there, InputError for more hops than a
    bipartite graph has, for labels that do not fit and for a node that a partial record has not
    seen.
    """
    record = in_order(attention)[-1]
    hood = gather(record, node, hops, max_nodes)
    if names is not None and len(names) != record.num_src:
        raise InputError(f"names has {len(names)}; expected one for each of {record.num_src} nodes")
    classes = Classes(_classes(record, hood, y), class_names, len(hood.nodes))
    panels = _panels(record, hood, heads)
    widest = max((float(panel.all.max()) for panel in panels if panel.all.size), default=0.0)
    side = {1: 5.5, 2: 4.2}.get(len(panels), 3.4)
    figure, axes = grid(len(panels), side, side + 0.3, columns=3)
    spots = place(hood)
    sketch = _Sketch(hood, spots, classes, _labels(hood, names, side), widest or 1.0, side)
    for panel, ax in zip(panels, axes, strict=True):
        sketch.draw(ax, panel)
    called = str(node) if names is None or not record.same_nodes else f"{node} ({names[node]})"
    title = f"What node {shortened(called, 60)} looks at in {record.name}"
    caption = " ".join(_caption(record, hood, hops, panels, bool(sketch.labels)))
    return finish(figure, title, caption, sketch.handles())


def _classes(record: AttentionRecord, hood: Hood, y: Labels | None) -> Tensor | None:
    """The classes of the drawn nodes, int64 [n]."""
    labels = None if y is None else labels_of(record, y)
    if labels is None:
        return None
    sources, targets = (part.cpu() for part in labels)
    return torch.cat([targets[hood.nodes[:1]], sources[hood.nodes[1:]]])


class _Panel(NamedTuple):
    """One panel's weights: of the drawn edges [e] and of the nodes on themselves [n], NaN where
    that is not known."""

    title: str
    edges: np.ndarray
    own: np.ndarray

    @property
    def all(self) -> np.ndarray:
        return np.abs(np.concatenate([self.edges, self.own[~np.isnan(self.own)]]))


def _panels(record: AttentionRecord, hood: Hood, heads: Sequence[int] | None) -> list[_Panel]:
    parts = []
    if record.num_heads > 1 and not heads:
        parts.append((f"mean of {record.num_heads} heads", record.mean()))
    shown = record.heads[:HEADS] if heads is None else heads
    parts += [(f"head {number}", record.head(number)) for number in shown]
    if not parts:
        parts.append((f"head {record.heads[0]}", record))
    return [_Panel(title, *_weights(part, hood)) for title, part in parts]


def _weights(part: AttentionRecord, hood: Hood) -> tuple[np.ndarray, np.ndarray]:
    edges = part.weights[torch.from_numpy(hood.rows).to(part.weights.device), 0]
    own = np.full(len(hood.nodes), np.nan)
    known = hood.nodes[hood.loops]
    own[hood.loops] = part.to_self[known, 0].detach().double().cpu().numpy()
    return edges.detach().double().cpu().numpy(), own


class _Sketch:
    """Draws one panel after the other on the same places and the same scale.

    widest: the weight of the widest line; side: inches of a panel.
    """

    def __init__(
        self,
        hood: Hood,
        spots: np.ndarray,
        classes: Classes,
        labels: list[str],
        widest: float,
        side: float,
    ) -> None:
        self.hood, self.spots, self.labels, self.widest = hood, spots, labels, widest
        self.classes = classes
        # A letter is about 0.6 of its size wide; the limits leave room for the longest name.
        points = 72 * 0.9 * side / 2
        longest = 0.6 * NAME_SIZE * max(map(len, labels), default=0)
        self.limit = 1.25 / (1 - longest / points)
        self.points = points / self.limit
        rings = [(hood.hop == ring).sum() / ring for ring in range(1, hood.hop.max() + 1)]
        gap = 2 * np.pi * self.points / max(1, hood.hop.max()) / max([1.0, *rings])
        self.diameter = float(np.clip(0.6 * gap, 3.5, 11))

    def draw(self, ax: Any, panel: _Panel) -> None:
        ax.set_aspect("equal")
        ax.set(xlim=(-self.limit, self.limit), ylim=(-self.limit, self.limit))
        ax.axis("off")
        own = panel.own[0]
        ax.set_title(panel.title if np.isnan(own) else f"{panel.title}\non itself: {own:.2g}")
        self._edges(ax, panel.edges)
        self._rings(ax, panel.own)
        self._nodes(ax)
        few_inside = ((self.hood.hop > 0) & (self.hood.hop < self.hood.hop.max())).sum() <= INNER
        for one, label in enumerate(self.labels, start=1):
            if few_inside or self.hood.hop[one] == self.hood.hop.max():
                self._name(ax, self.spots[one], label, bool(self.hood.loops[one]))

    def _look(self, weights: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Widths in points and greys, darker for more."""
        share = np.abs(weights) / self.widest
        return THIN + (WIDE - THIN) * share, [f"{0.8 * (1 - one):.3f}" for one in share]

    def _edges(self, ax: Any, weights: np.ndarray) -> None:
        from matplotlib.collections import LineCollection, PolyCollection

        # The heaviest last, on top of the others.
        order = np.argsort(np.abs(weights), kind="stable")
        widths, greys = self._look(weights[order])
        curves = _curves(self.hood, self.spots)[order]
        styles = ["-" if weight >= 0 else "--" for weight in weights[order]]
        ax.add_collection(
            LineCollection(
                list(curves), linewidths=widths, colors=greys, linestyles=styles, zorder=1,
                gid="edges",
            )
        )  # fmt: skip
        if self.hood.hop.max() > 1:
            tips = _tips(curves, (2.2 + 1.1 * widths) / self.points)
            ax.add_collection(PolyCollection(list(tips), facecolors=greys, linewidths=0, zorder=1))

    def _rings(self, ax: Any, own: np.ndarray) -> None:
        """A ring outside the node's marker, as wide as its weight on itself."""
        shown = np.nonzero(np.nan_to_num(own) != 0)[0]
        widths, greys = self._look(own[shown])
        diameters = self._diameters()[shown] + 4 + widths
        ax.scatter(
            *self.spots[shown].T, s=diameters**2, facecolors="white", edgecolors=greys,
            linewidths=widths, zorder=2, gid="rings",
        )  # fmt: skip

    def _nodes(self, ax: Any) -> None:
        sizes = self._diameters() ** 2
        for number in self.classes.present():
            here = self.classes.labels == number
            look = self.classes.scatter(number, 1) | {"s": sizes[here]}
            ax.scatter(*self.spots[here].T, **look, linewidths=0.6, zorder=3, gid="nodes")

    def _diameters(self) -> np.ndarray:
        return np.where(self.hood.hop == 0, max(13.0, 1.4 * self.diameter), self.diameter)

    def _name(self, ax: Any, spot: np.ndarray, label: str, ring: bool) -> None:
        """Outside the last ring the name is turned along the radius, so that no two can meet; on
        an inner ring, where lines pass, it stands below its node."""
        from matplotlib.patheffects import withStroke

        look: dict[str, Any] = {"size": NAME_SIZE, "parse_math": False, "zorder": 4, "gid": "name"}
        look["path_effects"] = [withStroke(linewidth=2, foreground="white")]
        away = (self.diameter / 2 + 4 + (WIDE + 1) * ring) / self.points
        radius = float(np.hypot(*spot))
        if radius < 0.99:
            ax.text(spot[0], spot[1] - away, label, ha="center", va="top", **look)
            return
        angle = float(np.degrees(np.arctan2(spot[1], spot[0])))
        left = abs(angle) > 90.5
        ax.text(
            *(spot * (1 + away)), label, rotation=angle + 180 * left, rotation_mode="anchor",
            ha="right" if left else "left", va="center", **look,
        )  # fmt: skip

    def handles(self) -> list[Any]:
        """The legend: classes that are there, and three widths with their weights."""
        from matplotlib.lines import Line2D

        numbers = self.classes.present()
        entries = self.classes.handles(numbers) if numbers != [-1] else []
        for share in (1.0, 0.5, 0.1):
            (width,), (grey,) = self._look(np.array([share * self.widest]))
            label = f"weight {share * self.widest:.2g}"
            entries.append(Line2D([], [], color=grey, linewidth=width, label=label))
        return entries


def _curves(hood: Hood, spots: np.ndarray, steps: int = 13) -> np.ndarray:
    """A curve for each edge, [e, steps, 2]: straight unless an edge comes back or has copies."""
    start, end = spots[hood.start], spots[hood.end]
    pairs = list(zip(hood.start.tolist(), hood.end.tolist(), strict=True))
    there, copies = set(pairs), dict.fromkeys(pairs, 0)
    bend = np.zeros(len(pairs))
    for edge, (a, b) in enumerate(pairs):
        bend[edge] = 0.12 * ((b, a) in there) + 0.2 * copies[a, b]
        copies[a, b] += 1
    across = (end - start) @ np.array([[0.0, 1.0], [-1.0, 0.0]])
    middle = (start + end) / 2 + bend[:, None] * across
    along = np.linspace(0, 1, steps)[None, :, None]
    ways = (start[:, None], middle[:, None], end[:, None])
    return (1 - along) ** 2 * ways[0] + 2 * along * (1 - along) * ways[1] + along**2 * ways[2]


def _tips(curves: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Arrowheads a little past the middle of the curves: triangles [e, 3, 2]."""
    at = curves.shape[1] // 2 + 1
    ahead = curves[:, at + 1] - curves[:, at]
    ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-12)
    beside = ahead @ np.array([[0.0, 1.0], [-1.0, 0.0]])
    ahead, beside = (sizes[:, None] * way for way in (ahead, beside))
    back = curves[:, at] - ahead
    return np.stack([curves[:, at] + ahead, back + 0.6 * beside, back - 0.6 * beside], axis=1)


def _labels(hood: Hood, names: Sequence[str] | None, side: float) -> list[str]:
    """A name for each node but the first, or none where there is no room for so many."""
    if len(hood.nodes) > NAMED:
        return []
    return [
        shortened(node if names is None else names[node], int(NAME_LENGTH * side))
        for node in hood.nodes[1:]
    ]


def _caption(
    record: AttentionRecord, hood: Hood, hops: int, panels: list[_Panel], named: bool
) -> Iterator[str]:
    """The caption, sentence by sentence."""
    node, others = int(hood.nodes[0]), len(hood.nodes) - 1
    if others:
        within = "directly" if hops == 1 else f"within {hops} hops"
        yield (
            f"In the middle node {node}, around it {plural(others, 'node')} whose messages reach "
            f"it {within} in {record.name}, over {plural(len(hood.rows), 'edge')}."
        )
        yield from _how_to_read(hood, panels, named)
        yield f"If node {node} attended to all alike, each would get {_even(record, node):.2g}."
    else:
        yield f"Node {node} alone: no message of another node reaches it in {record.name}."
    if record.same_nodes:
        yield "A ring around a node is its weight on itself, on the same scale."
    if hood.num_left_out:
        yield (
            f"Left out: the {plural(hood.num_left_out, 'node')} it attends to least; the drawn "
            f"ones and the node itself have {_drawn_share(record, hood):.0%} of its attention."
        )
    if record.complete is not None and not bool(record.complete[node]):
        yield f"Only a sample of the edges into node {node} was recorded."
    if len(panels) == HEADS + 1 < record.num_heads + 1:
        rest = list(record.heads[HEADS:])
        yield f"{plural(len(rest), 'more head')} can be drawn by heads={rest}."


def _how_to_read(hood: Hood, panels: list[_Panel], named: bool) -> Iterator[str]:
    scale = "; one scale for all panels" if len(panels) > 1 else ""
    yield (
        f"The wider and darker a line, the more weight the node at its inner end gives the "
        f"other{scale}."
        if hood.hop.max() == 1
        else f"The wider and darker an arrow, the more weight the node it points to gives the "
        f"other{scale}."
    )
    yield "The most attended node is at the top, the others follow clockwise."
    if any((panel.edges < 0).any() for panel in panels):
        yield "Dashed lines are negative weights."
    if not named:
        yield f"More than {NAMED} nodes: their names are left away."


def _drawn_share(record: AttentionRecord, hood: Hood) -> float:
    """The share of the centre's attention, all heads together, on the drawn nodes and itself."""
    node = int(hood.nodes[0])
    direct = torch.from_numpy(hood.rows[hood.end == 0]).to(record.weights.device)
    shown = record.weights[direct].abs().sum() + (
        record.to_self[node].abs().sum() if record.same_nodes else 0
    )
    enters = record.target == node
    whole = record.weights[enters].abs().sum() + record.loops[node].abs().sum()
    return float(shown / whole.clamp(min=torch.finfo(whole.dtype).tiny))


def _even(record: AttentionRecord, node: int) -> float:
    """The mean weight of what a node attends to, the layer's loop among it."""
    edges = int((record.target == node).sum()) + bool(record.loops[node].any())
    return float(record.sums[node].mean()) / edges
