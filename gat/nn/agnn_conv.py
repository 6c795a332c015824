"""AGNNConv: PyTorch Geometric's layer of that name, computed by `gat.ops.dot_attention`."""

from typing import Any

import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import Tensor

from gat.errors import InputError
from gat.nn.batched import batch_size, split_batch, split_heads
from gat.nn.forms import Dot
from gat.nn.pyg import DropIn, check_one_tensor

__all__ = ["AGNNConv"]


class AGNNConv(DropIn, pyg.AGNNConv):
    """The propagation layer of Thekumparampil et al. 2018 ("Attention-based Graph Neural Network
    for Semi-Supervised Learning"): scores beta * cos(x_i, x_j), the features summed as they are.

    A drop-in for `torch_geometric.nn.AGNNConv`: the same parameter, ``state_dict`` and options; see
    there for those. ``edge_index`` may also be a `gat.Graph`.
    """

    # PyG reads this from its own class's source, which it does not find under a same-named one.
    propagate_type = {"x": Tensor, "x_norm": Tensor}  # noqa: RUF012

    def forward(
        self, x: Tensor, edge_index: Any, return_attention_weights: bool | None = None
    ) -> Any:
        """Attend over the edges.

        x [N, F], or [B, N, F], a batch on one graph, dense. edge_index as `gat.graph.read_edges`
        takes it, or a Graph.

        Returns [N, F], of a batch [B, N, F]; with ``return_attention_weights``, which PyG's layer
        has not, also (edges, weights [E', 1]): the edges attended over, self-loops last. Of a batch
        weights [B, E', 1].
        """
        asked = bool(return_attention_weights)
        if self._goes_pygs_way(edge_index, x, return_attention_weights=asked):
            return super().forward(x, edge_index)
        x_dst = check_one_tensor(self, x, edge_index)
        if x.layout is not torch.strided:
            raise InputError(
                f"AGNNConv sums features as they are, so x must be dense; it has layout "
                f"{x.layout}: pass x.to_dense()"
            )
        graph, batch = self._graph(edge_index, x, x_dst), batch_size(x)
        value = split_heads(x, 1)
        # Rows are normalised once, not once an edge.
        key = F.normalize(value, p=2.0, dim=-1)
        query = key if x_dst is x else key.narrow(0, 0, graph.num_dst)
        call = {"edge_index": edge_index, "batch": batch}
        form = Dot(self.beta * query, key)
        out, weights = self._attend_by(graph, form, value, 0.0, asked, **call)
        if weights is None:
            return split_batch(out, batch).squeeze(-2)
        weighted = self._with_weights(graph, edge_index, weights, batch)
        return split_batch(out, batch).squeeze(-2), weighted
