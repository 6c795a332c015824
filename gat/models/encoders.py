"""Encoders of sequences that stand one after the other, [sum(lengths), C] to the same: what reads
the words of every sentence before attention pools them."""

from torch import Tensor, nn

from gat.checks import one_of
from gat.errors import InputError
from gat.nn import AttentionConv, SinusoidalPositions
from gat.nn.recurrent import pack_ragged
from gat.topology import complete

__all__ = ["ENCODERS", "GRUEncoder", "SelfAttentionEncoder", "make_encoder"]

ENCODERS = ("gru", "none", "self-attention")


class GRUEncoder(nn.Module):
    """A GRU in both directions, each of half the channels (Yang et al. 2016, "Hierarchical
    Attention Networks for Document Classification", section 2.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % 2:
            raise InputError(f"channels is {channels}; expected an even number, half a direction")
        self.gru = nn.GRU(channels, channels // 2, bidirectional=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x [sum(lengths), channels], lengths int64 [n], 0 among them too."""
        if not x.size(0):
            return x
        packed, place = pack_ragged(x, lengths)
        return self.gru(packed)[0].data.index_select(0, place)


class SelfAttentionEncoder(nn.Module):
    """norm(x' + attention of x'), where x' is x with sines of the positions added: one layer of a
    Transformer's encoder (Vaswani et al. 2017, "Attention Is All You Need", section 3.1) without
    its feed-forward network and without a projection of the joined heads."""

    def __init__(self, channels: int, heads: int = 1) -> None:
        super().__init__()
        if channels % heads:
            raise InputError(f"channels is {channels} and heads {heads}; expected a multiple")
        self.positions = SinusoidalPositions(channels)
        self.attention = AttentionConv(
            channels, channels // heads, heads, score="scaled_dot", residual="identity"
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x [sum(lengths), channels], lengths int64 [n], 0 among them too."""
        x = self.positions(x, lengths)
        return self.norm(self.attention(x, complete(lengths, device=x.device)))


def make_encoder(name: str, channels: int, heads: int = 1) -> nn.Module | None:
    """The encoder called "gru" or "self-attention"; None for "none". heads: of self-attention."""
    one_of("encoder", name, ENCODERS)
    if name == "none":
        return None
    return GRUEncoder(channels) if name == "gru" else SelfAttentionEncoder(channels, heads)
