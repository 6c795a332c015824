"""`AttentionConv`: attention over a graph from parts, any score with any normaliser."""

from collections.abc import Collection
from typing import Any

from torch import Tensor
from torch_geometric.nn import Linear

from gat.checks import check_sizes, one_of
from gat.errors import ArgumentTypeError, InputError
from gat.graph import Graph, graph_of
from gat.nn.batched import batch_size, split_batch, split_heads
from gat.nn.edge_attention import EdgeAttention
from gat.nn.edge_bias import edge_bias
from gat.nn.edge_features import EdgeFeatures, edge_features
from gat.nn.ending import Ending
from gat.nn.features import project
from gat.nn.forms import Form, Hidden
from gat.nn.normalizers import Normalizer
from gat.nn.pyg import check_pair, is_one_set
from gat.nn.scores import Score

__all__ = ["AttentionConv"]

EDGE_IN = ("score", "value")
SHARES = (None, "all", "key_value", "none")


class AttentionConv(EdgeAttention):
    """Score every edge, normalise over the edges that enter a node, sum the values by the weights:

        s_e = score(q_i, k_j, e);   a = normalizer(s);   out_i = sum of a_e (v_j + W e)

    in_channels: features of a node; a pair (sources, targets) for a bipartite graph; -1 to learn it
    from the first input. out_channels C and ``heads`` H: the output has H*C features, or C with
    ``concat=False``, where heads are averaged.
    score, normalizer: a name or an object; see `gat.nn.scores` and `gat.nn.normalizers`.
    edge_dim: features per edge, which enter the ``edge_in`` "score", "value", or both.
    dropout: on the weights. residual, gate, bias: see `gat.nn.ending`.
    share: which projections are one, "all" (query, key and value; on a bipartite graph key and
    value), "key_value" or "none"; by default as the score's paper has it. projection_bias: of
    query, key and value.
    add_self_loops: each node's own edge, its features filled by ``fill_value`` as PyG's GATConv
    does it. Unlike there the default is the graph as it is.
    update_edges: also return new features of the edges, the hidden layer of the score,
    activation(q_i + k_j + W e), [E, H*C] (Kaminski et al. 2022, "Rossmann-toolbox", EGAT); for
    scores that have one: "gatv2", "mlp", "normed_mlp".

    PyG's explainers and message hooks work on it, as on PyG's own layers.
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        heads: int = 1,
        concat: bool = True,
        score: str | Score = "additive",
        normalizer: str | Normalizer = "softmax",
        edge_dim: int | None = None,
        edge_in: Collection[str] = EDGE_IN,
        dropout: float = 0.0,
        residual: bool | str = False,
        gate: str | None = None,
        bias: bool = True,
        *,
        share: str | None = None,
        projection_bias: bool = False,
        add_self_loops: bool = False,
        fill_value: float | Tensor | str = "mean",
        update_edges: bool = False,
        **kwargs: Any,
    ) -> None:
        check_sizes(out_channels=out_channels, heads=heads)
        if edge_dim is not None and edge_dim != -1:
            check_sizes(edge_dim=edge_dim)
        parts = _edge_in(edge_in)
        parts = parts if edge_dim is not None else ()
        super().__init__(
            out_channels,
            heads,
            score,
            normalizer,
            dropout,
            scores_edges="score" in parts,
            **kwargs,
        )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.edge_dim, self.edge_in = edge_dim, parts
        self.add_self_loops, self.fill_value = add_self_loops, fill_value
        self.update_edges = update_edges
        if update_edges and not self.score.has_hidden:
            raise InputError(
                "update_edges gives the hidden layer of the score, which this one has not; use "
                "score='gatv2', 'mlp' or 'normed_mlp'"
            )
        share = one_of("share", share, SHARES) or self.score.share
        self._make_projections(share, projection_bias)
        _, dst = _pair(in_channels)
        self.ending = Ending(dst, out_channels, heads, concat, residual, gate, bias)

    def _make_projections(self, share: str, bias: bool) -> None:
        """lin_key; lin_query and lin_value, None where they are lin_key; lin_edge."""
        src, dst = _pair(self.in_channels)
        width = self.heads * self.out_channels
        options: dict[str, Any] = {"bias": bias, "weight_initializer": "glorot"}
        same_nodes = isinstance(self.in_channels, int)
        shares_query = share == "all" and same_nodes
        self.lin_key = Linear(src, width, **options)
        self.lin_query = None if shares_query else Linear(dst, width, **options)
        self.lin_value = Linear(src, width, **options) if share == "none" else None
        self.lin_edge = None
        if self.edge_dim is not None:
            options["bias"] = False
            self.lin_edge = Linear(self.edge_dim, width, **options)

    def forward(
        self,
        x: Any,
        edge_index: Any,
        edge_attr: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        score_bias: Tensor | None = None,
        size: tuple[int, int] | None = None,
        return_attention_weights: bool | None = None,
    ) -> Any:
        """Attend over the edges.

        x [N, in_channels], or a pair ([num_src, .], [num_dst, .]) of sources and targets, dense or
        torch sparse CSR; dense ones may be [B, N, .], a batch on one graph. edge_index as
        `gat.graph.read_edges` takes it, or a `gat.Graph`. In the caller's edge order: edge_attr
        [E, edge_dim], or the values [E, edge_dim] of a sparse matrix; mask bool [E] or [E, H],
        False for edges that are not attended over; score_bias [E] or [E, H], added to the scores.

        Returns [num_dst, H*C] ([num_dst, C] if not ``concat``). With ``update_edges`` a tuple: also
        the new edge features [E, H*C]. With ``return_attention_weights`` last in the tuple
        (edges, weights [E', H]): the edges attended over, self-loops last, and the weights used,
        after dropout. Of a batch: [B, ...] each.
        """
        x_src, x_dst = check_pair(self, x, edge_index)
        graph = self._graph(edge_index, x_src, x_dst, size)
        projected = self._project(x_src, x_dst, is_one_set(x))
        asked = bool(return_attention_weights)
        return self._run(graph, edge_index, projected, x_dst, edge_attr, mask, score_bias, asked)

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        edge_index: Any,
        edge_attr: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        score_bias: Tensor | None = None,
        return_attention_weights: bool | None = None,
    ) -> Any:
        """As ``forward``, of queries, keys and values that come projected.

        query [num_dst, H, C], key and value [num_src, H, C]. Without residual and gate, which look
        at the targets' own features.
        """
        for name, tensor in (("query", query), ("key", key), ("value", value)):
            if tensor.dim() != 3 or tensor.shape[1:] != (self.heads, self.out_channels):
                raise InputError(
                    f"{name} has shape {list(tensor.shape)}; expected [nodes, heads, channels] = "
                    f"[nodes, {self.heads}, {self.out_channels}]"
                )
        if self.ending.asks_targets:
            raise InputError(
                "attend knows no features of the targets: make the layer without residual and "
                "gate, or call the layer with x"
            )
        graph = self._graph(edge_index, key.flatten(1), query.flatten(1))
        projected, asked = (query, key, value), bool(return_attention_weights)
        return self._run(graph, edge_index, projected, None, edge_attr, mask, score_bias, asked)

    def scores(self, x: Any, edge_index: Any, edge_attr: Tensor | None = None) -> Tensor:
        """The scores before they are normalised, [E', H] in the order of the weights' edges."""
        x_src, x_dst = check_pair(self, x, edge_index)
        if x_src.dim() == 3:
            raise InputError("scores takes features [nodes, channels], or a pair of them")
        graph = self._graph(edge_index, x_src, x_dst)
        query, key, _ = self._project(x_src, x_dst, is_one_set(x))
        edge = self._edge_features(graph, self._given_features(edge_index, edge_attr))
        return self._scored(graph, query, key, edge).scores(graph)

    def _project(
        self, x_src: Tensor, x_dst: Tensor, one_set: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Query [num_dst, H, C], key and value [num_src, H, C]; those shared are one tensor, of
        which the query is the first rows where the targets are the first sources."""
        key = split_heads(project(self.lin_key, x_src), self.heads)
        query = value = key
        if self.lin_query is not None or not one_set:
            lin = self.lin_key if self.lin_query is None else self.lin_query
            query = split_heads(project(lin, x_dst), self.heads)
        elif x_dst is not x_src:
            query = key.narrow(0, 0, x_dst.size(-2))
        if self.lin_value is not None:
            value = split_heads(project(self.lin_value, x_src), self.heads)
        return query, key, value

    def _run(
        self,
        graph: Graph,
        edge_index: Any,
        projected: tuple[Tensor, Tensor, Tensor],
        x_dst: Tensor | None,
        edge_attr: Tensor | None,
        mask: Tensor | None,
        score_bias: Tensor | None,
        return_weights: bool,
    ) -> Any:
        """All that follows the projections."""
        query, key, value = projected
        batch = None if x_dst is None else batch_size(x_dst)
        edge_attr = self._given_features(edge_index, edge_attr)
        edge = self._edge_features(graph, edge_attr, batch)
        form = self._scored(graph, query, key, edge)
        bias = edge_bias(graph, mask, score_bias, self.heads, query.dtype, batch)
        in_value = edge if "value" in self.edge_in else None
        out, weights = self._attend(
            graph, edge_index, form, value, bias, batch, return_weights, in_value=in_value
        )
        answer: list[Any] = [self.ending(out, x_dst, batch)]
        if self.update_edges:
            answer.append(self._hidden(graph, form, edge_index, query, key, edge_attr, batch))
        if return_weights:
            assert weights is not None
            answer.append(self._with_weights(graph, edge_index, weights, batch))
        return answer[0] if len(answer) == 1 else tuple(answer)

    def _scored(self, graph: Graph, query: Tensor, key: Tensor, edge: EdgeFeatures | None) -> Form:
        return self._form(graph, query, key, edge if "score" in self.edge_in else None)

    def _edge_features(
        self, graph: Graph, edge_attr: Tensor | None, batch: int | None = None
    ) -> EdgeFeatures | None:
        if (edge_attr is None) is not (self.lin_edge is None):
            made = "without edge_dim" if self.lin_edge is None else f"with edge_dim={self.edge_dim}"
            raise InputError(
                f"AttentionConv was made {made} and called "
                f"{'without' if edge_attr is None else 'with'} edge_attr; make the layer with "
                f"edge_dim, and pass edge_attr, or neither"
            )
        if edge_attr is None or self.lin_edge is None:
            return None
        attr = self._listed_features(graph, edge_attr)
        if not attr.is_floating_point():
            raise ArgumentTypeError(f"edge_attr has dtype {attr.dtype}; expected a floating dtype")
        if attr.dim() != 2 or (self.edge_dim != -1 and attr.size(1) != self.edge_dim):
            raise InputError(
                f"edge_attr has shape {list(edge_attr.shape)}; expected [E, edge_dim] = "
                f"[{graph.num_caller_edges}, {self.edge_dim}]"
            )
        return edge_features(self.lin_edge, attr, self.heads, batch)

    def _hidden(
        self,
        graph: Graph,
        form: Form,
        edge_index: Any,
        query: Tensor,
        key: Tensor,
        edge_attr: Tensor | None,
        batch: int | None,
    ) -> Tensor:
        """The score's hidden layer of each edge the caller passed, loops too: [E, H*C]."""
        if graph.num_loops and not isinstance(edge_index, Graph):
            # A loop that stands for the caller's has lost its features.
            graph = graph_of(edge_index, (graph.num_src, graph.num_dst), flow=self.flow)
            form = self._scored(graph, query, key, self._edge_features(graph, edge_attr, batch))
        assert isinstance(form, Hidden)
        return split_batch(graph.to_caller(form.hidden(graph)), batch).flatten(-2)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.in_channels}, {self.out_channels}, heads={self.heads}, "
            f"score={self.score!r}, normalizer={self.normalizer!r})"
        )


def _pair(in_channels: int | tuple[int, int]) -> tuple[int, int]:
    return (in_channels, in_channels) if isinstance(in_channels, int) else in_channels


def _edge_in(given: Collection[str]) -> tuple[str, ...]:
    parts = (given,) if isinstance(given, str) else tuple(given)
    if not parts or any(part not in EDGE_IN for part in parts):
        raise InputError(f"edge_in is {given!r}; expected 'score', 'value', or both")
    return parts
