"""Pictures of attention: each function returns a matplotlib Figure with a caption under it.

They read in greyscale and for the colour-blind: what colour tells, a marker, a line style or a
number tells too. No pyplot, so nothing is left behind and no display is needed:
``draw_entropy(record).savefig("entropy.png")``. matplotlib comes with the extra ``plot``.
"""

from gat.inspection.pictures.alignment import draw_alignment
from gat.inspection.pictures.curves import draw_deletion_curves
from gat.inspection.pictures.distributions import draw_entropy, draw_weight_by_degree
from gat.inspection.pictures.document import draw_document
from gat.inspection.pictures.embedding import draw_embedding
from gat.inspection.pictures.epochs import draw_epochs
from gat.inspection.pictures.heads import draw_head_agreement
from gat.inspection.pictures.images import draw_image_attention
from gat.inspection.pictures.neighbourhood import draw_neighbourhood
from gat.inspection.pictures.overview import Picture, draw_overview
from gat.inspection.pictures.sentence import draw_sentence
from gat.inspection.pictures.style import caption_of

__all__ = [
    "Picture",
    "caption_of",
    "draw_alignment",
    "draw_deletion_curves",
    "draw_document",
    "draw_embedding",
    "draw_entropy",
    "draw_epochs",
    "draw_head_agreement",
    "draw_image_attention",
    "draw_neighbourhood",
    "draw_overview",
    "draw_sentence",
    "draw_weight_by_degree",
]
