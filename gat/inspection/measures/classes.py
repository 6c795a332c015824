"""Whether attention goes to neighbours of the node's own class more than there are of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gat.errors import ArgumentTypeError, InputError
from gat.inspection.measures.shares import Shares, shares_of
from gat.inspection.record import AttentionRecord

__all__ = ["ClassMeans", "ClassWeight", "class_weight", "labels_of"]

# One tensor; of sources and of targets; or by node type.
Labels = Tensor | Sequence[Tensor] | Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class ClassMeans:
    """Means over targets, each of which counts the same: [H] each.

    nodes: int64, how many targets; weight: the share of attention on neighbours of the target's
    class; share: the share of such neighbours (node homophily); difference: weight - share;
    standard_error: of the difference, over targets taken as independent; NaN below two targets.
    """

    nodes: Tensor
    weight: Tensor
    share: Tensor
    difference: Tensor
    standard_error: Tensor


@dataclass(frozen=True, eq=False)
class ClassWeight:
    """Attention on neighbours of the target's own class.

    Self-loops and neighbours without a label are left out, and what remains of the target's weights
    is divided by its sum.

    weight: [num_dst, H], the share on neighbours of the target's class; NaN for a target without a
    label or labelled neighbours, and where these have no weight.
    share: [num_dst], the share of such neighbours; copies of an edge count.
    neighbours: int64 [num_dst], labelled neighbours of labelled targets.
    all: means over targets with two labelled neighbours or more.
    mixed: means over those of them with neighbours of their own and of another class. The rest
    have no choice: their difference is 0 whatever the head does.
    """

    weight: Tensor
    share: Tensor
    neighbours: Tensor
    all: ClassMeans
    mixed: ClassMeans


@torch.no_grad()
def class_weight(record: AttentionRecord | Shares, y: Labels) -> ClassWeight:
    """Weight on neighbours of the same class, beside the share of such neighbours.

    y: the classes of the nodes, integers [N], below 0 where unknown; of a bipartite graph two such
    tensors, of sources and of targets, or a mapping from node type to such a tensor. InputError or
    ArgumentTypeError for labels that do not fit the record.
    """
    shares = shares_of(record)
    record = shares.record
    labels = labels_of(record, y)
    if labels is None:
        raise InputError(
            f"y has no classes for both ends of {record.edge_type}; expected a tensor of classes "
            f"for each of these node types, but there are {', '.join(map(repr, y)) or 'none'}"
        )
    ours, theirs = labels[1][record.target], labels[0][record.source]
    known = (ours >= 0) & (theirs >= 0) & ~record.is_loop & (shares.degree[record.target] > 0)
    target, same = record.target[known], (ours == theirs)[known]
    weights = shares.edges[known]
    neighbours = torch.bincount(target, minlength=record.num_dst)
    alike = torch.bincount(target[same], minlength=record.num_dst)
    on_known = torch.zeros_like(shares.loops).index_add(0, target, weights)
    on_same = torch.zeros_like(shares.loops).index_add(0, target[same], weights[same])
    weight, share = on_same / on_known, alike.double() / neighbours
    enough = neighbours >= 2
    mixed = enough & (alike > 0) & (alike < neighbours)
    return ClassWeight(
        weight, share, neighbours, _means(weight, share, enough), _means(weight, share, mixed)
    )


def labels_of(record: AttentionRecord, y: Labels) -> tuple[Tensor, Tensor] | None:
    """The classes of sources and of targets; None if ``y`` by node type lacks one of them."""
    sources, targets = _ends(record, y)
    if isinstance(y, Mapping) and (sources is None or targets is None):
        return None
    for role, labels, count in (
        ("sources", sources, record.num_src),
        ("targets", targets, record.num_dst),
    ):
        _check(record, role, labels, count)
    device = record.weights.device
    return sources.to(device).long(), targets.to(device).long()


def _ends(record: AttentionRecord, y: Labels) -> tuple[Any, Any]:
    if isinstance(y, Mapping):
        if record.edge_type is None:
            raise InputError(
                f"y is a mapping of node types ({', '.join(map(repr, y))}), but {record.name} has "
                f"no edge type; pass one tensor of classes"
            )
        return y.get(record.edge_type[0]), y.get(record.edge_type[2])
    if isinstance(y, Tensor):
        if not record.same_nodes:
            raise InputError(
                f"{record.name} goes from {record.num_src} sources to {record.num_dst} other "
                f"targets, but y is one tensor; pass two, (classes of sources, classes of targets)"
            )
        return y, y
    if not isinstance(y, Sequence) or len(y) != 2:
        raise ArgumentTypeError(
            f"y is a {type(y).__name__}; expected a tensor of classes, a pair of them (of sources, "
            f"of targets) or a mapping from node type to one"
        )
    return y[0], y[1]


def _check(record: AttentionRecord, role: str, labels: Any, count: int) -> None:
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex():
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise ArgumentTypeError(
            f"the classes of {record.name}'s {role} are {kind}; expected a tensor of integers"
        )
    if labels.shape != (count,):
        raise InputError(
            f"the classes of {record.name}'s {role} have shape {list(labels.shape)}; expected one "
            f"class per node, [{count}], -1 where it is unknown"
        )


def _means(weight: Tensor, share: Tensor, rows: Tensor) -> ClassMeans:
    counted = rows.unsqueeze(1) & ~weight.isnan()
    weight = weight.where(counted, torch.nan)
    beside = share.unsqueeze(1).where(counted, torch.nan)
    difference = weight - beside
    nodes, mean = counted.sum(0), difference.nanmean(0)
    # 0 / 0 for one target.
    variance = (difference - mean).square().nansum(0) / (nodes - 1)
    error = (variance / nodes).sqrt().where(nodes > 1, torch.nan)
    return ClassMeans(nodes, weight.nanmean(0), beside.nanmean(0), mean, error)
