"""Reading data sets: cards, download with checksum, readers, splits; a NodeTask comes out, or for
sequences, images and documents an ExampleTask.

``load(name)`` and ``load_examples(name)`` read a data set that has a card in ``datasets/``;
``from_files`` reads a graph of one's own; ``load_hetero`` and ``ogb_metric`` are OGB's graph of
several node types and its score; ``synthetic`` makes replicas of data sets.
What is done with a task (training, metrics) belongs to ``gat.train``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gat.data.catalog import Card, card, cards
from gat.data.examples import Examples, ExampleTask
from gat.data.loading import load, load_examples
from gat.data.ogb import load_hetero, ogb_metric
from gat.data.own import from_files
from gat.data.ragged import Ragged
from gat.data.task import NodeTask, TaskGraph, normalize_features
from gat.data.vocabulary import Vocabulary

if TYPE_CHECKING:
    from gat.data import synthetic

__all__ = [
    "Card",
    "ExampleTask",
    "Examples",
    "NodeTask",
    "Ragged",
    "TaskGraph",
    "Vocabulary",
    "card",
    "cards",
    "from_files",
    "load",
    "load_examples",
    "load_hetero",
    "normalize_features",
    "ogb_metric",
    "synthetic",
]


def __getattr__(name: str) -> Any:
    # Few who read data make any.
    if name == "synthetic":
        return import_module("gat.data.synthetic")
    raise AttributeError(f"module 'gat.data' has no attribute {name!r}")
