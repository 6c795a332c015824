"""Tables of what was looked at most: in sentences, documents and images, of one head."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from gat.inspection import AttentionRecord

__all__ = ["looks_of_document", "looks_of_image", "looks_of_tokens"]

Table = tuple[list[str], list[list[Any]]]
# Of a part that looks alone, as many are told as it looks at most; of images as many parts.
FIRST = 8


def looks_of_tokens(record: "AttentionRecord", ends: tuple[list[str], list[str]]) -> Table:
    """For each token that looks, the one it looks at most and its place; for one alone several."""
    from gat.inspection.tokens import visible

    sources, targets = ends
    told = FIRST if len(targets) == 1 else 1
    rows = []
    for target, name in enumerate(targets):
        # A hard attention may look at nothing.
        found = [one for one in record.neighbours(target) if float(one.weights[0])]
        for node, weights, _ in found[:told]:
            rows.append([visible(name), f"{visible(sources[node])} ({node})", _share(weights[0])])
        rows += [] if found else [[visible(name), "nothing", ""]]
    return ["looking", "looks most at", "weight"], rows


def looks_of_document(
    words: "AttentionRecord", sentences: "AttentionRecord", document: list[list[str]]
) -> Table:
    """For each sentence its weight in the document, and its word of most weight."""
    from gat.inspection.hierarchy import reading_of

    reading = reading_of(words, sentences, document)
    rows = []
    for number, (line, weight, within) in enumerate(
        zip(reading.document, reading.sentences, reading.words, strict=True)
    ):
        most = int(within.argmax())
        rows.append([number, _share(weight), line[most], _share(within[most])])
    return ["sentence", "weight", "its word looked at most", "weight in it"], rows


def looks_of_image(record: "AttentionRecord", image: Tensor) -> Table:
    """The parts of an image that get most weight, on average over all that look."""
    from gat.inspection.pixels import pixels_of

    pixels = pixels_of(record, image)
    got = torch.zeros(record.num_src).index_add(0, record.source, record.weights[:, 0].float())
    found = (got / max(record.num_dst, 1)).topk(min(FIRST, record.num_src))
    rows = [
        [f"({node // pixels.width}, {node % pixels.width})", _share(weight)]
        for weight, node in zip(found.values.tolist(), found.indices.tolist(), strict=True)
    ]
    return [f"part of {pixels.height} x {pixels.width}", "weight on average"], rows


def _share(weight: Any) -> str:
    return f"{100 * float(weight):.1f} %"
