"""Neighbourhoods grown hop by hop, over one edge type or several.

In each hop every edge type (s, r, t) expands the nodes of type t that the hop before found, and
finds nodes of type s; so a node is expanded once by each edge type. Node types are numbered apart.
A homogeneous graph has one node type and one edge type, both called None.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from gat.errors import InputError
from gat.graph import CompactEdges
from gat.sampling.draws import hop_key
from gat.sampling.hops import Expansion, Known, Rule, Tables, expand

__all__ = ["Grown", "Relation", "Trees", "grow", "starting"]


@dataclass(frozen=True, eq=False)
class Relation:
    """An edge type: its edges by target, and how they are chosen in each hop."""

    source: Any
    target: Any
    edges: CompactEdges
    fanouts: list[int]
    rule: Rule

    def numbers(self, positions: Tensor) -> Tensor:
        """The caller's numbers, int64, of edges by their sorted ones."""
        number = self.edges.number
        return (positions if number is None else number.index_select(0, positions)).long()


class Trees:
    """A tree for each seed, by a number that does not depend on the batch it is in.

    ids: int64 [S], all different; times: int64 [S] or None, only edges not newer are followed.
    """

    def __init__(self, ids: Tensor, times: Tensor | None = None) -> None:
        self.times = times
        self._sorted, self._place = torch.sort(ids)

    def places(self, ids: Tensor) -> Tensor:
        """Places of trees among the seeds."""
        return self._place[torch.searchsorted(self._sorted, ids)]

    def times_of(self, ids: Tensor) -> Tensor | None:
        return None if self.times is None else self.times[self.places(ids)].contiguous()


@dataclass
class Grown:
    """What was found: of each edge type an Expansion per hop, of each node type how many nodes the
    seeds and each hop gave."""

    expansions: list[list[Expansion]]
    num_nodes: dict[Any, list[int]]

    def ends(self, relation: int, target: Any) -> tuple[Tensor, Tensor]:
        """Sources and targets of an edge type's edges by local numbers, int64, hop by hop."""
        hops = self.expansions[relation]
        starts = [0, *accumulate(self.num_nodes[target])]
        targets = [
            torch.arange(start, start + hop.ends.numel() - 1).repeat_interleave(
                hop.ends.diff(), output_size=hop.edge.numel()
            )
            for start, hop in zip(starts, hops, strict=False)
        ]
        return torch.cat([hop.source for hop in hops]).long(), torch.cat(targets)


@contextmanager
def starting(
    seeds: Mapping[Any, Tensor], tables: Mapping[Any, Tables], name: str = "nodes"
) -> Iterator[dict[Any, Known]]:
    """The seeds of each node type as `Known`, in tables that are given back; refuses doubles.

    After an exception they are not: of what it cut off, nodes may be entered that nobody knows of.
    """
    none = torch.empty(0, dtype=torch.int64)
    known = {
        kind: Known([seeds.get(kind, none)], table=free.take()) for kind, free in tables.items()
    }
    for kind, nodes in seeds.items():
        double = known[kind].enter()
        if double >= 0:
            raise InputError(
                f"{name}: {int(nodes[double])} is there twice, the second time in place "
                f"{double}; pass each seed once, or keep trees apart (disjoint=True)"
            )
    yield known
    for kind, found in known.items():
        found.leave()
        assert found.table is not None
        tables[kind].put_back(found.table)


def grow(
    relations: list[Relation],
    known: Mapping[Any, Known],
    seed: int,
    epoch: int,
    trees: Trees | None = None,
) -> Grown:
    """Expand the seeds in ``known`` hop by hop; what is found is added to it."""
    grown = Grown([[] for _ in relations], {kind: [seeds.count] for kind, seeds in known.items()})
    first = dict.fromkeys(known, 0)
    for hop in range(len(relations[0].fanouts) if relations else 0):
        frontier = {kind: _since(found.nodes, first[kind]) for kind, found in known.items()}
        its_trees = {kind: _since(found.trees, first[kind]) for kind, found in known.items()}
        first = {kind: len(found.nodes) for kind, found in known.items()}
        before = {kind: found.count for kind, found in known.items()}
        for number, relation in enumerate(relations):
            rule = replace(relation.rule, fanout=relation.fanouts[hop])
            tree = its_trees[relation.target]
            grown.expansions[number].append(
                expand(
                    relation.edges,
                    frontier[relation.target],
                    known[relation.source],
                    rule,
                    hop_key(seed, epoch, hop, number),
                    tree,
                    None if trees is None or tree is None else trees.times_of(tree),
                )
            )
        for kind, found in known.items():
            grown.num_nodes[kind].append(found.count - before[kind])
    return grown


def _since(pieces: list[Tensor] | None, first: int) -> Any:
    """The pieces from number ``first`` on as one tensor; None stays None."""
    if pieces is None or len(pieces) == first + 1:
        return None if pieces is None else pieces[first]
    return torch.cat([torch.empty(0, dtype=torch.int64), *pieces[first:]])
