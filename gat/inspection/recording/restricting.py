"""What of a record is kept: the heads and the target nodes that were asked for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gat.errors import ArgumentTypeError, InputError
from gat.inspection.record import AttentionRecord
from gat.inspection.recording.places import Place

__all__ = [
    "Heads",
    "Nodes",
    "check_heads",
    "target_mask",
    "wanted_targets",
    "with_heads",
    "with_targets",
]

Heads = Sequence[int] | Mapping[str, Sequence[int]] | None
Nodes = Tensor | Sequence[int] | Mapping[str, Any] | None


def check_heads(heads: Heads, places: dict[str, Place]) -> None:
    """Refuse heads that are no list of numbers, and those of layers that are not recorded."""
    lists = list(heads.values()) if isinstance(heads, Mapping) else [heads]
    for wanted in lists:
        if wanted is not None and not isinstance(wanted, Iterable):
            raise ArgumentTypeError(
                f"heads is {wanted!r}; expected a list of numbers: [{wanted!r}]"
            )
    known = list(dict.fromkeys(name for name, _ in places.values()))
    unknown = [name for name in heads if name not in known] if isinstance(heads, Mapping) else []
    if unknown:
        raise InputError(
            f"heads names layer {unknown[0]!r}; recorded are {', '.join(map(repr, known))}"
        )


def with_heads(record: AttentionRecord, heads: Heads, layer: str) -> AttentionRecord:
    """The record of the heads asked for alone."""
    if isinstance(heads, Mapping):
        heads = heads.get(layer)
        wanted = None if heads is None else list(heads)
        known = wanted
    else:
        wanted = None if heads is None else list(heads)
        # Of one list for all layers a layer with fewer heads keeps those it has.
        known = None if wanted is None else [h for h in wanted if h < record.num_heads]
    if known is None:
        return record
    if not known or not all(0 <= head < record.num_heads for head in known):
        raise InputError(
            f"heads names {wanted} for {record.name}, which has {record.num_heads}; expected "
            f"numbers in [0, {record.num_heads}). Give heads by layer: {{'{layer}': [0]}}"
        )
    weights, loops = record.weights[:, known], record.loops[:, known]
    return record._with(weights=weights, loops=loops, heads=tuple(known))


def wanted_targets(record: AttentionRecord, nodes: Nodes) -> Tensor | None:
    """The targets asked for, as they came: numbers or a mask; None for all."""
    if isinstance(nodes, Mapping):
        if record.edge_type is None:
            raise InputError(
                f"nodes is given by node type, and {record.name} has targets of one type alone; "
                f"give the list itself"
            )
        nodes = nodes.get(record.edge_type[2])
    elif nodes is not None and record.edge_type is not None:
        raise InputError(
            f"nodes does not say of which type they are; {record.name} has targets of several: "
            f"give nodes by node type: {{{record.edge_type[2]!r}: [...]}}"
        )
    if nodes is None:
        return None
    return torch.as_tensor(nodes, device=record.weights.device)


def with_targets(record: AttentionRecord, wanted: Tensor | None) -> AttentionRecord:
    """The record of the edges that enter the targets asked for alone."""
    if wanted is None:
        return record
    seen = target_mask(wanted, record.num_dst)
    rows = seen[record.target].nonzero().squeeze(1)
    return replace(
        record,
        edge_index=record.edge_index[:, rows],
        weights=record.weights[rows],
        loops=record.loops * seen.unsqueeze(1),
        edge_id=rows,
        seen=seen,
    )


def target_mask(wanted: Tensor, count: int) -> Tensor:
    """Numbers or a mask of targets as a mask, bool [count]."""
    if wanted.dtype == torch.bool:
        if wanted.shape != (count,):
            raise InputError(
                f"nodes is a mask of shape {list(wanted.shape)}; expected [{count}], one for each "
                f"target node"
            )
        return wanted
    if wanted.numel() and not 0 <= int(wanted.min()) <= int(wanted.max()) < count:
        raise InputError(f"nodes names a node outside [0, {count})")
    return torch.zeros(count, dtype=torch.bool, device=wanted.device).index_fill(
        0, wanted.long().reshape(-1), True
    )
