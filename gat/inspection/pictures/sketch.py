"""One panel of a neighbourhood: edges as wide and dark as their weight, nodes by class, names."""

from typing import Any, NamedTuple

import numpy as np

from gat.inspection.pictures.palette import Classes
from gat.inspection.pictures.placing import Hood

__all__ = ["THIN", "WIDE", "Panel", "Sketch", "outward"]

# Points: names; the lines of no weight and, where there is room, of the largest.
NAME_SIZE = 7
THIN, WIDE = 0.3, 4.0
# Markers, and with them lines and rings, are smaller where nodes stand closer.
LEAST, MOST = 3.5, 11.0
# More nodes than this on inner rings have no room for their names.
INNER = 6


class Panel(NamedTuple):
    """One panel's weights: of the drawn edges [e] and of the nodes on themselves [n], NaN where
    that is not known."""

    title: str
    edges: np.ndarray
    own: np.ndarray

    @property
    def all(self) -> np.ndarray:
        return np.abs(np.concatenate([self.edges, self.own[~np.isnan(self.own)]]))


class Sketch:
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
        # Points between two neighbours on the ring where they stand closest.
        radius = np.hypot(*spots[1:].T)
        rings = [radius[hood.hop[1:] == ring] for ring in range(1, hood.hop.max() + 1)]
        gap = min((2 * np.pi * self.points * one[0] / len(one) for one in rings), default=99.0)
        self.diameter = float(np.clip(0.6 * gap, LEAST, MOST))
        self.wide = WIDE * self.diameter / MOST

    def draw(self, ax: Any, panel: Panel) -> None:
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
        return THIN + (self.wide - THIN) * share, [f"{0.8 * (1 - one):.3f}" for one in share]

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
        if outward(self.hood):
            tips = _tips(curves, (0.2 * self.diameter + 1.1 * widths) / self.points)
            ax.add_collection(PolyCollection(list(tips), facecolors=greys, linewidths=0, zorder=1))

    def _rings(self, ax: Any, own: np.ndarray) -> None:
        """A ring outside the node's marker, as wide as its weight on itself."""
        shown = np.nonzero(np.nan_to_num(own) != 0)[0]
        widths, greys = self._look(own[shown])
        diameters = self._diameters()[shown] + 0.36 * self.diameter + widths
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
        away = (self.diameter / 2 + 4 + (self.wide + 1) * ring) / self.points
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


def outward(hood: Hood) -> bool:
    """Whether not every edge goes to the node in the middle, so that arrows are needed."""
    return bool((hood.end != 0).any())


def _tips(curves: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Arrowheads a little past the middle of the curves: triangles [e, 3, 2]."""
    at = curves.shape[1] // 2 + 1
    ahead = curves[:, at + 1] - curves[:, at]
    ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-12)
    beside = ahead @ np.array([[0.0, 1.0], [-1.0, 0.0]])
    ahead, beside = (sizes[:, None] * way for way in (ahead, beside))
    back = curves[:, at] - ahead
    return np.stack([curves[:, at] + ahead, back + 0.6 * beside, back - 0.6 * beside], axis=1)
