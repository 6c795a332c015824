"""`Attend`: attention over the edges of a graph, of queries, keys and values as they come."""

from typing import Any

from torch import Tensor

from gat.errors import InputError
from gat.nn.batched import split_batch
from gat.nn.edge_attention import EdgeAttention
from gat.nn.edge_bias import edge_bias, edge_factor
from gat.nn.normalizers import Normalizer
from gat.nn.scores import Score

__all__ = ["Attend"]


class Attend(EdgeAttention):
    """Score every edge, normalise over the edges that enter a node, sum the values by the weights:

        s_e = score(q_i, k_j);   a = normalizer(s);   out_i = sum of a_e v_j

    channels C of queries and keys, heads H. score, normalizer: a name or an object; see
    `gat.nn.scores` and `gat.nn.normalizers`. dropout: on the weights. It has no parameters but
    theirs: who makes queries, keys and values is another's business (`gat.nn.AttentionConv`
    projects the features of nodes).

    PyG's explainers and message hooks work on it, as on PyG's own layers.
    """

    def __init__(
        self,
        channels: int,
        heads: int = 1,
        score: str | Score = "scaled_dot",
        normalizer: str | Normalizer = "softmax",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(channels, heads, score, normalizer, dropout, **kwargs)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        edge_index: Any,
        *,
        mask: Tensor | None = None,
        score_bias: Tensor | None = None,
        weight_factor: Tensor | None = None,
        previous: Tensor | None = None,
        return_attention_weights: bool | None = None,
    ) -> Any:
        """Attend over the edges.

        query [num_dst, H, C], key [num_src, H, C], value [num_src, H, Cv], or all with a batch on
        one graph before, [B, nodes, H, .]. edge_index as `gat.graph.read_edges` takes it, or a
        `gat.Graph`, say of `gat.topology`. mask bool [E] or [E, H], False for edges that are not
        attended over, and score_bias [E] or [E, H], added to the scores, in the caller's order;
        so is weight_factor [E] or [E, H], by which the weights are multiplied once they are
        normalised (`gat.nn.LocalAttention`).
        previous: the weights of the step before, where the normaliser goes on from them
        (`Normalizer.following`).

        Returns [num_dst, H, Cv]; with ``return_attention_weights`` and (edges, weights [E', H]),
        the edges attended over and the weights used, after dropout. Of a batch: [B, ...] each.
        """
        self._check_projected(query, key, value)
        batch = query.size(0) if query.dim() == 4 else None
        query, key, value = (_as_heads(one) for one in (query, key, value))
        graph = self._graph(edge_index, key.flatten(1), query.flatten(1))
        bias = edge_bias(graph, mask, score_bias, self.heads, query.dtype, batch)
        factor = edge_factor(graph, weight_factor, self.heads, query.dtype, batch)
        form = self._form(graph, query, key, None)
        asked = bool(return_attention_weights)
        out, weights = self._attend(
            graph, edge_index, form, value, bias, batch, asked, previous=previous, factor=factor
        )
        out = split_batch(out, batch)
        if not asked:
            return out
        assert weights is not None
        return out, self._with_weights(graph, edge_index, weights, batch)

    def _check_projected(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        batch = list(query.shape[:1]) if query.dim() == 4 else []
        if batch == [0]:
            raise InputError(
                f"{type(self).__name__}: query has shape {list(query.shape)}, a batch of none; "
                f"expected at least one"
            )
        for name, tensor in (("query", query), ("key", key), ("value", value)):
            # The value's channels are its own.
            last: Any = "channels" if name == "value" else self.channels
            expected = [*batch, "nodes", self.heads, last]
            pairs = zip(tensor.shape, expected, strict=False)
            if tensor.dim() != len(expected) or any(
                size != wanted for size, wanted in pairs if not isinstance(wanted, str)
            ):
                raise InputError(
                    f"{type(self).__name__}: {name} has shape {list(tensor.shape)}; expected "
                    f"[{', '.join(map(str, expected))}], or with a batch before, [batch, nodes, "
                    f"heads, channels], all three"
                )

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.channels}, heads={self.heads}, score={self.score!r}, "
            f"normalizer={self.normalizer!r})"
        )


def _as_heads(projected: Tensor) -> Tensor:
    """[B, N, H, C] as [N, B*H, C]: to the operators a batch is more heads."""
    return projected if projected.dim() == 3 else projected.movedim(0, 1).flatten(1, 2)
