"""What Open Graph Benchmark publishes about the data sets that have replicas, and its words for it.

The numbers are from OGB's paper (Hu et al. 2020, arXiv:2005.00687, tables 2 to 4) and its site;
the greatest degrees are of the graphs with both directions of every edge.
"""

import math
from dataclasses import dataclass
from numbers import Integral, Real

from gat.errors import InputError

__all__ = ["NAMES", "Facts", "check_scale", "check_seed", "facts_of", "meta_of", "scaled"]

# No graph gets denser than this share of all pairs, however small it is made.
DENSEST = 0.04
LEAST_NODES = 60
# Fewer nodes a class, and there are fewer classes.
NODES_PER_CLASS = 40


@dataclass(frozen=True)
class Facts:
    """Sizes of a data set. ``edges`` as stored: each undirected edge once.

    split: name of the split's folder, with the numbers of nodes of train, valid and test.
    largest_degree: of any node. node_files, edge_files: columns stored beside the features.
    """

    nodes: int
    edges: int
    classes: int
    features: int
    parts: tuple[int, int, int]
    split: str
    largest_degree: int
    directed: bool
    edge_features: int = 0
    multilabel: bool = False
    version: int = 1
    node_files: tuple[str, ...] = ()
    edge_files: tuple[str, ...] = ()
    heterogeneous: bool = False

    @property
    def metric(self) -> str:
        return "roc-auc" if self.multilabel else "accuracy"

    @property
    def mean_degree(self) -> float:
        return 2 * self.edges / self.nodes


PUBLISHED = {
    "ogbn-arxiv": Facts(
        nodes=169_343,
        edges=1_166_243,
        classes=40,
        features=128,
        parts=(90_941, 29_799, 48_603),
        split="time",
        largest_degree=13_161,
        directed=True,
        node_files=("node_year",),
    ),
    "ogbn-products": Facts(
        nodes=2_449_029,
        edges=61_859_140,
        classes=47,
        features=100,
        parts=(196_615, 39_323, 2_213_091),
        split="sales_ranking",
        largest_degree=17_481,
        directed=False,
    ),
    "ogbn-proteins": Facts(
        nodes=132_534,
        edges=39_561_252,
        classes=112,
        features=0,
        edge_features=8,
        parts=(86_619, 21_236, 24_679),
        split="species",
        largest_degree=7_750,
        directed=False,
        multilabel=True,
        node_files=("node_species",),
    ),
    # Papers and their citations; the other kinds of nodes stand in mag.py. OGB does not publish
    # the greatest degree: this one is a guess.
    "ogbn-mag": Facts(
        nodes=736_389,
        edges=5_416_271,
        classes=349,
        features=128,
        parts=(629_571, 64_879, 41_939),
        split="time",
        largest_degree=10_000,
        directed=True,
        version=2,
        node_files=("node_year",),
        edge_files=("edge_reltype",),
        heterogeneous=True,
    ),
}
NAMES = tuple(PUBLISHED)


def facts_of(name: str) -> Facts:
    """The published facts; InputError for a data set that has no replica."""
    if name not in PUBLISHED:
        raise InputError(f"there is no replica of {name!r}; there are those of {', '.join(NAMES)}")
    return PUBLISHED[name]


def check_scale(scale: float) -> None:
    """InputError unless it is a number above 0."""
    number = isinstance(scale, Real) and not isinstance(scale, bool)
    if not (number and math.isfinite(scale) and scale > 0):
        raise InputError(f"scale must be a number above 0, got {scale!r}; 1 is the published size")


def check_seed(seed: int) -> None:
    """InputError unless it is a whole number, 0 or above."""
    if not isinstance(seed, Integral) or isinstance(seed, bool) or seed < 0:
        raise InputError(f"seed must be a whole number, 0 or above; got {seed!r}")


def scaled(facts: Facts, scale: float) -> Facts:
    """The facts of a replica with ``scale`` times as many nodes and edges.

    Small ones have fewer classes and, where they would be too dense, fewer edges; the greatest
    degree shrinks with the square root of the scale.
    """
    check_scale(scale)
    nodes = max(round(scale * facts.nodes), LEAST_NODES)
    edges = min(round(facts.edges * nodes / facts.nodes), int(DENSEST * nodes * nodes / 2))
    classes = facts.classes
    if not facts.multilabel:
        classes = min(classes, max(2, nodes // NODES_PER_CLASS))
    train, valid = (round(nodes * part / facts.nodes) for part in facts.parts[:2])
    largest = min(facts.largest_degree * math.sqrt(nodes / facts.nodes), 0.08 * nodes)
    changed = {
        "nodes": nodes,
        "edges": edges,
        "classes": classes,
        "parts": (train, valid, nodes - train - valid),
        "largest_degree": round(max(largest, 4 * edges / nodes)),
    }
    return Facts(**{**facts.__dict__, **changed})


def meta_of(name: str, facts: Facts, *, binary: bool) -> dict[str, str]:
    """What ogb's ``meta_dict`` must say to read a replica, but for its ``dir_path``.

    OGB's binary files hold both directions already, so there it must add none.
    """
    kind = "binary" if facts.multilabel else "multiclass"
    return {
        "num tasks": str(facts.classes if facts.multilabel else 1),
        "num classes": str(2 if facts.multilabel else facts.classes),
        "eval metric": "rocauc" if facts.multilabel else "acc",
        "task type": f"{kind} classification",
        "download_name": name.removeprefix("ogbn-"),
        "version": str(facts.version),
        # A replica is downloaded from nowhere.
        "url": "",
        "add_inverse_edge": str(not facts.directed and not binary),
        "has_node_attr": str(facts.features > 0),
        "has_edge_attr": str(facts.edge_features > 0),
        "split": facts.split,
        "additional node files": ",".join(facts.node_files) or "None",
        "additional edge files": ",".join(facts.edge_files) or "None",
        "is hetero": str(facts.heterogeneous),
        "binary": str(binary),
    }
