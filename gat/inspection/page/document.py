"""`write_document_page`: a document with its sentences' and words' weights, as an HTML file."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from gat.inspection.files import check_file
from gat.inspection.hierarchy import Reading, reading_of
from gat.inspection.page.looks import check_size, rounded
from gat.inspection.page.text import MAX_WEIGHTS
from gat.inspection.page.writing import start_at, write_html
from gat.inspection.record import AttentionRecord

__all__ = ["write_document_page"]

SCRIPTS = ("common.js", "looks.js", "words.js", "document.js")


def write_document_page(
    path: str | os.PathLike[str],
    words: AttentionRecord,
    sentences: AttentionRecord,
    document: Sequence[Sequence[str]],
    title: str | None = None,
    *,
    head: int | None = None,
) -> Path:
    """Write one HTML file to look at the attention of a document in, and return its path.

    Each sentence stands beside a bar of its weight, its words are shaded by theirs; pointing at a
    word, or going to it by the keyboard, tells the weights. The page loads nothing from the
    network.

    words, sentences, document: as in `gat.inspection.pictures.draw_document`. head: the one shown
    first, by its number in both layers, by default the mean; layers with other heads than each
    other are shown by their means alone.

    Raises InputError for a document that does not fit the records, records without edges or with
    more than a million weights, weights that are not finite, and where the file cannot be written;
    IndexRangeError for a head that is not there.
    """
    target = check_file(Path(path), "document.html")
    records = [words, sentences]
    check_size(records, MAX_WEIGHTS, "Draw a shorter document")
    if words.heads != sentences.heads:
        records = [record.mean() for record in records]
    below, above = records
    readings = [reading_of(below.head(one), above.head(one), document) for one in below.heads]
    contents = {
        "document": readings[0].document,
        "layers": [
            {
                "name": f"{above.name}, {below.name}",
                "type": above.layer_type,
                "when": above.when,
                "heads": list(below.heads),
                "sentences": [rounded(torch.from_numpy(one.sentences)) for one in readings],
                "words": [_within(one) for one in readings],
            }
        ],
        "start": start_at([below], None, head) | {"layer": 0},
    }
    heading = "Which sentences and words count" if title is None else title
    styles = ("page.css", "looks.css")
    return write_html(target, "document.html.j2", heading, contents, SCRIPTS, styles)


def _within(reading: Reading) -> list[list[float | None]]:
    return [rounded(torch.from_numpy(line)) for line in reading.words]
