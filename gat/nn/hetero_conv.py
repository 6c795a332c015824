"""HeteroConv: PyTorch Geometric's wrapper of that name, which also passes on attention weights."""

from dataclasses import dataclass
from typing import Any

import torch_geometric.nn as pyg
from torch import Tensor
from torch_geometric.typing import EdgeType, NodeType

from gat.errors import InputError

__all__ = ["HeteroConv"]


class HeteroConv(pyg.HeteroConv):
    """A layer for each edge type, their outputs combined at each node type by ``aggr``.

    A drop-in for `torch_geometric.nn.HeteroConv`, which cannot combine what layers return with
    their attention weights. The layers may be PyG's or ours, and the edges of ours a `gat.Graph`.
    """

    def forward(
        self,
        *args_dict: Any,
        return_attention_weights_dict: dict[EdgeType, bool] | None = None,
        **kwargs_dict: Any,
    ) -> dict[NodeType, Tensor] | tuple[dict[NodeType, Tensor], dict[EdgeType, Any]]:
        """Call each edge type's layer and combine the outputs; arguments as in PyG.

        With ``return_attention_weights_dict={edge_type: True, ...}`` those layers are asked for
        their weights, and the result is (out_dict, weights_dict): weights_dict[edge_type] is what
        the layer returned beside its output, (edges, weights [E, H]). An edge type whose layer was
        not called, for want of edges, is left out.

        Raises InputError for an edge type without a layer.
        """
        if return_attention_weights_dict is None:
            return super().forward(*args_dict, **kwargs_dict)
        self._check(return_attention_weights_dict)
        weights: dict[EdgeType, Any] = {}
        callers = {
            edge_type: _Caller(edge_type, conv, return_attention_weights_dict, weights)
            for edge_type, conv in self.convs.items()
        }
        # PyG's own code, for whom a layer is what can be called: it sees outputs only.
        out = pyg.HeteroConv.forward(_HeteroConv(callers, self.aggr), *args_dict, **kwargs_dict)
        return out, weights

    def _check(self, asked: dict[EdgeType, bool]) -> None:
        unknown = [edge_type for edge_type in asked if edge_type not in self.convs]
        if unknown:
            raise InputError(
                f"return_attention_weights_dict names edge type {unknown[0]}, which has no layer; "
                f"expected some of {', '.join(map(str, self.convs.keys()))}"
            )


@dataclass(frozen=True)
class _HeteroConv:
    """What PyG's forward reads of a HeteroConv."""

    convs: dict[EdgeType, Any]
    aggr: str | None


@dataclass(frozen=True)
class _Caller:
    """Calls one layer and puts the weights it returns aside, into ``weights``."""

    edge_type: EdgeType
    conv: Any
    asked: dict[EdgeType, bool]
    weights: dict[EdgeType, Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.edge_type not in self.asked:
            return self.conv(*args, **kwargs)
        asked = self.asked[self.edge_type]
        result = self.conv(*args, return_attention_weights=asked, **kwargs)
        if not isinstance(result, tuple):
            return result
        out, self.weights[self.edge_type] = result
        return out
