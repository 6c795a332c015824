"""Replicas on disk, in OGB's own raw layout: what ``ogb`` unpacks before it makes its cache."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from gat._version import __version__
from gat.data.synthetic import mapping
from gat.data.synthetic.facts import Facts, check_scale, check_seed, facts_of, meta_of
from gat.data.synthetic.mag import Heterograph, planted_mag
from gat.data.synthetic.planted import Planted, PlantedGraph, planted_graph
from gat.data.synthetic.tables import write_numbers, write_text
from gat.errors import InputError

__all__ = ["Format", "replica_toml", "write_aside", "write_replica"]

Format = Literal["csv", "binary"]
README = """A replica, not the real data: {name} at scale {scale:g}, seed {seed}, made by
gat.data.synthetic of the Python package graph-attention. Sizes, files and columns are those of the
Open Graph Benchmark; the graph, the features and the labels are random with planted structure, and
the names in the folder mapping are made up. Scores on it say nothing about the real data set.
"""


def write_replica(
    name: str,
    root: str | Path,
    *,
    scale: float = 1.0,
    seed: int = 0,
    format: Format = "csv",
    planted: Planted | None = None,
) -> Path:
    """Write a replica of OGB's data set ``name`` and return its folder, ROOT/ogbn_NAME.

    name, scale, seed, planted: as ``planted_graph``. format: "csv" is what OGB offers of these
    data sets and reads without further words; "binary" is its quicker format, read with the
    ``meta_dict`` that replica.toml holds (``dir_path`` is the folder). The folder appears when all
    of it is written. Raises InputError where it exists already, and as ``planted_graph``.
    """
    facts = facts_of(name)
    check_scale(scale)
    check_seed(seed)
    if format not in get_args(Format):
        known = " or ".join(repr(known) for known in get_args(Format))
        raise InputError(f"format must be {known}, got {format!r}")
    options: dict[str, Any] = {"scale": scale, "seed": seed, "planted": planted}

    def write(folder: Path) -> None:
        if facts.heterogeneous:
            made = planted_mag(**options)
            _write_hetero(folder, made, format)
            _write_facts(folder, made.papers, format)
        else:
            graph = planted_graph(name, **options)
            _write_graph(folder, graph, format)
            _write_facts(folder, graph, format)

    return write_aside(Path(root) / name.replace("-", "_"), write)


def write_aside(folder: Path, write: Callable[[Path], None]) -> Path:
    """``folder``, filled by ``write`` under another name first; InputError where it exists."""
    folder = folder.expanduser()
    if os.path.lexists(folder):
        raise _exists(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.part-", dir=folder.parent))
    try:
        # mkdtemp's folder is the owner's alone; the one inside has the usual rights.
        part = aside / folder.name
        part.mkdir()
        write(part)
        try:
            part.rename(folder)
        except OSError as error:
            # Another process may have written it meanwhile.
            raise (_exists(folder) if os.path.lexists(folder) else error) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _exists(folder: Path) -> InputError:
    return InputError(
        f"{folder} exists already, and a replica never replaces data; delete it or choose "
        "another root"
    )


def _write_graph(folder: Path, graph: PlantedGraph, format: Format) -> None:
    (_csv_files if format == "csv" else _binary_files)(folder / "raw", graph)
    _split(folder / "split" / graph.facts.split, graph.parts)
    mapping.write(folder / "mapping", graph)


def _write_hetero(folder: Path, made: Heterograph, format: Format) -> None:
    (_csv_hetero if format == "csv" else _binary_hetero)(folder / "raw", made)
    split = folder / "split" / made.papers.facts.split
    _flags(split / "nodetype-has-split.csv.gz", made)
    _split(split / "paper", made.papers.parts)
    mapping.write_hetero(folder / "mapping", made)


def _csv_files(raw: Path, graph: PlantedGraph) -> None:
    write_numbers(raw / "edge.csv.gz", graph.edge_index.T)
    write_numbers(raw / "num-node-list.csv.gz", np.array([graph.num_nodes]))
    write_numbers(raw / "num-edge-list.csv.gz", np.array([graph.num_edges]))
    write_numbers(raw / "node-label.csv.gz", graph.y.astype(np.int64))
    if graph.x is not None:
        write_numbers(raw / "node-feat.csv.gz", graph.x)
    if graph.edge_attr is not None:
        write_numbers(raw / "edge-feat.csv.gz", graph.edge_attr, decimals=3)
    for key, column in graph.columns.items():
        write_numbers(raw / f"{key}.csv.gz", column)


def _binary_files(raw: Path, graph: PlantedGraph) -> None:
    """Both directions of undirected edges are in the file: ogb adds none to this format."""
    edges, attr = graph.edge_index, graph.edge_attr
    if not graph.facts.directed:
        edges = graph.both_directions()
        attr = None if attr is None else np.repeat(attr, 2, axis=0)
    arrays = {
        "edge_index": edges.astype(np.int64),
        "num_nodes_list": np.array([graph.num_nodes]),
        "num_edges_list": np.array([edges.shape[1]]),
        **{key: column[:, None] for key, column in graph.columns.items()},
    }
    features = {"node_feat": graph.x, "edge_feat": attr}
    arrays |= {key: table for key, table in features.items() if table is not None}
    _save(raw / "data.npz", arrays)
    labels = graph.y.reshape(graph.num_nodes, -1).astype(np.int64)
    _save(raw / "node-label.npz", {"node_label": labels})


def _save(path: Path, arrays: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def _split(folder: Path, parts: dict[str, np.ndarray]) -> None:
    for part, nodes in parts.items():
        write_numbers(folder / f"{part}.csv.gz", nodes)


def _flags(path: Path, made: Heterograph) -> None:
    """A table of which kinds of nodes have something: only papers have."""
    kinds = list(made.num_nodes)
    write_text(path, [",".join(kinds), ",".join(str(kind == "paper") for kind in kinds)])


def _csv_hetero(raw: Path, made: Heterograph) -> None:
    kinds, papers = made.num_nodes, made.papers
    counts = [",".join(kinds), ",".join(str(count) for count in kinds.values())]
    write_text(raw / "num-node-dict.csv.gz", counts)
    write_text(raw / "triplet-type-list.csv.gz", [",".join(triplet) for triplet in made.edges])
    _flags(raw / "nodetype-has-feat.csv.gz", made)
    _flags(raw / "nodetype-has-label.csv.gz", made)
    for number, (triplet, edges) in enumerate(made.edges.items()):
        folder = raw / "relations" / "___".join(triplet)
        write_numbers(folder / "edge.csv.gz", edges.T)
        write_numbers(folder / "num-edge-list.csv.gz", np.array([edges.shape[1]]))
        write_numbers(folder / "edge_reltype.csv.gz", np.full(edges.shape[1], number))
    assert papers.x is not None, "papers have features"
    write_numbers(raw / "node-feat" / "paper" / "node-feat.csv.gz", papers.x)
    write_numbers(raw / "node-feat" / "paper" / "num-node-list.csv.gz", np.array([len(papers.y)]))
    write_numbers(raw / "node-feat" / "paper" / "node_year.csv.gz", papers.columns["node_year"])
    write_numbers(raw / "node-label" / "paper" / "node-label.csv.gz", papers.y)


def _binary_hetero(raw: Path, made: Heterograph) -> None:
    papers = made.papers
    edges = {"___".join(triplet): pairs for triplet, pairs in made.edges.items()}
    arrays: dict[str, dict[str, Any]] = {
        "num_nodes_dict": {kind: np.array([count]) for kind, count in made.num_nodes.items()},
        "num_edges_dict": {key: np.array([pairs.shape[1]]) for key, pairs in edges.items()},
        "edge_index_dict": {key: pairs.astype(np.int64) for key, pairs in edges.items()},
        "edge_reltype": {
            key: np.full((pairs.shape[1], 1), number)
            for number, (key, pairs) in enumerate(edges.items())
        },
        "node_feat_dict": {"paper": papers.x},
        "node_year": {"paper": papers.columns["node_year"][:, None]},
        "node-label": {"paper": papers.y[:, None]},
    }
    for file, by_kind in arrays.items():
        _save(raw / f"{file}.npz", by_kind)


def _write_facts(folder: Path, graph: PlantedGraph, format: Format) -> None:
    (folder / f"RELEASE_v{graph.facts.version}.txt").write_text("")
    (folder / "README.md").write_text(README.format(**vars(graph)))
    facts: Facts = graph.facts
    values: dict[str, Any] = {
        "dataset": graph.name,
        "scale": float(graph.scale),
        "seed": graph.seed,
        "format": format,
        "nodes": graph.num_nodes,
        "edges": graph.num_edges,
        "directed": facts.directed,
        "features": facts.features,
        "edge_features": facts.edge_features,
        "classes": facts.classes,
        "multilabel": facts.multilabel,
        "metric": facts.metric,
        "split": facts.split,
        "written_by": f"graph-attention {__version__}",
        "parts": {part: len(nodes) for part, nodes in graph.parts.items()},
        "planted": graph.planted,
        "meta_dict": meta_of(graph.name, facts, binary=format == "binary"),
    }
    (folder / "replica.toml").write_text(replica_toml(values))


def replica_toml(values: dict[str, Any]) -> str:
    """TOML of plain values, then of tables of plain values."""
    lines = [f"{key} = {_toml(v)}" for key, v in values.items() if not isinstance(v, dict)]
    for name, table in values.items():
        if isinstance(table, dict):
            lines += ["", f"[{name}]"] + [f'"{key}" = {_toml(v)}' for key, v in table.items()]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    # numpy's numbers would write themselves as np.int64(5).
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool):
        return str(value).lower()
    # Our strings hold neither quotes nor backslashes.
    return f'"{value}"' if isinstance(value, str) else repr(value)
