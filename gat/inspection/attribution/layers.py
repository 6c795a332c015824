"""A model's layers read for attribution: checked once, then given as links, part by part.

A link is an edge of the records or a loop that a layer added; both pass weight on. Links have
numbers: edge e is e, the loop at node i is E + i.
"""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from gat.errors import ArgumentTypeError, InputError
from gat.inspection.record import Attention, AttentionRecord, check_node, in_order

__all__ = ["Heads", "Layers", "Links", "Recorded", "read_layers", "read_nodes"]

Recorded = Attention | Sequence[AttentionRecord] | AttentionRecord

# How the heads of a layer become one, or how those of each layer do.
Heads = str | int | Sequence[str | int]


@dataclass(frozen=True, eq=False)
class Links:
    """Some links of one layer, those with weight 0 left out: all arrays [n].

    number: which link; source, target: nodes; weight: float64, heads made one.
    """

    number: np.ndarray
    source: np.ndarray
    target: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True, eq=False)
class Layers:
    """Records of layers over the same edges of one graph, first layer first.

    heads: "mean", "max" or a head's number, for each layer; source, target: int64 [E].
    """

    records: list[AttentionRecord]
    heads: tuple[str | int, ...]
    source: np.ndarray
    target: np.ndarray

    @property
    def num_nodes(self) -> int:
        return self.records[0].num_dst

    @property
    def num_edges(self) -> int:
        return self.records[0].num_edges

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of results: the weights', at least float32."""
        kinds = [record.weights.dtype for record in self.records]
        return reduce(torch.promote_types, kinds, torch.float32)

    def entering(self, layer: int, nodes: np.ndarray) -> Links:
        """The links of layer number ``layer`` that enter ``nodes``, bool [N]."""
        record = self.records[layer]
        _check_recorded(record, nodes)
        edges, own = np.flatnonzero(nodes[self.target]), np.flatnonzero(nodes)
        weight = np.concatenate(
            [self._weights(layer, record.weights, edges), self._weights(layer, record.loops, own)]
        )
        has = np.flatnonzero(weight)
        parts = [
            (edges, own + self.num_edges),
            (self.source[edges], own),
            (self.target[edges], own),
        ]
        number, source, target = (np.concatenate(part)[has] for part in parts)
        return Links(number, source, target, weight[has])

    def edge_weights(self, layer: int) -> np.ndarray:
        """The weight of every edge in one layer, float64 [E]."""
        return self._weights(layer, self.records[layer].weights, np.arange(self.num_edges))

    def to_torch(self, values: np.ndarray) -> Tensor:
        """An array as a tensor where the records are; floating ones in the results' dtype."""
        tensor = torch.from_numpy(np.ascontiguousarray(values))
        dtype = self.dtype if tensor.is_floating_point() else None
        return tensor.to(self.records[0].weights.device, dtype)

    def _weights(self, layer: int, values: Tensor, rows: np.ndarray) -> np.ndarray:
        """``values`` [any, H] at ``rows``, with heads made one: float64 [len(rows)]."""
        record, how = self.records[layer], self.heads[layer]
        at = torch.from_numpy(rows).to(values.device)
        if isinstance(how, int):
            chosen = values[at, record.heads.index(how)].double()
        else:
            chosen = values[at].double()
            chosen = chosen.mean(1) if how == "mean" else chosen.amax(1)
        return chosen.detach().cpu().numpy()


def read_layers(attention: Recorded, heads: Heads = "mean") -> Layers:
    """The records in ``attention``, refused if weights cannot be followed through them."""
    records = in_order(attention)
    for record in records:
        _check_graph(record, records[0])
    first = records[0]
    source, target = (ends.detach().cpu().numpy() for ends in (first.source, first.target))
    return Layers(records, _read_heads(heads, records), source, target)


def read_nodes(nodes: int | Iterable[int] | Tensor | None, count: int) -> np.ndarray:
    """Node numbers, int64 [K]: of one, of several, of a mask bool [N], or of all (None)."""
    if nodes is None:
        return np.arange(count)
    numbers = nodes if isinstance(nodes, Tensor) else _listed(nodes)
    if numbers.dtype == torch.bool:
        numbers = numbers.nonzero().squeeze(1)
    if numbers.numel() and (numbers.is_floating_point() or numbers.dim() > 1):
        raise ArgumentTypeError(
            f"nodes are {numbers.dtype} {list(numbers.shape)}; expected a node's number, several, "
            f"or None for all"
        )
    numbers = numbers.reshape(-1).long().cpu()
    for wrong in numbers[(numbers < 0) | (numbers >= count)][:1].tolist():
        check_node("nodes", wrong, count)
    return numbers.numpy()


def _listed(nodes: int | Iterable[int]) -> Tensor:
    try:
        return torch.tensor(operator.index(nodes))  # type: ignore[arg-type]
    except TypeError:
        return torch.tensor(list(nodes))  # type: ignore[arg-type]


def _check_graph(record: AttentionRecord, first: AttentionRecord) -> None:
    if record.edge_type is not None:
        raise InputError(
            f"{record.name} attends over one edge type of a heterogeneous graph; expected layers "
            f"over one kind of node. Record a model on the graph's to_homogeneous() for attribution"
        )
    if record.num_src != record.num_dst:
        raise InputError(
            f"{record.name} is bipartite, from {record.num_src} to {record.num_dst} nodes; "
            f"expected layers from a set of nodes to itself. Record a pass over the whole graph"
        )
    if (
        record.num_dst != first.num_dst
        or record.flow != first.flow
        or not _equal(record.edge_index, first.edge_index)
        or not _equal(record.edge_id, first.edge_id)
    ):
        raise InputError(
            f"{record.name} attends over other edges than {first.name} ({record.num_edges} edges "
            f"among {record.num_dst} nodes, and {first.num_edges} among {first.num_dst}); expected "
            f"layers over the same edges in the same order. Record a pass over the whole graph"
        )


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None or one is other:
        return one is other
    return torch.equal(one, other)


def _read_heads(heads: Heads, records: list[AttentionRecord]) -> tuple[str | int, ...]:
    if not isinstance(heads, list | tuple):
        heads = [heads] * len(records)  # type: ignore[list-item]
    if len(heads) != len(records):
        raise InputError(
            f"heads has {len(heads)} entries; expected one for each of {len(records)} layers, or "
            f"one for all"
        )
    for how, record in zip(heads, records, strict=True):
        if isinstance(how, int):
            record.head(how)
        elif how not in ("mean", "max"):
            raise InputError(f"heads is {how!r}; expected 'mean', 'max' or a head's number")
    return tuple(heads)


def _check_recorded(record: AttentionRecord, nodes: np.ndarray) -> None:
    """Refuse to follow weights into nodes of which some edges are not recorded."""
    for known in (record.seen, record.complete):
        missing = np.flatnonzero(nodes & ~known.cpu().numpy()) if known is not None else nodes[:0]
        if missing.size:
            state = "no" if known is record.seen else "not every"
            raise InputError(
                f"{record.name} has {state} edge into node {missing[0]} on record, and the "
                f"attribution needs them all. Record a pass over the whole graph, or one by a "
                f"loader that takes all neighbours (num_neighbors=[-1, ...])"
            )
