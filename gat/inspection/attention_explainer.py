"""AttentionExplainer: PyG's explainer by attention, with each edge's own weight.

PyG's takes the first E rows of the list its layer attends over, which the layer has rearranged if
it adds self-loops: loops removed, one for each node appended. Here each layer tells which edges its
weights belong to, and the caller's edges are found among them.
"""

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric import EdgeIndex
from torch_geometric.explain import Explanation, HeteroExplanation
from torch_geometric.explain.algorithm import ExplainerAlgorithm
from torch_geometric.explain.config import ExplanationType, ModelTaskLevel

from gat.checks import one_of
from gat.errors import ArgumentTypeError, InputError
from gat.inspection.reach import names_kind, start_nodes, visited_edges
from gat.inspection.recording.ears import KEYWORD, Heard
from gat.inspection.recording.edges import own_rows
from gat.inspection.recording.listening import attention_layers, listening

__all__ = ["AttentionExplainer"]

REDUCTIONS = ("max", "min", "mean", "sum", "prod", "median")
# The edge type of a graph that has one.
ONLY = ("node", "to", "node")


class AttentionExplainer(ExplainerAlgorithm):
    """Explains each edge by the attention it gets, reduced over heads, then over layers.

    For `torch_geometric.explain.Explainer`, in the place of PyG's class of this name::

        Explainer(model, algorithm=AttentionExplainer(), explanation_type="model",
                  edge_mask_type="object", model_config=...)

    The model may hold any layers that take ``return_attention_weights``, ours and PyG's, on a
    graph or on a dict of them. A self-loop of the caller's gets its node's loop; a second copy of
    one that the layer leaves out gets 0, and loops that the layer adds are no edges of the mask.
    Copies of an edge are told apart by their order.

    With an ``index`` in a task on nodes, edges outside the neighbourhood from which messages reach
    these nodes get 0. In a heterogeneous graph messages go over all edge types, where PyG's follows
    each type alone, and the nodes are of the types with as many nodes as the prediction has rows.

    reduce: 'max', 'min', 'mean', 'sum', 'prod' or 'median'. Raises InputError for a model without
    such layers, and for a layer that attends over other edges than those passed.
    """

    def __init__(self, reduce: str = "max") -> None:
        super().__init__()
        self.reduce = one_of("reduce", reduce, REDUCTIONS)

    @torch.no_grad()
    def forward(
        self,
        model: nn.Module,
        x: Any,
        edge_index: Any,
        *,
        target: Tensor,
        index: int | Tensor | None = None,
        **kwargs: Any,
    ) -> Explanation | HeteroExplanation:
        """The explanation with its ``edge_mask``, [E] of each edge type.

        x [N, F] and edge_index [2, E], or dicts of them by node type and edge type; index: the
        nodes to explain; target: the prediction, as the Explainer passes it.
        """
        hetero = isinstance(edge_index, dict)
        edges = {
            kind: _checked(pair)
            for kind, pair in (edge_index if hetero else {ONLY: edge_index}).items()
        }
        heard = _hear(model, x, edge_index, kwargs)
        masks = self._masks(heard, edges, edge_index if hetero else {ONLY: edge_index})
        if index is not None and self.model_config.task_level == ModelTaskLevel.node:
            nodes = start_nodes(x if hetero else {"node": x}, edges, index, target)
            visited = visited_edges(edges, nodes, model, _calls(heard))
            masks = {kind: mask.masked_fill(~visited[kind], 0.0) for kind, mask in masks.items()}
        if not hetero:
            return Explanation(edge_mask=masks[ONLY])
        explanation = HeteroExplanation()
        explanation.set_value_dict("edge_mask", masks)
        return explanation

    def supports(self) -> bool:
        """Whether the Explainer's settings fit; raises InputError naming the one that does not."""
        config = self.explainer_config
        if config.explanation_type != ExplanationType.model:
            raise InputError(
                f"explanation_type is {config.explanation_type.value!r}; attention explains the "
                f"model: expected 'model'"
            )
        if config.node_mask_type is not None:
            raise InputError(
                f"node_mask_type is {config.node_mask_type.value!r}; attention weighs edges, not "
                f"node features: leave it out and pass edge_mask_type='object'"
            )
        return True

    def _masks(
        self, heard: list[Heard], edges: dict[Any, Tensor], passed: dict[Any, Any]
    ) -> dict[Any, Tensor]:
        """The mask of each edge type that a layer attends over, in the order of ``edges``."""
        layers: dict[Any, list[Tensor]] = {kind: [] for kind in edges}
        for one in heard:
            kind, weights = _own_weights(one, edges, passed)
            layers[kind].append(self._reduce(weights))
        return {
            kind: self._reduce(torch.stack(weights, dim=-1))
            for kind, weights in layers.items()
            if weights
        }

    def _reduce(self, values: Tensor) -> Tensor:
        """``values`` [E, any] to [E]."""
        reduced = getattr(torch, self.reduce)(values, dim=-1)
        return reduced if isinstance(reduced, Tensor) else reduced.values


def _checked(edge_index: Any) -> Tensor:
    if isinstance(edge_index, EdgeIndex):
        return edge_index.as_tensor()
    strided = isinstance(edge_index, Tensor) and edge_index.layout is torch.strided
    if not strided or edge_index.dim() != 2 or edge_index.size(0) != 2:
        raise ArgumentTypeError(
            f"edge_index is a {type(edge_index).__name__}; expected a tensor [2, E], whose order "
            f"the mask follows"
        )
    return edge_index


def _hear(model: nn.Module, x: Any, edge_index: Any, kwargs: dict[str, Any]) -> list[Heard]:
    """What every attention layer attends over in one run of the model."""
    layers = attention_layers(model)
    if not layers:
        raise InputError(
            f"{type(model).__name__} has no layer whose forward takes {KEYWORD}; expected at least "
            f"one, such as GATConv, GATv2Conv or TransformerConv. PyG's AGNNConv and SuperGATConv "
            f"keep their weights to themselves: use gat.nn's"
        )
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    heard: list[Heard] = []
    with torch.random.fork_rng(devices), listening(layers, "after_dropout", heard.append):
        model(x, edge_index, **kwargs)
    if not heard:
        raise InputError(f"the model called none of its attention layers: {', '.join(layers)}")
    return heard


def _calls(heard: list[Heard]) -> dict[str, int]:
    """How often each layer was called; one that tells its edge types is heard once for each."""
    counts = Counter((one.path, one.kind) for one in heard)
    return {path: max(n for (p, _), n in counts.items() if p == path) for path, _ in counts}


def _own_weights(
    heard: Heard, edges: dict[Any, Tensor], passed: dict[Any, Any]
) -> tuple[Any, Tensor]:
    """The edge type that a layer attends over, and its edges' weights [E, heads]."""
    listed = heard.edge_list()
    rows = {
        kind: own_rows(edges[kind], listed)
        for kind in edges
        if heard.kind in (None, kind)
        and edges[kind].device == listed.device
        and (heard.given is passed[kind] or not any(heard.given is one for one in passed.values()))
    }
    fitting = {kind: found for kind, found in rows.items() if found is not None}
    if len(fitting) > 1:
        fitting = {k: found for k, found in fitting.items() if names_kind(heard.path, k)} or fitting
    if len(fitting) != 1:
        _refuse(heard, edges, list(fitting))
    ((kind, found),) = fitting.items()
    has = found >= 0
    own = heard.weights.new_zeros(found.numel(), heard.weights.size(1))
    own[has] = heard.weights[found[has]]
    return kind, own


def _refuse(heard: Heard, edges: dict[Any, Tensor], fitting: list[Any]) -> None:
    if fitting:
        raise InputError(
            f"{heard.layer} attends over edges that are those of {len(fitting)} edge types: "
            f"{', '.join(map(str, fitting))}. Give the layer the very tensor of its type"
        )
    sizes = ", ".join(
        f"{pair.size(1)}" + ("" if kind is ONLY else f" of {kind}") for kind, pair in edges.items()
    )
    raise InputError(
        f"{heard.layer} attends over {heard.weights.size(0)} edges, and they are not the edges to "
        f"explain ({sizes}) with or without self-loops: the model samples, drops or adds edges on "
        f"the way. Pass the edges this layer is given, or set its explain=False to leave it out"
    )
