"""Graphs in memory with classes that a graph attention network can find, and simpler ways cannot.

Features alone do not tell the class: many nodes are *off topic*, with the features of another
class. Edges alone do not tell it either: some nodes are *general* and have edges to all classes, as
surveys and bestsellers have. Features mark the general nodes, so attention can leave them out.
Proteins are another matter, see ``proteins.py``.
"""

import math
from dataclasses import asdict, dataclass, fields
from numbers import Real

import numpy as np
from numpy.random import Generator

from gat.data.synthetic.blocks import Blocks, Ends, degree_law, rank_shares, unique_pairs
from gat.data.synthetic.facts import Facts, check_seed, facts_of, scaled
from gat.errors import InputError

__all__ = ["Planted", "PlantedGraph", "planted_graph"]

# Features vary in this many directions (one of them marks general nodes), plus a little noise.
LATENT = 32
ROWS = 65_536


@dataclass(frozen=True)
class Planted:
    """What is planted. All but the last three are shares, 0 to 1.

    same: of edges, between nodes of one class that are not general. general: of edges, between a
    general node and any node. The rest joins any two nodes. general_nodes: of the nodes.
    on_topic: of nodes, with the features of their own class. signal: distance of a class's features
    from the origin, and mark: of general nodes' from others', in standard deviations of a node.
    exponent: of the power law of degrees, above 2.
    """

    same: float
    general: float
    general_nodes: float
    on_topic: float
    signal: float
    mark: float
    exponent: float

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (isinstance(value, Real) and math.isfinite(value)):
                raise InputError(f"planted: {field.name} must be a finite number, got {value!r}")
        for field in fields(self)[:4]:
            value = getattr(self, field.name)
            if not 0 <= value <= 1:
                raise InputError(f"planted: {field.name} is a share, 0 to 1; got {value}")
        if self.same + self.general > 1:
            raise InputError(
                "planted: same and general are shares of the edges and must not exceed 1 "
                f"together; got {self.same} and {self.general}"
            )
        if self.same and self.general_nodes == 1:
            raise InputError(
                "planted: same is a share of edges between nodes that are not general, and with "
                f"general_nodes = 1 there are none; got same = {self.same}"
            )
        if self.exponent <= 2:
            raise InputError(f"planted: exponent must be above 2, got {self.exponent}")


DEFAULTS = {
    "ogbn-arxiv": Planted(0.4, 0.42, 0.35, 0.52, 9.0, 4.0, 2.35),
    "ogbn-products": Planted(0.32, 0.45, 0.35, 0.55, 9.0, 4.0, 2.8),
    "ogbn-mag": Planted(0.36, 0.44, 0.35, 0.55, 9.0, 4.0, 2.35),
}


@dataclass(frozen=True, eq=False)
class PlantedGraph:
    """A planted graph as arrays: N nodes, E edges as OGB stores them, F features.

    edge_index: int32 [2, E], sources and targets; where not ``directed``, each edge once.
    x: float32 [N, F], or None (proteins). y: int64 [N], or float32 [N, K] of 0 and 1 (proteins).
    edge_attr: float32 [E, D], or None. parts: node numbers, int64, of train, valid and test.
    columns: further numbers of nodes by OGB's name (node_year, node_species), int64 [N].
    planted: the parameters; facts: the sizes. No edge occurs twice, in either direction; no loops.
    """

    name: str
    scale: float
    seed: int
    facts: Facts
    planted: dict[str, float]
    edge_index: np.ndarray
    x: np.ndarray | None
    y: np.ndarray
    parts: dict[str, np.ndarray]
    columns: dict[str, np.ndarray]
    edge_attr: np.ndarray | None = None

    @property
    def num_nodes(self) -> int:
        return len(self.y)

    @property
    def num_edges(self) -> int:
        return int(self.edge_index.shape[1])

    def both_directions(self) -> np.ndarray:
        """int32 [2, 2E]: each edge followed by its reverse, the order in which ogb adds them."""
        both = np.empty((2, 2 * self.num_edges), dtype=np.int32)
        both[:, 0::2], both[:, 1::2] = self.edge_index, self.edge_index[::-1]
        return both


def planted_graph(
    name: str, *, scale: float = 1.0, seed: int = 0, planted: Planted | None = None
) -> PlantedGraph:
    """A graph of the size and kind of OGB's data set ``name``, made without touching the disk.

    name: ogbn-arxiv, ogbn-products, ogbn-proteins or ogbn-mag (its papers and their citations).
    scale: 1.0 has the published numbers of nodes and edges. seed: the same one gives the same
    arrays. planted: other parameters than the data set's own (not for proteins).
    Raises InputError for an unknown name, a scale that is not above 0, a seed that is no whole
    number or below 0, impossible parameters.
    """
    facts = scaled(facts_of(name), scale)
    check_seed(seed)
    if name == "ogbn-proteins":
        from gat.data.synthetic.proteins import planted_proteins

        if planted is not None:
            raise InputError("ogbn-proteins is planted in another way; leave planted out")
        return planted_proteins(name, facts, scale, seed)
    planted = planted or DEFAULTS[name]
    rng = [np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(3)]
    blocks = _blocks(facts, planted, rng[0])
    edges = unique_pairs(
        lambda count: _draw(blocks, planted, facts.classes, count, rng[0]),
        facts.edges,
        facts.nodes,
        None,
        rng[0],
    )
    block = blocks.block_of_node()
    y = block % facts.classes
    x = _features(y, block >= facts.classes, facts, planted, rng[1])
    age = order_of_nodes(blocks.rank_of_node(), rng[2])
    parts = parts_of(age, facts)
    columns = {"node_year": _years(parts, facts.nodes)} if "node_year" in facts.node_files else {}
    if facts.directed:
        edges = newer_to_older(edges, age, rng[2])
    return PlantedGraph(
        name, scale, seed, facts, asdict(planted), edges, x, y.astype(np.int64), parts, columns
    )


def _blocks(facts: Facts, planted: Planted, rng: Generator) -> Blocks:
    """Block k < K: class k's usual nodes; K + k: its general nodes."""
    sizes = whole_shares(facts.nodes, rank_shares(facts.classes))
    general = np.floor(planted.general_nodes * sizes).astype(np.int64)
    sizes = np.concatenate([sizes - general, general])
    largest = int(sizes.max())
    law = degree_law(planted.exponent, facts.mean_degree, facts.largest_degree, largest)
    return Blocks(sizes, law, rng)


def whole_shares(total: int, shares: np.ndarray) -> np.ndarray:
    """Whole numbers of sum ``total``, as near to its shares as that allows."""
    return np.diff(np.rint(np.cumsum(shares) * total).astype(np.int64), prepend=0)


def _draw(blocks: Blocks, planted: Planted, classes: int, count: int, rng: Generator) -> Ends:
    """The ends of ``count`` edges: of one class, from a general node, or any."""
    usual = int(blocks.starts[classes])
    general = planted.general if usual < blocks.nodes else 0.0
    same, from_general, rest = rng.multinomial(
        count, [planted.same, general, 1.0 - planted.same - general]
    )
    one = [blocks.any_block(rng, same, 0, usual)]
    two = [one[0]]
    if from_general:
        one.append(blocks.any_block(rng, from_general, usual, blocks.nodes))
        two.append(blocks.any_block(rng, from_general))
    one.append(blocks.any_block(rng, rest))
    two.append(blocks.any_block(rng, rest))
    return blocks.pick(rng, np.concatenate(one)), blocks.pick(rng, np.concatenate(two))


def _features(
    y: np.ndarray, general: np.ndarray, facts: Facts, planted: Planted, rng: Generator
) -> np.ndarray:
    """float32 [N, F] of six decimals: topic, mark and noise in few directions, mixed into F."""
    centres = rng.standard_normal((facts.classes, LATENT - 1), dtype=np.float32)
    centres *= planted.signal / np.linalg.norm(centres, axis=1, keepdims=True)
    mixing = rng.standard_normal((LATENT, facts.features), dtype=np.float32) / LATENT**0.5
    off_topic = rng.random(facts.nodes, dtype=np.float32) >= planted.on_topic
    topic = y.copy()
    # Another node's class: off-topic features occur as often as the classes do.
    topic[off_topic] = rng.choice(y, int(off_topic.sum()))
    x = np.empty((facts.nodes, facts.features), dtype=np.float32)
    for start in range(0, facts.nodes, ROWS):
        rows = slice(start, start + ROWS)
        hidden = rng.standard_normal((len(y[rows]), LATENT), dtype=np.float32)
        hidden[:, 1:] += centres[topic[rows]]
        hidden[:, 0] += planted.mark * (general[rows] - 0.5)
        noise = rng.standard_normal(x[rows].shape, dtype=np.float32)
        x[rows] = rounded(0.2 * (hidden @ mixing) + 0.05 * noise, 6)
    return x


def rounded(values: np.ndarray, decimals: int) -> np.ndarray:
    """float32 nearest to so many decimals: what a file with these decimals reads back as."""
    return (np.rint(values.astype(np.float64) * 10**decimals) / 10**decimals).astype(np.float32)


def order_of_nodes(rank: np.ndarray, rng: Generator) -> np.ndarray:
    """A random key [N] to sort by, small for hubs: what is known widely is old, and sells well."""
    return rng.random(len(rank)) * np.minimum(1.0, 20.0 * rank + 0.2)


def parts_of(key: np.ndarray, facts: Facts) -> dict[str, np.ndarray]:
    """Train, valid, test: the nodes in the order of ``key``, cut into the three sizes."""
    train, valid, _ = facts.parts
    first, second, third = np.split(np.argsort(key, kind="stable"), [train, train + valid])
    return {"train": np.sort(first), "valid": np.sort(second), "test": np.sort(third)}


def _years(parts: dict[str, np.ndarray], nodes: int) -> np.ndarray:
    """int64 [N]: until 2017 train, 2018 valid, since 2019 test."""
    years = np.empty(nodes, dtype=np.int64)
    for part, (first, last) in {"train": (2008, 2017), "valid": (2018, 2018)}.items():
        years[parts[part]] = first + np.arange(len(parts[part])) % (last - first + 1)
    years[parts["test"]] = 2019
    return years


def newer_to_older(edges: np.ndarray, age: np.ndarray, rng: Generator) -> np.ndarray:
    """Each pair from the node of the greater key to the other, in random order: citations."""
    edges = edges[:, rng.permutation(edges.shape[1])]
    swap = age[edges[0]] < age[edges[1]]
    return np.where(swap, edges[::-1], edges)
