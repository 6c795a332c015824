"""The blocks of a Transformer over graphs: positions, feed-forward, encoder and decoder blocks
(Vaswani et al. 2017, "Attention Is All You Need", section 3).

Sentences stand one after the other, x [sum(lengths), F], without padding; who sees whom is said by
the graph a block is called with (`gat.topology`). A batch of one length may be [B, T, F].
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gat.checks import check_sizes, one_of
from gat.errors import InputError
from gat.graph.intervals import places
from gat.nn.dropout import dropout as drop
from gat.nn.multihead import MultiHeadAttention, Projected
from gat.nn.normalizers import Normalizer
from gat.nn.positions import sinusoidal_encoding
from gat.nn.scores import Score
from gat.ops.dropout import check_probability

__all__ = ["DecoderBlock", "EncoderBlock", "FeedForward", "SinusoidalPositions"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}
NORMS = ("post", "pre")
# Parts that torch's layers call otherwise.
TORCHS_NAMES = {
    "multihead_attn.": "cross.",
    "linear1.": "feed_forward.linear1.",
    "linear2.": "feed_forward.linear2.",
}


class SinusoidalPositions(nn.Module):
    """Adds to each token the sines and cosines of its place in its sentence (section 3.5; see
    `gat.nn.sinusoidal_encoding`), then drops entries of the sum (section 5.4).

    Tokens are taken as they come: the factor sqrt(F) of section 3.4 belongs to embeddings that are
    drawn small, as those of `gat.models.Transformer`.
    """

    def __init__(self, channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        check_sizes(channels=channels)
        check_probability("dropout", dropout)
        self.channels, self.dropout = channels, dropout
        self._known = torch.empty(0, channels)

    def forward(
        self, x: Tensor, lengths: Tensor | Sequence[int] | None = None, *, first: int = 0
    ) -> Tensor:
        """x [sum(lengths), channels]; without lengths one sentence [T, channels], or sentences of
        one length [B, T, channels]. first: the place of a sentence's first token."""
        if x.dim() not in (2, 3) or x.size(-1) != self.channels:
            raise InputError(
                f"SinusoidalPositions: x has shape {list(x.shape)}; expected "
                f"[tokens, {self.channels}] or [batch, tokens, {self.channels}]"
            )
        if first < 0:
            raise InputError(f"first is {first}; expected a place, 0 or more")
        if lengths is None:
            encoding = self._encoding(x, first, x.size(-2))
        else:
            sizes = torch.as_tensor(lengths, dtype=torch.int64, device=x.device)
            longest = int(sizes.max()) if sizes.numel() else 0
            encoding = self._encoding(x, first, longest)[_places(x, sizes)]
        return drop(x + encoding, self.dropout, self.training)

    def _encoding(self, x: Tensor, first: int, count: int) -> Tensor:
        """Of places first .. first + count - 1, [count, channels]; remembered."""
        known, last = self._known, first + count
        if known.size(0) < last or known.dtype != x.dtype or known.device != x.device:
            # Made in inference mode, they could not serve a training step later.
            with torch.inference_mode(False):
                numbers = torch.arange(max(last, 2 * known.size(0)), device=x.device)
                known = sinusoidal_encoding(numbers.double(), self.channels).to(x.dtype)
            self._known = known
        return known[first:last]

    def extra_repr(self) -> str:
        return f"{self.channels}, dropout={self.dropout}"


def _places(x: Tensor, sizes: Tensor) -> Tensor:
    """`places`, of rows x [N, .] that must be as many: int64 [N]."""
    if x.dim() != 2 or int(sizes.sum()) != x.size(0):
        raise InputError(
            f"x has shape {list(x.shape)} and lengths sum to {int(sizes.sum())}; expected one row "
            f"per token, [{int(sizes.sum())}, channels]"
        )
    return places(sizes)


class FeedForward(nn.Module):
    """W_2 activation(W_1 x + b_1) + b_2 for each node by itself (section 3.3, eq. 2).

    activation: "relu", or "gelu". dropout: on the hidden features, as torch's layers have it; the
    paper names none there.
    """

    def __init__(
        self, channels: int, hidden: int = 2048, dropout: float = 0.1, activation: str = "relu"
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, hidden=hidden)
        check_probability("dropout", dropout)
        self.activation = one_of("activation", activation, tuple(ACTIVATIONS))
        self.dropout = dropout
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., channels], and so is the result."""
        hidden = ACTIVATIONS[self.activation](self.linear1(x))
        return self.linear2(drop(hidden, self.dropout, self.training))

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        self.linear1.reset_parameters()
        self.linear2.reset_parameters()


class Block(nn.Module):
    """What both blocks have; `EncoderBlock` tells the options."""

    def __init__(
        self,
        channels: int,
        heads: int,
        feedforward: int = 2048,
        dropout: float = 0.1,
        *,
        norm: str = "post",
        activation: str = "relu",
        score: str | Score = "scaled_dot",
        normalizer: str | Normalizer = "softmax",
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm_first = one_of("norm", norm, NORMS) == "pre"
        parts = {"score": score, "normalizer": normalizer}
        self.self_attn = _attention(channels, heads, dropout, parts)
        self.feed_forward = FeedForward(channels, feedforward, dropout, activation)
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.register_load_state_dict_pre_hook(_rename)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for part in self.children():
            part.reset_parameters()  # type: ignore[operator]

    def _around(self, norm: nn.Module, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """A sublayer, with all that is around it."""
        return self._leave(norm, x, sublayer(self._enter(norm, x)))

    def _enter(self, norm: nn.Module, x: Tensor) -> Tensor:
        """What a sublayer is given."""
        return norm(x) if self.norm_first else x

    def _leave(self, norm: nn.Module, x: Tensor, given: Tensor) -> Tensor:
        """What follows from what a sublayer gave."""
        total = x + drop(given, self.dropout, self.training)
        return total if self.norm_first else norm(total)

    def extra_repr(self) -> str:
        return f"norm={'pre' if self.norm_first else 'post'!r}, dropout={self.dropout}"


class EncoderBlock(Block):
    """A block of the encoder (section 3.1): self-attention, then a feed-forward network, around
    each dropout, a residual and a LayerNorm.

    channels F, divided among ``heads``. feedforward: hidden features of the feed-forward network.
    dropout: on what each sublayer gives (section 5.4) and, as torch's layers have it, on attention
    weights and hidden features. norm: "post", LayerNorm(x + sublayer(x)), as in the paper; or
    "pre", x + sublayer(LayerNorm(x)), torch's norm_first. score, normalizer: as `gat.nn.Attend`
    takes them; of an object each attention has a copy.

    The defaults are those of `torch.nn.TransformerEncoderLayer`. ``load_state_dict`` takes a state
    dict of that layer as well, and the block then gives its results.
    """

    def forward(self, x: Tensor, edge_index: Any) -> Tensor:
        """x [N, F] or [B, N, F], and so is the result. edge_index: a graph of the nodes, as of
        `gat.topology.complete`."""
        x = self._around(self.norm1, x, lambda x: self.self_attn(x, edge_index=edge_index))
        return self._around(self.norm2, x, self.feed_forward)


class DecoderBlock(Block):
    """A block of the decoder (section 3.1): as `EncoderBlock`, and between its two sublayers a
    third, the attention ``cross``, which looks from the decoder's nodes at the encoder's.

    Options as there; its like is `torch.nn.TransformerDecoderLayer`.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        feedforward: int = 2048,
        dropout: float = 0.1,
        *,
        score: str | Score = "scaled_dot",
        normalizer: str | Normalizer = "softmax",
        **options: Any,
    ) -> None:
        parts = {"score": score, "normalizer": normalizer}
        super().__init__(
            channels, heads, feedforward, dropout, score=score, normalizer=normalizer, **options
        )
        self.cross = _attention(channels, heads, dropout, parts)
        self.norm3 = nn.LayerNorm(channels)

    def forward(
        self, x: Tensor, memory: Tensor | Projected, edge_index: Any, cross_edge_index: Any
    ) -> Tensor:
        """x [N, F], and so is the result; memory [M, F], what the encoder gave, or what
        `project_memory` made of it; all may have a batch before. edge_index: a graph of the N
        nodes, as of `gat.topology.causal`; cross_edge_index: one from the M nodes to the N, as of
        `gat.topology.bipartite`.
        """
        source = self.cross.project_source(memory) if isinstance(memory, Tensor) else memory
        x = self._around(self.norm1, x, lambda x: self.self_attn(x, edge_index=edge_index))
        return self._rest(x, source, cross_edge_index)

    def project_memory(self, memory: Tensor) -> Projected:
        """Keys and values [M, H, C] of what the encoder gave, to be made once for many steps."""
        return self.cross.project_source(memory)

    def step(
        self,
        x: Tensor,
        before: Projected,
        memory: Projected,
        edge_index: Any,
        cross_edge_index: Any,
    ) -> tuple[Tensor, Projected]:
        """The next node of each of n sentences: what ``forward`` gives it on a causal graph, at
        the cost of one node.

        x [n, F]; before: keys and values of the t nodes before it, [n, t, H, C] each; memory as
        `project_memory` gives it; edge_index: `gat.topology.bipartite` of t + 1 sources and one
        target for each sentence; cross_edge_index: of each sentence's memory and one target.

        Returns [n, F], and the keys and values of t + 1 nodes.
        """
        query, new = self.self_attn.project_all(self._enter(self.norm1, x))
        kept = before.followed_by(new)
        sources = Projected(kept.key.flatten(0, 1), kept.value.flatten(0, 1))
        x = self._leave(self.norm1, x, self.self_attn.attend(query, sources, edge_index))
        return self._rest(x, memory, cross_edge_index), kept

    def _rest(self, x: Tensor, memory: Projected, edge_index: Any) -> Tensor:
        """All that follows self-attention."""

        def look(x: Tensor) -> Tensor:
            return self.cross.attend(self.cross.project_query(x), memory, edge_index)

        return self._around(self.norm3, self._around(self.norm2, x, look), self.feed_forward)


def _attention(
    channels: int, heads: int, dropout: float, parts: dict[str, Any]
) -> MultiHeadAttention:
    return MultiHeadAttention(channels, heads, dropout=dropout, **deepcopy(parts))


def _rename(block: nn.Module, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
    """Entries under the names of torch's layers become ours."""
    for theirs, ours in TORCHS_NAMES.items():
        for name in [name for name in state_dict if name.startswith(prefix + theirs)]:
            state_dict[prefix + ours + name[len(prefix + theirs) :]] = state_dict.pop(name)
