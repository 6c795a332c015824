"""A planted ogbn-mag: papers as in ``planted.py``, and authors, institutions and fields of study.

Every author, institution and field has a home class. Most papers of an author, and most fields of
a paper, are of the home class; the others are drawn from all.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from gat.data.synthetic.blocks import Blocks, Ends, degree_law, rank_shares, unique_pairs
from gat.data.synthetic.facts import PUBLISHED
from gat.data.synthetic.planted import Planted, PlantedGraph, planted_graph, whole_shares

__all__ = ["Heterograph", "Triplet", "planted_mag"]

Triplet = tuple[str, str, str]
OTHER_NODES = {"author": 1_134_649, "field_of_study": 59_965, "institution": 8_740}
CITES: Triplet = ("paper", "cites", "paper")
# Edges of each relation, and how many of them stay within a class.
RELATIONS: dict[Triplet, tuple[int, float]] = {
    ("author", "affiliated_with", "institution"): (1_043_998, 0.5),
    ("author", "writes", "paper"): (7_145_660, 0.6),
    ("paper", "has_topic", "field_of_study"): (7_505_078, 0.4),
}
DENSEST = 0.2
EXPONENT = 2.6
# The busiest node has so many times the mean number of edges.
BUSIEST = 300.0


@dataclass(frozen=True, eq=False)
class Heterograph:
    """papers: the graph of papers, with features, labels, years and split. num_nodes by type;
    edges: int32 [2, E] by (source type, relation, target type), papers' citations among them."""

    papers: PlantedGraph
    num_nodes: dict[str, int]
    edges: dict[Triplet, np.ndarray]


def planted_mag(
    *, scale: float = 1.0, seed: int = 0, planted: Planted | None = None
) -> Heterograph:
    """The whole of ogbn-mag in memory; arguments and errors as ``planted_graph``."""
    papers = planted_graph("ogbn-mag", scale=scale, seed=seed, planted=planted)
    share = papers.num_nodes / PUBLISHED["ogbn-mag"].nodes
    rng = np.random.default_rng([seed, 1])
    classes = papers.facts.classes
    homes: dict[str, Homes | Members] = {
        kind: _homes(max(round(share * count), classes), classes, rng)
        for kind, count in OTHER_NODES.items()
    }
    homes["paper"] = Members(papers.y, classes)
    edges = {CITES: papers.edge_index}
    for triplet, (count, within) in RELATIONS.items():
        source, target = homes[triplet[0]], homes[triplet[2]]
        pairs = source.nodes * target.nodes
        wanted = max(1, min(round(share * count), int(DENSEST * pairs)))
        edges[triplet] = _bipartite(source, target, wanted, within, rng)
    counts = {kind: members.nodes for kind, members in sorted(homes.items())}
    return Heterograph(papers, counts, dict(sorted(edges.items())))


class Members:
    """Nodes of known classes, drawn evenly: papers, whose hubs are those of their citations."""

    def __init__(self, y: np.ndarray, classes: int) -> None:
        self.nodes = len(y)
        self.y = y
        self.order = np.argsort(y, kind="stable").astype(np.int32)
        self.sizes = np.bincount(y, minlength=classes)
        self.starts = np.cumsum(self.sizes) - self.sizes

    def any_node(self, rng: Generator, count: int) -> np.ndarray:
        return rng.integers(0, self.nodes, count, dtype=np.int32)

    def of_class(self, rng: Generator, classes: np.ndarray) -> np.ndarray:
        place = rng.integers(0, self.sizes[classes])
        return self.order[self.starts[classes] + place]


class Homes:
    """Nodes with a home class, drawn by their degrees."""

    def __init__(self, blocks: Blocks) -> None:
        self.blocks, self.nodes, self.y = blocks, blocks.nodes, blocks.block_of_node()

    def any_node(self, rng: Generator, count: int) -> np.ndarray:
        return self.blocks.pick(rng, self.blocks.any_block(rng, count))

    def of_class(self, rng: Generator, classes: np.ndarray) -> np.ndarray:
        return self.blocks.pick(rng, classes)


def _homes(count: int, classes: int, rng: Generator) -> Homes:
    # One node of each class, so that a node of any class can be asked for.
    sizes = 1 + whole_shares(count - classes, rank_shares(classes))
    return Homes(Blocks(sizes, degree_law(EXPONENT, 1.0, BUSIEST, int(sizes.max())), rng))


def _bipartite(
    source: Homes | Members, target: Homes | Members, wanted: int, within: float, rng: Generator
) -> np.ndarray:
    """int32 [2, wanted] distinct edges, of which at least ``within`` stay in a class, shuffled."""

    def draw(count: int) -> Ends:
        one = source.any_node(rng, count)
        inside = int(rng.binomial(count, within))
        home = target.of_class(rng, source.y[one[:inside]])
        return one, np.concatenate([home, target.any_node(rng, count - inside)])

    edges = unique_pairs(draw, wanted, source.nodes, target.nodes, rng)
    return edges[:, rng.permutation(edges.shape[1])]
