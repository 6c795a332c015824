"""Graphs of one's own that lie in one file: npz arrays and GraphML."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gat.data.edges import simple_edges
from gat.data.npz import read_arrays
from gat.data.own_tables import Options, from_tables
from gat.data.splits import Masks, fraction_splits
from gat.data.tables import Table
from gat.data.task import NodeTask, TaskGraph
from gat.errors import InputError

__all__ = ["READERS"]

# Names in use: PyG's and those of the heterophilous-graphs files.
X, Y = ("x", "node_features"), ("y", "node_labels")
TABLE_ONLY = ("id", "source", "target", "split", "features", "ignore", "categorical")


def read_own_npz(path: Path, options: Options, name: str) -> NodeTask:
    """Arrays ``x`` [N, F] (or node_features), ``y`` [N] (or node_labels, or the array ``label``),
    ``edge_index`` [2, E] or ``edges`` [E, 2]; optional train_mask, val_mask, test_mask [N] or
    [N, S], or train_masks, ... [S, N]. Labels below 0 or NaN mean unlabelled.
    """
    _refuse_table_options(path, options)
    arrays = read_arrays(path)
    x = _array(path, arrays, X).astype(np.float32)
    x = x[:, None] if x.ndim == 1 else x
    y = _labels(path, _array(path, arrays, (options.label,) if options.label else Y))
    ends = _edge_array(path, arrays)
    if ends.size and (ends.min() < 0 or ends.max() >= len(x)):
        worst = int(ends.min()) if ends.min() < 0 else int(ends.max())
        raise InputError(
            f"{path}: an edge names node {worst}; x has {len(x)} rows, so nodes are 0 to "
            f"{len(x) - 1}"
        )
    edge_index = simple_edges(ends, undirected=not options.directed, keep_loops=True)
    masks, note = _npz_masks(path, arrays), "the file's own split"
    if masks is None:
        note = f"stratified random split, seed {options.seed}"
        masks = fraction_splits(
            y, train=options.train, val=options.val, splits=options.splits, seed=options.seed
        )
    train, val, test = masks
    graph = TaskGraph(edge_index, torch.from_numpy(x), torch.from_numpy(y), train, val, test)
    return NodeTask(name, (graph,), int(y.max()) + 1, notes=(note,))


def _refuse_table_options(path: Path, options: Options) -> None:
    given = [key for key in TABLE_ONLY if getattr(options, key)]
    if given or options.standardize:
        raise InputError(
            f"{', '.join(given) or 'standardize'} applies to tables with named columns; "
            f"{path} has arrays only"
        )


def _array(path: Path, arrays: dict[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    for name in names:
        if name in arrays:
            if arrays[name].dtype.kind not in "biuf":
                raise InputError(f"{path}: {name} must hold numbers, it is {arrays[name].dtype}")
            return arrays[name]
    raise InputError(
        f"{path} has no array {' or '.join(names)}; it has {', '.join(arrays) or 'none'}"
    )


def _labels(path: Path, y: np.ndarray) -> np.ndarray:
    """int64 [N]; NaN and negative numbers become -1."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise InputError(f"{path}: labels must be one number a node, they are {list(y.shape)}")
    known = np.isfinite(y) & (y >= 0)
    if (y[known] != np.floor(y[known])).any():
        raise InputError(f"{path}: labels must be whole class numbers")
    numbers = np.where(known, y, -1).astype(np.int64)
    if not known.any() or numbers.max() < 1:
        raise InputError(f"{path}: the labels hold fewer than two classes")
    return numbers


def _edge_array(path: Path, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """int64 [2, E] from edge_index [2, E] or edges [E, 2]."""
    ends = _array(path, arrays, ("edge_index", "edges"))
    shape = list(ends.shape)
    ends = ends if "edge_index" in arrays else ends.T
    if ends.ndim != 2 or ends.shape[0] != 2 or ends.dtype.kind not in "iu":
        raise InputError(
            f"{path}: edges must be whole numbers, edge_index [2, E] or edges [E, 2]; "
            f"they are {ends.dtype} of shape {shape}"
        )
    return ends.astype(np.int64)


def _npz_masks(path: Path, arrays: dict[str, np.ndarray]) -> Masks | None:
    masks: list[Tensor] = []
    for part in ("train", "val", "test"):
        if f"{part}_masks" in arrays:
            mask = arrays[f"{part}_masks"].T
        elif f"{part}_mask" in arrays:
            mask = arrays[f"{part}_mask"]
        else:
            continue
        mask = mask[:, None] if mask.ndim == 1 else mask
        masks.append(torch.from_numpy(np.ascontiguousarray(mask.astype(bool))))
    if masks and len(masks) < 3:
        raise InputError(f"{path} has some masks but not all of train, val and test")
    return (masks[0], masks[1], masks[2]) if masks else None


def read_graphml(path: Path, options: Options, name: str) -> NodeTask:
    """GraphML through networkx; node attributes are read like the columns of a nodes file."""
    import networkx

    for option in ("source", "target", "id"):
        if getattr(options, option):
            raise InputError(f"{option}= names a column of a CSV file; GraphML has its own ids")
    try:
        graph = networkx.read_graphml(path)
    except Exception as error:  # XML errors, unknown types, missing keys
        raise InputError(f"{path} could not be read as GraphML: {error}") from error
    if not graph.number_of_nodes():
        raise InputError(f"{path} holds no nodes")
    if options.directed:
        # An undirected file asked for as directed: its edges go both ways.
        graph = graph.to_directed()
    columns = sorted({key for _, values in graph.nodes(data=True) for key in values})
    id_name = "node id"
    nodes = Table(
        str(path),
        (id_name, *columns),
        [
            [str(node), *(_text(values.get(column)) for column in columns)]
            for node, values in graph.nodes(data=True)
        ],
        [f"node {str(node)!r}" for node in graph],
    )
    ends = [[str(tail), str(head)] for tail, head in graph.edges()]
    edges = Table(str(path), ("source", "target"), ends, [f"edge {edge}" for edge in ends])
    task = from_tables(nodes, edges, replace(options, id=id_name), name)
    if graph.is_directed() and not options.directed:
        task.notes += (
            "the file's edges are directed; read in both directions (directed=False); to keep "
            "their direction pass directed=True (on the command line: --set "
            "data.files.directed=true)",
        )
    return task


def _text(value: object) -> str:
    """A GraphML attribute as a CSV cell; truth values as numbers."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value).strip()


READERS = {".npz": read_own_npz, ".graphml": read_graphml}
