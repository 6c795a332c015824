"""SuperGATConv: PyTorch Geometric's layer of that name; its attention loss in training too.

The scores are steps of `gat.ops`, [E, H]; softmax and sum are the fused additive attention, given
the scores as its edges' part.
"""

from typing import Any

import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.utils import batched_negative_sampling, negative_sampling

from gat.graph import Graph, graph_of
from gat.nn.batched import batch_size, repeat_heads, split_batch, split_heads
from gat.nn.features import project
from gat.nn.forms import Edgewise
from gat.nn.head_scores import head_scores
from gat.nn.pyg import DropIn, check_one_tensor
from gat.ops import additive_scores, dot_scores

__all__ = ["SuperGATConv"]


class SuperGATConv(DropIn, pyg.SuperGATConv):
    """The self-supervised layer of Kim and Oh 2021 ("How to Find Your Friendly Neighborhood: Graph
    Attention Design with Self-Supervision", section 3), attention types MX and SD.

    A drop-in for `torch_geometric.nn.SuperGATConv`: the same parameters, ``state_dict``, options
    and attention loss; see there for those. ``edge_index`` may also be a `gat.Graph`. A deep copy
    or a pickle leaves out ``att_x`` and ``att_y``, which belong to the last forward's graph of
    gradients.
    """

    # PyG reads this from its own class's source, which it does not find under a same-named one.
    propagate_type = {"x": Tensor}  # noqa: RUF012
    _own_steps = ("get_attention",)

    def forward(
        self,
        x: Tensor,
        edge_index: Any,
        neg_edge_index: Any = None,
        batch: Tensor | None = None,
        return_attention_weights: bool | None = None,
    ) -> Any:
        """Attend over the edges; in training also score edges that are none, for the loss.

        x [N, in_channels], dense or torch sparse CSR, or dense [B, N, .], several matrices on one
        graph. edge_index as `gat.graph.read_edges` takes it, or a Graph. neg_edge_index [2, E-], or
        a Graph: the edges to train against, by default drawn by PyG's ``negative_sampling``.
        batch [N]: to which of several graphs joined in one each node belongs; drawn edges stay
        inside one.

        Returns [N, heads * out_channels] ([N, out_channels] if not ``concat``); with
        ``return_attention_weights``, which PyG's layer has not, also (edges, weights [E', heads]):
        the edges attended over, self-loops last, and the weights used, after dropout. Of B matrices
        [B, N, .] and [B, E', heads].
        """
        asked = bool(return_attention_weights)
        if self._goes_pygs_way(edge_index, x, return_attention_weights=asked):
            return super().forward(x, edge_index, neg_edge_index, batch)
        x_dst = check_one_tensor(self, x, edge_index)
        graph, count = self._graph(edge_index, x, x_dst), batch_size(x)
        value = split_heads(project(self.lin, x), self.heads)
        logits = self._logits(graph, value)
        form = Edgewise(self._scores(graph, value, logits, count))
        dropout = self.dropout if self.training else 0.0
        call = {"edge_index": edge_index, "batch": count}
        out, weights = self._attend_by(graph, form, value, dropout, asked, **call)
        if self.training:
            self._supervise(graph, value, logits, neg_edge_index, batch, count)
        if weights is None:
            return self._complete(out, count)
        weighted = self._with_weights(graph, edge_index, weights, count)
        return self._complete(out, count), weighted

    def _logits(self, graph: Graph, value: Tensor) -> Tensor:
        """How likely an edge is, [E, H] before the sigmoid: x_i . x_j (MX), or that over
        sqrt(C) (SD)."""
        scale = 1.0 if self.attention_type == "MX" else None
        return dot_scores(graph, _of_targets(graph, value), value, scale=scale)

    def _scores(self, graph: Graph, value: Tensor, logits: Tensor, count: int | None) -> Tensor:
        """Scores [E, H] of the attention: LeakyReLU of (a_l . x_j + a_r . x_i) * sigmoid(logit)
        (MX), or of the logit (SD)."""
        if self.attention_type == "MX":
            att_src, att_dst = repeat_heads(self.att_l, count), repeat_heads(self.att_r, count)
            src, dst = head_scores(value, att_src, att_dst)
            sums = additive_scores(graph, src, _of_targets(graph, dst), negative_slope=1.0)
            logits = sums * logits.sigmoid()
        return F.leaky_relu(logits, self.negative_slope)

    def _supervise(
        self,
        graph: Graph,
        value: Tensor,
        logits: Tensor,
        neg_edge_index: Any,
        batch: Tensor | None,
        count: int | None,
    ) -> None:
        """Keep what `get_attention_loss` compares: logits of edges and of non-edges ``att_x``
        [E+ + E-, H] ([B, E+ + E-, H] of B matrices), and which they are ``att_y``."""
        edges, sizes = self._listed_edges(graph), (graph.num_src, graph.num_dst)
        sampled = self.positive_sampling(edges)
        if sampled is not edges:
            logits = self._logits(graph_of(sampled, sizes), value)
        if neg_edge_index is None:
            neg_edge_index = self._sample_negatives(edges, sizes, batch)
        others = self._logits(graph_of(neg_edge_index, sizes), value)
        # An edge's logit is its opposite's, so the flow does not matter.
        self.att_x = torch.cat([split_batch(logits, count), split_batch(others, count)], dim=-2)
        self.att_y = self.att_x.new_zeros(self.att_x.shape[:-1])
        self.att_y[..., : logits.size(0)] = 1.0

    # It draws by Python's and numpy's means, which torch.compile cannot trace.
    @torch.compiler.disable
    def _sample_negatives(
        self, edges: Tensor, sizes: tuple[int, int], batch: Tensor | None
    ) -> Tensor:
        num_src, num_dst = sizes
        if num_dst == num_src:
            return self.negative_sampling(edges, num_src, batch)
        # Of other nodes not all the edges are known, so no pair that enters one is a non-edge.
        count = int(self.neg_sample_ratio * self.edge_sample_ratio * edges.size(1))
        if batch is None:
            return negative_sampling(edges, sizes, num_neg_samples=count)
        return batched_negative_sampling(edges, (batch, batch[:num_dst]), num_neg_samples=count)

    def _complete(self, out: Tensor, count: int | None) -> Tensor:
        """An operator's output with heads joined and bias added."""
        out = self._join_heads(out, count)
        return out if self.bias is None else out + self.bias

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "att_x": None, "att_y": None}


def _of_targets(graph: Graph, rows: Tensor) -> Tensor:
    """Of rows of the sources those of the targets, the first."""
    return rows if graph.num_dst == graph.num_src else rows.narrow(0, 0, graph.num_dst)
