"""Records of layers with random attention, and the paths through them, one by one."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from gat.inspection import AttentionRecord
from tests.graphs import GRAPHS

# The graphs on which a node's paths are few enough to be listed.
SMALL = [
    "one_node_without_edges",
    "one_node_one_loop",
    "one_edge",
    "path_both_ways",
    "isolated_nodes",
    "loops_and_duplicates",
    "hub",
    "hub_that_sends",
    "sixty_three_edges",
]
BOTH_FLOWS = ("source_to_target", "target_to_source")


def records(
    graph: str,
    layers: int = 2,
    *,
    heads: int = 2,
    loops: bool = True,
    flow: str = "source_to_target",
    dtype: torch.dtype = torch.float64,
) -> list[AttentionRecord]:
    """Layers whose weights are those of a softmax of random scores."""
    edge_index, _, count = GRAPHS[graph]
    if flow == "target_to_source":
        edge_index = edge_index.flip(0)
    return [
        attentive(edge_index, count, number, heads, loops, flow, dtype)
        for number in range(1, layers + 1)
    ]


def attentive(
    edge_index: Tensor,
    count: int,
    number: int,
    heads: int = 2,
    loops: bool = True,
    flow: str = "source_to_target",
    dtype: torch.dtype = torch.float64,
) -> AttentionRecord:
    """One layer; with ``loops`` it takes the first loop a node has, or adds one, as GATConv."""
    generator = torch.Generator().manual_seed(number)
    edges = torch.rand(edge_index.size(1), heads, generator=generator, dtype=dtype) + 0.05
    added = torch.rand(count, heads, generator=generator, dtype=dtype) + 0.05
    if loops:
        with_loop = set()
        for edge, (one, other) in enumerate(edge_index.T.tolist()):
            if one == other:
                edges[edge] *= one not in with_loop
                added[one] = 0
                with_loop.add(one)
    else:
        added.zero_()
    record = AttentionRecord(
        f"conv{number}", "GATConv", "before_dropout", edge_index, edges, added, count, count, flow
    )
    sums = torch.where(record.sums == 0, 1.0, record.sums)
    return replace(record, weights=edges / sums[record.target], loops=added / sums)


class Link(NamedTuple):
    """A link of one layer: edge number e, or "loop" or "kept" and the node."""

    which: int | tuple[str, int]
    source: int
    target: int
    weight: float


def links(record: AttentionRecord, residual: float = 0.0) -> list[Link]:
    """All links of a layer, heads averaged, with the residual's."""
    ends = zip(record.source.tolist(), record.target.tolist(), strict=True)
    weights = record.weights.mean(1).tolist()
    found = [
        Link(edge, source, target, (1 - residual) * weights[edge])
        for edge, (source, target) in enumerate(ends)
    ]
    for node, weight in enumerate(record.loops.mean(1).tolist()):
        found.append(Link(("loop", node), node, node, (1 - residual) * weight))
        found.append(Link(("kept", node), node, node, residual))
    return found


def routes(layers: list[list[Link]], node: int) -> Iterator[list[Link]]:
    """Every path from ``node`` after the last layer down to the input, last layer's link first."""
    if not layers:
        yield []
        return
    for link in layers[-1]:
        if link.target == node and link.weight:
            for rest in routes(layers[:-1], link.source):
                yield [link, *rest]


def places(
    layers: list[list[Link]], node: int, above: float = 1.0
) -> Iterator[tuple[int, Link, float]]:
    """Every link of ``node``'s computation tree: layer, link, weight from the root through it."""
    if layers:
        for link in layers[-1]:
            if link.target == node and link.weight:
                yield len(layers) - 1, link, above * link.weight
                yield from places(layers[:-1], link.source, above * link.weight)


def by_link(record: AttentionRecord, layers: int) -> tuple[Tensor, Tensor]:
    """Zeros for the scores of edges [L, E] and of loops [L, N]."""
    sizes = (record.num_edges, record.num_dst)
    edges, loops = (torch.zeros(layers, size, dtype=torch.float64) for size in sizes)
    return edges, loops


def add_score(scores: tuple[Tensor, Tensor], layer: int, link: Link, value: float) -> None:
    """Add to the score of an edge or a loop; what the residual keeps has none."""
    if isinstance(link.which, int):
        scores[0][layer, link.which] += value
    elif link.which[0] == "loop":
        scores[1][layer, link.which[1]] += value
