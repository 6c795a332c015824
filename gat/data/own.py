"""Graphs of one's own: CSV tables, npz files and GraphML become a NodeTask.

The task's ``notes`` say what was done: which columns became features and how, which rows were
dropped, how the split was made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from gat.data import columns as encode
from gat.data.edges import simple_edges
from gat.data.splits import Masks, fraction_splits
from gat.data.tables import Table, check_ids, read_table
from gat.data.task import NodeTask, TaskGraph
from gat.errors import InputError

__all__ = ["from_files"]

PICKLES = (".gpickle", ".pkl", ".pickle", ".p", ".pt", ".pth", ".joblib")
PARTS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "test": 2, "": 3}
SHOWN = 5
# Up to this many nodes a graph without feature columns gets one-hot node numbers.
IDENTITY = 10_000


@dataclass(frozen=True)
class Options:
    """What ``from_files`` was asked for; see there."""

    label: str | None
    id: str | None
    source: str | None
    target: str | None
    split: str | None
    features: Sequence[str] | None
    ignore: Sequence[str]
    categorical: Sequence[str]
    standardize: bool
    directed: bool
    unknown: Literal["error", "drop"]
    train: float
    val: float
    splits: int
    seed: int


def from_files(
    edges: str | Path,
    nodes: str | Path | None = None,
    label: str | None = None,
    *,
    id: str | None = None,
    source: str | None = None,
    target: str | None = None,
    split: str | None = None,
    features: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    categorical: Sequence[str] = (),
    standardize: bool = False,
    directed: bool = False,
    unknown: Literal["error", "drop"] = "error",
    train: float = 0.6,
    val: float = 0.2,
    splits: int = 1,
    seed: int = 0,
    name: str | None = None,
    allow_overlap: bool = False,
    check_finite: bool = True,
) -> NodeTask:
    """A validated NodeTask from files.

    edges: a CSV/TSV file with the two ends of each edge, or one .npz or .graphml file that holds
      everything. nodes: a CSV file with a header, one row per node (CSV edges only).
    label: the column (GraphML: attribute) with the class; an empty cell means unlabelled.
    id, source, target: columns with node ids, any text; by default the nodes file's column "id"
      or else its first, and the edges file's first two. Weights on edges are not read.
    split: a column with train, val or test; without it ``splits`` stratified random splits are
      drawn from ``seed``: ``train`` and ``val`` are fractions of the labelled nodes, the rest test.
    features: columns to use, by default all but id, label, split and those in ``ignore``.
    categorical: columns to read as texts even if they look like numbers.
    standardize: scale numeric features to mean 0 and deviation 1.
    directed: keep the direction (from source to target); otherwise edges go both ways.
    unknown: what to do with edges that name a node missing from ``nodes``: "error" or "drop".
    allow_overlap, check_finite: see ``NodeTask.validate``; for masks and features from npz.
    Raises InputError with file and line for what cannot be read, CorruptDataError for a bad npz.
    """
    if unknown not in ("error", "drop"):
        raise InputError(f"unknown={unknown!r} is not an option; use 'error' or 'drop'")
    options = Options(
        label, id, source, target, split, features, ignore, categorical, standardize, directed,
        unknown, train, val, splits, seed,
    )  # fmt: skip
    edges = _checked(edges)
    if edges.suffix.lower() in (".npz", ".graphml"):
        if nodes is not None:
            raise InputError(f"{edges} holds nodes and edges; give no nodes file with it")
        from gat.data import own_formats

        read = own_formats.READERS[edges.suffix.lower()]
        task = read(edges, options, name or edges.stem)
        return task.validate(allow_overlap=allow_overlap, check_finite=check_finite)
    if nodes is None:
        raise InputError(
            f"the edges in {edges} need a nodes file (nodes=, --nodes) with features and labels: "
            "a CSV file with a header and one row per node"
        )
    node_table = read_table(_checked(nodes), header=True)
    edge_table = read_table(edges)
    return from_tables(node_table, edge_table, options, name or edges.stem).validate()


def _checked(path: str | Path) -> Path:
    path = Path(path).expanduser()
    if path.suffix.lower() in PICKLES:
        raise InputError(
            f"{path} is refused: reading a pickle runs whatever is in it. Write the graph as "
            "GraphML instead, networkx.write_graphml(graph, 'graph.graphml'), and pass that file."
        )
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    return path


def from_tables(nodes: Table, edges: Table, options: Options, name: str) -> NodeTask:
    """A task from a table of nodes and one of edges (not yet validated)."""
    notes: list[str] = []
    id_column = options.id or ("id" if "id" in nodes.header else nodes.header[0])
    names = check_ids(nodes, nodes.position(id_column, "id"))
    number: dict[str, int] = {}
    for row, node in enumerate(names):
        if number.setdefault(node, row) != row:
            raise InputError(
                f"{nodes.where(row)}: the node id {node!r} was given before "
                f"({nodes.where(number[node])}); ids must be unique"
            )
    label = _label_column(nodes, options, id_column)
    y, class_names = encode.labels(nodes, label)
    x = _features(nodes, options, {id_column, label, options.split}, notes)
    ends = _ends(edges, number, nodes.source, options, notes)
    edge_index = simple_edges(ends, undirected=not options.directed, keep_loops=True)
    _note_edges(ends.shape[1], int(edge_index.shape[1]), options.directed, notes)
    train, val, test = _masks(nodes, y, options, notes)
    graph = TaskGraph(edge_index, torch.from_numpy(x), torch.from_numpy(y), train, val, test)
    graph.node_ids = tuple(names)
    return NodeTask(name, (graph,), len(class_names), class_names=class_names, notes=tuple(notes))


def _label_column(nodes: Table, options: Options, id_column: str) -> str:
    if options.label:
        nodes.position(options.label, "label")
        if options.label == id_column:
            raise InputError(f"{nodes.source}: column {id_column!r} cannot be both id and label")
        return options.label
    if "label" in nodes.header:
        return "label"
    raise InputError(
        f"which column of {nodes.source} is the class? Name it with label= (--label); "
        f"the columns are {', '.join(nodes.header)}"
    )


def _features(
    nodes: Table, options: Options, taken: set[str | None], notes: list[str]
) -> np.ndarray:
    for column in [*options.ignore, *options.categorical]:
        nodes.position(column, "ignore or categorical")
    left_out = taken | set(options.ignore)
    chosen = options.features
    if chosen is None:
        chosen = [column for column in nodes.header if column not in left_out]
    elif options.label in chosen or options.split in chosen:
        raise InputError("features must not hold the label or the split column; that would leak")
    if chosen:
        x, said = encode.features(
            nodes, chosen, categorical=options.categorical, standardize=options.standardize
        )
        notes.extend(said)
        return x
    if len(nodes.rows) > IDENTITY:
        raise InputError(
            f"{nodes.source} has no feature columns, and {len(nodes.rows)} nodes are too many for "
            f"one-hot node numbers (at most {IDENTITY}); add a column of features"
        )
    notes.append("no feature columns: features are one-hot node numbers")
    return np.eye(len(nodes.rows), dtype=np.float32)


def _ends(
    edges: Table, number: dict[str, int], nodes_source: str, options: Options, notes: list[str]
) -> np.ndarray:
    """Node numbers int64 [2, E] of the edges' ends, unknown ones refused or dropped."""
    if len(edges.header) < 2:
        raise InputError(
            f"{edges.source} has one column ({edges.header[0]}); an edge needs two, separated "
            "by commas (by tabs in a .tsv file)"
        )
    first = edges.position(options.source, "source") if options.source else 0
    second = edges.position(options.target, "target") if options.target else 1
    if first == second:
        raise InputError(f"{edges.source}: source and target are both {edges.header[first]!r}")
    in_file = bool(edges.places) and isinstance(edges.places[0], int)
    if in_file and edges.header[first] in number and edges.header[second] in number:
        raise InputError(
            f"{edges.source}: the first row names two nodes ({edges.header[first]}, "
            f"{edges.header[second]}), so the file seems to have no header; add one: source,target"
        )
    unread = [c for p, c in enumerate(edges.header) if p not in (first, second)]
    if unread:
        notes.append(f"columns of edges not used: {', '.join(unread)}")
    ends = [check_ids(edges, first), check_ids(edges, second)]
    unknown = [
        row for row in range(len(edges.rows)) if any(side[row] not in number for side in ends)
    ]
    if unknown and options.unknown == "error":
        raise InputError(_unknown_message(edges, ends, unknown, number, nodes_source))
    if unknown:
        notes.append(f"{len(unknown)} edges dropped that name a node not in {nodes_source}")
    kept = sorted(set(range(len(edges.rows))) - set(unknown))
    return np.array([[number[side[row]] for row in kept] for side in ends], dtype=np.int64)


def _unknown_message(
    edges: Table, ends: list[list[str]], rows: list[int], number: dict[str, int], source: str
) -> str:
    """The first five ids that are missing, each with the line of its edge."""
    first: dict[str, str] = {}
    for row in rows:
        for side in ends:
            if side[row] not in number:
                first.setdefault(side[row], edges.where(row).rpartition(", ")[2])
    shown = ", ".join(f"{node!r} ({where})" for node, where in list(first.items())[:SHOWN])
    more = f" and {len(first) - SHOWN} more" if len(first) > SHOWN else ""
    return (
        f"{edges.source}: {len(rows)} edges name nodes that are not in {source}: {shown}{more}. "
        "Add them, or drop these edges with unknown='drop'"
    )


def _note_edges(rows: int, columns: int, directed: bool, notes: list[str]) -> None:
    how = "as given" if directed else "in both directions"
    notes.append(f"{rows} rows of edges became {columns} edges, {how}, each once")


def _masks(nodes: Table, y: np.ndarray, options: Options, notes: list[str]) -> Masks:
    if not options.split:
        notes.append(
            f"stratified random split of the labelled nodes: {options.train:.0%} train, "
            f"{options.val:.0%} val, rest test; {options.splits} of them, seed {options.seed}"
        )
        return fraction_splits(
            y, train=options.train, val=options.val, splits=options.splits, seed=options.seed
        )
    position = nodes.position(options.split, "split")
    parts = np.full(len(y), 3)
    for row, cell in enumerate(nodes.cells(position)):
        if cell.lower() not in PARTS:
            raise InputError(
                f"{nodes.where(row)}: the split is {cell!r}; expected train, val, test or nothing"
            )
        parts[row] = PARTS[cell.lower()]
    # An unlabelled node can neither teach nor be scored, whatever its row says.
    silent = (y < 0) & (parts < 3)
    if silent.any():
        notes.append(f"{int(silent.sum())} unlabelled nodes taken out of the given split")
    parts[y < 0] = 3
    train, val, test = (torch.from_numpy(parts == part)[:, None] for part in range(3))
    return train, val, test
