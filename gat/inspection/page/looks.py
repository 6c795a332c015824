"""The weights of layers over the same sources and targets, as lists that JSON can hold."""

from math import isnan
from typing import Any

from torch import Tensor

from gat.errors import InputError
from gat.inspection.pairs import pairs_of
from gat.inspection.record import AttentionRecord

__all__ = ["check_size", "layers_of", "rounded"]


def layers_of(records: list[AttentionRecord]) -> list[dict[str, Any]]:
    """For each layer its heads, and the pairs that have an edge, by target and source: ``source``
    [P], ``weights`` [H][P], ``first`` [num_dst + 1], where the pairs of each target begin, and
    ``seen``, which targets were recorded, None for all."""
    layers = []
    for record in records:
        pairs = pairs_of(record)
        layers.append(
            {
                "name": record.name,
                "type": record.layer_type,
                "when": record.when,
                "heads": list(record.heads),
                "source": pairs.source.tolist(),
                "first": pairs.first.tolist(),
                "weights": [rounded(column) for column in pairs.weights.T],
                "seen": None if record.seen is None else record.seen.tolist(),
            }
        )
    return layers


def check_size(records: list[AttentionRecord], limit: int, advice: str) -> None:
    """Refuse more weights than a page can hold."""
    for record in records:
        if record.num_edges == 0 or not record.num_src:
            raise InputError(f"{record.name} has no edges; there is nothing to draw")
    count = sum(record.weights.numel() for record in records)
    if count > limit:
        raise InputError(
            f"the records have {count} weights; a page holds up to {limit}. {advice}, or record "
            f"fewer heads or layers"
        )


def rounded(values: Tensor) -> list[float | None]:
    """To 4 digits, which is what a page shows; None for NaN, where there is no edge."""
    return [None if isnan(value) else float(f"{value:.4g}") for value in values.tolist()]
