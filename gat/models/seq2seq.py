"""Translation by recurrent networks: an encoder, a decoder, and attention between them."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from gat.checks import check_sizes, one_of
from gat.errors import InputError
from gat.models.parts import reset_children
from gat.models.seq2seq_parts import CELLS, Decoder, Encoder, Memory, State
from gat.models.tokens import Lengths, check_begin, check_tokens, shifted, sizes_of
from gat.nn.alignment import Alignment, BahdanauAttention, LuongAttention
from gat.nn.dropout import dropout
from gat.nn.local_attention import LocalAttention
from gat.ops.dropout import check_probability

__all__ = ["ALIGNMENTS", "Seq2Seq"]


ALIGNMENTS: dict[str, Callable[..., Alignment]] = {
    "bahdanau": BahdanauAttention,
    "normed-bahdanau": partial(BahdanauAttention, normalize=True),
    "luong-dot": partial(LuongAttention, score="dot"),
    "luong-general": partial(LuongAttention, score="general"),
    "luong-concat": partial(LuongAttention, score="concat"),
    "scaled-luong": partial(LuongAttention, score="general", scale=True),
    "monotonic": partial(BahdanauAttention, normalize=True),
    "local": LocalAttention,
    "local-m": partial(LocalAttention, predict=False),
}
# Those whose context enters the recurrent layer; the others' meets its output.
BEFORE = ("bahdanau", "normed-bahdanau")


class Seq2Seq(nn.Module):
    """Sentences to sentences: a bidirectional recurrent encoder, a recurrent decoder that attends
    over its outputs, and a linear layer to the next token's logits.

    source_size, target_size: tokens there are. hidden_channels: of the decoder and of the encoder's
    outputs, half of them each direction's; an even number. attention:

    - "none": the decoder sees nothing of the encoder but what all start with, tanh(W [forward;
      backward]) of where its two directions end;
    - "bahdanau", "normed-bahdanau" (Bahdanau et al. 2015; `gat.nn.BahdanauAttention`): the state
      before a step looks, and the context enters the step;
    - "luong-dot", "luong-general", "luong-concat", "scaled-luong" (Luong et al. 2015;
      `gat.nn.LuongAttention`), "local" and "local-m" (`gat.nn.LocalAttention`, around a predicted
      place and around the step's own, ``window`` places to both sides): the state after a step
      looks, so that teacher forcing attends all steps in one call. With input_feeding what a step
      gave out enters the next, as in the paper's section 3.3, and steps go one by one;
    - "monotonic" (Raffel et al. 2017; `gat.nn.Monotonic`): as Luong's, by normed Bahdanau's score.

    What a step gives out is tanh(W [context; state]), also with Bahdanau's, where the paper has a
    maxout layer. normalizer: of the attention's scores, by name (`gat.nn.normalizers`); with
    "monotonic" any kind is. cell: "lstm" or "gru"; layers: of encoder and decoder each. dropout: of
    embeddings, between layers and of what a step gives out. begin: the token before the first.

    The attention of all kinds is one `gat.nn.Attend`, ``decoder.alignment.attention``.
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        *,
        hidden_channels: int = 128,
        embedding_channels: int = 64,
        attention: str = "bahdanau",
        normalizer: str = "softmax",
        window: int = 10,
        input_feeding: bool = False,
        cell: str = "lstm",
        layers: int = 1,
        dropout: float = 0.0,
        begin: int = 0,
    ) -> None:
        # All it takes to make such a network again.
        self.options = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        one_of("attention", attention, ("none", *ALIGNMENTS))
        one_of("cell", cell, CELLS)
        sizes = {"source_size": source_size, "target_size": target_size, "layers": layers}
        check_sizes(**sizes, embedding_channels=embedding_channels, window=window)
        check_begin(begin, target_size)
        check_probability("dropout", dropout)
        if hidden_channels < 2 or hidden_channels % 2:
            raise InputError(f"hidden_channels is {hidden_channels}; expected an even number >= 2")
        if input_feeding and attention in ("none", *BEFORE):
            raise InputError(
                f"input_feeding hands the context of a step to the next, and attention="
                f"{attention!r} {'has none' if attention == 'none' else 'does that by itself'}; "
                f"leave input_feeding out"
            )
        alignment = _alignment(attention, hidden_channels, normalizer, window)
        before, shape = attention in BEFORE, (embedding_channels, hidden_channels, cell, layers)
        self.dropout, self.begin = dropout, begin
        self.encoder = Encoder(source_size, *shape, dropout)
        self.decoder = Decoder(target_size, *shape, dropout, alignment, before, input_feeding)
        self.output = nn.Linear(hidden_channels, target_size)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        reset_children(self)

    def forward(
        self, source: Tensor, source_lengths: Lengths, target: Tensor, target_lengths: Lengths
    ) -> Tensor:
        """Logits [sum(T), target_size] of every target token, given those before it.

        source [sum(S)], target [sum(T)]: int64 tokens, sentence after sentence without padding, of
        ``source_lengths`` and ``target_lengths`` [n], 1 or more each. Raises InputError where these
        do not fit, IndexRangeError for a token there is none of.
        """
        memory = self.encode(source, source_lengths)
        sizes = _checked("target", target, target_lengths, self.decoder.embedding)
        if sizes.numel() != memory.hidden[0].size(1):
            raise InputError(
                f"there are {memory.hidden[0].size(1)} source sentences and {sizes.numel()} target "
                f"sentences; expected as many"
            )
        before = shifted(target, sizes, self.begin)
        return self._logits(self.decoder(before, tuple(sizes.tolist()), memory))

    def encode(self, source: Tensor, source_lengths: Lengths) -> Memory:
        """What decoding needs of the source; arguments as of ``forward``."""
        sizes = _checked("source", source, source_lengths, self.encoder.embedding)
        lengths = tuple(sizes.tolist())
        outputs, hidden = self.encoder(source, lengths)
        alignment = self.decoder.alignment
        return Memory(hidden, None if alignment is None else alignment.prepare(outputs, lengths))

    def start(self, memory: Memory) -> State:
        """The state before the first step."""
        return self.decoder.start(memory)

    def step(self, tokens: Tensor, memory: Memory, state: State) -> tuple[Tensor, State]:
        """Logits [n, target_size] of the next token of each sentence after ``tokens`` int64 [n],
        at first ``begin``, and the state after it."""
        out, state = self.decoder.step(tokens, memory, state)
        return self._logits(out), state

    def _logits(self, out: Tensor) -> Tensor:
        return self.output(dropout(out, self.dropout, self.training))


def _alignment(attention: str, width: int, normalizer: str, window: int) -> Alignment | None:
    if attention == "none":
        if normalizer != "softmax":
            raise InputError(
                f"normalizer={normalizer!r} is of the attention's scores, and attention='none' has "
                f"none; leave it out"
            )
        return None
    if attention == "monotonic":
        if normalizer != "softmax":
            raise InputError(
                f"attention='monotonic' is a normaliser itself; leave out normalizer={normalizer!r}"
            )
        normalizer = "monotonic"
    options = {"window": window} if attention in ("local", "local-m") else {}
    return ALIGNMENTS[attention](width, width, normalizer=normalizer, **options)


def _checked(name: str, tokens: Tensor, lengths: Lengths, embedding: nn.Embedding) -> Tensor:
    """How many tokens each sentence has, int64 [n], if they are what recurrent layers take."""
    sizes = sizes_of(name, tokens, lengths)
    if sizes.numel() == 0 or int(sizes.min()) < 1:
        raise InputError(
            f"{name}_lengths is {sizes.tolist()}; expected sentences, at least one, of 1 token or "
            f"more each"
        )
    check_tokens(name, tokens, embedding.num_embeddings, f"{name}_size")
    return sizes
