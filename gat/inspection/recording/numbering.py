"""The whole graph that mini-batches are of, and the numbers they announce: n_id and e_id."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData

from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.graph import Graph, read_edges
from gat.inspection.reach import node_counts
from gat.inspection.record import EdgeType

__all__ = ["hops_of", "numbers_of", "whole_graph"]

THINGS = {"n_id": "node", "e_id": "edge"}


def whole_graph(full: Any) -> tuple[dict[EdgeType | None, Tensor], dict[str | None, int]]:
    """Edges [2, E] by edge type and node counts by node type of a whole graph; None is the type
    in a homogeneous one. full: as `record_attention` takes it."""
    if isinstance(full, Data):
        return {None: _pair(full.edge_index)}, {None: int(full.num_nodes or 0)}
    if isinstance(full, HeteroData):
        edges: dict[Any, Tensor] = {kind: _pair(full[kind].edge_index) for kind in full.edge_types}
        return edges, {kind: int(full[kind].num_nodes or 0) for kind in full.node_types}
    if isinstance(full, Mapping):
        edges = {kind: _pair(pair) for kind, pair in full.items()}
        counts: dict[Any, int] = {**node_counts({}, edges)}
        return edges, counts
    if isinstance(full, Graph):
        return {None: full.edge_index}, {None: max(full.num_src, full.num_dst)}
    read = read_edges(full)
    return {None: torch.stack([read.source, read.target])}, {None: max(read.num_src, read.num_dst)}


def numbers_of(name: str, batch: Any, given: Any, counts: Mapping[Any, int]) -> dict[Any, Tensor]:
    """n_id or e_id of a batch by type, int64 each, as it was given or as PyG's loaders write it.

    counts: how many nodes or edges of each type the whole graph has. Raises InputError for a batch
    without them, ArgumentTypeError for what are no numbers, IndexRangeError for those too large.
    """
    hetero = None not in counts
    if given is None and batch is not None:
        if hetero:
            stores = batch.node_stores if name == "n_id" else batch.edge_stores
            given = {store._key: store[name] for store in stores if name in store}
        else:
            given = getattr(batch, name, None)
    if given is None or (isinstance(given, Mapping) and not given):
        raise InputError(
            f"the batch has no {name}; expected the whole graph's number of each of its "
            f"{THINGS[name]}s, as PyG's loaders give it"
        )
    if isinstance(given, Mapping) != hetero:
        expected = f"a dict by {THINGS[name]} type" if hetero else "int64 numbers"
        raise ArgumentTypeError(
            f"{name} is a {type(given).__name__}; expected {expected}, since full= is "
            f"{'' if hetero else 'not '}a heterogeneous graph"
        )
    by_type = given if hetero else {None: given}
    return {
        kind: _checked(name if kind is None else f"{name} of {kind!r}", ids, counts.get(kind))
        for kind, ids in by_type.items()
        if ids is not None
    }


def hops_of(batch: Any, n_id: Mapping[Any, Tensor]) -> dict[Any, Tensor]:
    """In which hop from the seeds each of a batch's nodes was found, by type, int64 each, where the
    batch says it (``num_sampled_nodes``, or else ``batch_size`` seeds first); else 0 of all."""
    hops = {kind: torch.zeros_like(ids) for kind, ids in n_id.items()}
    stores = {} if batch is None else {s._key: s for s in getattr(batch, "node_stores", ())}
    seeded = any("batch_size" in store for store in stores.values())
    for kind, hop in hops.items():
        store = stores.get(kind, {})
        sizes = store.get("num_sampled_nodes")
        if sizes is None or sum(sizes) != hop.numel():
            sizes = [int(store.get("batch_size") or 0)] if seeded else []
        for size in sizes:
            hop[size:].add_(1)
            hop = hop[size:]
    return hops


def _checked(name: str, ids: Any, count: int | None) -> Tensor:
    ids = torch.as_tensor(ids)
    if ids.numel() == 0:
        ids = ids.long()
    if ids.dim() != 1 or ids.is_floating_point() or ids.dtype == torch.bool:
        raise ArgumentTypeError(
            f"{name} is {ids.dtype} of shape {list(ids.shape)}; expected whole numbers [n], those "
            f"the batch's parts have in the whole graph"
        )
    wrong = ids[(ids < 0) | (ids >= count)] if count is not None else ids[:0]
    if wrong.numel():
        raise IndexRangeError(
            f"{name} names number {int(wrong[0])}, outside [0, {count}) of the whole graph; "
            f"announce numbers of the graph given as full=, a Data or HeteroData where nodes "
            f"without edges have the largest numbers"
        )
    return ids.long()


def _pair(edges: Any) -> Tensor:
    read = read_edges(edges)
    return torch.stack([read.source, read.target])
