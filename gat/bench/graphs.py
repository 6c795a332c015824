"""The graphs that are measured: real ones by name, synthetic ones of known data sets' sizes.

Every graph has each node's self-loop once and is the same wherever it is built.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gat.errors import InputError
from gat.graph import Graph
from gat.machine import available, gib

__all__ = ["KNOWN", "build", "check_name", "facts", "is_synthetic", "shown", "to_check"]

SEED = 0
# Edges per node of the uniform graphs, as in ogbn-products.
DEGREE = 25
# Peak memory of sorting a graph in both directions, measured.
BYTES_PER_EDGE = 150
# What drawing alone takes: source and target, and the pages they are copied through.
BYTES_PER_EDGE_DRAWN = 24
# Edges that are drawn at a time, so that drawing takes hardly more than the edges themselves.
DRAWN = 1 << 22


@dataclass(frozen=True)
class Size:
    """Nodes, edges without loops, and how steep the in-degrees are: node k of some order draws
    edges in proportion to (1 + k) ** -steepness; sources are uniform. hub: how many of the edges
    enter node 0 instead of the node that they drew."""

    nodes: int
    edges: int
    steepness: float
    hub: int = 0


# Sizes of Hu et al. 2020, "Open Graph Benchmark", both directions of every edge; the steepness
# gives the largest in-degree of the real graph (13,161 and 17,481).
SIZES = {
    "arxiv-size": Size(169_343, 2_332_486, 0.658),
    "products-size": Size(2_449_029, 123_718_280, 0.435),
    # Hamilton et al. 2017, "Inductive Representation Learning on Large Graphs", as PyG has it;
    # the largest in-degree is some 22,000.
    "reddit-size": Size(232_965, 114_615_892, 0.34),
    # A million edges over nodes of ten each, a million more into one of them; the same edges spread
    # evenly.
    "one-hub": Size(100_000, 2_000_000, 0.0, hub=1_000_000),
    "no-hub": Size(100_000, 2_000_000, 0.0),
}
KNOWN = f"{', '.join(SIZES)}, uniform-NM (N million edges, {DEGREE} a node) or a data set's name"


def check_name(name: str, fraction: float = 1.0) -> None:
    """Refuse a graph that `build` does not know, and a fraction outside (0, 1]."""
    from gat.data import cards

    if not 0 < fraction <= 1:
        raise InputError(
            f"fraction is {fraction}; expected a share of the edges, 0 < fraction <= 1"
        )
    entry = cards().get(name)
    if _size(name) is None and not (entry and entry.is_graph):
        raise InputError(f"there is no graph {name!r} to measure; expected {KNOWN}")


def is_synthetic(name: str) -> bool:
    """Whether the graph called ``name`` is drawn here, not a data set's."""
    return _size(name) is not None


def build(name: str, fraction: float = 1.0, device: str = "cpu") -> Graph:
    """The graph called ``name`` with that fraction of its edges, and all self-loops.

    The same edges on any device; they are sorted there, which a GPU does in no time.

    Raises InputError for what `check_name` refuses, or a graph too large for the memory at hand.
    """
    check_name(name, fraction)
    size = _size(name)
    if size is None:
        edge_index, nodes = _real(name, fraction)
    else:
        _check_fits(name, fraction, size, device)
        edge_index, nodes = _synthetic(size, fraction), size.nodes
    return Graph.from_edge_index(edge_index.to(device), nodes).with_self_loops()


def facts(graph: Graph) -> dict[str, int]:
    """What a reader of the figures wants to know of a graph."""
    return {
        "nodes": graph.num_dst,
        "edges": graph.num_edges,
        "largest in-degree": int(graph.in_degree.max()) if graph.num_dst else 0,
    }


def to_check(
    name: str, fraction: float, most: int, device: str = "cpu"
) -> tuple[Graph, dict[str, Any]]:
    """The graph, with fewer of its edges if it has more than ``most``; the facts of the whole one,
    and "on" how much of it this is."""
    graph = build(name, fraction, device)
    told = facts(graph)
    if graph.num_edges > most:
        graph = build(name, fraction * most / graph.num_edges, device)
    return graph, {"facts": told, "on": f"{graph.num_edges:,} of {told['edges']:,} edges"}


def shown(name: str, fraction: float) -> str:
    """How a title names the graph."""
    return name if fraction == 1 else f"{name}, {fraction:.0%} of its edges"


def _size(name: str) -> Size | None:
    """Of a synthetic graph."""
    if found := re.fullmatch(r"uniform-([1-9]\d*)M", name):
        edges = int(found[1]) * 1_000_000
        return Size(edges // DEGREE, edges - edges // DEGREE, 0.0)
    return SIZES.get(name)


def _check_fits(name: str, fraction: float, size: Size, device: str = "cpu") -> None:
    edges = int(size.edges * fraction) + size.nodes
    # Where another device sorts, its own memory is what that takes.
    each, what = (BYTES_PER_EDGE, "sort") if device == "cpu" else (BYTES_PER_EDGE_DRAWN, "draw")
    needed, free = edges * each, available()
    if free is not None and needed > free:
        share = 0.9 * fraction * free / needed
        raise InputError(
            f"{name} has {edges / 1e6:.1f} million edges, which take {gib(needed)} to {what}; "
            f"{gib(free)} are free. Measure fewer of them: --fraction {share:.2g}"
        )


def _synthetic(size: Size, fraction: float) -> Tensor:
    draw = np.random.default_rng(SEED)
    count = int(size.edges * fraction)
    weight = draw.permutation((1.0 + np.arange(size.nodes)) ** -size.steepness)
    ends = np.cumsum(weight / weight.sum())
    edges = np.empty((2, count), dtype=np.int64)
    source, target = edges
    for part in _parts(target):
        part[:] = np.minimum(np.searchsorted(ends, draw.random(len(part))), size.nodes - 1)
    target[: int(size.hub * fraction)] = 0
    for part in _parts(source):
        part[:] = draw.integers(0, size.nodes, len(part))
    return torch.from_numpy(edges)


def _parts(values: np.ndarray) -> Iterator[np.ndarray]:
    """Views of ``values``, one after the other; a generator fills them as it would the whole."""
    for first in range(0, len(values), DRAWN):
        yield values[first : first + DRAWN]


def _real(name: str, fraction: float) -> tuple[Tensor, int]:
    from gat.data import load

    graph = load(name).graphs[0]
    edge_index = graph.edge_index
    if fraction < 1:
        order = torch.randperm(edge_index.size(1), generator=torch.Generator().manual_seed(SEED))
        edge_index = edge_index[:, order[: int(len(order) * fraction)].sort().values]
    return edge_index, graph.num_nodes
