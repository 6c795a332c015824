"""The door of the room: a name in, a validated NodeTask out.

Finds the card, finds or fetches the raw files, calls the card's reader, and holds the result
against the card's published counts.
"""

from importlib import import_module
from pathlib import Path

from gat.data.catalog import Card, card
from gat.data.replica import mark_replica, read_replica
from gat.data.task import NodeTask
from gat.errors import CorruptDataError

__all__ = ["check_counts", "load", "load_card"]

# Module and function of each reader; imported when used, so that gat.data stays light.
READERS = {
    "digits": ("gat.data.small", "read_digits"),
    "karate": ("gat.data.small", "read_karate"),
    "planetoid": ("gat.data.planetoid", "read_planetoid"),
    "npz": ("gat.data.npz", "read_npz"),
    "pyg": ("gat.data.pyg", "read_pyg"),
    "ogb": ("gat.data.ogb", "read_ogb"),
}


def load(name: str, root: str | Path | None = None, *, download: bool = True) -> NodeTask:
    """The data set ``name`` (see ``cards()``) as a validated NodeTask.

    Raw files are looked for as ``PLACE/NAME/raw/FILE`` (OGB's in OGB's own layout,
    ``PLACE/ogbn_arxiv/...``) in ``root``, then in the folder named by
    the environment variable GAT_DATA, then in the user's cache (GAT_CACHE overrides its place).
    What is found nowhere is downloaded, into ``root`` if given, else into the cache.

    download: False raises DownloadError instead, saying where to put the files.
    Raises InputError (unknown name), DownloadError, CorruptDataError, MissingDependencyError.
    """
    return load_card(card(name), root, download=download)


def load_card(card: Card, root: str | Path | None = None, *, download: bool = True) -> NodeTask:
    """As ``load``, for a card in hand."""
    module, function = READERS[card.reader]
    room = import_module(module)
    read = getattr(room, function)
    raw = None
    if card.needs_files:
        from gat.data.places import find_or_fetch

        ready = getattr(room, "require", None)
        raw = find_or_fetch(card, root, download=download, ready=ready)
    task = read(card, raw)
    task.card, task.metric = card, card.metric
    replica = None if raw is None else read_replica(card, raw if card.whole else raw.parent)
    if replica is not None:
        mark_replica(task, card, replica)
    else:
        check_counts(task, card)
    return task.validate(check_finite=not all(graph._finite for graph in task.graphs))


def check_counts(task: NodeTask, card: Card) -> None:
    """Refuse files that read well but are not the published data set."""
    counts = card.counts
    pairs = {
        "graphs": (counts.graphs, len(task.graphs)),
        "nodes": (counts.nodes, task.num_nodes),
        "edges": (counts.edges, task.num_edges),
        "features": (counts.features, task.num_features),
        "classes": (counts.classes, task.num_classes),
        "splits": (card.splits, task.num_splits),
    }
    for what, (published, found) in pairs.items():
        if published is not None and published != found:
            raise CorruptDataError(
                f"the files of {card.name} hold {found} {what}, the published data set has "
                f"{published}; delete them and fetch them again"
            )
