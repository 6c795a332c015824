"""Looking inside a trained network: what its attention says about each edge the caller passed.

Explainers here run inside `torch_geometric.explain.Explainer`, on networks of our layers and of
PyG's.
"""

from gat.inspection.attention_explainer import AttentionExplainer
from gat.inspection.record import Attention, AttentionRecord, Neighbour
from gat.inspection.recorder import Recording, record_attention

__all__ = [
    "Attention",
    "AttentionExplainer",
    "AttentionRecord",
    "Neighbour",
    "Recording",
    "record_attention",
]
