"""Tiny folders in OGB's own layout, written by hand: what ogb reads, without gat's own writer."""

import gzip
from pathlib import Path

import numpy as np

SPLITS = {"ogbn-arxiv": "time", "ogbn-products": "sales_ranking", "ogbn-proteins": "species"}
RELATIONS = {
    ("author", "affiliated_with", "institution"): [[0, 0], [1, 0], [2, 1]],
    ("author", "writes", "paper"): [[0, 0], [0, 1], [1, 2], [2, 5]],
    ("paper", "cites", "paper"): [[1, 0], [2, 0], [5, 4], [2, 1], [0, 3]],
    ("paper", "has_topic", "field_of_study"): [[0, 1], [5, 0]],
}
SIZES = {"author": 3, "field_of_study": 2, "institution": 2, "paper": 6}


def table(path: Path, rows) -> None:
    """Rows of numbers or words as csv.gz, without a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(map(str, np.atleast_1d(row).tolist())) for row in rows]
    with gzip.open(path, "wt") as stream:
        stream.write("".join(f"{line}\n" for line in lines))


def write_ogb(
    root: Path,
    name: str = "ogbn-arxiv",
    *,
    nodes: int = 6,
    edges=((1, 0), (2, 0), (5, 4), (2, 1), (0, 3)),
    x=None,
    y=None,
    edge_attr=None,
    split=((0, 1), (2, 3), (4, 5)),
    replica: str | None = "scale = 0.01\nclasses = 2\nnodes = 6\n",
    binary: bool = False,
) -> Path:
    """A folder of ``name`` below ``root``: by default a replica of six nodes and five edges.

    ogbn-proteins gets edge_attr [E, 8] and y [N, 112], the others x [N, 4] and y [N, 1].
    """
    folder = root / name.replace("-", "_")
    proteins = name == "ogbn-proteins"
    edges = np.asarray(edges, dtype=np.int64).reshape(-1, 2)
    if y is None:
        many = np.arange(nodes * 112).reshape(nodes, 112) % 2
        y = many if proteins else np.arange(nodes)[:, None] % 2
    if x is None and not proteins:
        x = np.arange(nodes * 4, dtype=np.float32).reshape(nodes, 4) / 8
    if edge_attr is None and proteins:
        edge_attr = np.arange(len(edges) * 8).reshape(-1, 8) / 16 + 0.5
    raw = folder / "raw"
    raw.mkdir(parents=True)
    if binary:
        _binary(raw, nodes, edges, x, y, edge_attr)
    else:
        features = {"node-feat": x, "edge-feat": edge_attr, "node-label": y, "edge": edges}
        features |= {"num-node-list": [nodes], "num-edge-list": [len(edges)]}
        for file, rows in features.items():
            if rows is not None:
                table(raw / f"{file}.csv.gz", rows)
    for part, numbers in zip(("train", "valid", "test"), split, strict=True):
        table(folder / "split" / SPLITS[name] / f"{part}.csv.gz", numbers)
    return finished(folder, name, 1, replica)


def finished(folder: Path, name: str, version: int, replica: str | None) -> Path:
    (folder / f"RELEASE_v{version}.txt").touch()
    if replica is not None:
        (folder / "replica.toml").write_text(f'dataset = "{name}"\n{replica}')
    return folder


def _binary(raw: Path, nodes: int, edges, x, y, edge_attr) -> None:
    arrays = {"node_feat": x, "edge_feat": edge_attr}
    np.savez_compressed(
        raw / "data.npz",
        edge_index=edges.T,
        num_nodes_list=np.array([nodes]),
        num_edges_list=np.array([len(edges)]),
        **{
            key: np.asarray(value, np.float32) for key, value in arrays.items() if value is not None
        },
    )
    np.savez_compressed(raw / "node-label.npz", node_label=y)


def write_mag(root: Path, *, binary: bool = False) -> Path:
    """A replica of ogbn-mag: 6 papers, 3 authors, 2 institutions, 2 fields of study."""
    folder = root / "ogbn_mag"
    raw = folder / "raw"
    papers = SIZES["paper"]
    x = np.arange(papers * 4, dtype=np.float32).reshape(papers, 4)
    y, year = np.arange(papers)[:, None] % 3, np.arange(papers)[:, None] + 2014
    if binary:
        raw.mkdir(parents=True)
        edges = {"___".join(key): np.array(rows).T for key, rows in RELATIONS.items()}
        np.savez(raw / "edge_index_dict.npz", **edges)
        counts = {key: np.array([value.shape[1]]) for key, value in edges.items()}
        np.savez(raw / "num_edges_dict.npz", **counts)
        sizes = {key: np.array([size]) for key, size in SIZES.items()}
        np.savez(raw / "num_nodes_dict.npz", **sizes)
        np.savez(raw / "node_feat_dict.npz", paper=x)
        np.savez(raw / "node_year.npz", paper=year)
        np.savez(raw / "node-label.npz", paper=y)
    else:
        table(raw / "num-node-dict.csv.gz", [list(SIZES), list(SIZES.values())])
        table(raw / "triplet-type-list.csv.gz", [list(key) for key in RELATIONS])
        table(raw / "nodetype-has-label.csv.gz", [list(SIZES), [kind == "paper" for kind in SIZES]])
        table(raw / "node-label" / "paper" / "node-label.csv.gz", y)
        table(raw / "node-feat" / "paper" / "node-feat.csv.gz", x)
        table(raw / "node-feat" / "paper" / "node_year.csv.gz", year)
        for key, rows in RELATIONS.items():
            place = raw / "relations" / "___".join(key)
            table(place / "edge.csv.gz", rows)
            table(place / "num-edge-list.csv.gz", [len(rows)])
    split = folder / "split" / "time"
    table(split / "nodetype-has-split.csv.gz", [list(SIZES), [kind == "paper" for kind in SIZES]])
    for part, numbers in zip(("train", "valid", "test"), ([0, 1], [2, 3], [4, 5]), strict=True):
        table(split / "paper" / f"{part}.csv.gz", numbers)
    return finished(folder, "ogbn-mag", 2, "scale = 0.5\nclasses = 3\n")
