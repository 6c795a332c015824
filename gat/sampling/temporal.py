"""Trees of seeds that are kept apart, and the time that each one's seed lives in."""

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from gat.errors import InputError
from gat.sampling.stores import Stores

__all__ = ["ids_of", "times_of"]


def ids_of(seeds: Mapping[Any, Tensor], num_nodes: Mapping[Any, int]) -> dict[Any, Tensor]:
    """A number for each seed's tree, int64, by node type.

    It is the seed's own, counted through all node types, so that it does not depend on the batch;
    a seed that is there again has the next such number that is free for it.
    """
    total = sum(num_nodes.values())
    starts = dict(zip(num_nodes, accumulate(num_nodes.values(), initial=0), strict=False))
    return {kind: starts[kind] + nodes + total * _again(nodes) for kind, nodes in seeds.items()}


def _again(nodes: Tensor) -> Tensor:
    """How many times each node was there before."""
    ordered, place = torch.sort(nodes, stable=True)
    position = torch.arange(nodes.numel())
    # Of each run of equal nodes, where it starts.
    starts = torch.searchsorted(ordered, ordered)
    return torch.empty_like(nodes).index_copy(0, place, position - starts)


def times_of(
    seeds: Mapping[Any, Tensor], times: Mapping[Any, Tensor], stores: Stores
) -> Tensor | None:
    """The time of each seed, int64, one node type after the other: the given one, or the node's
    own. None if nothing has a time."""
    if not stores.node_time and not stores.edge_time:
        if times:
            raise InputError("input_time is given, but no time_attr to compare it with")
        return None
    return torch.cat([_time(kind, nodes, times, stores) for kind, nodes in seeds.items()])


def _time(kind: Any, nodes: Tensor, times: Mapping[Any, Tensor], stores: Stores) -> Tensor:
    given = times.get(kind)
    if given is None:
        own = stores.node_time.get(kind)
        if own is None:
            raise InputError(
                f"the input nodes{'' if kind is None else f' of type {kind!r}'} have no time of "
                "their own; pass input_time, one for each"
            )
        return own[nodes]
    if given.shape != nodes.shape or given.is_floating_point():
        raise InputError(
            f"input_time is {given.dtype} of shape {list(given.shape)}; expected whole numbers, "
            f"one for each of the {nodes.numel()} input nodes"
        )
    return given.cpu().long()
