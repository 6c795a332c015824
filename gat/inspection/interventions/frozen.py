"""Frozen attention: the weights of a record, put among the edges a layer attends over."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from gat.errors import InputError
from gat.inspection.interventions.changing import check_heads
from gat.inspection.interventions.weight_changes import columns
from gat.inspection.reach import names_kind
from gat.inspection.record import Attention, AttentionRecord, in_order
from gat.inspection.words import shown
from gat.nn.batched import repeat_heads
from gat.nn.changes import Weighing

__all__ = ["Frozen", "records_by_layer"]


def records_by_layer(
    attention: Attention | Sequence[AttentionRecord] | AttentionRecord,
    layers: Mapping[str, nn.Module],
    chosen: bool,
) -> dict[str, list[AttentionRecord]]:
    """The records of each layer, in the order of its calls. chosen: the caller named the layers.

    Raises InputError for a record of no layer, and for a layer that was named and has no record.
    """
    if isinstance(attention, AttentionRecord) and chosen:
        return {path: [attention] for path in layers}
    found: dict[str, list[AttentionRecord]] = {}
    for record in in_order(attention):
        path = next((path for path, one in layers.items() if _is_of(record, path, one)), None)
        if path is not None:
            found.setdefault(path, []).append(record)
        elif not chosen:
            raise InputError(
                f"there is a record of {record.name!r}, and the model has no such attention layer: "
                f"{', '.join(map(repr, layers))}; name the layers to freeze by it with layers="
            )
    without = [path for path in layers if path not in found]
    if chosen and without:
        raise InputError(f"there is no record of {without[0]!r}, which is to be frozen")
    return found


def _is_of(record: AttentionRecord, path: str, layer: nn.Module) -> bool:
    """Whether a record is of that layer, be it of a later call of it or of its edge type."""
    name = record.layer.partition("#")[0]
    # A model that is itself a layer, or a HeteroConv, is recorded by the name of its class.
    if name in (path, path or type(layer).__name__):
        return True
    inside = path.startswith((f"{name}.", "convs.") if name == "HeteroConv" else f"{name}.")
    return record.edge_type is not None and inside and names_kind(path, record.edge_type)


class Frozen:
    """The records of one layer in the place of its weights."""

    def __init__(self, path: str, layer: nn.Module, records: list[AttentionRecord]) -> None:
        self.name, self.layer, self.records = shown(path, layer), layer, records
        self.calls: dict[object, int] = {}
        for record in records:
            check_heads(path, layer, record.heads)
            _check_whole(record)

    def __call__(self, weighing: Weighing) -> Weighing:
        weights = [self._weights(part) for part in weighing.parts()]
        return weighing.with_weights(torch.cat(weights))

    def _weights(self, weighing: Weighing) -> Tensor:
        record = self._next(weighing.edge_type)
        if record is None:
            return weighing.weights
        if record.when == "after_dropout" and self.layer.training and _drops(self.layer):
            raise InputError(
                f"{self.name} is in training and would drop the weights of {record.name!r} again, "
                f"which were recorded after dropout; record them with when='before_dropout'"
            )
        self._check_edges(record, weighing)
        weights = repeat_heads(self._listed(record, weighing), weighing.batch)
        known = None
        if record.seen is not None:
            seen = record.seen.to(weighing.value.device)
            known = seen[weighing.graph.edge_index[1]].unsqueeze(1)
        if record.heads != tuple(range(weighing.heads)):
            chosen = columns(weighing, record.heads)
            known = chosen if known is None else known & chosen
        if known is not None:
            weights = torch.where(known, weights, weighing.weights)
        return weights

    def _next(self, edge_type: object) -> AttentionRecord | None:
        """The record of this call; those of one edge type follow one another."""
        own = [one for one in self.records if edge_type is None or one.edge_type == edge_type]
        if not own:
            return None
        call = self.calls.get(edge_type, 0)
        self.calls[edge_type] = call + 1
        return own[call % len(own)]

    def _listed(self, record: AttentionRecord, weighing: Weighing) -> Tensor:
        """The recorded weights [E, H] in listed order; 0 for edges and heads that were not."""
        graph, heads = weighing.graph, list(record.heads)
        parts = []
        for values, count, rows in (
            (record.weights, weighing.num_caller_edges, record.edge_id),
            (record.loops, graph.num_dst, None),
        ):
            part = weighing.value.new_zeros((values.size(0), weighing.heads))
            part[:, heads] = values.to(part)
            parts.append(part if rows is None else _spread(part, rows, count))
        return weighing.listed(*parts)

    def _check_edges(self, record: AttentionRecord, weighing: Weighing) -> None:
        """Refuse a record of other edges than those of this call."""
        graph, count = weighing.graph, weighing.num_caller_edges
        if record.num_dst != graph.num_dst or not _fits(record, count):
            raise InputError(
                f"{self.name} attends over {count} edges to {graph.num_dst} nodes, the record of "
                f"{record.name!r} is of {record.num_edges} edges to {record.num_dst} nodes; record "
                f"the attention on the edges the model is called with"
            )
        ends = torch.stack([record.source, record.target], dim=1).to(graph.device)
        none = ends.new_full((graph.num_dst, 2), -1)
        if record.edge_id is not None:
            ends = _spread(ends + 1, record.edge_id.to(graph.device), count) - 1
        listed = weighing.listed(ends, none)
        fits = (listed == graph.edge_index.t()).all(1) | (listed[:, 0] < 0)
        if not bool(fits.all()):
            raise InputError(
                f"the record of {record.name!r} has as many edges as {self.name} attends over, but "
                f"others, or in another order; record the attention on the edges the model is "
                f"called with"
            )
        if record.edge_id is not None and record.seen is not None:
            self._check_seen(record.seen.to(graph.device), listed[:, 0] < 0, weighing)

    def _check_seen(self, seen: Tensor, unknown: Tensor, weighing: Weighing) -> None:
        """Refuse edges that enter a recorded node and are not in its record."""
        graph, origin = weighing.graph, weighing.origin
        unknown = unknown if origin is None else unknown & (origin >= 0)
        rows = (unknown & seen[graph.edge_index[1]]).nonzero()
        if rows.numel():
            source, node = graph.edge_index[:, int(rows[0])].tolist()
            raise InputError(
                f"{self.name} attends over an edge from {source} to {node}, and the record of "
                f"node {node} has none; record the attention on the edges the model is called with"
            )


def _spread(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """``values`` in those of ``count`` rows, the others 0."""
    empty = values.new_zeros((count, *values.shape[1:]))
    return empty.index_copy(0, rows.to(values.device), values)


def _fits(record: AttentionRecord, count: int) -> bool:
    """Whether its edges can be among ``count``."""
    if record.edge_id is None:
        return record.num_edges == count
    return record.edge_id.numel() == 0 or int(record.edge_id.max()) < count


def _check_whole(record: AttentionRecord) -> None:
    if record.complete is None or record.seen is None:
        return
    partly = (record.seen & ~record.complete).nonzero()
    if partly.numel():
        raise InputError(
            f"the record of {record.name!r} has node {int(partly[0])} with some of its edges only; "
            f"freeze a record of whole neighbourhoods, as of a pass over the whole graph"
        )


def _drops(layer: nn.Module) -> bool:
    return float(getattr(layer, "dropout", 0.0)) > 0
