"""`DocumentClassifier`: documents of sentences of words, read level by level, or flat."""

import torch
from torch import Tensor, nn

from gat.checks import check_sizes, one_of
from gat.errors import InputError
from gat.models.encoders import make_encoder
from gat.models.parts import reset_children
from gat.models.tokens import Lengths, check_tokens, counts_of
from gat.nn.readout import HierarchicalAttention
from gat.ops.dropout import check_probability

__all__ = ["POOLINGS", "DocumentClassifier"]

POOLINGS = ("hierarchical", "flat")


class DocumentClassifier(nn.Module):
    """Embedded words, attention that pools them to a document, linear.

    pooling: "hierarchical", an encoder and attention over the words of each sentence, then over the
    sentences of each document (Yang et al. 2016, "Hierarchical Attention Networks for Document
    Classification"); or "flat", the rival: one encoder of the same kind reads the document's words
    as one sequence, and one attention pools them all.

    vocabulary_size, num_classes: words are 0 .. vocabulary_size - 1. channels: of words, sentences
    and documents. encoder: "gru", in both directions, "self-attention", or "none". heads: of
    pooling and self-attention. normalizer: of the pooling. dropout: on embedded words, and before
    the linear layer.
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_classes: int,
        *,
        channels: int = 64,
        pooling: str = "hierarchical",
        encoder: str = "gru",
        heads: int = 1,
        normalizer: str = "softmax",
        dropout: float = 0.0,
    ) -> None:
        # All it takes to make such a network again.
        self.options = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        one_of("pooling", pooling, POOLINGS)
        counts = {"vocabulary_size": vocabulary_size, "num_classes": num_classes}
        check_sizes(**counts, channels=channels, heads=heads)
        check_probability("dropout", dropout)
        self.flat = pooling == "flat"
        levels = 1 if self.flat else 2
        encoders = [make_encoder(encoder, channels, heads) for _ in range(levels)]
        self.embedding = nn.Embedding(vocabulary_size, channels)
        self.reader = HierarchicalAttention(
            channels, levels, encoders, heads=heads, normalizer=normalizer
        )
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(channels, num_classes)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        reset_children(self)

    def forward(
        self, words: Tensor, words_per_sentence: Lengths, sentences_per_document: Lengths
    ) -> Tensor:
        """Scores of the classes [documents, num_classes].

        words int64 [sum(words_per_sentence)], one document after the other; words_per_sentence
        [sum(sentences_per_document)]. Sentences and documents may be empty. Raises InputError for
        counts that do not fit, ArgumentTypeError or IndexRangeError for what are no words.
        """
        of_words = counts_of("words_per_sentence", words_per_sentence, words.device)
        of_sentences = counts_of("sentences_per_document", sentences_per_document, words.device)
        _check("words_per_sentence", of_words, words.numel(), "words")
        _check("sentences_per_document", of_sentences, of_words.numel(), "sentences")
        check_tokens("words", words, self.embedding.num_embeddings, "vocabulary_size")
        x = self.dropout(self.embedding(words))
        if self.flat:
            document = torch.arange(of_sentences.numel(), device=words.device)
            document = document.repeat_interleave(of_sentences)
            lengths = [torch.zeros_like(of_sentences).index_add(0, document, of_words)]
        else:
            lengths = [of_words, of_sentences]
        return self.output(self.dropout(self.reader(x, *lengths)))


def _check(name: str, counts: Tensor, expected: int, parts: str) -> None:
    if int(counts.sum()) != expected:
        raise InputError(
            f"{name} has {counts.numel()} counts, which sum to {int(counts.sum())}; expected "
            f"counts of 0 or more for {expected} {parts}"
        )
