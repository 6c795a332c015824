"""The edges that the layers of a network share, and the neighbourhoods in them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gat.errors import InputError
from gat.inspection.pairs import check_finite
from gat.inspection.record import AttentionRecord

__all__ = ["Edges", "count_within", "nodes_within", "shared_edges"]


@dataclass(frozen=True)
class Edges:
    """Every edge that some layer has a record of, once, by its number in the caller's order.

    source, target, number: int64 [E]; rows: for each record int64 [E], where in the record the
    edge is, -1 where it is not there.
    """

    source: Tensor
    target: Tensor
    number: Tensor
    rows: list[Tensor]
    num_nodes: int

    def busiest(self) -> int:
        """The node that most edges enter, the first of several."""
        return int(self.target.bincount(minlength=self.num_nodes).argmax())


def shared_edges(records: list[AttentionRecord]) -> Edges:
    """The edges of all records. Raises InputError where the records are of different graphs, have
    two sets of nodes, or hold weights that are no numbers."""
    for record in records:
        _check(record, records[0])
    numbers = [_numbers(record) for record in records]
    number, place = torch.cat(numbers).unique(return_inverse=True)
    ends = torch.empty(2, number.numel(), dtype=torch.int64)
    rows = []
    for record, own in zip(records, place.split([len(part) for part in numbers]), strict=True):
        pair = torch.stack([record.source, record.target])
        row = torch.full_like(number, -1)
        row[own] = torch.arange(own.numel())
        rows.append(row)
        ends[:, own] = pair
    for record, row in zip(records, rows, strict=True):
        _check_ends(record, row, number, ends, records[-1])
    return Edges(ends[0], ends[1], number, rows, records[0].num_dst)


def _check(record: AttentionRecord, first: AttentionRecord) -> None:
    if not record.same_nodes or record.num_src != record.num_dst:
        raise InputError(
            f"{record.name} attends from {record.num_dst} nodes over another {record.num_src}; the "
            f"page draws one set of nodes. Ask record.neighbours(node) for a node's weights, or "
            f"pass the records of an edge type whose sources and targets are the same nodes"
        )
    sizes = [(one.num_dst, one.edge_id is None, one.num_edges) for one in (first, record)]
    if sizes[0][0] != sizes[1][0] or (sizes[0] != sizes[1] and sizes[0][1] and sizes[1][1]):
        raise InputError(
            f"{first.name} attends over {first.num_edges} edges of {first.num_dst} nodes and "
            f"{record.name} over {record.num_edges} of {record.num_dst}; expected layers over the "
            f"same edges. Pass the records of one graph and edge type"
        )
    check_finite(record)


def _check_ends(
    record: AttentionRecord, row: Tensor, number: Tensor, ends: Tensor, other: AttentionRecord
) -> None:
    """Refuse records that give the same number to different edges."""
    here = row >= 0
    own = torch.stack([record.source, record.target])[:, row[here]]
    wrong = (own != ends[:, here]).any(0).nonzero().flatten()
    if wrong.numel():
        first = int(wrong[0])
        raise InputError(
            f"edge {int(number[here][first])} goes from node {int(own[0, first])} to "
            f"{int(own[1, first])} in {record.name} and from {int(ends[0, here][first])} to "
            f"{int(ends[1, here][first])} in a later layer; expected layers over the same edges. "
            f"Pass the records of one graph and edge type"
        )


def _numbers(record: AttentionRecord) -> Tensor:
    return torch.arange(record.num_edges) if record.edge_id is None else record.edge_id


def nodes_within(edges: Edges, node: int, hops: int) -> tuple[Tensor, Tensor]:
    """Nodes whose messages reach ``node`` within ``hops - 1`` and within ``hops``: bool [N] each.

    The edges that carry those messages are the ones that enter the former.
    """
    reached = torch.zeros(edges.num_nodes, dtype=torch.bool)
    reached[node] = True
    inner = reached
    for _ in range(hops):
        inner = reached
        reached = inner.clone()
        reached[edges.source[inner[edges.target]]] = True
        if bool((reached == inner).all()):
            break
    return inner, reached


def count_within(edges: Edges, node: int, hops: int) -> int:
    """How many edges carry messages to ``node`` in ``hops`` layers."""
    inner, _ = nodes_within(edges, node, hops)
    return int(inner[edges.target].sum())
