"""Data sets that come with installed libraries and need no network: digits and karate."""

from pathlib import Path

import numpy as np
import torch

from gat.data.catalog import Card
from gat.data.edges import simple_edges
from gat.data.splits import per_class_splits
from gat.data.task import NodeTask, TaskGraph
from gat.errors import MissingDependencyError

__all__ = ["read_digits", "read_karate"]


def nearest_neighbours(x: np.ndarray, k: int) -> np.ndarray:
    """Edges [2, N*k] from each row of ``x`` [N, F] to its ``k`` nearest others (Euclidean).

    Ties go to the lower node number, so that integer data gives the same graph on every machine
    (scikit-learn's own neighbour search leaves ties to the order of a partial sort).
    """
    square = (x * x).sum(axis=1)
    distance = square[:, None] + square[None, :] - 2 * x @ x.T
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return np.stack([np.repeat(np.arange(len(x)), k), nearest.ravel()])


def read_digits(card: Card, raw: Path | None = None) -> NodeTask:
    """scikit-learn's 1797 handwritten digits as a nearest-neighbour graph.

    Features are the 64 pixels from 0 to 1; edges join a digit and its ``k`` nearest, both ways.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingDependencyError(
            "the data set 'digits' comes with scikit-learn: pip install scikit-learn"
        ) from None
    pixels, labels = load_digits(return_X_y=True)
    options = {key: int(card.options[key]) for key in ("k", "train_per_class", "val_per_class")}
    masks = per_class_splits(
        labels,
        train=options["train_per_class"],
        val=options["val_per_class"],
        splits=card.splits,
    )
    graph = TaskGraph(
        simple_edges(nearest_neighbours(pixels, options["k"]), undirected=True),
        torch.from_numpy((pixels / 16.0).astype(np.float32)),
        torch.from_numpy(labels.astype(np.int64)),
        *masks,
    )
    return NodeTask(card.name, (graph,), 10, card.metric, class_names=card.class_names)


def read_karate(card: Card, raw: Path | None = None) -> NodeTask:
    """Zachary's karate club from networkx: which of two clubs did a member join?

    Features are one-hot node numbers. The two leaders (nodes 0 and 33) train, ten members drawn
    with a fixed seed validate, the other 22 test.
    """
    try:
        import networkx
    except ImportError:
        raise MissingDependencyError(
            "the data set 'karate' comes with networkx: pip install networkx"
        ) from None
    club = networkx.karate_club_graph()
    nodes = club.number_of_nodes()
    names = ("Mr. Hi", "Officer")
    labels = [names.index(club.nodes[node]["club"]) for node in range(nodes)]
    parts = torch.full((nodes,), 2)
    parts[np.random.default_rng(0).permutation(np.arange(1, nodes - 1))[:10]] = 1
    parts[[0, nodes - 1]] = 0
    graph = TaskGraph(
        simple_edges(np.array(club.edges).T, undirected=True),
        torch.eye(nodes),
        torch.tensor(labels),
        train_mask=(parts == 0)[:, None],
        val_mask=(parts == 1)[:, None],
        test_mask=(parts == 2)[:, None],
    )
    return NodeTask(card.name, (graph,), 2, card.metric, class_names=names)
