"""GATConv: PyTorch Geometric's layer of that name, computed by `gat.ops.additive_attention`."""

from typing import Any

import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.typing import OptPairTensor, OptTensor

from gat.nn.batched import batch_size, repeat_heads, split_heads
from gat.nn.edge_features import edge_features
from gat.nn.features import project
from gat.nn.forms import Additive
from gat.nn.gat_layers import AttentionMixin
from gat.nn.head_scores import end_scores
from gat.nn.pyg import check_features, extend_signature, is_one_set

__all__ = ["GATConv"]


@extend_signature(pyg.GATConv)
class GATConv(AttentionMixin, pyg.GATConv):
    """The graph attention layer of Velickovic et al. 2018 ("Graph Attention Networks", eq. 1-6).

    A drop-in for `torch_geometric.nn.GATConv`: the same parameters, ``state_dict``, options and
    returns; see there for those. ``value_dropout``, ``symmetric_norm`` and ``edge_dropout`` are
    ours, see `gat.nn.gat_layers.AttentionMixin`. ``edge_index`` may also be a `gat.Graph`.
    target_score: whether the target has a term in the score. Without it (Wang et al. 2021, "Bag of
    Tricks for Node Classification with Graph Neural Networks", section 4, whose code calls it
    no-attn-dst) a source is scored alike by all its targets; ``att_dst`` stays a parameter, so that
    a ``state_dict`` fits either way, but is not used and asks for no gradient.
    """

    target_score: bool = True

    def __init__(self, *args: Any, target_score: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.target_score = target_score
        if not target_score:
            self.att_dst.requires_grad_(False)

    # PyG reads these from its own class's source, which it does not find under a same-named one.
    propagate_type = {"x": OptPairTensor, "alpha": Tensor}  # noqa: RUF012
    edge_updater_type = {"alpha": OptPairTensor, "edge_attr": OptTensor}  # noqa: RUF012

    def forward(
        self,
        x: Any,
        edge_index: Any,
        edge_attr: Tensor | None = None,
        size: tuple[int, int] | None = None,
        return_attention_weights: bool | None = None,
    ) -> Any:
        """Attend over the edges.

        x [N, in_channels], or a pair ([num_src, .], [num_dst, .] or None) for a bipartite graph,
        dense or torch sparse CSR; dense ones may be [B, N, .], a batch on one graph. edge_index
        as `gat.graph.read_edges` takes it, or a Graph; edge_attr [E, edge_dim] in the caller's edge
        order. One tensor x [num_src, .] with a Graph of fewer targets than sources: the targets are
        the first sources, as samplers of neighbours number them.

        Returns [num_dst, heads * out_channels] ([num_dst, out_channels] if not ``concat``), with
        ``return_attention_weights`` also (edges, weights [E', heads]): the edges attended over,
        self-loops last, and the weights used, after dropout. Of a batch: [B, num_dst, .] and
        [B, E', heads].
        """
        if self._goes_pygs_way(edge_index, x):
            return super().forward(x, edge_index, edge_attr, size, return_attention_weights)
        x_src, x_dst = check_features(self, x, edge_index)
        graph = self._graph(edge_index, x_src, x_dst, size)
        residual = None if self.res is None or x_dst is None else project(self.res, x_dst)
        batch = batch_size(x_src)
        src, dst = self._project(x_src, x_dst, is_one_set(x))
        att_src, att_dst = repeat_heads(self.att_src, batch), repeat_heads(self.att_dst, batch)
        score_src, score_dst = end_scores(src, dst, att_src, att_dst)
        if score_dst is not None and x_dst is not x_src and dst is src:
            score_dst = score_dst.narrow(0, 0, graph.num_dst)
        score_edge, attr = None, self._edge_inputs(graph, edge_index, edge_attr)
        if attr is not None:
            edge = edge_features(self.lin_edge, attr, self.heads, batch)
            score_edge = edge.against(self.att_edge.squeeze(0))
        result = self._attend_by(
            graph,
            Additive(score_src, score_dst, score_edge, self.negative_slope),
            self._values(graph, src),
            self.dropout if self.training else 0.0,
            bool(return_attention_weights),
            edge_index=edge_index,
            batch=batch,
        )
        return self._finish(graph, edge_index, result, residual, batch)

    def _own_options(self) -> dict[str, bool]:
        return {**super()._own_options(), "target_score=False": not self.target_score}

    def _project(
        self, x_src: Tensor, x_dst: Tensor | None, one_set: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Both node sets' features projected to [., H, C] ([., B*H, C] of a batch); one product,
        of all sources, where targets are sources. None for targets that are not scored."""
        lin_src, lin_dst = (self.lin_src, self.lin_dst) if self.lin is None else (self.lin,) * 2
        src = split_heads(project(lin_src, x_src), self.heads)
        if x_dst is None or not self.target_score:
            return src, None
        if one_set and lin_src is lin_dst:
            return src, src
        return src, split_heads(project(lin_dst, x_dst), self.heads)
