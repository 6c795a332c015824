"""Attention of a decoder over an encoder's outputs, as the first translators had it: Bahdanau's and
Luong's; over a window of them see `gat.nn.local_attention`.

All are `gat.nn.Attend` over `gat.topology.bipartite`: sentences of unequal length stand one after
the other without padding, and a decoder's steps are the targets, all in one call or one at a time.
The values are the encoder's outputs themselves.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from gat.checks import check_sizes, one_of
from gat.errors import InputError
from gat.nn.attend import Attend
from gat.nn.normalizers import Normalizer
from gat.nn.prepared import Prepared, Steps
from gat.nn.scores import Score

__all__ = ["Alignment", "BahdanauAttention", "LuongAttention"]

LUONG_SCORES = ("dot", "general", "concat")


class Alignment(nn.Module):
    """What Bahdanau's and Luong's attention share. ``attention`` is the `gat.nn.Attend` of it."""

    def __init__(
        self,
        query_dim: int,
        key_dim: int,
        channels: int,
        score: str | Score,
        normalizer: str | Normalizer,
    ) -> None:
        super().__init__()
        check_sizes(query_dim=query_dim, key_dim=key_dim, channels=channels)
        self.query_dim, self.key_dim = query_dim, key_dim
        self.attention = Attend(channels, score=score, normalizer=normalizer)
        self.lin_query: nn.Linear | None = None
        self.lin_key: nn.Linear | None = None

    @property
    def goes_on(self) -> bool:
        """Whether a step's weights depend on those of the step before, ``previous``."""
        return self.attention.normalizer.goes_on

    def prepare(self, memory: Tensor, lengths: Sequence[int] | Tensor) -> Prepared:
        """An encoder's outputs ``memory`` [sum(lengths), key_dim], keys projected once for all
        steps; lengths: how many outputs each sentence has, [n]."""
        counts = tuple(lengths.tolist() if isinstance(lengths, Tensor) else lengths)
        if memory.dim() != 2 or memory.shape != (sum(counts), self.key_dim):
            raise InputError(
                f"memory has shape {list(memory.shape)}; expected [sum(lengths), key_dim] = "
                f"[{sum(counts)}, {self.key_dim}], sentence after sentence without padding"
            )
        keys = memory if self.lin_key is None else self.lin_key(memory)
        return Prepared(memory, keys.unsqueeze(1), counts)

    def forward(
        self,
        query: Tensor,
        prepared: Prepared,
        steps: Steps = 1,
        *,
        first: int = 0,
        previous: Tensor | None = None,
        return_attention_weights: bool | None = None,
    ) -> Any:
        """The contexts [sum(steps), key_dim] of a decoder's states.

        query [sum(steps), query_dim]: sentence after sentence, of each its steps in order. steps:
        so many for each sentence, or a number for each [n]. first: which step each sentence's first
        query is. previous: the weights of the step before, where they matter (`goes_on`).
        With ``return_attention_weights`` also (edges [2, E], weights [E, 1]): from the outputs'
        rows to the queries', E the sum over sentences of length times steps.
        """
        graph = prepared.graph(steps)
        if query.dim() != 2 or query.shape != (graph.num_dst, self.query_dim):
            raise InputError(
                f"query has shape {list(query.shape)}; expected [sum(steps), query_dim] = "
                f"[{graph.num_dst}, {self.query_dim}], all steps of a sentence before the next's"
            )
        result = self.attention(
            self._projected(query).unsqueeze(1),
            prepared.keys,
            prepared.memory.unsqueeze(1),
            graph,
            previous=previous,
            return_attention_weights=return_attention_weights,
            **self._within(query, prepared, steps, first),
        )
        if not return_attention_weights:
            return result.squeeze(1)
        context, weights = result
        return context.squeeze(1), weights

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for child in self.children():
            child.reset_parameters()  # type: ignore[operator]

    def _projected(self, query: Tensor) -> Tensor:
        return query if self.lin_query is None else self.lin_query(query)

    def _within(
        self, query: Tensor, prepared: Prepared, steps: Steps, first: int
    ) -> dict[str, Tensor]:
        """What else `gat.nn.Attend` is told about the edges."""
        return {}

    def extra_repr(self) -> str:
        return f"{self.query_dim}, {self.key_dim}"


class BahdanauAttention(Alignment):
    """Scores v . tanh(W q + U k) (Bahdanau et al. 2015, "Neural Machine Translation by Jointly
    Learning to Align and Translate", appendix A.1.2), with W, U to ``channels``, by default as many
    as the query has.

    normalize: g v / |v| in the place of v, and a bias inside tanh (weight normalisation, Salimans
    and Kingma 2016). normalizer: softmax is the paper's; see `gat.nn.normalizers`.
    """

    def __init__(
        self,
        query_dim: int,
        key_dim: int,
        *,
        channels: int | None = None,
        normalize: bool = False,
        normalizer: str | Normalizer = "softmax",
    ) -> None:
        channels = query_dim if channels is None else channels
        score = "normed_mlp" if normalize else "mlp"
        super().__init__(query_dim, key_dim, channels, score, normalizer)
        self.lin_query = nn.Linear(query_dim, channels, bias=False)
        self.lin_key = nn.Linear(key_dim, channels, bias=False)


class LuongAttention(Alignment):
    """Luong's scores (Luong et al. 2015, "Effective Approaches to Attention-based Neural Machine
    Translation", eq. 8): "dot", q . k; "general", q . W k; "concat", v . tanh(W [q; k]).

    scale: times a learned number, which starts at 1 ("dot" and "general": v is one of "concat").
    channels: of v, as many as the query has by default; "concat" only. normalizer: softmax is the
    paper's; see `gat.nn.normalizers`.
    """

    def __init__(
        self,
        query_dim: int,
        key_dim: int,
        *,
        score: str = "general",
        scale: bool = False,
        normalizer: str | Normalizer = "softmax",
        channels: int | None = None,
    ) -> None:
        one_of("score", score, LUONG_SCORES)
        concat = score == "concat"
        if concat and scale:
            raise InputError(
                "scale=True is for score='dot' and 'general', and in 'concat' v sets the scale; "
                "leave it out, or use BahdanauAttention(normalize=True)"
            )
        if score == "dot" and query_dim != key_dim:
            raise InputError(
                f"score='dot' multiplies queries by keys, of {query_dim} and {key_dim} channels; "
                f"make them as many, or use score='general'"
            )
        if channels is not None and not concat:
            raise InputError(f"channels={channels} is for score='concat'; leave it out")
        width = query_dim if channels is None else channels
        name = "mlp" if concat else "scaled_luong" if scale else "dot"
        super().__init__(query_dim, key_dim, width, name, normalizer)
        if concat:
            # W [q; k] is the sum of what W's two halves make of q and k.
            self.lin_query = nn.Linear(query_dim, width, bias=False)
        if score != "dot":
            # q . W k needs W at the keys alone, once for all steps.
            self.lin_key = nn.Linear(key_dim, width, bias=False)
