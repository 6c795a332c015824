"""A task made ready for training: features, edges and the rows of each part, on the device.

Transductive tasks are one batch, the whole graph. Inductive ones are one batch per graph for
evaluation and, for training, several graphs joined block-diagonally.
"""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gat.data import NodeTask, TaskGraph, normalize_features
from gat.errors import InputError
from gat.graph import Graph
from gat.ops.backend import is_compiled
from gat.train.config import DataConfig
from gat.train.label_inputs import GivenLabels, with_labels
from gat.train.layerwise import Inference
from gat.train.tricks_config import LabelsConfig

__all__ = [
    "PARTS",
    "Batch",
    "Part",
    "check_split",
    "density",
    "is_sparse",
    "join",
    "make_batches",
    "shuffled",
    "training_order",
]

PARTS = ("train", "val", "test")

# With a smaller share of entries that are not zero, a sparse first layer is the faster one: on one
# core, with dropout and backward, 20 times at Cora's 1.3 %, twice at 10 %, no more at 20 %.
SPARSE_BELOW = 0.1


@dataclass(frozen=True)
class Part:
    """The rows of one part. rows: int64 [R], or None for all nodes; y: their labels; weight:
    float32 [R], what each counts in the training loss, their mean without."""

    rows: Tensor | None
    y: Tensor
    weight: Tensor | None = None

    def select(self, outputs: Tensor) -> Tensor:
        return outputs if self.rows is None else outputs[self.rows]

    def to(self, device: torch.device) -> "Part":
        y = self.y.to(device, non_blocking=True)
        return Part(_sent(self.rows, device), y, _sent(self.weight, device))


@dataclass(frozen=True)
class Batch:
    """What a model is fed, and whom it answers for.

    x: float32 [N, F], dense or sparse CSR. edges: a Graph, an edge_index [2, E], or one Graph for
    each attention layer. parts: those with any row. edge_attr: float32 [E, D] in the caller's
    order. nodes: the whole graph's number of each row of x, int64 [N], where x is a part of it.
    labels: which labels are inputs, where any are. teacher: float32 [N, K], logits to learn from.
    inference: of a graph that is trained on in parts: how it is computed as a whole, in evaluation;
    x is then as the data have it, on the CPU, and maybe in a file.
    """

    x: Tensor
    edges: Any
    parts: dict[str, Part]
    edge_attr: Tensor | None = None
    nodes: Tensor | None = None
    labels: GivenLabels | None = None
    teacher: Tensor | None = None
    inference: Inference | None = None

    @property
    def num_nodes(self) -> int:
        return int(self.x.shape[0])

    def within(self, whole: "Batch") -> "Batch":
        """This batch, where it is a part of a graph, with the labels and the teacher of ``whole``,
        the batch of all of that graph; its x has been taken from the rows of ``whole.x``."""
        if self.nodes is None:
            return self
        assert self.x.shape[1] == whole.x.shape[1], "x was not taken from the whole graph's batch"
        labels = None if whole.labels is None else whole.labels.of(self.nodes)
        teacher = None if whole.teacher is None else whole.teacher[self.nodes]
        return replace(self, labels=labels, teacher=teacher)

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device; what lies in pinned memory is sent while the caller goes on."""
        several = isinstance(self.edges, list)
        labels = self.labels
        if labels is not None:
            labels = replace(labels, given=labels.given.to(device, non_blocking=True))
        return replace(
            self,
            x=self.x.to(device, non_blocking=True),
            edges=[e.to(device) for e in self.edges] if several else self.edges.to(device),
            parts={name: part.to(device) for name, part in self.parts.items()},
            edge_attr=_sent(self.edge_attr, device),
            nodes=_sent(self.nodes, device),
            labels=labels,
            teacher=_sent(self.teacher, device),
        )


def _sent(tensor: Tensor | None, device: torch.device) -> Tensor | None:
    return None if tensor is None else tensor.to(device, non_blocking=True)


def make_batches(
    task: NodeTask,
    config: DataConfig,
    device: torch.device,
    precision: str = "float32",
    labels: LabelsConfig | None = None,
) -> list[Batch]:
    """One batch per graph of the task, as it is fed in evaluation; labels as inputs make it dense.

    Raises InputError for a split that does not exist.
    """
    check_split(task, config.split)
    batches = [_batch(graph, config, device) for graph in task.graphs]
    if labels is not None and labels.inputs:
        many = task.multilabel
        return [with_labels(batch, task.num_classes, many, labels.reuse) for batch in batches]
    if config.features == "sparse" and task.inductive:
        raise InputError(
            f"{task.name} is several graphs, whose features are joined densely; set data.features "
            f'to "auto" or "dense"'
        )
    # torch's own product of sparse matrices is of float32 and wider only.
    multiplied = precision == "float32" or is_compiled("aggregate", device)
    if config.features == "dense" or task.inductive or not multiplied:
        return batches
    return [replace(batch, x=_maybe_sparse(batch.x, config.features)) for batch in batches]


def check_split(task: NodeTask, split: int) -> None:
    """Raises InputError for a split that does not exist."""
    if split >= task.num_splits:
        raise InputError(
            f"{task.name}: data.split must be below {task.num_splits}, the number of its splits; "
            f"got {split}"
        )


def is_sparse(x: Tensor, features: str) -> bool:
    """Whether whole features x are multiplied as a sparse matrix; features: as `DataConfig`'s."""
    return features == "sparse" or (features == "auto" and density(x) < SPARSE_BELOW)


def density(x: Tensor) -> float:
    """The share of entries that are not zero."""
    return int(x.count_nonzero()) / max(x.numel(), 1)


def _maybe_sparse(x: Tensor, features: str) -> Tensor:
    if not is_sparse(x, features):
        return x
    with warnings.catch_warnings():
        # torch says once that CSR is in beta; a user of ours cannot act on it.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
        return x.to_sparse_csr()


def _batch(graph: TaskGraph, config: DataConfig, device: torch.device) -> Batch:
    x = normalize_features(graph.x, config.normalize_features)
    edges, edge_attr = graph.graph(), graph.edge_attr
    if config.undirected:
        both, edge_attr = _both_ways(graph.edge_index, edge_attr, graph.num_nodes)
        edges = Graph.from_edge_index(both, graph.num_nodes)
    parts = {}
    labelled = graph.y >= 0 if graph.y.dim() == 1 else ~graph.y.isnan().all(dim=1)
    for name in PARTS:
        mask: Tensor = getattr(graph, f"{name}_mask")[:, config.split] & labelled
        if bool(mask.all()) and mask.numel():
            parts[name] = Part(None, graph.y.to(device))
        elif bool(mask.any()):
            rows = mask.nonzero()[:, 0]
            parts[name] = Part(rows.to(device), graph.y[rows].to(device))
    edge_attr = None if edge_attr is None else edge_attr.to(device)
    return Batch(x.to(device), edges.to(device), parts, edge_attr)


def _both_ways(
    edge_index: Tensor, edge_attr: Tensor | None, num_nodes: int
) -> tuple[Tensor, Tensor | None]:
    """The edges and the reverse of each that lacks one; each pair of nodes once a direction, with
    the mean of its edges' features."""
    from torch_geometric.utils import to_undirected

    return to_undirected(edge_index, edge_attr, num_nodes, reduce="mean")


def training_order(
    batches: list[Batch], graphs_per_batch: int, seed: int, epoch: int
) -> list[list[Batch]]:
    """The groups of graphs of one epoch: those with training rows, shuffled by (seed, epoch).

    A function of its arguments alone, so that a run resumed within an epoch goes on in its order.
    """
    training = [batch for batch in batches if "train" in batch.parts]
    if len(training) > 1:
        training = [training[number] for number in shuffled(len(training), seed, epoch).tolist()]
    groups = range(0, len(training), graphs_per_batch)
    return [training[start : start + graphs_per_batch] for start in groups]


def shuffled(count: int, seed: int, epoch: int) -> Tensor:
    """The numbers 0 .. count-1 in an order of (seed, epoch), int64."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(count, generator=generator)


def join(batches: list[Batch]) -> Batch:
    """Several graphs as one without edges between them, for the training part."""
    if len(batches) == 1:
        return batches[0]
    offsets = [0]
    for batch in batches:
        offsets.append(offsets[-1] + batch.num_nodes)
    starts = offsets[:-1]
    edges = [b.edges.edge_index + start for b, start in zip(batches, starts, strict=True)]
    parts = [batch.parts["train"] for batch in batches]
    rows = [
        (torch.arange(b.num_nodes, device=b.x.device) if p.rows is None else p.rows) + start
        for b, p, start in zip(batches, parts, starts, strict=True)
    ]
    part = Part(torch.cat(rows), torch.cat([p.y for p in parts]))
    if len(part.y) == offsets[-1]:
        part = replace(part, rows=None)
    graph = Graph.from_edge_index(torch.cat(edges, dim=1), offsets[-1])
    attrs = [b.edge_attr for b in batches if b.edge_attr is not None]
    given = [b.labels.given for b in batches if b.labels is not None]
    labels = replace(batches[0].labels, given=torch.cat(given)) if batches[0].labels else None
    teachers = [b.teacher for b in batches if b.teacher is not None]
    return Batch(
        torch.cat([b.x for b in batches]),
        graph,
        {"train": part},
        torch.cat(attrs) if attrs else None,
        labels=labels,
        teacher=torch.cat(teachers) if teachers else None,
    )
