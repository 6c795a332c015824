"""`MultiHeadAttention`: projections for each head around one `Attend`; torch's names, any graph."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gat.checks import check_sizes
from gat.errors import InputError
from gat.nn.attend import Attend
from gat.nn.normalizers import Normalizer
from gat.nn.scores import Score

__all__ = ["MultiHeadAttention", "Projected"]


class Projected(NamedTuple):
    """Keys and values of all heads, [num_src, H, C] each; of a batch on one graph
    [B, num_src, H, C]."""

    key: Tensor
    value: Tensor

    def followed_by(self, last: "Projected") -> "Projected":
        """Of a batch of t nodes each, and of one more node each, [B, H, C]: [B, t + 1, H, C]."""
        pairs = zip(self, last, strict=True)
        return Projected(*(torch.cat([all_, one.unsqueeze(1)], dim=1) for all_, one in pairs))


class MultiHeadAttention(nn.Module):
    """head_h = attention(W_q,h query, W_k,h key, W_v,h value), out = W_o [head_1; ...; head_H]
    (Vaswani et al. 2017, "Attention Is All You Need", section 3.2.2), over the edges of a graph.

    embed_dim: features of queries and of the result, divided among ``num_heads``; kdim, vdim:
    features of keys and values, embed_dim where they are None. dropout: on the weights. bias: of
    all four projections. score, normalizer: as `gat.nn.Attend` takes them.

    Its parameters have the names and shapes of `torch.nn.MultiheadAttention`, and one seed draws
    the same ones: ``load_state_dict`` takes that layer's state dict and gives its results, on
    `gat.topology.complete` and `gat.topology.causal`. Unlike there rows that are padding are left
    out rather than masked, features come before heads ([B, N, F], ``batch_first``), and there are
    no ``add_bias_kv`` and ``add_zero_attn``.

    Raises InputError where num_heads does not divide embed_dim.
    """

    in_proj_weight: nn.Parameter | None
    in_proj_bias: nn.Parameter | None
    q_proj_weight: nn.Parameter | None
    k_proj_weight: nn.Parameter | None
    v_proj_weight: nn.Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        dropout: float = 0.0,
        bias: bool = True,
        kdim: int | None = None,
        vdim: int | None = None,
        score: str | Score = "scaled_dot",
        normalizer: str | Normalizer = "softmax",
    ) -> None:
        super().__init__()
        check_sizes(embed_dim=embed_dim, num_heads=num_heads, kdim=kdim, vdim=vdim)
        if embed_dim % num_heads:
            raise InputError(
                f"embed_dim is {embed_dim} and num_heads {num_heads}; expected a number of heads "
                f"that divides the features among them"
            )
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        # Projections of features as wide as the queries are one matrix, the query's rows first.
        one = self.kdim == self.vdim == embed_dim
        widths = {"q": embed_dim, "k": self.kdim, "v": self.vdim}
        for name, width in widths.items():
            own = None if one else nn.Parameter(torch.empty(embed_dim, width))
            self.register_parameter(f"{name}_proj_weight", own)
        joined = nn.Parameter(torch.empty(3 * embed_dim, embed_dim)) if one else None
        self.register_parameter("in_proj_weight", joined)
        self.register_parameter(
            "in_proj_bias", nn.Parameter(torch.empty(3 * embed_dim)) if bias else None
        )
        self.out_proj = nn.Linear(embed_dim, embed_dim, bias=bias)
        self._draw()
        self.attention = Attend(embed_dim // num_heads, num_heads, score, normalizer, dropout)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as torch's layer draws them."""
        self.out_proj.reset_parameters()
        self._draw()
        self.attention.reset_parameters()

    def _draw(self) -> None:
        for name, weight in self.named_parameters(recurse=False):
            if name.endswith("weight"):
                nn.init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            nn.init.zeros_(self.in_proj_bias)
            nn.init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        edge_index: Any,
        mask: Tensor | None = None,
        score_bias: Tensor | None = None,
        previous: Tensor | None = None,
        return_attention_weights: bool | None = None,
    ) -> Any:
        """Attend from the queries over the edges.

        query [num_dst, embed_dim], key [num_src, kdim], value [num_src, vdim], or all with a batch
        on one graph before, [B, nodes, .]. Without key they are the query (self-attention), without
        value it is the key. edge_index, mask, score_bias, previous, return_attention_weights: as
        `gat.nn.Attend` takes them.

        Returns [num_dst, embed_dim], and with ``return_attention_weights`` (edges, weights [E, H]).
        """
        if key is None and value is not None:
            raise InputError("MultiHeadAttention was given value without key; pass the key too")
        if key is None:
            projected, source = self.project_all(query)
        else:
            projected, source = self.project_query(query), self.project_source(key, value)
        return self.attend(
            projected,
            source,
            edge_index,
            mask=mask,
            score_bias=score_bias,
            previous=previous,
            return_attention_weights=return_attention_weights,
        )

    def attend(self, query: Tensor, source: Projected, edge_index: Any, **options: Any) -> Any:
        """As ``forward``, of what comes projected: query [num_dst, H, C]."""
        result = self.attention(query, *source, edge_index, **options)
        if isinstance(result, tuple):
            return self.out_proj(result[0].flatten(-2)), result[1]
        return self.out_proj(result.flatten(-2))

    def project_query(self, query: Tensor) -> Tensor:
        """The queries [num_dst, H, C] of query [num_dst, embed_dim]."""
        return self._project("query", query, 0, 1)[0]

    def project_source(self, key: Tensor, value: Tensor | None = None) -> Projected:
        """Keys and values of key [num_src, kdim] and value [num_src, vdim], by default the key: to
        be projected once where they are attended over many times."""
        if value is None and self.in_proj_weight is not None:
            return Projected(*self._project("key", key, 1, 2))
        keys = self._project("key", key, 1, 1)
        return Projected(*keys, *self._project("value", key if value is None else value, 2, 1))

    def project_all(self, x: Tensor) -> tuple[Tensor, Projected]:
        """Queries, keys and values of the same nodes: x [N, embed_dim]."""
        if self.in_proj_weight is None:
            return self.project_query(x), self.project_source(x)
        query, key, value = self._project("query", x, 0, 3)
        return query, Projected(key, value)

    def _project(self, name: str, x: Tensor, first: int, count: int) -> tuple[Tensor, ...]:
        """``count`` projections of x, [N, H, C] each, from the ``first`` of query, key, value."""
        width = (self.embed_dim, self.kdim, self.vdim)[first]
        if x.dim() not in (2, 3) or x.size(-1) != width:
            raise InputError(
                f"MultiHeadAttention: {name} has shape {list(x.shape)}; expected [nodes, {width}], "
                f"or [batch, nodes, {width}]"
            )
        rows = slice(first * self.embed_dim, (first + count) * self.embed_dim)
        if self.in_proj_weight is not None:
            weight: Tensor | None = self.in_proj_weight[rows]
        else:
            weight = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)[first]
        assert weight is not None
        bias = None if self.in_proj_bias is None else self.in_proj_bias[rows]
        parts = F.linear(x, weight, bias).unflatten(-1, (count, self.num_heads, -1))
        # Side by side in memory once, rather than in each kernel.
        return parts.movedim(-3, 0).contiguous().unbind()

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, num_heads={self.num_heads}, kdim={self.kdim}, vdim={self.vdim}"
