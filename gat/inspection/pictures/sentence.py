"""What the words of a sentence look at: the sentence once for each of them, shaded by weight."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gat.errors import InputError
from gat.inspection.pairs import pairs_of
from gat.inspection.pictures.palette import shortened
from gat.inspection.pictures.shades import Shades
from gat.inspection.pictures.style import drawn, finish
from gat.inspection.pictures.writing import Line, write
from gat.inspection.record import AttentionRecord, check_node
from gat.inspection.tokens import words_of
from gat.inspection.words import counted, head_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_sentence"]

# Words on all lines together, unless the caller names those that look.
MOST = 600


@drawn
def draw_sentence(
    record: AttentionRecord,
    tokens: Sequence[str],
    word: int | Sequence[int] | None = None,
    head: int | None = None,
    *,
    target_tokens: Sequence[str] | None = None,
) -> "Figure":
    """A line for each word that looks, with the words it looks at on grounds shaded by weight.

    record: of one sentence, or pair of sentences (`gat.inspection.block`). tokens: the words looked
    at, [num_src]; target_tokens: those that look, [num_dst], where they are a sentence of their
    own; else each word looks at its own sentence and stands framed in it. word: the places of the
    words that look; by default all, or the first of them where the lines would have more than 600
    words. head: a head's number in the layer, or None for the mean of all. One scale serves all
    lines; grey letters have no edge.

    Raises InputError for tokens that do not fit the record, for a word that was not recorded and
    for weights that are not finite; IndexRangeError for a word or head that is not there.
    """
    own = target_tokens is None
    words = words_of("tokens", tokens, record.num_src, f"sources of {record.name}")
    name, given = ("tokens", tokens) if target_tokens is None else ("target_tokens", target_tokens)
    looking = words_of(name, given, record.num_dst, f"targets of {record.name}")
    part = record.mean() if head is None else record.head(head)
    places, left_out = _places(record, word)
    pairs = pairs_of(part)
    rows = [pairs.row(place)[0].numpy() for place in places]
    weights = np.reshape(rows, (len(places), len(words)))
    lines = [
        Line(looking[place], words, row, place if own else None)
        for place, row in zip(places, weights, strict=True)
    ]
    shades = Shades(weights)
    title = f"What {_who(looking, places, own)} in {shortened(record.name, 40)}"
    caption = " ".join(_caption(record, head, weights, shades, own, left_out))
    return finish(write(lines, shades), title, caption, shades.handles())


def _places(record: AttentionRecord, word: int | Sequence[int] | None) -> tuple[list[int], int]:
    """The words that look, and how many of them are left out."""
    if word is None:
        seen = range(record.num_dst)
        known = [place for place in seen if record.seen is None or bool(record.seen[place])]
        room = max(1, MOST // max(1, record.num_src))
        return known[:room], max(0, len(known) - room)
    places = [word] if isinstance(word, int) else list(word)
    for place in places:
        check_node("word", place, record.num_dst)
        if record.seen is not None and not bool(record.seen[place]):
            raise InputError(f"{record.name} has no record of word {place}; record it with nodes=")
    return places, 0


def _who(looking: list[str], places: list[int], own: bool) -> str:
    if len(places) == 1:
        return f"“{shortened(looking[places[0]])}” looks at"
    return "each word looks at" if own else "each word of the target looks at"


def _caption(
    record: AttentionRecord,
    head: int | None,
    weights: np.ndarray,
    shades: Shades,
    own: bool,
    left_out: int,
) -> Iterator[str]:
    yield f"Weights of {head_name(record, head)}."
    if not len(weights):
        yield "No word looks at another."
        return
    framed = ", which is framed," if own else ""
    yield (
        f"On each line the word in front{framed} looks at the others; the darker the ground of a "
        f"word, the more weight it gets. One scale for all lines."
    )
    even = 1 / np.maximum((~np.isnan(weights)).sum(1), 1)
    least, most = even.min(), even.max()
    span = f"{least:.2g}" if least == most else f"{least:.2g} to {most:.2g}"
    yield f"If a word looked at all alike, each would get {span}."
    if shades.missing:
        yield "Words in grey letters have no edge to the word that looks."
    yield from shades.words()
    if left_out:
        yield f"{counted(left_out, 'more word')} can be drawn by word=[...]."
