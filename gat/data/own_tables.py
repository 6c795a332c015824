"""Tables of nodes and edges become a NodeTask: which column is what, and what was done with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from gat.data import columns as encode
from gat.data.edges import simple_edges
from gat.data.splits import Masks, fraction_splits
from gat.data.tables import Table, check_ids
from gat.data.task import NodeTask, TaskGraph
from gat.errors import InputError

__all__ = ["Options", "from_tables"]

PARTS = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "test": 2, "": 3}
SPLIT = "split"
# Names of the two ends of an edge, looked for in this order.
ENDS = (("source", "target"), ("src", "dst"), ("from", "to"))
SHOWN = 5
# Up to this many nodes a graph without feature columns gets one-hot node numbers.
IDENTITY = 10_000


@dataclass(frozen=True)
class Options:
    """What ``gat.data.from_files`` was asked for; see there."""

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
    split = _split_column(nodes, options, {id_column, label}, notes)
    taken = {id_column: "id", label: "label"} | ({split: "split"} if split else {})
    x = _features(nodes, options, taken, notes)
    ends = _ends(edges, number, nodes.source, options, notes)
    edge_index = simple_edges(ends, undirected=not options.directed, keep_loops=True)
    _note_edges(ends.shape[1], int(edge_index.shape[1]), options.directed, notes)
    train, val, test = _masks(nodes, y, split, options, notes)
    _note_untaught(y, train, len(class_names), notes)
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


def _split_column(nodes: Table, options: Options, taken: set[str], notes: list[str]) -> str | None:
    """The column with the split: the one asked for, or one called "split" that holds parts."""
    if options.split:
        return options.split
    meant_otherwise = {*taken, *options.ignore, *options.categorical}
    if SPLIT not in nodes.header or SPLIT in meant_otherwise:
        return None
    cells = nodes.cells(nodes.header.index(SPLIT))
    if not any(cells):
        return None
    strange = next((row for row, cell in enumerate(cells) if cell.lower() not in PARTS), None)
    if strange is None:
        notes.append(f"the split is the one in column {SPLIT!r}, found by its name")
        return SPLIT
    line = nodes.where(strange).rpartition(", ")[2]
    notes.append(
        f"column {SPLIT!r} of {nodes.source} is not read as the split, it holds "
        f"{cells[strange]!r} ({line}); train, val, test or nothing would be"
    )
    return None


def _features(
    nodes: Table, options: Options, taken: dict[str, str], notes: list[str]
) -> np.ndarray:
    """Features float32 [N, F]; ``taken`` holds the columns that are none, and what they are."""
    for column in [*options.ignore, *options.categorical]:
        nodes.position(column, "ignore or categorical")
    left_out = {*taken, *options.ignore}
    chosen = options.features
    if chosen is None:
        chosen = [column for column in nodes.header if column not in left_out]
    elif leaks := [column for column in chosen if column in taken]:
        raise InputError(
            f"features must not hold {leaks[0]!r}, the {taken[leaks[0]]} column of "
            f"{nodes.source}; that would leak"
        )
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
    first, second = _end_columns(edges, options)
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


def _end_columns(edges: Table, options: Options) -> tuple[int, int]:
    """Where source and target are: as named, else under a usual pair of names, else in front."""
    names = [name.lower() for name in edges.header]
    pair = next((p for p in ENDS if p[0] in names and p[1] in names), None)
    first, second = (names.index(pair[0]), names.index(pair[1])) if pair else (0, 1)
    if options.source:
        first = edges.position(options.source, "source")
    if options.target:
        second = edges.position(options.target, "target")
    return first, second


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
        'Add them, or drop these edges with unknown="drop" '
        "(on the command line: --set data.files.unknown=drop)"
    )


def _note_edges(rows: int, columns: int, directed: bool, notes: list[str]) -> None:
    how = "as given" if directed else "in both directions"
    notes.append(f"{rows} rows of edges became {columns} edges, {how}, each once")


def _masks(
    nodes: Table, y: np.ndarray, split: str | None, options: Options, notes: list[str]
) -> Masks:
    """Masks bool [N, S] from the column ``split``, or drawn at random without one."""
    if split is None:
        notes.append(
            f"stratified random split of the labelled nodes: {options.train:.0%} train, "
            f"{options.val:.0%} val, rest test; {options.splits} of them, seed {options.seed}"
        )
        return fraction_splits(
            y, train=options.train, val=options.val, splits=options.splits, seed=options.seed
        )
    position = nodes.position(split, "split")
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
    for part, name in enumerate(("train", "val")):
        if not (parts == part).any():
            raise InputError(
                f"{nodes.source}: column {split!r} has no labelled node for {name}; training and "
                f'stopping need one each. Add some, or leave the column out with ignore=["{split}"]'
                f" (on the command line: --set 'data.files.ignore=[\"{split}\"]') "
                "for a random split"
            )
    train, val, test = (torch.from_numpy(parts == part)[:, None] for part in range(3))
    return train, val, test


def _note_untaught(y: np.ndarray, train: torch.Tensor, classes: int, notes: list[str]) -> None:
    """Say it where a split has no training node of some class: too few nodes, or given so."""
    for split in range(train.shape[1]):
        missing = classes - len(np.unique(y[train[:, split].numpy()]))
        if missing:
            notes.append(f"split {split} has no training node of {missing} of {classes} classes")
            return
