"""RGATConv: PyTorch Geometric's layer of that name, computed by `gat.ops` over (relation, node)
pairs, so that no edge gets a copy of its relation's weights."""

from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor, nn
from torch_geometric.typing import OptTensor
from torch_geometric.utils import is_torch_sparse_tensor

from gat.errors import InputError
from gat.graph import Graph
from gat.nn.batched import batch_size, repeat_heads, split_batch, split_heads
from gat.nn.changes import Weighing
from gat.nn.edges import stored_values
from gat.nn.features import is_plain_linear, target_rows
from gat.nn.pyg import DropIn, check_pair
from gat.nn.relation_weights import by_relation, fold
from gat.nn.relations import Relations, relations_of
from gat.ops import (
    additive_attention,
    additive_scores,
    aggregate,
    out_and_weights,
    segment_softmax,
)
from gat.ops.dropout import drop_weights

__all__ = ["RGATConv"]

ADDITIVE = "additive-self-attention"
# The ways of preserving cardinality of Zhang and Xie 2020; with one of them nothing is dropped.
MODS = ("additive", "scaled", "f-additive", "f-scaled")


class RGATConv(DropIn, pyg.RGATConv):
    """The relational layer of Busbridge et al. 2019 ("Relational Graph Attention Networks",
    section 2), with the cardinality preservation of Zhang and Xie 2020 ("Improving Attention
    Mechanism in Graph Neural Networks via Cardinality Preservation": Additive, Scaled and their
    fixed-weight forms).

    A drop-in for `torch_geometric.nn.RGATConv`: the same parameters, ``state_dict``, options and
    returns; see there for those. Two things its documentation promises work here only: node numbers
    for features, and the relations as values of a sparse matrix. ``l2``, which PyG leaves
    uninitialised, starts at 1 / out_channels. ``edge_index`` may also be a `gat.Graph`.
    """

    # PyG reads these from its own class's source, which it does not find under a same-named one.
    propagate_type = {"x": Tensor, "edge_type": OptTensor, "edge_attr": OptTensor}  # noqa: RUF012

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.constant_(self.l2, 1 / self.out_channels)

    def forward(
        self,
        x: Any,
        edge_index: Any,
        edge_type: Any = None,
        edge_attr: Tensor | None = None,
        size: tuple[int, int] | None = None,
        return_attention_weights: bool | None = None,
    ) -> Any:
        """Attend over the edges.

        x [N, in_channels]; or int64 node numbers [N], which choose rows of the relations' weights;
        or a pair ([num_src, .], [num_dst, .]); or [B, N, in_channels], a batch on one graph.
        edge_index as `gat.graph.read_edges` takes it, or a Graph; edge_type the relation of each
        edge, int64 [E], or `gat.nn.relations.Relations`; None for a sparse matrix whose values they
        are. edge_attr [E, edge_dim], or [E] if that is 1. Both in the caller's edge order (of a
        Graph in listed order).

        Returns [num_dst, heads * dim * out_channels] ([num_dst, dim * out_channels] if not
        ``concat``); if ``return_attention_weights`` is True or False also (edges, weights
        [E, heads * dim]), the weights before dropout and ``mod``. Of a batch: [B, num_dst, .] and
        [B, E, .].
        """
        if self._goes_pygs_way(edge_index):
            _refuse_relations(edge_type)
            options = (edge_attr, size, return_attention_weights)
            return super().forward(x, edge_index, edge_type, *options)
        x_src, x_dst = self._read_features(x, edge_index)
        graph = self._graph(edge_index, *_rows_of(x_src, x_dst), size)
        relations = self._relations(graph, edge_index, edge_type)
        batch = batch_size(x_src)
        weight = self._weight()
        value = by_relation(x_src, relations.source, weight)
        # [P, H*dim] at each end; the query's product runs in these few channels, W_r @ q folded.
        key = _by_head(value @ self.k, batch)
        query = _by_head(by_relation(x_dst, relations.target, fold(weight, self.q)), batch)
        value = split_heads(value, self.heads).repeat_interleave(self.dim, dim=1)
        edge = repeat_heads(self._edge_term(graph, edge_index, edge_attr), batch)
        returns = isinstance(return_attention_weights, bool)
        given = graph, edge_index, batch
        out, weights = self._attend(given, relations, value, key, query, edge, returns)
        out = self._join(split_batch(out, batch))
        if weights is None:
            return out
        return out, self._with_weights(graph, edge_index, weights, batch)

    def _read_features(self, x: Any, edge_index: Any) -> tuple[Tensor, Tensor]:
        if isinstance(x, Tensor) and x.dim() == 1:
            self._check_numbers(x)
            return x, target_rows(x, edge_index)
        x_src, x_dst = check_pair(self, x, edge_index)
        for features in (x_src, x_dst):
            if features.layout is not torch.strided or features.size(-1) != self.in_channels:
                raise InputError(
                    f"RGATConv: x has layout {features.layout} and shape {list(features.shape)}; "
                    f"expected dense features, {self.in_channels} channels in the last dimension"
                )
        return x_src, x_dst

    def _check_numbers(self, x: Tensor) -> None:
        if x.is_floating_point() or self.num_blocks is not None:
            raise InputError(
                f"RGATConv: x has shape {list(x.shape)}, dtype {x.dtype}; expected features "
                f"[nodes, channels], or integer node numbers [nodes] in a layer without num_blocks"
            )

    def _relations(self, graph: Graph, edge_index: Any, edge_type: Any) -> Relations:
        key = edge_type
        if edge_type is None:
            if not is_torch_sparse_tensor(edge_index):
                raise InputError(
                    "RGATConv needs edge_type, the relation of each edge, unless edge_index is a "
                    "sparse matrix whose values it is"
                )
            key, edge_type = edge_index, stored_values(edge_index)
        return relations_of(graph, edge_type, self.num_relations, key)

    def _weight(self) -> Tensor:
        """The relations' weights: [R, in, H*C], or [R, blocks, in / blocks, H*C / blocks]."""
        if self.num_bases is None:
            return self.weight
        weight = self.att @ self.basis.flatten(1)
        return weight.view(self.num_relations, *self.basis.shape[1:])

    def _edge_term(self, graph: Graph, edge_index: Any, edge_attr: Tensor | None) -> Tensor | None:
        """What edge features add to the scores (or multiply them by), [E, H*dim]."""
        if edge_attr is None and is_torch_sparse_tensor(edge_index) and edge_index.dense_dim():
            edge_attr = stored_values(edge_index)
        if edge_attr is None:
            return None
        if self.lin_edge is None:
            raise InputError(
                f"RGATConv was given edge_attr but made without edge_dim; make the layer with "
                f"edge_dim={edge_attr[0:1].numel()}"
            )
        edge_attr = edge_attr.unsqueeze(1) if edge_attr.dim() == 1 else edge_attr
        if edge_attr.dim() != 2 or edge_attr.size(0) != graph.num_edges:
            raise InputError(
                f"edge_attr has shape {list(edge_attr.shape)}; expected one row per edge, "
                f"[{graph.num_edges}, edge_dim]"
            )
        if is_plain_linear(self.lin_edge) and self.lin_edge.bias is None:  # folded as the query is
            return edge_attr @ (self.lin_edge.weight.t() @ self.e)
        return self.lin_edge(edge_attr) @ self.e

    def _attend(
        self,
        given: tuple[Graph, Any, int | None],
        relations: Relations,
        value: Tensor,
        key: Tensor,
        query: Tensor,
        edge: Tensor | None,
        returns: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Output [num_dst, H*dim, C] (B*H*dim heads of a batch) and, if asked for, the weights."""
        query = query.index_select(0, relations.target.edge)
        dropout = self.dropout if self.training and self.mod not in MODS else 0.0
        across = self.attention_mechanism == "across-relation"
        # The operator gives the weights after dropout, the layer returns those before.
        as_asked = self._recorded or not (returns and dropout)
        plain = self.mod not in MODS and as_asked and not self._changes
        if across and plain and self.attention_mode == ADDITIVE:
            result = additive_attention(
                relations.graph, value, key, None, query if edge is None else query + edge,
                negative_slope=self.negative_slope, dropout=dropout, return_weights=returns,
            )  # fmt: skip
            return out_and_weights(result)
        scores = self._scores(relations, key, query, edge)
        over = relations.graph if across else relations.within
        if self._changes:
            graph, edge_index, batch = given
            call = Weighing(graph, value, lambda: scores, over=over, batch=batch)
            call.edge_index = edge_index
            weights = self._changed(call)
        else:
            weights = segment_softmax(over, scores)
        used = drop_weights(weights, dropout) if dropout > 0 else weights
        out = self._sum(relations.graph, used, value)
        if not returns:
            return out, None
        return out, used if self._recorded else weights

    def _scores(
        self, relations: Relations, key: Tensor, query: Tensor, edge: Tensor | None
    ) -> Tensor:
        """Scores [E, H*dim] of key [P, H*dim], and query and edge term [E, H*dim]."""
        if self.attention_mode == ADDITIVE:
            query = query if edge is None else query + edge
            slope = self.negative_slope
            return additive_scores(relations.graph, key, None, query, negative_slope=slope)
        scores = query * key.index_select(0, relations.source.edge)
        return scores if edge is None else scores * edge

    def _sum(self, graph: Graph, weights: Tensor, value: Tensor) -> Tensor:
        """The weighted sum, or one of MODS of it (Zhang and Xie 2020)."""
        if self.mod == "f-additive":
            weights = torch.where(weights > 0, weights + 1, weights)
        out = aggregate(graph, weights, value)
        if self.mod == "additive":
            # An edge that was given a weight of 0 is switched off altogether.
            ones = (weights != 0).to(weights.dtype) if self._changes else torch.ones_like(weights)
            return out + self.w * aggregate(graph, ones, value)
        if self.mod in ("scaled", "f-scaled"):
            degree = graph.in_degree.to(weights.dtype).view(-1, 1)
            if self.mod == "scaled":
                degree = self.activation(degree @ self.l1 + self.b1) @ self.l2 + self.b2
            return out * degree.unsqueeze(1)
        return out

    def _join(self, out: Tensor) -> Tensor:
        """Heads joined, or their mean, and the bias, of [..., H*dim, C]."""
        if not self.concat:
            out = out.unflatten(-2, (self.heads, self.dim)).mean(dim=-3)
        out = out.flatten(-2)
        return out if self.bias is None else out + self.bias


def _rows_of(x_src: Tensor, x_dst: Tensor) -> tuple[Tensor, Tensor]:
    """Node numbers [N] as a column, for what counts nodes by the last dimension but one."""
    return (x_src.unsqueeze(1), x_dst.unsqueeze(1)) if x_src.dim() == 1 else (x_src, x_dst)


def _by_head(scores: Tensor, batch: int | None) -> Tensor:
    """Node scores [P, K] as they are; of a batch, [B, P, K] as [P, B*K]."""
    return scores if batch is None else scores.movedim(0, 1).flatten(1)


def _refuse_relations(edge_type: Any) -> None:
    if isinstance(edge_type, Relations):
        raise InputError(
            "RGATConv runs through PyG's code here, which knows edge_type as a tensor only"
        )
