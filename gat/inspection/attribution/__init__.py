"""Attribution through layers: which inputs and which edges a node's result rests on, by attention.

The weights of all layers are followed from a node at the last layer down to the input, as sparse
products over the graph: `rollout` and `attention_flow` score input nodes, `gatt` and
`rollout_edges` score edges, `attention_average` is the plain mean. All of them see only attention
weights, not what the layers do to the features; whether such scores are faithful to the model is
to be measured.
"""

from gat.inspection.attribution.flow import attention_flow
from gat.inspection.attribution.gatt import attention_average, gatt, gatt_each
from gat.inspection.attribution.rollout import rollout, rollout_edges
from gat.inspection.attribution.scores import EdgeScores, NodeAttribution, NodeScores

__all__ = [
    "EdgeScores",
    "NodeAttribution",
    "NodeScores",
    "attention_average",
    "attention_flow",
    "gatt",
    "gatt_each",
    "rollout",
    "rollout_edges",
]
