"""TransformerConv: PyTorch Geometric's layer of that name, computed by `gat.ops.dot_attention`."""

from functools import partial
from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.typing import OptTensor

from gat.errors import InputError
from gat.graph import Graph
from gat.nn.batched import batch_size, repeat_heads, split_batch, split_heads
from gat.nn.changes import Weighing
from gat.nn.features import project
from gat.nn.pyg import DropIn, check_pair
from gat.ops import aggregate, dot_attention, dot_scores, out_and_weights, segment_softmax
from gat.ops.dropout import drop_weights

__all__ = ["TransformerConv"]


class TransformerConv(DropIn, pyg.TransformerConv):
    """The graph transformer layer of Shi et al. 2021 ("Masked Label Prediction", eq. 3-6).

    A drop-in for `torch_geometric.nn.TransformerConv`: the same parameters, ``state_dict``, options
    and returns; see there for those. ``edge_index`` may also be a `gat.Graph`.
    """

    # PyG reads this from its own class's source, which it does not find under a same-named one.
    propagate_type = {  # noqa: RUF012
        "query": Tensor,
        "key": Tensor,
        "value": Tensor,
        "edge_attr": OptTensor,
    }

    def forward(
        self,
        x: Any,
        edge_index: Any,
        edge_attr: Tensor | None = None,
        return_attention_weights: bool | None = None,
    ) -> Any:
        """Attend over the edges.

        x [N, in_channels], or a pair ([num_src, .], [num_dst, .]) for a bipartite graph, dense or
        torch sparse CSR; dense ones may be [B, N, .], a batch on one graph. edge_index as
        `gat.graph.read_edges` takes it, or a Graph. edge_attr [E, edge_dim], or [E] where that is
        1, in the caller's edge order. In a layer made without ``edge_dim``, as in PyG's, edge_attr
        is added to the values as it is and must be [E, heads, out_channels], or broadcast to that.

        Returns [num_dst, heads * out_channels] ([num_dst, out_channels] if not ``concat``). If
        ``return_attention_weights`` is a bool, and be it False, also (edge_index, weights
        [E, heads]): unlike `gat.nn.GATConv`'s, weights before dropout. Both are PyG's conventions.
        Of a batch: [B, num_dst, .] and [B, E, heads].

        Raises InputError for edge_attr that does not fit, or is missing in a layer with
        ``edge_dim``.
        """
        if self._goes_pygs_way(edge_index, x):
            return super().forward(x, edge_index, edge_attr, return_attention_weights)
        x_src, x_dst = check_pair(self, x, edge_index)
        graph, batch = self._graph(edge_index, x_src, x_dst), batch_size(x_src)
        edges = self._edge_terms(graph, edge_index, edge_attr, batch)
        nodes = (
            split_heads(project(self.lin_query, x_dst), self.heads),
            split_heads(project(self.lin_key, x_src), self.heads),
            split_heads(project(self.lin_value, x_src), self.heads),
        )
        asked = isinstance(return_attention_weights, bool)
        weights: Tensor | None
        if self._changes or (asked and not self._recorded):
            out, weights = self._attend_in_steps(graph, *nodes, *edges, edge_index, batch)
        else:
            dropout = self.dropout if self.training else 0.0
            result = dot_attention(graph, *nodes, *edges, dropout=dropout, return_weights=asked)
            out, weights = out_and_weights(result)
        if not asked:
            return self._complete(out, batch, x_dst)
        assert weights is not None
        weighted = self._with_weights(graph, edge_index, weights, batch)
        return self._complete(out, batch, x_dst), weighted

    def _edge_terms(
        self, graph: Graph, edge_index: Any, edge_attr: Tensor | None, batch: int | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """What edges add to keys and to values, [E, H, C] each or None."""
        given = self._given_features(edge_index, edge_attr)
        shape = (graph.num_edges, self.heads, self.out_channels)
        if self.lin_edge is None:
            if given is None:
                return None, None
            value = self._raw_edge_values(self._listed_features(graph, given), shape)
            return None, repeat_heads(value, batch)
        if given is None:
            raise InputError(
                f"TransformerConv was made with edge_dim={self.edge_dim} and needs edge_attr of "
                f"shape [E, {self.edge_dim}]; make a layer for edges without features without "
                f"edge_dim"
            )
        edge = self.lin_edge(self._listed_features(graph, given)).view(shape)
        edge = repeat_heads(edge, batch)
        return edge, edge

    def _raw_edge_values(self, edge_attr: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """Edge features of a layer without a projection for them: values themselves."""
        sizes = edge_attr.shape[1:]
        fits = edge_attr.dim() == 3 and all(
            size in (1, wanted) for size, wanted in zip(sizes, shape[1:], strict=True)
        )
        if fits:
            return edge_attr.expand(shape)
        raise InputError(
            f"TransformerConv was given edge_attr but made without edge_dim; make the layer with "
            f"edge_dim={sizes.numel()}, or pass values to add, [E, {shape[1]}, {shape[2]}]"
        )

    def _attend_in_steps(
        self,
        graph: Graph,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        edge_key: Tensor | None,
        edge_value: Tensor | None,
        edge_index: Any,
        batch: int | None,
    ) -> tuple[Tensor, Tensor]:
        """As `dot_attention`, the same weights dropped, but giving them back as before dropout."""
        scores = partial(dot_scores, graph, query, key, edge_key)
        if self._changes:
            call = Weighing(graph, value, scores, edge_index=edge_index, batch=batch)
            weights = self._changed(call)
        else:
            weights = segment_softmax(graph, scores())
        used = weights
        if self.training and self.dropout > 0:
            used = drop_weights(weights, self.dropout)
        out = aggregate(graph, used, value, edge_value)
        return out, used if self._recorded else weights

    def _complete(self, out: Tensor, batch: int | None, x_dst: Tensor) -> Tensor:
        """An operator's output with heads joined and the target's own features added, weighed by a
        gate if ``beta`` (Shi et al., eq. 5)."""
        out = self._join_heads(out, batch)
        if not self.root_weight:
            return out
        root = project(self.lin_skip, x_dst)
        if self.lin_beta is None:
            return out + root
        gate = self.lin_beta(torch.cat([out, root, out - root], dim=-1)).sigmoid()
        return gate * root + (1 - gate) * out

    def _with_weights(
        self, graph: Graph, edge_index: Any, weights: Tensor, batch: int | None = None
    ) -> tuple[Any, Tensor]:
        """The edges as they were passed, a sparse matrix too: this layer of PyG's sets no values
        in it."""
        if isinstance(edge_index, Tensor) and not self._recorded:
            return edge_index, split_batch(weights, batch)
        return super()._with_weights(graph, edge_index, weights, batch)
