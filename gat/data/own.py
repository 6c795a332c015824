"""Graphs of one's own: CSV tables, npz files and GraphML become a NodeTask.

The task's ``notes`` say what was done: which columns became features and how, which rows were
dropped, how the split was made.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from gat.data.own_tables import Options, from_tables
from gat.data.tables import read_table, unreadable
from gat.data.task import NodeTask
from gat.errors import InputError

__all__ = ["from_files"]

PICKLES = (".gpickle", ".pkl", ".pickle", ".p", ".pt", ".pth", ".joblib")


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
      or else its first, and the edges file's columns source and target (or src and dst, from and
      to, in either case) or else its first two. Weights on edges are not read.
    split: a column with train, val, test or nothing, by default one called "split" if it holds
      that; without it ``splits`` stratified random splits are drawn from ``seed``: ``train`` and
      ``val`` are fractions of the labelled nodes, the rest test.
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
    task = _read(edges, nodes, options, name or edges.stem)
    return task.validate(allow_overlap=allow_overlap, check_finite=check_finite)


def _read(edges: Path, nodes: str | Path | None, options: Options, name: str) -> NodeTask:
    """The task, not yet validated; the ending of ``edges`` says which reader it is for."""
    if edges.suffix.lower() in (".npz", ".graphml"):
        if nodes is not None:
            raise InputError(f"{edges} holds nodes and edges; give no nodes file with it")
        from gat.data import own_formats

        return own_formats.READERS[edges.suffix.lower()](edges, options, name)
    if nodes is None:
        raise InputError(
            f"the edges in {edges} need a nodes file (nodes=, --nodes) with features and labels: "
            "a CSV file with a header and one row per node"
        )
    return from_tables(read_table(_checked(nodes), header=True), read_table(edges), options, name)


def _checked(path: str | Path) -> Path:
    path = Path(path).expanduser()
    if path.suffix.lower() in PICKLES:
        raise InputError(
            f"{path} is refused: reading a pickle runs whatever is in it. Write the graph as "
            "GraphML instead, networkx.write_graphml(graph, 'graph.graphml'), and pass that file."
        )
    try:
        if path.is_file():
            return path
    except OSError as error:
        raise unreadable(path, error) from None
    raise InputError(f"there is no file {path}")
