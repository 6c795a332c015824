"""How a layer's attention changes while its network trains."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gat.errors import InputError
from gat.inspection.measures.classes import Labels
from gat.inspection.measures.heads import mean_divergence
from gat.inspection.measures.layer import LayerMeasures, measure_layer
from gat.inspection.measures.plain import plain
from gat.inspection.measures.shares import shares_of
from gat.inspection.record import AttentionRecord

__all__ = ["EpochChange", "change_over_epochs"]


@dataclass(frozen=True, eq=False)
class EpochChange:
    """One layer's attention at T epochs, in their order.

    epochs: their numbers; heads: the heads' numbers in the layer.
    successive: float64 [T - 1, H], the mean Jensen-Shannon divergence in nats between a head at one
    epoch and the same head at the next; to_last: float64 [T, H], between each epoch and the last.
    Means are over targets with two edges or more.
    measures: what `measure` says of the layer at each epoch.
    """

    epochs: tuple[int, ...]
    heads: tuple[int, ...]
    successive: Tensor
    to_last: Tensor
    measures: tuple[LayerMeasures, ...]

    def series(self, name: str) -> Tensor:
        """One measure of each head over the epochs, [T, H]: "entropy", "self_weight", ..."""
        values = [getattr(one, name, None) for one in self.measures]
        columns = [value for value in values if isinstance(value, Tensor)]
        if len(columns) < len(values):
            known = (key for key, value in vars(self.measures[0]).items() if _per_head(value))
            raise InputError(
                f"there is no measure {name!r} with a number per head; there are {', '.join(known)}"
            )
        return torch.stack(columns)

    def to_dict(self) -> dict[str, Any]:
        """The same, of what JSON knows; None for NaN."""
        return plain(self)


@torch.no_grad()
def change_over_epochs(
    records: Mapping[int, AttentionRecord], y: Labels | None = None
) -> EpochChange:
    """Compare one layer's records, given by epoch, with one another; ``y`` as in `measure`.

    InputError if there are none, or if they are not of the same edges and heads.
    """
    if not records:
        raise InputError("there are no records; expected a mapping from epoch to AttentionRecord")
    epochs = tuple(sorted(records))
    for epoch in epochs[1:]:
        _check_alike(epochs[0], records[epochs[0]], epoch, records[epoch])
    last = shares_of(records[epochs[-1]])
    heads = torch.arange(last.record.num_heads, device=last.edges.device)
    steps, to_last, measures = [last.edges.new_empty(0, len(heads))], [], []
    before = None
    for epoch in epochs:
        now = shares_of(records[epoch])
        if before is not None:
            steps.append(mean_divergence(before, now, heads, heads).unsqueeze(0))
        to_last.append(mean_divergence(now, last, heads, heads))
        measures.append(measure_layer(now, y))
        before = now
    return EpochChange(
        epochs, last.record.heads, torch.cat(steps), torch.stack(to_last), tuple(measures)
    )


def _per_head(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 1


def _check_alike(first: int, one: AttentionRecord, epoch: int, other: AttentionRecord) -> None:
    def refuse(what: str, expected: Any, came: Any) -> None:
        raise InputError(
            f"the record of epoch {epoch} has {what} {came}, that of epoch {first} {expected}; "
            f"expected one layer over the same edges at every epoch. Record whole passes over the "
            f"graph, in evaluation mode"
        )

    for what, mine, theirs in (
        ("layer", one.name, other.name),
        ("heads", one.heads, other.heads),
        ("nodes", (one.num_src, one.num_dst), (other.num_src, other.num_dst)),
    ):
        if mine != theirs:
            refuse(what, mine, theirs)
    edges = [torch.stack([record.source, record.target]).cpu() for record in (one, other)]
    if not torch.equal(*edges):
        refuse("edges", f"{one.num_edges} edges", f"{other.num_edges} other edges")
