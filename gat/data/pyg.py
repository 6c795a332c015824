"""Data sets read by PyTorch Geometric's own classes: PPI, Amazon, Coauthor, Wiki-CS.

PyG's code turns raw files into graphs; finding, fetching and keeping them is ours, since PyG
downloads without verifying certificates and reads its cache with an unsafe fallback. Nothing of
PyG's cache is read or written: graphs that take long to build are kept as safetensors.
"""

import hashlib
import os
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gat.data.catalog import Card
from gat.data.places import cache_dir
from gat.data.splits import per_class_splits
from gat.data.task import NodeTask, TaskGraph
from gat.errors import CorruptDataError

__all__ = ["read_pyg"]

# Reading their JSON takes many seconds; the others are as quick to build as to load.
KEPT = ("PPI", "WikiCS")
Fields = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
FIELDS = ("edge_index", "x", "y", "train_mask", "val_mask", "test_mask")


def read_pyg(card: Card, raw: Path) -> NodeTask:
    """The task of ``card`` as PyG's class ``card.options["class"]`` makes it from ``raw``."""
    kept = _kept_path(card, raw) if card.options["class"] in KEPT else None
    graphs = _read_kept(kept) if kept and kept.is_file() else None
    if graphs is None:
        graphs = [
            TaskGraph(*_fields(card, data, part))
            for part, group in enumerate(_process(card, raw))
            for data in group
        ]
        if kept:
            _keep(kept, graphs)
    y = graphs[0].y
    classes = int(y.shape[1]) if card.multilabel else int(y.max()) + 1
    return NodeTask(
        card.name, tuple(graphs), classes, card.metric, card.multilabel, card.class_names
    )


def _process(card: Card, raw: Path) -> list[list[Any]]:
    """Run PyG's ``process`` on ``raw`` with its results caught in memory: lists of Data."""
    from torch_geometric import datasets

    made: dict[str, list[Any]] = {}
    base: Any = getattr(datasets, str(card.options["class"]))

    class Caught(base):
        """``base`` without its download, its cache and its prints."""

        raw_dir = property(lambda self: str(raw))
        processed_dir = property(lambda self: "processed")

        def _download(self) -> None:
            pass

        def _process(self) -> None:
            self.process()

        @classmethod
        def save(cls, data_list: Sequence[Any], path: str) -> None:
            made[path] = list(data_list)

        def load(self, path: str, data_cls: Any = None) -> None:
            pass

    arguments = {"name": card.options["name"]} if "name" in card.options else {}
    if base.__name__ == "WikiCS":
        arguments["is_undirected"] = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Caught(root=str(raw.parent), **arguments)
    except Exception as error:  # whatever damaged files make PyG's code raise
        raise CorruptDataError(
            f"the files of {card.name} in {raw} could not be read by "
            f"torch_geometric.datasets.{base.__name__}: {type(error).__name__}: {error}; "
            "delete them and fetch them again"
        ) from error
    return list(made.values())


def _fields(card: Card, data: Any, part: int) -> Fields:
    """The tensors of a TaskGraph; ``part`` is 0, 1, 2 for the train, val, test lists of PPI."""
    masks: Sequence[Tensor]
    if card.inductive:
        masks = [torch.full((data.num_nodes, 1), part == which) for which in range(3)]
    elif "train_mask" in data:
        masks = [_columns(data[name], card.splits) for name in FIELDS[3:]]
    else:
        masks = per_class_splits(
            data.y.numpy(),
            train=int(card.options["train_per_class"]),
            val=int(card.options["val_per_class"]),
            splits=card.splits,
        )
    train, val, test = masks
    return data.edge_index, data.x, data.y, train, val, test


def _columns(mask: Tensor, splits: int) -> Tensor:
    """A mask [N] that serves every split as [N, S]; [N, S] as it is."""
    return mask[:, None].repeat(1, splits) if mask.dim() == 1 else mask


def _kept_path(card: Card, raw: Path) -> Path:
    """Named by what it was made from, so that other files or another PyG make another one."""
    facts = [version("torch-geometric"), card.model_dump_json()]
    for file in card.files:
        status = (raw / file.name).stat()
        facts.append(f"{raw / file.name} {status.st_size} {status.st_mtime_ns}")
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    return cache_dir() / "processed" / f"{card.name}-{key}.safetensors"


def _keep(path: Path, graphs: list[TaskGraph]) -> None:
    """Write aside, then rename: a reader sees the whole file or none."""
    from safetensors.torch import save_file

    tensors = {
        f"{number}.{field}": getattr(graph, field).contiguous()
        for number, graph in enumerate(graphs)
        for field in FIELDS
    }
    part = path.with_name(f".{path.name}.part-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, part)
        os.replace(part, path)
    except OSError as error:
        # The cache is a convenience: without it the next load only takes longer.
        warnings.warn(f"the processed graphs could not be kept in {path}: {error}", stacklevel=2)
    finally:
        part.unlink(missing_ok=True)


def _read_kept(path: Path) -> list[TaskGraph] | None:
    """The kept graphs, or None (and the file removed) if it is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
        count = 1 + max(int(name.partition(".")[0]) for name in tensors)
        return [_kept_graph(tensors, number) for number in range(count)]
    except (SafetensorError, KeyError, ValueError):
        path.unlink(missing_ok=True)
        return None


def _kept_graph(tensors: dict[str, Tensor], number: int) -> TaskGraph:
    edge_index, x, y, train, val, test = (tensors[f"{number}.{field}"] for field in FIELDS)
    return TaskGraph(edge_index, x, y, train, val, test)
