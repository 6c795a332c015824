"""What a sampler needs of PyG's Data or HeteroData, checked: edges by target, weights, times.

Homogeneous data have one node type and one edge type, both called None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.sampler.base import NumNeighbors

from gat.errors import ArgumentTypeError, InputError
from gat.graph import Graph
from gat.sampling.grow import Relation
from gat.sampling.hops import Rule
from gat.sampling.neighbors import check_fanouts, sorted_weights

__all__ = ["Stores", "fanouts_of"]


@dataclass
class Stores:
    """Nodes by type, edges by type, times of either; per-edge values are in sorted order."""

    num_nodes: dict[Any, int]
    relations: dict[Any, Relation]
    node_time: dict[Any, Tensor]
    edge_time: dict[Any, Tensor]

    @classmethod
    def of(
        cls,
        data: Any,
        num_neighbors: Any,
        weight_attr: str | None,
        time_attr: str | None,
        *,
        replace: bool,
        last: bool,
    ) -> "Stores":
        nodes, edges = _stores(data)
        num_nodes = {kind: _count(kind, store) for kind, store in nodes.items()}
        fanouts = fanouts_of(num_neighbors, list(edges))
        weights = _collect(weight_attr, edges, "is_edge_attr")
        node_time = _collect(time_attr, nodes, "is_node_attr")
        edge_time = _collect(time_attr, edges, "is_edge_attr")
        _check_found("weight_attr", weight_attr, weights, "edges")
        _check_found("time_attr", time_attr, node_time or edge_time, "nodes or edges")
        if node_time and edge_time:
            raise InputError(
                f"time_attr is {time_attr!r}, which nodes of type {next(iter(node_time))!r} and "
                f"edges of type {next(iter(edge_time))!r} have; keep it for one of them"
            )
        node_time = {k: _whole(time_attr, k, time, num_nodes[k]) for k, time in node_time.items()}
        relations, sorted_time = {}, {}
        for kind, store in edges.items():
            source, target = _ends(kind)
            sizes = (num_nodes[source], num_nodes[target])
            graph = Graph.from_edge_index(store.edge_index.cpu(), sizes)
            weight = sorted_weights(graph, weights.get(kind), f"{weight_attr!r}")
            if kind in edge_time:
                time = _whole(time_attr, kind, edge_time[kind], graph.num_edges)
                sorted_time[kind] = graph.to_sorted(time).contiguous()
            times = (sorted_time.get(kind), node_time.get(source))
            timed = times != (None, None)
            rule = Rule(0, replace, weight, *times, last=last and timed)
            relations[kind] = Relation(source, target, graph.by_target, fanouts[kind], rule)
        return cls(num_nodes, relations, node_time, sorted_time)


def fanouts_of(num_neighbors: Any, edge_types: list[Any]) -> dict[Any, list[int]]:
    """The fan-outs of each edge type, from one list for all, a dict, or PyG's NumNeighbors."""
    if isinstance(num_neighbors, NumNeighbors):
        default = num_neighbors.default
        num_neighbors = num_neighbors.get_values(edge_types if default is not None else None)
    if not isinstance(num_neighbors, Mapping):
        if not isinstance(num_neighbors, Sequence) or isinstance(num_neighbors, str):
            raise ArgumentTypeError(
                f"num_neighbors is {num_neighbors!r}; expected a list such as [15, 10], a number "
                "for each hop, or a dict of such lists by edge type"
            )
        return dict.fromkeys(edge_types, check_fanouts(num_neighbors))
    known, given = set(edge_types), set(num_neighbors)
    if known != given:
        raise InputError(
            f"num_neighbors has {sorted(map(str, given - known))} too many and "
            f"{sorted(map(str, known - given))} too few; expected a list for each edge type of "
            "the data, [0, 0] for those not to be followed"
        )
    fanouts = {kind: check_fanouts(num_neighbors[kind]) for kind in edge_types}
    if len({len(hops) for hops in fanouts.values()}) > 1:
        raise InputError(
            f"num_neighbors is {num_neighbors!r}; expected as many hops for every edge type"
        )
    return fanouts


def _stores(data: Any) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Storages of node types and of edge types."""
    if isinstance(data, Data):
        nodes, edges = {None: data.node_stores[0]}, {None: data.edge_stores[0]}
    elif isinstance(data, HeteroData):
        nodes = dict(zip(data.node_types, data.node_stores, strict=True))
        edges = dict(zip(data.edge_types, data.edge_stores, strict=True))
    else:
        raise ArgumentTypeError(
            f"data is of type {type(data).__name__}; expected a Data or HeteroData. Of a feature "
            "store and a graph store make one of these first: neighbours are drawn in memory"
        )
    for kind, store in edges.items():
        if "edge_index" not in store:
            raise InputError(
                f"the data{_of(kind)} have no edge_index; neighbours are drawn from edge_index, so "
                "make one of adj_t: edge_index = torch.stack([source, target])"
            )
    return nodes, edges


def _ends(kind: Any) -> tuple[Any, Any]:
    return (None, None) if kind is None else (kind[0], kind[-1])


def _of(kind: Any) -> str:
    return "" if kind is None else f" of type {kind!r}"


def _count(kind: Any, store: Any) -> int:
    count = store.num_nodes
    if count is None:
        raise InputError(f"the nodes{_of(kind)} have no features to count; set their num_nodes")
    return int(count)


def _collect(name: str | None, stores: dict[Any, Any], belongs: str) -> dict[Any, Any]:
    """The attribute by type. In homogeneous data, which hold those of nodes and edges together, PyG
    says whose it is by its rows and, where there are as many edges as nodes, by its name."""
    return {
        kind: torch.as_tensor(store[name])
        for kind, store in stores.items()
        if name is not None
        and name in store
        and (kind is not None or getattr(store, belongs)(name))
    }


def _check_found(argument: str, name: str | None, found: dict[Any, Any], whose: str) -> None:
    if name is not None and not found:
        raise InputError(
            f"{argument} is {name!r}, but no {whose} of the data have such an attribute, a value "
            "for each. (Of homogeneous data with as many nodes as edges, PyG takes an attribute "
            "for the edges' if its name has 'edge' in it)"
        )


def _whole(name: str | None, kind: Any, time: Tensor, count: int) -> Tensor:
    """Times int64, one for each, a copy; whole numbers, so that none is rounded."""
    if time.shape != (count,) or time.is_floating_point() or time.dtype == torch.bool:
        raise ArgumentTypeError(
            f"{name!r}{_of(kind)} is {time.dtype} of shape {list(time.shape)}; expected whole "
            f"numbers of shape [{count}], one for each"
        )
    return time.detach().to("cpu", torch.int64, copy=True).contiguous()
