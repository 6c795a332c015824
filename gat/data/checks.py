"""The checks behind ``NodeTask.validate``: what a task must satisfy before anything trains on it.

Each message names the data set, the graph (when there are several), the first bad value and where.
"""

import torch
from torch import Tensor

from gat.data.task import NodeTask, TaskGraph
from gat.errors import ArgumentTypeError, IndexRangeError, InputError

__all__ = ["check_task"]

PAIRS = (("train", "test"), ("val", "test"), ("train", "val"))


def check_task(task: NodeTask, *, allow_overlap: bool, check_finite: bool) -> None:
    """Raise the first fault of ``task``; the order is cheap and structural before contents."""
    if task.metric == "roc-auc" and not task.multilabel and task.num_classes != 2:
        raise InputError(
            f"{task.name}: metric 'roc-auc' needs two classes, the task has {task.num_classes}"
        )
    for number, graph in enumerate(task.graphs):
        where = f"{task.name}, graph {number}" if task.inductive else task.name
        _check_shapes(task, graph, where)
        _check_edges(graph, where)
        _check_edge_attr(task, graph, where)
        if check_finite:
            _check_finite(graph, where)
        _check_labels(task, graph, where)
        if not allow_overlap:
            _check_overlap(graph, where)
        if task.inductive:
            _check_one_part(graph, where)
    _check_not_empty(task)


def _some(nodes: Tensor) -> str:
    """The first five node numbers, and how many there are."""
    shown = ", ".join(str(node) for node in nodes[:5].tolist())
    more = f", ... ({len(nodes)} in all)" if len(nodes) > 5 else ""
    return f"node{'s' if len(nodes) > 1 else ''} {shown}{more}"


def _check_shapes(task: NodeTask, graph: TaskGraph, where: str) -> None:
    if graph.x.dim() != 2 or not graph.x.is_floating_point():
        raise ArgumentTypeError(
            f"{where}: x must be floating point of shape [N, F]; "
            f"it is {graph.x.dtype} of shape {list(graph.x.shape)}"
        )
    nodes = graph.num_nodes
    if graph.x.shape[1] != task.num_features:
        raise InputError(
            f"{where}: x has {graph.x.shape[1]} features, the first graph has {task.num_features}"
        )
    sizes = {"y": graph.y, **{f"{part}_mask": mask for part, mask in graph.masks().items()}}
    for name, tensor in sizes.items():
        if tensor.dim() == 0 or tensor.shape[0] != nodes:
            rows = tensor.shape[0] if tensor.dim() else "no"
            raise InputError(
                f"{where}: {name} has {rows} rows, x has {nodes}; both need one row per node"
            )
    for part, mask in graph.masks().items():
        if mask.dtype != torch.bool or mask.dim() != 2 or mask.shape[1] != task.num_splits:
            raise InputError(
                f"{where}: {part}_mask must be bool of shape [{nodes}, {task.num_splits}] "
                f"(nodes, splits); it is {mask.dtype} of shape {list(mask.shape)}"
            )
    if graph.node_ids is not None and len(graph.node_ids) != nodes:
        raise InputError(f"{where}: node_ids has {len(graph.node_ids)} names, x has {nodes} rows")


def _check_edges(graph: TaskGraph, where: str) -> None:
    edges = graph.edge_index
    if edges.dtype not in (torch.int64, torch.int32):
        raise ArgumentTypeError(f"{where}: edge_index must be int64, it is {edges.dtype}")
    if edges.dim() != 2 or edges.shape[0] != 2:
        raise InputError(
            f"{where}: edge_index must have shape [2, E], it has {list(edges.shape)}; "
            "transpose it if it is [E, 2]"
        )
    # One pass without a temporary: edges may be gigabytes.
    low, high = edges.aminmax() if edges.numel() else (0, -1)
    if low < 0 or high >= graph.num_nodes:
        bad = ((edges < 0) | (edges >= graph.num_nodes)).nonzero()
        row, column = bad[0].tolist()
        raise IndexRangeError(
            f"{where}: edge {column} names node {int(edges[row, column])}; "
            f"nodes are numbered 0 to {graph.num_nodes - 1}"
        )


def _check_edge_attr(task: NodeTask, graph: TaskGraph, where: str) -> None:
    attr, dim = graph.edge_attr, task.edge_dim
    if attr is None and dim is None:
        return
    if attr is None or attr.dim() != 2 or attr.shape[1] != dim:
        found = "missing" if attr is None else f"of shape {list(attr.shape)}"
        raise InputError(
            f"{where}: edge_attr is {found}; expected [E, D] with the first graph's D in every "
            "graph, or none in any"
        )
    if not attr.is_floating_point():
        raise ArgumentTypeError(f"{where}: edge_attr must be floating point, it is {attr.dtype}")
    if attr.shape[0] != graph.num_edges:
        raise InputError(
            f"{where}: edge_attr has {attr.shape[0]} rows, edge_index has {graph.num_edges} edges; "
            "both need one per edge"
        )


def _check_finite(graph: TaskGraph, where: str) -> None:
    attr = graph.edge_attr
    if attr is not None and not _is_finite(attr):
        edge, feature = (~torch.isfinite(attr)).nonzero()[0].tolist()
        raise InputError(
            f"{where}: feature {feature} of edge {edge} is {float(attr[edge, feature])}; clean the "
            "edge features or pass check_finite=False (on the command line: --set "
            "data.check_finite=false)"
        )
    if not _is_finite(graph.x):
        bad = (~torch.isfinite(graph.x)).nonzero()
        node, feature = bad[0].tolist()
        raise InputError(
            f"{where}: feature {feature} of node {node} is {float(graph.x[node, feature])}; "
            f"{_some(bad[:, 0].unique())} not finite: clean the features or pass "
            "check_finite=False (on the command line: --set data.check_finite=false)"
        )


def _is_finite(x: Tensor) -> bool:
    """One pass without a copy: torch.isfinite makes several, as large as x."""
    return not x.numel() or all(bool(torch.isfinite(end)) for end in torch.aminmax(x))


def _check_labels(task: NodeTask, graph: TaskGraph, where: str) -> None:
    used = torch.zeros(graph.num_nodes, dtype=torch.bool)
    for mask in graph.masks().values():
        used |= mask.any(dim=1)
    if task.multilabel:
        _check_multilabels(task, graph, where, used)
        return
    y = graph.y
    if y.is_floating_point() and y.dim() == 1 and bool(y.isnan().any()):
        raise InputError(
            f"{where}: the label of {_some(y.isnan().nonzero()[:, 0])} is NaN; "
            "labels are class numbers, -1 where unknown"
        )
    if y.dtype != torch.int64 or y.dim() != 1:
        raise ArgumentTypeError(
            f"{where}: y must be int64 of shape [N], it is {y.dtype} of shape {list(y.shape)}"
        )
    if len(bad := ((y < -1) | (y >= task.num_classes)).nonzero()[:, 0]):
        raise InputError(
            f"{where}: the label of {_some(bad)} is {int(y[bad[0]])}; labels are 0 to "
            f"{task.num_classes - 1}, or -1 for an unlabelled node"
        )
    if len(bad := ((y == -1) & used).nonzero()[:, 0]):
        raise InputError(
            f"{where}: {_some(bad)} in a train, val or test mask without a label (-1); "
            "take them out of the masks"
        )


def _check_multilabels(task: NodeTask, graph: TaskGraph, where: str, used: Tensor) -> None:
    y = graph.y
    if y.dim() != 2 or y.shape[1] != task.num_classes or not y.is_floating_point():
        raise ArgumentTypeError(
            f"{where}: y must be float32 of shape [N, {task.num_classes}], "
            f"it is {y.dtype} of shape {list(y.shape)}"
        )
    bad = ((y != 0) & (y != 1) & ~y.isnan()).nonzero()
    if len(bad):
        node, label = bad[0].tolist()
        raise InputError(
            f"{where}: label {label} of node {node} is {float(y[node, label])}; "
            "labels are 0 or 1, NaN for an unlabelled node"
        )
    if len(unlabelled := (y.isnan().any(dim=1) & used).nonzero()[:, 0]):
        raise InputError(
            f"{where}: {_some(unlabelled)} in a train, val or test mask with a NaN label; "
            "take them out of the masks"
        )


def _check_overlap(graph: TaskGraph, where: str) -> None:
    masks = graph.masks()
    for first, second in PAIRS:
        both = (masks[first] & masks[second]).nonzero()
        if len(both):
            split = int(both[0, 1])
            nodes = both[both[:, 1] == split, 0]
            raise InputError(
                f"{where}: {_some(nodes)} of split {split} both in the {first} and in the "
                f"{second} mask, which leaks; mend the masks or pass allow_overlap=True "
                "(on the command line: --set data.allow_overlap=true)"
            )


def _check_one_part(graph: TaskGraph, where: str) -> None:
    covered = torch.stack([mask.all(dim=0) for mask in graph.masks().values()]).sum(dim=0)
    touched = torch.stack([mask.any(dim=0) for mask in graph.masks().values()]).sum(dim=0)
    if graph.num_nodes and bool(((covered != 1) | (touched != 1)).any()):
        raise InputError(
            f"{where}: with several graphs each must lie wholly in one of train, val and test"
        )


def _check_not_empty(task: NodeTask) -> None:
    for split in range(task.num_splits):
        sizes = task.part_sizes(split)
        for part in ("train", "val"):
            if not sizes[part]:
                raise InputError(
                    f"{task.name}: the {part} mask of split {split} is empty; "
                    "training and stopping need at least one node in each"
                )
