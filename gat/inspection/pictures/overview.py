"""Every picture of one model's attention, by the name of the file it is to have."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from gat.inspection.fidelity import Faithfulness
from gat.inspection.pictures.curves import draw_deletion_curves
from gat.inspection.pictures.distributions import draw_entropy, draw_weight_by_degree
from gat.inspection.pictures.embedding import draw_embedding
from gat.inspection.pictures.heads import draw_head_agreement
from gat.inspection.record import Attention, AttentionRecord, in_order

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Picture", "draw_overview"]


class Picture(NamedTuple):
    """A figure, and the title it stands under."""

    title: str
    figure: "Figure"


def draw_overview(
    attention: Attention | Sequence[AttentionRecord] | AttentionRecord,
    embedding: Tensor | None = None,
    y: Tensor | None = None,
    class_names: Sequence[str] | None = None,
    found: Faithfulness | None = None,
) -> dict[str, Picture]:
    """Each layer's spread, weight by degree and agreement of heads; the embedding [N, F], and the
    deletion curves of ``found``, where they are given. y, class_names: as in `draw_embedding`."""
    drawn = {}
    for record in in_order(attention):
        name = record.name.replace("/", "-").replace(" ", "-")
        drawn[f"entropy-{name}"] = Picture(
            f"How evenly attention is spread, {record.name}", draw_entropy(record)
        )
        drawn[f"degree-{name}"] = Picture(
            f"Weight by degree, {record.name}", draw_weight_by_degree(record)
        )
        if record.num_heads > 1:
            drawn[f"heads-{name}"] = Picture(
                f"How much the heads differ, {record.name}", draw_head_agreement(record)
            )
    if embedding is not None:
        figure = draw_embedding(embedding, y, class_names=class_names)
        drawn["embedding"] = Picture("What enters the last attention layer", figure)
    if found is not None:
        drawn["deletion"] = Picture("Does it mean anything?", draw_deletion_curves(found))
    return drawn
