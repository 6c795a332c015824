"""The door of the room: a name in, a validated NodeTask or ExampleTask out.

Finds the card, finds or fetches the raw files, calls the card's reader, and holds the result
against the card's published counts.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from gat.data.catalog import Card, card
from gat.data.replica import mark_replica, read_replica
from gat.data.task import NodeTask
from gat.errors import CorruptDataError, InputError

if TYPE_CHECKING:
    from gat.data.examples import ExampleTask

__all__ = ["check_counts", "load", "load_card", "load_examples"]

# Module and function of each reader; imported when used, so that gat.data stays light.
READERS = {
    "digits": ("gat.data.small", "read_digits"),
    "karate": ("gat.data.small", "read_karate"),
    "planetoid": ("gat.data.planetoid", "read_planetoid"),
    "npz": ("gat.data.npz", "read_npz"),
    "pyg": ("gat.data.pyg", "read_pyg"),
    "ogb": ("gat.data.ogb", "read_ogb"),
}
# The same for examples; each is called with the options of its card.
MAKERS = {
    "dates": ("gat.data.generated.dates", "dates"),
    "numbers": ("gat.data.generated.numbers", "numbers"),
    "recall": ("gat.data.generated.recall", "recall"),
    "documents": ("gat.data.generated.documents", "documents"),
    "digit-images": ("gat.data.generated.digit_images", "digit_images"),
    "digit-rows": ("gat.data.generated.digit_images", "digit_rows"),
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
    if not card.is_graph:
        raise InputError(
            f"{card.name} is made of examples for {card.task}, not of graphs; read it with "
            f"gat.data.load_examples({card.name!r})"
        )
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


def load_examples(
    name: str, root: str | Path | None = None, **options: str | int | float | bool
) -> "ExampleTask":
    """The data set ``name``, of sequences, images or documents, as a validated ExampleTask.

    root: as of ``load``; none of these data sets has files yet, so nothing is looked for there.
    options: replace those of the card (``card(name).options``): sizes of the parts, seed, ...
    Raises InputError (unknown name or option, impossible value) and MissingDependencyError.
    """
    entry = card(name)
    if entry.is_graph:
        raise InputError(
            f"{entry.name} is a graph whose nodes are classified; read it with "
            f"gat.data.load({entry.name!r})"
        )
    for option in options:
        if option not in entry.options:
            known = ", ".join(entry.options)
            raise InputError(f"{entry.name} has no option {option!r}; its options are {known}")
    module, function = MAKERS[entry.reader]
    given = entry.options | options
    task: ExampleTask = getattr(import_module(module), function)(**given)
    task.card, task.options = entry, given
    return task.validate()


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
