"""Encoders of sequences that stand one after the other, [sum(lengths), C] to the same: what reads
the words of every sentence before attention pools them."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gat.errors import InputError
from gat.models.parts import check_choice
from gat.nn import AttentionConv, sinusoidal_encoding
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
        rows, batch_sizes = _packed(lengths)
        out = self.gru(PackedSequence(x[rows], batch_sizes))[0].data
        return torch.zeros_like(out).index_copy(0, rows, out)


class SelfAttentionEncoder(nn.Module):
    """norm(x' + attention of x'), where x' is x with sines of the positions added: one layer of a
    Transformer's encoder (Vaswani et al. 2017, "Attention Is All You Need", section 3.1) without
    its feed-forward network and without a projection of the joined heads."""

    def __init__(self, channels: int, heads: int = 1) -> None:
        super().__init__()
        if channels % heads:
            raise InputError(f"channels is {channels} and heads {heads}; expected a multiple")
        self.channels = channels
        self.attention = AttentionConv(
            channels, channels // heads, heads, score="scaled_dot", residual="identity"
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x [sum(lengths), channels], lengths int64 [n], 0 among them too."""
        starts = (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
        positions = (torch.arange(x.size(0), device=x.device) - starts).double()
        x = x + sinusoidal_encoding(positions, self.channels).to(x.dtype)
        return self.norm(self.attention(x, complete(lengths, device=x.device)))


def make_encoder(name: str, channels: int, heads: int = 1) -> nn.Module | None:
    """The encoder called "gru" or "self-attention"; None for "none". heads: of self-attention."""
    check_choice("encoder", name, ENCODERS)
    if name == "none":
        return None
    return GRUEncoder(channels) if name == "gru" else SelfAttentionEncoder(channels, heads)


def _packed(lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Which row stands where in a PackedSequence, step by step, the longest sequence first; and how
    many sequences are as long as each step, on the CPU."""
    order = lengths.argsort(descending=True, stable=True)
    starts = (lengths.cumsum(0) - lengths)[order]
    step = torch.arange(int(lengths.max()), device=lengths.device).unsqueeze(1)
    there = step < lengths[order]
    return (starts + step)[there], there.sum(1).cpu()
