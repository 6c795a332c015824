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
from gat.inspection.blocks import block
from gat.inspection.fidelity import (
    Curve,
    Estimate,
    Faithfulness,
    MethodFaithfulness,
    faithfulness,
)
from gat.inspection.interventions import (
    bias_edges,
    change_attention,
    freeze_attention,
    mask_edges,
    switch_off_heads,
    uniform_attention,
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
from gat.inspection.page import (
    write_document_page,
    write_image_page,
    write_page,
    write_text_page,
)
from gat.inspection.pruning import load_pruned, prune_heads, save_pruned
from gat.inspection.record import Attention, AttentionRecord, Coverage, Neighbour
from gat.inspection.recording import Recording, record_attention
from gat.inspection.reports import Report, report
from gat.inspection.steps import joined
from gat.inspection.storing import load_attention, save_attention, to_networkx, to_pandas
from gat.inspection.verdict import Verdict, summary, verdicts

__all__ = [
    "Attention",
    "AttentionExplainer",
    "AttentionRecord",
    "Coverage",
    "Curve",
    "EdgeScores",
    "Estimate",
    "Faithfulness",
    "LayerMeasures",
    "Measures",
    "MethodFaithfulness",
    "Neighbour",
    "NodeAttribution",
    "NodeScores",
    "Recording",
    "Report",
    "Verdict",
    "attention_average",
    "attention_flow",
    "bias_edges",
    "block",
    "change_attention",
    "change_over_epochs",
    "class_weight",
    "degree_weight",
    "entropy",
    "faithfulness",
    "freeze_attention",
    "gatt",
    "gatt_each",
    "head_agreement",
    "joined",
    "load_attention",
    "load_pruned",
    "mask_edges",
    "measure",
    "prune_heads",
    "record_attention",
    "report",
    "rollout",
    "rollout_edges",
    "save_attention",
    "save_pruned",
    "self_weight",
    "summary",
    "switch_off_heads",
    "to_networkx",
    "to_pandas",
    "uniform_attention",
    "verdicts",
    "write_document_page",
    "write_image_page",
    "write_page",
    "write_text_page",
]
