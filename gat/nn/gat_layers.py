"""What GATConv and GATv2Conv share beyond what every drop-in does (`gat.nn.pyg`)."""

from typing import Any

from torch import Tensor
from torch_geometric.utils import is_torch_sparse_tensor

from gat.graph import Graph
from gat.nn.dropout import dropout
from gat.nn.forms import Attended, Form
from gat.nn.pyg import DropIn
from gat.notices import warn_once
from gat.ops.dropout import check_probability, draw_seed, keep_mask

__all__ = ["AttentionMixin"]


class AttentionMixin(DropIn):
    """Edge features, values, output.

    Three options of ours beyond PyG's. ``value_dropout`` drops projected features before they are
    summed (the third dropout of the official GAT code, which leaves the scores alone).
    ``symmetric_norm`` scales messages by 1 / sqrt(out-degree of j) and sums by sqrt(in-degree of i)
    (the OGB arxiv recipe of Wang et al. 2021, "Bag of Tricks for Node Classification with GNNs");
    degrees are those in the graph given, loops that the layer adds included, so those of a sampled
    graph are its own.
    ``edge_dropout`` (the same recipe's): in training each edge is left out of the softmax with this
    probability, for all heads and for all of a batch of features at once, added loops not spared.
    The weights of the edges left sum to 1; a target without any gets zeros. Degrees stay those of
    the whole graph. The recipe leaves out a fixed number of edges instead.
    """

    value_dropout: float = 0.0
    symmetric_norm: bool = False
    edge_dropout: float = 0.0

    def __init__(
        self,
        *args: Any,
        value_dropout: float = 0.0,
        symmetric_norm: bool = False,
        edge_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        check_probability("value_dropout", value_dropout)
        check_probability("edge_dropout", edge_dropout)
        check_probability("dropout", self.dropout)
        self.value_dropout = value_dropout
        self.symmetric_norm = symmetric_norm
        self.edge_dropout = edge_dropout

    def _own_options(self) -> dict[str, bool]:
        return {
            "symmetric_norm": self.symmetric_norm,
            "value_dropout in training": self.training and self.value_dropout > 0,
            "edge_dropout in training": self.training and self.edge_dropout > 0,
        }

    def _attend_by(
        self, graph: Graph, form: Form, value: Tensor, dropout: float, returns: bool, **call: Any
    ) -> Attended:
        if self.training and self.edge_dropout > 0:
            kept = keep_mask(draw_seed(value.device), graph.num_edges, 1, self.edge_dropout)
            call["masked"] = ~kept
            form = form.masked(graph, call["masked"])
        return super()._attend_by(graph, form, value, dropout, returns, **call)

    def _edge_inputs(
        self, graph: Graph, edge_index: Any, edge_attr: Tensor | None
    ) -> Tensor | None:
        """Edge features [E, D] in listed order, loops filled; None if this layer takes none."""
        given = self._given_features(edge_index, edge_attr)
        if given is None:
            if self.lin_edge is not None and is_torch_sparse_tensor(edge_index):
                warn_once(
                    f"{type(self).__name__} ignores the scalar values of a sparse matrix, as PyG "
                    f"does. For edge features, pass edge_attr or values of shape [E, edge_dim]"
                )
            return None
        if self.lin_edge is None:
            self._refuse_edge_features(given)
            return None
        return self._listed_features(graph, given)

    def _edge_features(self, graph: Graph, edge_index: Any, edge_attr: Tensor | None) -> Any:
        """Edge features projected, [E, H, C] in listed order; None if this layer takes none."""
        inputs = self._edge_inputs(graph, edge_index, edge_attr)
        if inputs is None:
            return None
        return self.lin_edge(inputs).view(graph.num_edges, self.heads, self.out_channels)

    def _refuse_edge_features(self, edge_attr: Tensor) -> None:
        """Edge features that the layer was not made for: PyG's GATConv ignores them."""
        warn_once(
            f"{type(self).__name__} was given edge_attr but made without edge_dim: the edge "
            f"features are ignored. Make the layer with edge_dim={edge_attr[0:1].numel()}"
        )

    def _values(self, graph: Graph, projected: Tensor) -> Tensor:
        """What is summed, [num_src, H, C]: the projected features, dropped out and scaled."""
        value = dropout(projected, self.value_dropout, self.training)
        if self.symmetric_norm:
            # The root first: a hub's degree may be beyond float16.
            scale = graph.out_degree.clamp(min=1).rsqrt().to(value.dtype)
            value = value * scale.view(-1, 1, 1)
        return value

    def _finish(
        self,
        graph: Graph,
        edge_index: Any,
        attended: Attended,
        residual: Tensor | None,
        batch: int | None,
    ) -> Any:
        """What the layer returns, of an operator's output and the weights, if asked for."""
        out, weights = attended
        if weights is None:
            return self._complete(graph, out, residual, batch)
        weighted = self._with_weights(graph, edge_index, weights, batch)
        return self._complete(graph, out, residual, batch), weighted

    def _complete(
        self, graph: Graph, out: Tensor, residual: Tensor | None, batch: int | None
    ) -> Tensor:
        """An operator's output scaled, heads joined, residual and bias added."""
        if self.symmetric_norm:
            scale = graph.in_degree.clamp(min=1).sqrt().to(out.dtype)
            out = out * scale.view(-1, 1, 1)
        out = self._join_heads(out, batch)
        if residual is not None:
            out = out + residual
        return out if self.bias is None else out + self.bias
