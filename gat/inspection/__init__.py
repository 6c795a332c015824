"""Attention as data: recorded, measured, attributed, tested for faithfulness, changed and drawn.

Start with `record_attention`; everything else works on what it gives. Pictures are in
`gat.inspection.pictures`, the page to look around in is `gat.inspection.page`.
"""

from gat.inspection.attention_explainer import AttentionExplainer
from gat.inspection.attribution import (
    EdgeScores,
    NodeAttribution,
    NodeScores,
    attention_average,
    attention_flow,
    gatt,
    gatt_each,
    rollout,
    rollout_edges,
)
from gat.inspection.measures import (
    LayerMeasures,
    Measures,
    change_over_epochs,
    class_weight,
    degree_weight,
    entropy,
    head_agreement,
    measure,
    self_weight,
)
from gat.inspection.record import Attention, AttentionRecord, Coverage, Neighbour
from gat.inspection.recorder import Recording, record_attention
from gat.inspection.storing import load_attention, save_attention
from gat.inspection.tables import to_networkx, to_pandas
from gat.inspection.verdict import Verdict, summary, verdicts

__all__ = [
    "Attention",
    "AttentionExplainer",
    "AttentionRecord",
    "Coverage",
    "EdgeScores",
    "LayerMeasures",
    "Measures",
    "Neighbour",
    "NodeAttribution",
    "NodeScores",
    "Recording",
    "Verdict",
    "attention_average",
    "attention_flow",
    "change_over_epochs",
    "class_weight",
    "degree_weight",
    "entropy",
    "gatt",
    "gatt_each",
    "head_agreement",
    "load_attention",
    "measure",
    "record_attention",
    "rollout",
    "rollout_edges",
    "save_attention",
    "self_weight",
    "summary",
    "to_networkx",
    "to_pandas",
    "verdicts",
]
