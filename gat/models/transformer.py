"""The Transformer, encoder and decoder, on sentences as graphs: no padding, no masks."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gat.checks import check_sizes
from gat.errors import InputError
from gat.graph import Graph
from gat.graph.intervals import rows_of_blocks
from gat.graph.structure import lazy
from gat.models.parts import reset_children
from gat.models.tokens import Lengths, check_begin, check_tokens, shifted, sizes_of
from gat.nn.multihead import Projected
from gat.nn.normalizers import Normalizer
from gat.nn.scores import Score
from gat.nn.transformer import DecoderBlock, EncoderBlock, SinusoidalPositions
from gat.topology import bipartite, causal, complete

__all__ = ["Transformer"]


class Transformer(nn.Module):
    """The Transformer (Vaswani et al. 2017, "Attention Is All You Need", figure 1): from sentences,
    and the tokens of their translations so far, to scores of the next token.

    source_size, target_size: tokens of the two vocabularies. channels F: of an embedding, and of
    what each block gives. heads, feedforward, dropout, norm, activation, score, normalizer: of
    every block, see `gat.nn.EncoderBlock`; with norm="pre" a LayerNorm follows the last block of
    the encoder and of the decoder. tied: the generator's weight is the target's embedding (section
    3.4; there the source's is the same too). begin: the token that stands before a translation.
    The defaults are the paper's base model.

    Embeddings are drawn with a deviation of 1 / sqrt(F) and multiplied by sqrt(F) (section 3.4),
    sinusoids of the tokens' places added, and entries of the sum dropped (section 5.4).

    The layers heard by `gat.record_attention` are ``encoder.layers.k.self_attn.attention``,
    ``decoder.layers.k.self_attn.attention`` and ``decoder.layers.k.cross.attention``: for the
    alignment of a translation that was written, record a pass of ``forward`` over it.
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        *,
        channels: int = 512,
        heads: int = 8,
        encoder_layers: int = 6,
        decoder_layers: int = 6,
        feedforward: int = 2048,
        dropout: float = 0.1,
        norm: str = "post",
        activation: str = "relu",
        score: str | Score = "scaled_dot",
        normalizer: str | Normalizer = "softmax",
        tied: bool = False,
        begin: int = 0,
    ) -> None:
        # All it takes to make such a network again.
        self.options = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        check_sizes(source_size=source_size, target_size=target_size)
        check_sizes(encoder_layers=encoder_layers, decoder_layers=decoder_layers)
        check_begin(begin, target_size)
        self.begin = begin
        sizes = (channels, heads, feedforward, dropout)
        parts: dict[str, Any] = {"activation": activation, "score": score, "normalizer": normalizer}
        self.encoder = Stack(EncoderBlock, encoder_layers, *sizes, norm=norm, **parts)
        self.decoder = Stack(DecoderBlock, decoder_layers, *sizes, norm=norm, **parts)
        self.source = Embedding("source", source_size, channels, dropout)
        self.target = Embedding("target", target_size, channels, dropout)
        self.generator = nn.Linear(channels, target_size)
        if self.encoder.layers[0].self_attn.attention.normalizer.goes_on:
            raise InputError(
                f"normalizer={normalizer!r} goes on from step to step of a decoder, which the "
                f"attention of a Transformer does not; take another, or gat.models.Seq2Seq"
            )
        if tied:
            self.generator.weight = self.target.weight

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        # The embeddings last, one of which the generator may share.
        for part in (self.encoder, self.decoder, self.generator, self.source, self.target):
            part.reset_parameters()

    def forward(
        self, source: Tensor, source_lengths: Lengths, target: Tensor, target_lengths: Lengths
    ) -> Tensor:
        """Scores of each target token, given the source and the target tokens before it (teacher
        forcing): [sum(T), target_size].

        source [sum(S)], target [sum(T)]: tokens of n sentences, int64, one sentence after the
        other; target as it shall be written, END included: what the decoder reads, begin and all
        but the last token, is made here. source_lengths, target_lengths: S and T, int64 [n].

        Raises InputError, ArgumentTypeError or IndexRangeError for tokens and lengths that fit
        neither one another nor the vocabularies.
        """
        memory = self.encode(source, source_lengths)
        sizes = sizes_of("target", target, target_lengths)
        if sizes.numel() != memory.lengths.numel():
            raise InputError(
                f"there are {memory.lengths.numel()} sentences in source and {sizes.numel()} in "
                f"target; expected a target for each source"
            )
        edges = causal(sizes, device=target.device)
        cross_edges = bipartite(memory.lengths, sizes, device=target.device)
        x = self.target(shifted(target, sizes, self.begin), sizes)
        for block, seen in zip(self.decoder.layers, memory.seen, strict=True):
            x = block(x, seen, edges, cross_edges)
        return self.generator(self.decoder.norm(x))

    def encode(self, source: Tensor, source_lengths: Lengths) -> "Memory":
        """What the decoder looks at, of source [sum(S)] as in ``forward``."""
        sizes = sizes_of("source", source, source_lengths)
        edges = complete(sizes, device=source.device)
        x = self.source(source, sizes)
        for block in self.encoder.layers:
            x = block(x, edges)
        x = self.encoder.norm(x)
        return Memory(sizes, tuple(block.project_memory(x) for block in self.decoder.layers))

    def start(self, memory: "Memory") -> "State":
        """The decoder before the first token of each sentence."""
        count = memory.lengths.numel()
        empty = (one.key.new_empty(count, 0, *one.key.shape[1:]) for one in memory.seen)
        return State(tuple(Projected(none, none) for none in empty))

    def step(self, tokens: Tensor, memory: "Memory", state: "State") -> tuple[Tensor, "State"]:
        """Scores [n, target_size] of the token after ``tokens`` [n], the last ones written, at
        first begin; and the state after them. As ``forward`` gives them, one token at a time."""
        written = state.before[0].key.size(1)
        count = tokens.numel()
        edges = bipartite((written + 1,) * count, 1, device=tokens.device)
        x = self.target(tokens.unsqueeze(1), first=written).squeeze(1)
        before = []
        for block, kept, seen in zip(self.decoder.layers, state.before, memory.seen, strict=True):
            x, kept = block.step(x, kept, seen, edges, memory.edges)
            before.append(kept)
        return self.generator(self.decoder.norm(x)), State(tuple(before))


@dataclass(frozen=True, eq=False)
class Memory:
    """Encoded sentences: lengths int64 [n], and the keys and values [sum(lengths), H, C] that each
    layer of the decoder looks at."""

    lengths: Tensor
    seen: tuple[Projected, ...]

    def select(self, rows: Tensor) -> "Memory":
        """The memory of these sentences, int64 [m]; one may occur more than once."""
        nodes = rows_of_blocks(self.lengths, rows)
        seen = tuple(Projected(k[nodes], v[nodes]) for k, v in self.seen)
        return Memory(self.lengths[rows], seen)

    @lazy
    def edges(self) -> Graph:
        """From each sentence's memory to its one token of a step."""
        return bipartite(self.lengths, 1, device=self.lengths.device)


@dataclass(frozen=True, eq=False)
class State:
    """A decoder's sentences of t tokens: keys and values [n, t, H, C] in each layer."""

    before: tuple[Projected, ...]

    def select(self, rows: Tensor) -> "State":
        """The state of these sentences, int64 [m]; one may occur more than once."""
        return State(tuple(Projected(k[rows], v[rows]) for k, v in self.before))


class Stack(nn.Module):
    """Blocks one after the other, and what follows the last: with norm="pre" a LayerNorm. Its
    names are those of `torch.nn.TransformerEncoder` and `torch.nn.TransformerDecoder`."""

    def __init__(
        self, kind: Any, count: int, channels: int, *sizes: Any, norm: str, **options: Any
    ):
        super().__init__()
        blocks = (kind(channels, *sizes, norm=norm, **options) for _ in range(count))
        self.layers: Any = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(channels) if norm == "pre" else nn.Identity()

    def reset_parameters(self) -> None:
        reset_children(self)


class Embedding(nn.Module):
    """Vectors of tokens, and of their places. name: of the tokens, in errors."""

    def __init__(self, name: str, size: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.name = name
        self.weight = nn.Parameter(torch.empty(size, channels))
        self.positions = SinusoidalPositions(channels, dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.weight.size(1) ** -0.5)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None, *, first: int = 0) -> Tensor:
        """tokens [sum(lengths)], or [B, T] without lengths: [..., F]; the rest as
        `SinusoidalPositions`."""
        size, channels = self.weight.shape
        check_tokens(self.name, tokens, size, f"{self.name}_size")
        return self.positions(
            F.embedding(tokens, self.weight) * channels**0.5, lengths, first=first
        )
