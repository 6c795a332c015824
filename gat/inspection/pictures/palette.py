"""Colours, markers and lines by which classes, heads and methods are told apart."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gat.errors import InputError

__all__ = ["BAND", "COLOURS", "GREY", "MARKERS", "Classes", "kind", "shortened", "stroke"]

# The hues of Okabe and Ito (2008), shifted so that no two have the same luminance, in an order in
# which neighbours differ most.
COLOURS = (
    "#004478",  # blue
    "#E6A000",  # orange
    "#006E54",  # green
    "#8AD0F5",  # sky blue
    "#D05500",  # vermilion
    "#F5EB5A",  # yellow
    "#D080AE",  # purple
    "#000000",
)
# Eleven, which shares no factor with the eight colours: 88 classes differ in colour or marker.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "p", ">", "h")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 3)))
GREY, BAND = "#6E6E6E", "#C8C8C8"


class Kind(NamedTuple):
    """How the number-th of several things is told apart: by all three at once."""

    colour: str
    marker: str
    line: Any


def kind(number: int) -> Kind:
    """Colour, marker and line style of class ``number``."""
    return Kind(
        COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)], LINES[number % len(LINES)]
    )


def stroke(number: int) -> dict[str, Any]:
    """Keywords for the line of head or method ``number``, and for its entry in a legend.

    The light colours come last: they fade on white.
    """
    look = kind(number)
    colour = COLOURS[(0, 4, 2, 6, 1, 7, 3, 5)[number % len(COLOURS)]]
    return {
        "color": colour,
        "marker": look.marker,
        "linestyle": look.line,
        "linewidth": 1.5,
        "markersize": 4.5,
        "markeredgecolor": "black",
        "markeredgewidth": 0.4,
    }


def shortened(name: Any, length: int = 24) -> str:
    """A name that fits beside a picture."""
    text = " ".join(str(name).split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


class Classes:
    """The classes of nodes as the pictures show them: a colour, a marker and a name for each.

    labels: int64 [N], negative without a label; None: no node has one.
    """

    def __init__(self, labels: Tensor | None, names: Sequence[str] | None, count: int) -> None:
        if labels is None:
            labels = torch.full((count,), -1)
        labels = torch.as_tensor(labels)
        if labels.shape != (count,) or labels.dtype.is_floating_point:
            raise InputError(
                f"y is {list(labels.shape)} of {labels.dtype}; expected a class number for each of "
                f"the {count} nodes, int64 [{count}]"
            )
        known = int(labels.max()) + 1 if labels.numel() else 0
        if names is not None and len(names) < known:
            raise InputError(f"class_names has {len(names)} names; y has class {known - 1}")
        self.labels, self.names = labels.clamp(min=-1).cpu().numpy(), names

    def present(self, nodes: Any = slice(None)) -> list[int]:
        """The classes among ``nodes``, those without a label last, as -1."""
        found = np.unique(self.labels[nodes]).tolist()
        return sorted(found, key=lambda one: (one < 0, one))

    def name(self, number: int) -> str:
        if number < 0:
            return "no label"
        return f"class {number}" if self.names is None else shortened(self.names[number])

    def scatter(self, number: int, size: float) -> dict[str, Any]:
        """Keywords for ``axes.scatter`` and for a legend's entry of this class."""
        colour, marker, _ = kind(number) if number >= 0 else Kind("white", "o", "-")
        return {"color": colour, "marker": marker, "s": size, "edgecolors": "black"}

    def handles(self, numbers: Sequence[int]) -> list[Any]:
        """Entries of a legend for these classes."""
        from matplotlib.lines import Line2D

        entries = []
        for number in numbers:
            look = self.scatter(number, 1)
            entries.append(
                Line2D(
                    [],
                    [],
                    color=look["color"],
                    marker=look["marker"],
                    markeredgecolor="black",
                    markeredgewidth=0.6,
                    linestyle="none",
                    label=self.name(number),
                )
            )
        return entries
