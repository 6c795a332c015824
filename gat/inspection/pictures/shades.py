"""Weights as shades: one scale for all of a figure, and what its legend says of it."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from gat.inspection.pictures.palette import BAND, GREY

__all__ = ["Shades"]

# Darker for more in greyscale too, and never so dark that black letters could not be read on it.
SCALE = ("#FFFFFF", "#FBD79A", "#F0A13C", "#DB6A0A")
HATCH = "/////"


class Shades:
    """The shade of each weight: white for 0, the darkest for the largest of ``weights``; of a
    negative weight its size counts, and NaN, where there is no edge, has none."""

    def __init__(self, weights: np.ndarray) -> None:
        from matplotlib.colors import LinearSegmentedColormap, Normalize

        known = weights[~np.isnan(weights)]
        self.missing, self.negative = len(known) < weights.size, bool((known < 0).any())
        self.largest = float(np.abs(known).max(initial=0.0)) or 1.0
        shades = LinearSegmentedColormap.from_list("attention", SCALE)
        self.map = shades.with_extremes(bad=(0, 0, 0, 0))
        self.norm = Normalize(0, self.largest)

    def look(self) -> dict[str, Any]:
        """Keywords for an image or a collection that is given sizes of weights."""
        return {"cmap": self.map, "norm": self.norm}

    def hatch(self, ax: Any) -> None:
        """Hatch a map's axes, to be seen where it has no weight."""
        ax.patch.set(facecolor="white", edgecolor=BAND, hatch=HATCH, linewidth=0)

    def handles(self, missing: str = "") -> list[Any]:
        """Entries of a legend: three weights, and with words for it, what is hatched."""
        from matplotlib.patches import Patch

        weights = [share * self.largest for share in (1.0, 0.5, 0.1)]
        entries = [
            Patch(facecolor=self.map(self.norm(one)), edgecolor=GREY, label=f"weight {one:.2g}")
            for one in weights
        ]
        if missing and self.missing:
            look: dict[str, Any] = {"facecolor": "white", "edgecolor": BAND, "hatch": HATCH}
            entries.append(Patch(**look, label=missing))
        return entries

    def words(self) -> Iterator[str]:
        """What a caption has to say of the weights."""
        if self.negative:
            yield "Some weights are negative: shades are of their sizes."
