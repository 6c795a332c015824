"""Attention from words to sentences to a document, laid out as the document is."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gat.errors import ArgumentTypeError, InputError
from gat.inspection.pairs import pairs_of
from gat.inspection.record import AttentionRecord
from gat.inspection.tokens import words_of

__all__ = ["Reading", "reading_of"]


@dataclass(frozen=True, eq=False)
class Reading:
    """document: the words of each sentence; sentences: the weight of each, [sentences]; words: of
    each sentence the weights of its words, [words] each, NaN where a word has no edge."""

    document: list[list[str]]
    sentences: np.ndarray
    words: list[np.ndarray]


def reading_of(
    words: AttentionRecord, sentences: AttentionRecord, document: Sequence[Sequence[str]]
) -> Reading:
    """What a document's two records say, of the first head of each.

    Raises InputError where the document does not fit the records.
    """
    if isinstance(document, str):
        raise ArgumentTypeError(
            f"document is the text {document[:20]!r}; expected a list of sentences, each a list of "
            f"words"
        )
    if sentences.num_dst != 1:
        raise InputError(
            f"{sentences.name} has {sentences.num_dst} targets; expected one, the document: take "
            f"its record out of the batch (gat.inspection.block)"
        )
    for record, role, count in (
        (words, "targets", words.num_dst),
        (sentences, "sources", sentences.num_src),
    ):
        if count != len(document):
            raise InputError(
                f"document has {len(document)} sentences; {record.name} has {count} {role}"
            )
    text = [word for number, line in enumerate(document) for word in _line(number, line)]
    shown = words_of("document", text, words.num_src, f"sources of {words.name}")
    ends = np.cumsum([0, *map(len, document)])
    pairs = pairs_of(words)
    lines = [slice(first, last) for first, last in pairwise(ends)]
    if not np.array_equal(pairs.target.numpy(), _line_of(ends, pairs.source.numpy())):
        counts = ", ".join(map(str, words.graph.in_degree.tolist()[:12]))
        raise InputError(
            f"by the lengths of document's sentences one would look at words of another; "
            f"{words.name} has {counts} words in its first sentences"
        )
    return Reading(
        [shown[line] for line in lines],
        pairs_of(sentences).row(0)[0].numpy(),
        [pairs.row(number)[0].numpy()[line] for number, line in enumerate(lines)],
    )


def _line_of(ends: np.ndarray, word: np.ndarray) -> np.ndarray:
    """Which sentence each word stands in, by the document."""
    return np.searchsorted(ends, word, "right") - 1


def _line(number: int, line: Sequence[str]) -> Sequence[str]:
    if isinstance(line, str):
        raise ArgumentTypeError(
            f"document[{number}] is the text {line[:20]!r}; expected a list of words"
        )
    return line
