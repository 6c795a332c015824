"""Scores of a node's edges: the methods `faithfulness` knows by name.

A scorer is called as ``scorer(model, x, edge_index, node)`` with the node's computational subgraph
and gives a score for each of its edges, [E]: the higher, the more the edge is said to matter. In
the subgraph the node's output is that of the whole graph; that of its other nodes need not be.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks

from gat.errors import InputError
from gat.inspection.attribution import attention_average, gatt, rollout_edges
from gat.inspection.fidelity.inputs import Inputs
from gat.inspection.record import Attention
from gat.inspection.recording.recorder import record_attention

__all__ = [
    "METHODS",
    "OUTPUTS",
    "Scorer",
    "attention",
    "gatt_edges",
    "gnn_explainer",
    "gradient_x_input",
    "log_probabilities",
    "rollout_by_edge",
]

Scorer = Callable[[Any, Tensor, Tensor, int], Tensor]

METHODS = (
    "attention",
    "gatt",
    "rollout",
    "random",
    "nearest",
    "gradient_x_input",
    "gnn_explainer",
)

# What a model may return, and PyG's word for it.
OUTPUTS = {"logits": "raw", "log_probs": "log_probs", "probs": "probs"}


def log_probabilities(out: Tensor, output: str) -> Tensor:
    """The logarithms of the classes' probabilities, of what a model returns: [..., C]."""
    if output == "logits":
        return out.log_softmax(-1)
    return out if output == "log_probs" else out.log()


def gradient_x_input(
    model: nn.Module,
    x: Tensor,
    edge_index: Tensor,
    node: int,
    *,
    target: int | None = None,
    output: str = "logits",
) -> Tensor:
    """How fast the class's log-probability at ``node`` falls as each edge's message is faded: [E].

    Every message is multiplied by a mask of ones; the score is mask x gradient, as gradient x input
    of features is (Shrikumar et al. 2017), signed. It is the change that removing the message alone
    would make, to first order: attention weights do not share out anew what the edge had. A model
    with one mask for all its layers sums over them, as GNNExplainer's does.

    target: the class; None, the predicted one. output: 'logits', 'log_probs' or 'probs'. The masks
    are PyG's, so that any message passing layer works; ours run through PyG's code meanwhile.
    """
    mask = nn.Parameter(x.new_ones(edge_index.size(1)))
    set_masks(model, mask, edge_index, apply_sigmoid=False)
    try:
        out = log_probabilities(model(x, edge_index)[node], output)
        chosen = int(out.argmax()) if target is None else target
        grad = _gradient(out[chosen], mask)
    finally:
        clear_masks(model)
    return grad * mask.detach()


def _gradient(value: Tensor, mask: Tensor) -> Tensor:
    grad = torch.autograd.grad(value, mask, allow_unused=True)[0] if value.requires_grad else None
    if grad is None:
        raise InputError(
            "gradient_x_input: the model's output does not depend on the messages of any of PyG's "
            "layers (or they have explain=False); leave this method out"
        )
    return grad


def gnn_explainer(
    model: nn.Module,
    x: Tensor,
    edge_index: Tensor,
    node: int,
    *,
    target: int | None = None,
    output: str = "logits",
    epochs: int = 100,
) -> Tensor:
    """The edge mask that PyG's GNNExplainer learns (Ying et al. 2019), [E], with its defaults.

    The mask is of edges alone, features stay whole. target: the class to explain; None, the
    predicted one. output: as the model returns it. epochs: steps of Adam.
    """
    explain = Explainer(
        model,
        algorithm=GNNExplainer(epochs=epochs),
        explanation_type="model" if target is None else "phenomenon",
        edge_mask_type="object",
        model_config={
            "mode": "multiclass_classification",
            "task_level": "node",
            "return_type": OUTPUTS[output],
        },
    )
    classes = None
    if target is not None:
        classes = torch.full((x.size(0),), target, dtype=torch.int64, device=x.device)
    return explain(x, edge_index, target=classes, index=node).edge_mask.detach()


def attention(model: nn.Module, inputs: Inputs) -> Tensor:
    """Each edge's weight, averaged over heads, then over layers: [E], of the whole graph.

    On a node's subgraph only those weights are the whole graph's that the node's output is computed
    from; the mean takes in a layer's other edges too.
    """
    with torch.no_grad(), record_attention(model) as records:
        inputs.run(model)
    return attention_average(records)


def gatt_edges(model: nn.Module, x: Tensor, edge_index: Tensor, node: int) -> Tensor:
    """GAtt: each edge's weights where it stands in the node's computation tree, [E]."""
    return gatt(_recorded(model, x, edge_index), node).edges


def rollout_by_edge(model: nn.Module, x: Tensor, edge_index: Tensor, node: int) -> Tensor:
    """What of the node's attention rollout passes each edge, [E].

    The residual is the paper's, 0.5: without one the scores would be GAtt's.
    """
    return rollout_edges(_recorded(model, x, edge_index), node, residual=0.5).edges


def _recorded(model: nn.Module, x: Tensor, edge_index: Tensor) -> Attention:
    with torch.no_grad(), record_attention(model) as records:
        model(x, edge_index)
    return records
