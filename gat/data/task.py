"""What every reader returns: a NodeTask, graphs with features, labels and splits, and its checks.

N nodes, E edges, F features, K classes (or labels, when a node may carry several), S splits.
"""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from gat.data.catalog import Card, Metric, NodeMetric
from gat.errors import InputError

if TYPE_CHECKING:
    from gat.graph import Graph

__all__ = ["NodeTask", "TaskGraph", "normalize_features"]


@dataclass(eq=False)
class TaskGraph:
    """One graph of a task.

    edge_index: int64 [2, E], row 0 sources, row 1 targets; undirected graphs hold both directions.
    x: float32 [N, F]. y: int64 [N], -1 unlabelled; or float32 [N, K] of 0 and 1, NaN unlabelled.
    train_mask, val_mask, test_mask: bool [N, S], always two-dimensional.
    node_ids: the caller's names of the nodes, where the source has names.
    edge_attr: float32 [E, D], features of the edges in edge_index's order, where there are any.
    """

    edge_index: Tensor
    x: Tensor
    y: Tensor
    train_mask: Tensor
    val_mask: Tensor
    test_mask: Tensor
    node_ids: tuple[str, ...] | None = None
    edge_attr: Tensor | None = None
    _graph: "Graph | None" = field(default=None, init=False, repr=False)
    # What a reader knows that maps arrays from files: rowptr, col and perm of the graph; and
    # whether the features were seen to be finite when the files were written.
    _sorted: tuple[Tensor, Tensor, Tensor | None] | None = field(
        default=None, init=False, repr=False
    )
    _finite: bool = field(default=False, init=False, repr=False)

    @property
    def num_nodes(self) -> int:
        return int(self.x.shape[0])

    @property
    def num_edges(self) -> int:
        return int(self.edge_index.shape[1])

    def graph(self) -> "Graph":
        """The edges as a ``gat.Graph``, built on the first call and kept."""
        if self._graph is None:
            # Imported here, so that reading data does not wait for the operators.
            from gat.graph import Graph

            if self._sorted is not None:
                rowptr, col, perm = self._sorted
                self._graph = Graph(rowptr, col, self.num_nodes, self.num_nodes, perm)
            else:
                self._graph = Graph.from_edge_index(self.edge_index, self.num_nodes)
        return self._graph

    def masks(self) -> dict[str, Tensor]:
        """The masks by the part's name: train, val, test."""
        return {"train": self.train_mask, "val": self.val_mask, "test": self.test_mask}

    def __repr__(self) -> str:
        return f"TaskGraph(nodes={self.num_nodes}, edges={self.num_edges})"


@dataclass(eq=False)
class NodeTask:
    """A node classification task: one graph (transductive) or several (inductive).

    With several graphs each lies wholly in one part (train, val or test) of every split.
    ``notes`` are sentences about what the reader did that a user would want to know.
    """

    name: str
    graphs: tuple[TaskGraph, ...]
    num_classes: int
    metric: Metric = "accuracy"
    multilabel: bool = False
    class_names: tuple[str, ...] | None = None
    card: Card | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.graphs = tuple(self.graphs)
        if not self.graphs:
            raise InputError(f"the task {self.name!r} has no graph; give at least one TaskGraph")
        if self.metric not in get_args(NodeMetric):
            known = ", ".join(get_args(NodeMetric))
            raise InputError(f"metric {self.metric!r} is unknown; known are {known}")

    @property
    def inductive(self) -> bool:
        return len(self.graphs) > 1

    @property
    def num_features(self) -> int:
        return int(self.graphs[0].x.shape[1])

    @property
    def edge_dim(self) -> int | None:
        """How many features an edge has; None without any."""
        attr = self.graphs[0].edge_attr
        return None if attr is None else int(attr.shape[-1])

    @property
    def num_splits(self) -> int:
        return int(self.graphs[0].train_mask.shape[1])

    @property
    def num_nodes(self) -> int:
        return sum(graph.num_nodes for graph in self.graphs)

    @property
    def num_edges(self) -> int:
        return sum(graph.num_edges for graph in self.graphs)

    def part_sizes(self, split: int = 0) -> dict[str, int]:
        """Nodes of train, val and test in one split, summed over graphs.

        InputError for a split that the task does not have.
        """
        if not 0 <= split < self.num_splits:
            raise InputError(
                f"{self.name} has no split {split}; it has {self.num_splits}, counted from 0"
            )
        sizes = dict.fromkeys(("train", "val", "test"), 0)
        for graph in self.graphs:
            for part, mask in graph.masks().items():
                sizes[part] += int(mask[:, split].sum())
        return sizes

    def describe(self, split: int = 0) -> dict[str, str | int]:
        """Names and numbers for a table, in reading order; the sizes of the parts of ``split``."""
        sizes = self.part_sizes(split)
        return {
            "name": self.name,
            "graphs": len(self.graphs),
            "nodes": self.num_nodes,
            "edges": self.num_edges,
            "features": self.num_features,
            "labels" if self.multilabel else "classes": self.num_classes,
            "splits": self.num_splits,
            "train/val/test": f"{sizes['train']}/{sizes['val']}/{sizes['test']}",
            "metric": self.metric,
        }

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All that the task holds, by name, graph after graph."""
        names = ("edge_index", "x", "y", "train_mask", "val_mask", "test_mask", "edge_attr")
        for graph in self.graphs:
            for name in names:
                if getattr(graph, name) is not None:
                    yield name, getattr(graph, name)

    def without_edge_features(self) -> "NodeTask":
        """The same task on the same tensors, in which edges have no features."""
        graphs = [copy(graph) for graph in self.graphs]
        for graph in graphs:
            graph.edge_attr = None
        return replace(self, graphs=tuple(graphs))

    def validate(self, *, allow_overlap: bool = False, check_finite: bool = True) -> "NodeTask":
        """Check the task and return it; the error names the node, the part and the split.

        allow_overlap: permit a node in two parts of one split (a leak unless it is meant).
        check_finite: look for NaN and infinities in the features.
        """
        # The checks are long enough for a room of their own.
        from gat.data.checks import check_task

        check_task(self, allow_overlap=allow_overlap, check_finite=check_finite)
        return self


def normalize_features(x: Tensor, mode: Literal["row", "none"] = "row") -> Tensor:
    """Features [N, F] scaled so that each row sums to 1; rows that sum to 0 stay as they are.

    As ``preprocess_features`` of the official GAT code (github.com/PetarV-/GAT, utils/process.py),
    where the inverse of a row sum of 0 is taken as 0. mode "none" returns ``x`` itself.
    """
    if mode == "none":
        return x
    if mode != "row":
        raise InputError(f"normalize_features: mode {mode!r} is unknown; use 'row' or 'none'")
    total = x.sum(dim=1, keepdim=True)
    scale = torch.where(total == 0, torch.zeros_like(total), 1.0 / total)
    return x * scale
