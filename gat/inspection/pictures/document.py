"""A document: its sentences shaded by their weight, and their words by theirs."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gat.inspection.hierarchy import Reading, reading_of
from gat.inspection.pictures.palette import shortened
from gat.inspection.pictures.shades import Shades
from gat.inspection.pictures.style import drawn, finish
from gat.inspection.pictures.writing import Line, write
from gat.inspection.record import AttentionRecord
from gat.inspection.words import head_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_document"]


@drawn
def draw_document(
    words: AttentionRecord,
    sentences: AttentionRecord,
    document: Sequence[Sequence[str]],
    head: int | None = None,
) -> "Figure":
    """A line for each sentence: in front its weight, then its words on grounds shaded by theirs.

    words: the record of the document's words, as targets its sentences (one block of the first
    graph of `gat.topology.hierarchy`); sentences: that of its sentences, with one target.
    document: the words of each sentence. head: a head's number in both layers, or None for the mean
    of all.

    Raises InputError for a document that does not fit the records and for weights that are not
    finite, IndexRangeError for a head that is not recorded.
    """
    below, above = (one.mean() if head is None else one.head(head) for one in (words, sentences))
    reading = reading_of(below, above, document)
    lines = [
        Line(f"{weight:.3f}", line, within, weight=weight)
        for line, within, weight in zip(
            reading.document, reading.words, reading.sentences, strict=True
        )
    ]
    shades = Shades(np.concatenate([*reading.words, np.zeros(0)]))
    names = Shades(reading.sentences)
    upper, lower = (shortened(one.name, 30) for one in (sentences, words))
    title = f"The sentences {upper} looks at, and the words {lower} looks at in each"
    caption = " ".join(_caption(words, head, reading, shades))
    return finish(write(lines, shades, names), title, caption, shades.handles(), "words")


def _caption(
    words: AttentionRecord, head: int | None, reading: Reading, shades: Shades
) -> Iterator[str]:
    yield f"Weights of {head_name(words, head)}."
    yield (
        "In front of each sentence its weight in the document, the darker the more; behind it its "
        "words, the darker the more weight in their sentence, on a scale of their own."
    )
    if len(reading.document):
        yield f"Spread evenly, each sentence would get {1 / len(reading.document):.2g}."
    yield from shades.words()
