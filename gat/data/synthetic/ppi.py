"""A replica of PPI in the raw files that torch_geometric.datasets.PPI reads: 24 planted graphs."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from gat._version import __version__
from gat.data.synthetic.blocks import Blocks, Ends, degree_law, rank_shares, unique_pairs
from gat.data.synthetic.facts import check_scale, check_seed
from gat.data.synthetic.planted import rounded, whole_shares
from gat.data.synthetic.replica import replica_toml, write_aside

__all__ = ["write_ppi"]

GRAPHS = {"train": 20, "valid": 2, "test": 2}
NODES = 56_944
FEATURES = 50
LABELS = 121
LEAST_NODES = 30
MEAN_DEGREE = 28.0
PLANTED = {
    "groups": 12,
    "same": 0.4,
    "signal": 2.0,
    "likely": 0.8,
    "unlikely": 0.1,
    "exponent": 2.8,
}


@dataclass(frozen=True)
class Part:
    """Graphs joined into one: nodes are numbered through, ``number`` [N] tells whose they are."""

    edges: np.ndarray
    x: np.ndarray
    y: np.ndarray
    number: np.ndarray


def write_ppi(root: str | Path, *, scale: float = 0.05, seed: int = 0) -> Path:
    """Write a replica of PPI and return its folder, ROOT/PPI, with its files in ``raw``.

    scale: 1.0 has some 57,000 nodes in its 24 graphs, and as many edges a node as PPI. Nodes belong
    to hidden groups, the same ones in all graphs; features tell the group vaguely, and neighbours
    are often of the same group. Raises InputError for a scale not above 0, a seed that is no whole
    number or below 0, a folder that exists.
    """
    check_scale(scale)
    check_seed(seed)
    nodes = max(LEAST_NODES, round(scale * NODES / sum(GRAPHS.values())))

    def write(folder: Path) -> None:
        (folder / "raw").mkdir()
        rng = np.random.default_rng(seed)
        centres = rng.standard_normal((int(PLANTED["groups"]), FEATURES))
        centres *= PLANTED["signal"] / np.linalg.norm(centres, axis=1, keepdims=True)
        chances = _chances(rng)
        first, edges = 1, 0
        for name, graphs in GRAPHS.items():
            part = _join([_graph(nodes, centres, chances, rng) for _ in range(graphs)], first)
            _write_part(folder / "raw", name, part)
            first += graphs
            edges += part.edges.shape[1]
        (folder / "replica.toml").write_text(_facts(scale, seed, nodes, edges))

    return write_aside(Path(root) / "PPI", write)


def _chances(rng: Generator) -> np.ndarray:
    """How likely each group [G] has each label [K]."""
    likely = rng.random((int(PLANTED["groups"]), LABELS)) < 0.35
    return np.where(likely, PLANTED["likely"], PLANTED["unlikely"])


def _graph(nodes: int, centres: np.ndarray, chances: np.ndarray, rng: Generator) -> Part:
    mean = min(MEAN_DEGREE, 0.15 * nodes)
    sizes = whole_shares(nodes, rank_shares(len(centres), 8.0))
    law = degree_law(PLANTED["exponent"], mean, 0.3 * nodes, int(sizes.max()))
    blocks = Blocks(sizes, law, rng)
    group = blocks.block_of_node()

    def draw(count: int) -> Ends:
        one, two = blocks.any_block(rng, count), blocks.any_block(rng, count)
        same = rng.random(count) < PLANTED["same"]
        two[same] = one[same]
        return blocks.pick(rng, one), blocks.pick(rng, two)

    edges = unique_pairs(draw, round(mean * nodes / 2), nodes, None, rng)
    # PyG numbers a graph's nodes from the first that has an edge; so each one has.
    alone = np.setdiff1d(np.arange(nodes, dtype=np.int32), edges)
    edges = np.concatenate([edges, np.stack([alone, (alone + 1) % nodes])], axis=1)
    x = rounded(centres[group] + rng.standard_normal((nodes, FEATURES)), 6)
    y = (rng.random((nodes, LABELS)) < chances[group]).astype(np.int64)
    return Part(edges, x, y, np.zeros(nodes, dtype=np.int64))


def _join(graphs: list[Part], first: int) -> Part:
    starts = np.cumsum([0] + [len(graph.x) for graph in graphs])
    edges = [graph.edges + start for graph, start in zip(graphs, starts[:-1], strict=True)]
    return Part(
        np.concatenate(edges, axis=1),
        np.concatenate([graph.x for graph in graphs]),
        np.concatenate([graph.y for graph in graphs]),
        np.concatenate([graph.number + first + at for at, graph in enumerate(graphs)]),
    )


def _write_part(raw: Path, name: str, part: Part) -> None:
    content = {
        "directed": False,
        "multigraph": False,
        "graph": {},
        "nodes": [{"id": node} for node in range(len(part.x))],
        "links": [{"source": one, "target": two} for one, two in part.edges.T.tolist()],
    }
    (raw / f"{name}_graph.json").write_text(json.dumps(content))
    np.save(raw / f"{name}_graph_id.npy", part.number)
    np.save(raw / f"{name}_feats.npy", part.x)
    np.save(raw / f"{name}_labels.npy", part.y)


def _facts(scale: float, seed: int, nodes: int, edges: int) -> str:
    graphs = sum(GRAPHS.values())
    return replica_toml(
        {
            "dataset": "ppi",
            "scale": float(scale),
            "seed": seed,
            "graphs": graphs,
            "nodes": graphs * nodes,
            "edges": edges,
            "directed": False,
            "features": FEATURES,
            "classes": LABELS,
            "multilabel": True,
            "metric": "micro-f1",
            "written_by": f"graph-attention {__version__}",
            "planted": PLANTED,
        }
    )
