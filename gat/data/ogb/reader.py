"""Tasks of OGB's data sets: raw files once through ogb, from then on a mapped copy.

OGB's own splits; edges as OGB gives them: directed citations in ogbn-arxiv and ogbn-mag, both
directions in ogbn-products and ogbn-proteins.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gat.data.catalog import Card, card
from gat.data.loading import check_counts
from gat.data.ogb.arrays import Arrays, Facts, named_arrays, relation_key
from gat.data.ogb.files import Folder, look
from gat.data.ogb.kept import Tensors, kept_or_made
from gat.data.ogb.package import require
from gat.data.ogb.raw import read_raw
from gat.data.places import find_or_fetch
from gat.data.task import NodeTask, TaskGraph
from gat.errors import InputError

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

__all__ = ["load_hetero", "read_ogb"]


def read_ogb(card: Card, raw: Path) -> NodeTask:
    """The task of ``card`` from OGB's folder ``raw`` (``ogbn_arxiv``, not its raw/ alone).

    Features, labels, edges and the sorted graph are mapped from the copy that the first load makes,
    which validates them. ogbn-mag: the papers and the citations between them.
    Raises CorruptDataError (missing or damaged files), MissingDependencyError (at the first load).
    """
    folder = look(card, raw)
    tensors, facts = _tensors(folder)
    return _task(folder, tensors, facts)


def load_hetero(
    name: str,
    root: str | Path | None = None,
    *,
    download: bool = True,
    reverse: bool = False,
) -> "HeteroData":
    """The whole of ``ogbn-mag``: authors, papers, institutions, fields, and their relations.

    Of the papers: x float32 [N, 128], y int64 [N], year int64 [N], train_mask, val_mask and
    test_mask bool [N]; of the other types num_nodes; of each relation edge_index int64 [2, E], as
    stored (directed). reverse: add the reverse of every relation, and of the citations between
    papers within their own, as ``torch_geometric.transforms.ToUndirected``.

    Where files are looked for, downloads, checks and errors are as in ``gat.data.load``; InputError
    for a data set with one type of nodes.
    """
    entry = card(name)
    if "target" not in entry.options:
        raise InputError(f"{entry.name} has one type of nodes; read it with gat.data.load")
    folder = look(entry, find_or_fetch(entry, root, download=download, ready=require))
    tensors, facts = _tensors(folder)
    task = _task(folder, tensors, facts).validate(check_finite=False)
    if folder.replica is None:
        check_counts(task, entry)
    data = _hetero_data(folder, tensors, facts)
    if reverse:
        from torch_geometric.transforms import ToUndirected

        data = ToUndirected()(data)
    return data


def _tensors(folder: Folder) -> tuple[Tensors, Facts]:
    def make() -> tuple[Arrays, Facts]:
        arrays, facts = named_arrays(folder, *read_raw(folder))
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        graph = _task(folder, tensors, facts).validate().graphs[0].graph()
        arrays |= {"rowptr": graph.rowptr.numpy(), "col": graph.col.numpy()}
        if graph.perm is not None:
            arrays["perm"] = graph.perm.numpy()
        return arrays, facts

    return kept_or_made(folder, make)


def _task(folder: Folder, tensors: Tensors, facts: Facts) -> NodeTask:
    edge_index, x, y = (tensors[name] for name in ("edge_index", "x", "y"))
    train, val, test = (tensors[name] for name in ("train", "val", "test"))
    attr = tensors.get("edge_attr")
    graph = TaskGraph(edge_index, x, y, train, val, test, edge_attr=attr)
    if "rowptr" in tensors:
        graph._sorted = tensors["rowptr"], tensors["col"], tensors.get("perm")
        graph._finite = True
    entry = folder.card
    classes = int(facts["classes"])
    if folder.replica is not None and not entry.multilabel:
        # A small one may have no node of the last class.
        classes = int(folder.replica.get("classes", classes))
    return NodeTask(
        folder.title,
        (graph,),
        classes,
        entry.metric,
        entry.multilabel,
        entry.class_names,
        notes=_notes(folder),
    )


def _notes(folder: Folder) -> tuple[str, ...]:
    how = folder.card.options.get("node_features")
    if how is None:
        return ()
    return (
        f"The nodes have no features of their own: a node's x is the {how} of the features of "
        "the edges that enter it.",
    )


def _hetero_data(folder: Folder, tensors: Tensors, facts: Facts) -> "HeteroData":
    from torch_geometric.data import HeteroData

    data, target = HeteroData(), str(folder.card.options["target"])
    for kind, count in facts["sizes"].items():
        data[kind].num_nodes = count
        if f"x.{kind}" in tensors:
            data[kind].x = tensors[f"x.{kind}"]
    papers = data[target]
    papers.x, papers.y = tensors["x"], tensors["y"]
    if "year" in tensors:
        papers.year = tensors["year"]
    for part in ("train", "val", "test"):
        papers[f"{part}_mask"] = tensors[part][:, 0]
    for relation in map(tuple, facts["relations"]):
        key = relation_key(relation)
        # The citations between papers are the task's own edges.
        data[relation].edge_index = tensors[key if key in tensors else "edge_index"]
    return data
