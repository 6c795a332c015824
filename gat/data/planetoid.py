"""The Planetoid files of Cora, CiteSeer and PubMed (Yang et al. 2016, arXiv 1603.08861).

Eight files ``ind.NAME.{x,tx,allx,y,ty,ally,graph,test.index}``. ``x``/``y`` are the training
nodes, ``allx``/``ally`` all nodes but the test nodes, ``tx``/``ty`` the test nodes in the order of
``test.index``. Nodes 0..len(y)-1 train, the next 500 validate, ``test.index`` tests.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gat.data.catalog import Card
from gat.data.edges import simple_edges
from gat.data.safe_pickle import safe_load
from gat.data.task import NodeTask, TaskGraph
from gat.errors import CorruptDataError

__all__ = ["read_planetoid"]

VALIDATION = 500


def read_planetoid(card: Card, raw: Path) -> NodeTask:
    """The task of ``card`` from the files in ``raw``, self-loops and duplicate edges removed."""
    prefix = str(card.options.get("prefix", card.name))
    parts = {part: safe_load(raw / f"ind.{prefix}.{part}") for part in ("tx", "allx", "y")}
    parts |= {part: safe_load(raw / f"ind.{prefix}.{part}") for part in ("ty", "ally", "graph")}
    test_index = _read_test_index(raw / f"ind.{prefix}.test.index")
    try:
        graph, classes = _task_graph(parts, test_index)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise CorruptDataError(
            f"the files ind.{prefix}.* in {raw} do not fit together: {error}; "
            "delete them and fetch them again"
        ) from error
    return NodeTask(card.name, (graph,), classes, class_names=card.class_names)


def _task_graph(parts: dict, test_index: np.ndarray) -> tuple[TaskGraph, int]:
    """The graph and its number of classes; any mismatch of the files raises."""
    x, labels = _assemble(parts, test_index)
    train = len(parts["y"])
    graph = TaskGraph(
        edge_index=_edges(parts["graph"], len(x)),
        x=torch.from_numpy(x.astype(np.float32)),
        y=torch.from_numpy(np.where(labels.sum(1) > 0, labels.argmax(1), -1)),
        train_mask=_mask(np.arange(train), len(x)),
        val_mask=_mask(np.arange(train, train + VALIDATION), len(x)),
        test_mask=_mask(test_index, len(x)),
    )
    return graph, labels.shape[1]


def _read_test_index(path: Path) -> np.ndarray:
    try:
        index = np.array([int(word) for word in path.read_text("ascii").split()], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise CorruptDataError(f"{path} must hold one node number a line: {error}") from error
    if not len(index):
        raise CorruptDataError(f"{path} holds no node numbers; delete it and fetch it again")
    return index


def _assemble(parts: dict, test_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, F] and one-hot labels [N, K]; row i of tx belongs to node test_index[i].

    CiteSeer has 15 isolated nodes between its test nodes that no file describes: they keep zero
    features and no label (-1; PyG's reader says class 0), and lie in no mask.
    """
    allx, ally, tx, ty = (parts[name] for name in ("allx", "ally", "tx", "ty"))
    known, total = len(allx), int(test_index.max()) + 1
    if len(ally) != known or len(tx) != len(test_index) or len(ty) != len(test_index):
        raise ValueError("features, labels and test.index differ in length")
    if int(test_index.min()) < known or len(np.unique(test_index)) != len(test_index):
        raise ValueError("test.index repeats a node or names one that allx has")
    x = np.zeros((total, allx.shape[1]), dtype=np.float32)
    labels = np.zeros((total, ally.shape[1]), dtype=np.int64)
    x[:known], labels[:known] = allx, ally
    x[test_index], labels[test_index] = tx, ty
    return x, labels


def _edges(neighbours: dict, num_nodes: int) -> Tensor:
    sources = np.repeat(
        np.fromiter(neighbours, dtype=np.int64), [len(nodes) for nodes in neighbours.values()]
    )
    targets = np.array([node for nodes in neighbours.values() for node in nodes], dtype=np.int64)
    if (
        len(targets)
        and not 0
        <= min(sources.min(), targets.min())
        <= max(sources.max(), targets.max())
        < num_nodes
    ):
        raise ValueError(f"the graph names a node outside 0 to {num_nodes - 1}")
    return simple_edges(np.stack([sources, targets]), undirected=False)


def _mask(nodes: np.ndarray, num_nodes: int) -> Tensor:
    mask = torch.zeros(num_nodes, 1, dtype=torch.bool)
    mask[torch.from_numpy(nodes)] = True
    return mask
