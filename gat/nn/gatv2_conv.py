"""GATv2Conv: PyTorch Geometric's layer of that name, computed by `gat.ops.gatv2_attention`."""

from typing import Any

import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.typing import OptTensor, PairTensor

from gat.errors import InputError
from gat.nn.batched import batch_size, repeat_heads, split_heads
from gat.nn.features import project
from gat.nn.forms import Hidden
from gat.nn.gat_layers import AttentionMixin
from gat.nn.pyg import check_pair, extend_signature, is_one_set

__all__ = ["GATv2Conv"]


@extend_signature(pyg.GATv2Conv)
class GATv2Conv(AttentionMixin, pyg.GATv2Conv):
    """The layer of Brody et al. 2022 ("How Attentive are Graph Attention Networks?", eq. 7).

    A drop-in for `torch_geometric.nn.GATv2Conv`: the same parameters, ``state_dict``, options and
    returns; see there for those. ``value_dropout``, ``symmetric_norm`` and ``edge_dropout`` are
    ours, see `gat.nn.gat_layers.AttentionMixin`. ``edge_index`` may also be a `gat.Graph`.
    """

    # PyG reads these from its own class's source, which it does not find under a same-named one.
    propagate_type = {"x": PairTensor, "alpha": Tensor}  # noqa: RUF012
    edge_updater_type = {"x": PairTensor, "edge_attr": OptTensor}  # noqa: RUF012

    def forward(
        self,
        x: Any,
        edge_index: Any,
        edge_attr: Tensor | None = None,
        return_attention_weights: bool | None = None,
    ) -> Any:
        """Attend over the edges; arguments and returns as in `gat.nn.GATConv.forward`."""
        if self._goes_pygs_way(edge_index, x):
            return super().forward(x, edge_index, edge_attr, return_attention_weights)
        x_src, x_dst = check_pair(self, x, edge_index)
        graph = self._graph(edge_index, x_src, x_dst)
        residual = None if self.res is None else project(self.res, x_dst)
        batch = batch_size(x_src)
        key = split_heads(project(self.lin_l, x_src), self.heads)
        if self.lin_r is self.lin_l and is_one_set(x):
            query = key if x_dst is x_src else key.narrow(0, 0, graph.num_dst)
        else:
            query = split_heads(project(self.lin_r, x_dst), self.heads)
        form = Hidden(
            query,
            key,
            repeat_heads(self.att.squeeze(0), batch, dim=0),
            repeat_heads(self._edge_features(graph, edge_index, edge_attr), batch),
            negative_slope=self.negative_slope,
        )
        result = self._attend_by(
            graph,
            form,
            self._values(graph, key),
            self.dropout if self.training else 0.0,
            bool(return_attention_weights),
            edge_index=edge_index,
            batch=batch,
        )
        return self._finish(graph, edge_index, result, residual, batch)

    def _refuse_edge_features(self, edge_attr: Tensor) -> None:
        raise InputError(
            f"GATv2Conv was given edge_attr but made without edge_dim; make the layer with "
            f"edge_dim={edge_attr[0:1].numel()}"
        )
