"""`write_page`: attention weights as one HTML file, to be opened in any browser."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from gat.inspection.files import check_file
from gat.inspection.page.contents import contents
from gat.inspection.page.writing import start_at, write_html
from gat.inspection.record import Attention, AttentionRecord, in_order

__all__ = ["MAX_EDGES", "write_page"]

# More edges or nodes draw slowly.
MAX_EDGES = 5000

# In this order: each uses what those before it define.
SCRIPTS = (
    "vendor/graphology.umd.min.js",
    "vendor/sigma.min.js",
    "common.js",
    "shapes.js",
    "arrows.js",
    "panel.js",
    "picture.js",
    "search.js",
    "page.js",
)
# Theirs asks that it goes with every copy, so each page holds it.
LICENCES = (
    "vendor/sigma.LICENSE.txt",
    "vendor/graphology.LICENSE.txt",
    "vendor/graphology-utils.LICENSE.txt",
    "vendor/events.LICENSE.txt",
)


def write_page(
    path: str | os.PathLike[str],
    attention: Attention | Sequence[AttentionRecord] | AttentionRecord,
    node: int | None = None,
    hops: int = 2,
    y: Tensor | Sequence[int] | None = None,
    class_names: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    title: str | None = None,
    max_edges: int = MAX_EDGES,
    *,
    layer: str | None = None,
    head: int | None = None,
) -> Path:
    """Write one HTML file to look at ``attention`` in, and return its path.

    The page draws the nodes and edges, edges as wide as their weights in the chosen layer and
    head; it lists what a node looks at, with the weights, and finds nodes by number or name. It
    loads nothing from the network.

    attention: the records of one or more layers over the same nodes and edges.
    node: the node in the middle; the page then holds the edges over which messages reach it in
    ``hops`` layers, and no others. None: the whole graph, the node with most edges in the middle.
    y: [N] integers, each node's class, negative where unknown; class_names: their names.
    names: the names of all N nodes.
    max_edges: the most edges, and the most nodes, that the page may hold; more draw slowly.
    layer: the name of the one shown first, by default the first; head: that of its heads, by its
    number in the layer, by default their mean.

    Raises InputError where there are more, with the sizes of neighbourhoods that would fit; for
    layers over two sets of nodes or over different edges; for ``y`` and ``names`` of another
    length than N; where the file cannot be written. What was at ``path`` before is then still
    there.
    """
    target = check_file(Path(path), "page.html")
    records = in_order(attention)
    start = start_at(records, layer, head)
    document = contents(records, node, hops, y, class_names, names, max_edges) | {"start": start}
    heading = title if title is not None else _title(document)
    return write_html(target, "page.html.j2", heading, document, SCRIPTS, licences=LICENCES)


def _title(document: dict[str, Any]) -> str:
    if document["hops"] is None:
        return "What each node looks at"
    centre = document["nodes"]["label"][document["centre"]]
    hops = "1 hop" if document["hops"] == 1 else f"{document['hops']} hops"
    return f"What node {centre} looks at, {hops} around it"
