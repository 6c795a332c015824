"""HANConv: PyTorch Geometric's layer of that name, each edge type by `additive_attention`."""

from typing import Any

import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.nn.conv.han_conv import group
from torch_geometric.typing import Adj, EdgeType, NodeType, PairTensor

from gat.errors import InputError
from gat.graph import Graph
from gat.nn.batched import batch_size, repeat_heads, split_batch, split_heads
from gat.nn.features import project
from gat.nn.forms import Additive
from gat.nn.head_scores import end_scores
from gat.nn.pyg import DropIn, check_features

__all__ = ["HANConv"]


class HANConv(DropIn, pyg.HANConv):
    """The layer of Wang et al. 2019 ("Heterogeneous Graph Attention Network", eq. 1-9): attention
    over the neighbours of each edge type, then over edge types.

    A drop-in for `torch_geometric.nn.HANConv`: the same parameters, ``state_dict``, options and
    returns; see there for those, and for where PyG differs from the paper: one projection per node
    type, ReLU for ELU. An ``edge_index`` may also be a `gat.Graph`.
    """

    # PyG reads these from its own class's source, which it does not find under a same-named one.
    propagate_type = {"x": PairTensor, "alpha": PairTensor}  # noqa: RUF012

    def forward(
        self,
        x_dict: dict[NodeType, Tensor],
        edge_index_dict: dict[EdgeType, Adj | Graph],
        return_semantic_attention_weights: bool = False,
        *,
        return_attention_weights: bool = False,
    ) -> Any:
        """Attend over each edge type, then over the edge types that enter each node type.

        x_dict: features [N, in_channels] of each node type, dense or torch sparse CSR; dense ones
        may be [B, N, .], a batch on one graph, of all node types alike. edge_index_dict: for each
        edge type what `gat.graph.read_edges` takes, or a Graph.

        Returns a dict of [N, out_channels], [B, N, .] of a batch; None for a node type that no edge
        type enters. With ``return_semantic_attention_weights`` also a dict of each node type's
        weights of its edge types, [T], in their order in edge_index_dict ([B, T] of a batch; None
        where there are none). With ``return_attention_weights``, which is ours, last a dict of
        (edges, weights [E, heads]) for each edge type, the weights after dropout; of a batch
        [B, E, heads].
        """
        if any(self._goes_pygs_way(edges) for edges in edge_index_dict.values()):
            if return_attention_weights:
                raise InputError(
                    "this HANConv runs through PyG's code, which has no return_attention_weights"
                )
            return super().forward(x_dict, edge_index_dict, return_semantic_attention_weights)
        batch = _common_batch(self, x_dict)
        nodes = {
            kind: split_heads(project(self.proj[kind], x), self.heads) for kind, x in x_dict.items()
        }
        entering: dict[NodeType, list[Tensor]] = {kind: [] for kind in x_dict}
        weights = {}
        for edge_type, edges in edge_index_dict.items():
            src, _, dst = edge_type
            pair = nodes[src], nodes[dst]
            out, weights[edge_type] = self._attend(
                edge_type, edges, pair, batch, return_attention_weights
            )
            entering[dst].append(out)
        grouped = {kind: self._group(outs, batch) for kind, outs in entering.items()}
        result = [{kind: out for kind, (out, _) in grouped.items()}]
        if return_semantic_attention_weights:
            result.append({kind: semantic for kind, (_, semantic) in grouped.items()})
        if return_attention_weights:
            result.append(weights)
        return tuple(result) if len(result) > 1 else result[0]

    def _attend(
        self,
        edge_type: EdgeType,
        edges: Any,
        pair: tuple[Tensor, Tensor],
        batch: int | None,
        returns: bool,
    ) -> tuple[Tensor, Any]:
        """One edge type's output [num_dst, F], or [B, num_dst, F], and (edges, weights) or None."""
        src, dst = pair
        # Their nodes stand in the first dimension, which `_graph` expects in the last but one.
        graph = self._graph(edges, src.flatten(1), dst.flatten(1))
        name = "__".join(edge_type)
        att_src = repeat_heads(self.lin_src[name], batch)
        att_dst = repeat_heads(self.lin_dst[name], batch)
        out, weights = self._attend_by(
            graph,
            Additive(*end_scores(src, dst, att_src, att_dst), negative_slope=self.negative_slope),
            src,
            self.dropout if self.training else 0.0,
            returns,
            edge_index=edges,
            edge_type=edge_type,
            batch=batch,
        )
        out = F.relu(split_batch(out, batch).flatten(-2))
        return out, None if weights is None else self._with_weights(graph, edges, weights, batch)

    def _group(self, outs: list[Tensor], batch: int | None) -> tuple[Tensor | None, Tensor | None]:
        """The edge types' outputs [N, F] weighted by attention over types, and the weights [T]."""
        if batch is None or not outs:
            return group(outs, self.q, self.k_lin)
        each = [group([out[b] for out in outs], self.q, self.k_lin) for b in range(batch)]
        out = torch.stack([out for out, _ in each])
        return out, None if each[0][1] is None else torch.stack([weights for _, weights in each])


def _common_batch(layer: HANConv, x_dict: dict[NodeType, Tensor]) -> int | None:
    """B of features [B, N, F], None of [N, F]: the same for every node type."""
    batches = {kind: batch_size(check_features(layer, x)[0]) for kind, x in x_dict.items()}
    if len(set(batches.values())) > 1:
        shapes = ", ".join(f"{kind!r}: {list(x.shape)}" for kind, x in x_dict.items())
        raise InputError(f"x_dict has shapes {{{shapes}}}; expected all of one batch, or none")
    return next(iter(batches.values()), None)
