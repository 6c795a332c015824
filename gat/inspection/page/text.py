"""`write_text_page`: the attention of a sentence, or of a pair of sentences, as an HTML file."""

import os
from collections.abc import Sequence
from pathlib import Path

from gat.inspection.files import check_file
from gat.inspection.page.looks import check_size, layers_of
from gat.inspection.page.writing import start_at, write_html
from gat.inspection.record import Attention, AttentionRecord, check_node, in_order
from gat.inspection.tokens import words_of

__all__ = ["MAX_WEIGHTS", "write_text_page"]

# Of all layers and heads together: some ten MB.
MAX_WEIGHTS = 1_000_000
SCRIPTS = ("common.js", "looks.js", "words.js", "matrix.js", "text.js")


def write_text_page(
    path: str | os.PathLike[str],
    attention: Attention | Sequence[AttentionRecord] | AttentionRecord,
    tokens: Sequence[str],
    target_tokens: Sequence[str] | None = None,
    title: str | None = None,
    *,
    word: int = 0,
    layer: str | None = None,
    head: int | None = None,
) -> Path:
    """Write one HTML file to look at the attention of a sentence in, and return its path.

    Pointing at a word, or going to it by the keyboard, shades the words it looks at; a click keeps
    it. Below stands the matrix of all weights, beside it those of the word in numbers. The page
    loads nothing from the network.

    attention: the records of one or more layers over the same words (of a batch, each one's
    `gat.inspection.block`). tokens: the words looked at, [num_src]; target_tokens: those that look,
    [num_dst], where they are a sentence of their own. word: the place of the word that looks at
    first; layer and head: those shown first, by name and by number in the layer; by default the
    first layer and the mean of its heads.

    Raises InputError for tokens that do not fit a record, records without edges or with more than
    a million weights, weights that are not finite, and where the file cannot be written;
    IndexRangeError for a word or head that is not there.
    """
    target = check_file(Path(path), "sentence.html")
    records = in_order(attention)
    name, given = ("tokens", tokens) if target_tokens is None else ("target_tokens", target_tokens)
    for record in records:
        sources = words_of("tokens", tokens, record.num_src, f"sources of {record.name}")
        targets = words_of(name, given, record.num_dst, f"targets of {record.name}")
    check_size(records, MAX_WEIGHTS, "Draw a shorter sentence")
    check_node("word", word, len(targets))
    document = {
        "source": sources,
        "target": None if target_tokens is None else targets,
        "layers": layers_of(records),
        "start": start_at(records, layer, head) | {"word": word},
    }
    whose = "each word" if target_tokens is None else "each word of the target"
    heading = f"What {whose} looks at" if title is None else title
    styles = ("page.css", "looks.css")
    return write_html(target, "text.html.j2", heading, document, SCRIPTS, styles)
