"""`EdgeAttention`: what layers share whose score and normaliser are parts of their own."""

from typing import Any

from torch import Tensor
from torch_geometric.typing import OptTensor

from gat.checks import check_sizes
from gat.errors import InputError
from gat.graph import Graph
from gat.nn.changes import ChangedNormalizer
from gat.nn.dropout import dropout as drop
from gat.nn.edge_features import EdgeFeatures
from gat.nn.forms import Edgewise, Form
from gat.nn.normalizers import NORMALIZERS, Normalizer
from gat.nn.pyg import DropIn
from gat.nn.scores import SCORES, Score
from gat.nn.weight_factor import FactoredNormalizer
from gat.ops.dropout import check_probability

__all__ = ["EdgeAttention"]


class EdgeAttention(DropIn):
    """A score, a normaliser and dropout on the weights, for queries and keys of ``heads`` x
    ``channels``; `gat.nn.Attend` is handed them, `gat.nn.AttentionConv` projects them.

    score, normalizer: a name or an object; see `gat.nn.scores` and `gat.nn.normalizers`.
    scores_edges: whether the score is given edge features.
    """

    # How PyG's message passing is told what it is handed.
    propagate_type = {"value": Tensor, "weights": Tensor, "edge_value": OptTensor}  # noqa: RUF012

    def __init__(
        self,
        channels: int,
        heads: int = 1,
        score: str | Score = "scaled_dot",
        normalizer: str | Normalizer = "softmax",
        dropout: float = 0.0,
        *,
        scores_edges: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("aggr", "add")
        super().__init__(node_dim=0, **kwargs)
        check_sizes(channels=channels, heads=heads)
        if not isinstance(self.aggr, str):
            raise InputError(f"aggr is {self.aggr!r}; expected the name of one aggregation")
        check_probability("dropout", dropout)
        self.channels, self.heads, self.dropout = channels, heads, dropout
        self.score = SCORES.make(score)
        self.score.attach(heads, channels, scores_edges)
        self.normalizer = NORMALIZERS.make(normalizer)
        self.normalizer.attach(heads)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        super().reset_parameters()
        for part in self.children():
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                reset()

    def message(self, value_j: Tensor, weights: Tensor, edge_value: OptTensor) -> Tensor:
        """What an edge hands to its target where PyG's message passing sums: explanations, hooks,
        other aggregations. value_j [E, H, C], weights [E, H], edge_value [E, H, C] or None."""
        value = value_j if edge_value is None else value_j + edge_value
        return weights.unsqueeze(-1) * value

    def _attend(
        self,
        graph: Graph,
        edge_index: Any,
        form: Form,
        value: Tensor,
        bias: Tensor | None,
        batch: int | None,
        asked: bool,
        *,
        in_value: EdgeFeatures | None = None,
        previous: Tensor | None = None,
        factor: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The sums [num_dst, H, Cv], and the weights [E, H] after dropout if ``asked``; of a batch
        B * H heads. in_value: features of edges that are summed with the values. factor: on the
        weights."""
        if bias is not None:
            form = Edgewise(form.scores(graph) + bias)
        normalizer: Any = self.normalizer
        if previous is not None:
            normalizer = normalizer.following(previous)
        if factor is not None:
            normalizer = FactoredNormalizer(normalizer, factor)
        if self._changes:
            call = {"edge_index": edge_index, "batch": batch}
            normalizer = ChangedNormalizer(normalizer, self._changed, value, bias, **call)
        if self._why_pygs_way(edge_index):
            return self._by_messages(graph, normalizer, form, value, in_value)
        asked = asked or in_value is not None
        return self._by_operators(graph, normalizer, form, value, in_value, asked)

    def _form(self, graph: Graph, query: Tensor, key: Tensor, edge: EdgeFeatures | None) -> Form:
        form = self.score(graph, query, key, edge)
        return Edgewise(form) if isinstance(form, Tensor) else form

    def _by_operators(
        self,
        graph: Graph,
        normalizer: Any,
        form: Form,
        value: Tensor,
        edge: EdgeFeatures | None,
        asked: bool,
    ) -> tuple[Tensor, Tensor | None]:
        dropout = self.dropout if self.training else 0.0
        out, used = normalizer.attend(graph, form, value, dropout, asked)
        if edge is not None:
            assert used is not None
            out = out + edge.summed(graph, used)
        return out, used

    def _by_messages(
        self,
        graph: Graph,
        normalizer: Any,
        form: Form,
        value: Tensor,
        edge: EdgeFeatures | None,
    ) -> tuple[Tensor, Tensor | None]:
        """The same through PyG's propagate, which makes messages [E, H, C]."""
        weights = drop(normalizer(graph, form.scores(graph)), self.dropout, self.training)
        size = (graph.num_src, graph.num_dst)
        size = size if self.flow == "source_to_target" else size[::-1]
        edges = self._listed_edges(graph)
        vectors = None if edge is None else edge.vectors()
        out = self.propagate(edges, size=size, value=value, weights=weights, edge_value=vectors)
        return out, weights


# Its own message is what the class is about, and no reason to leave the operators.
EdgeAttention._overridden = ()
