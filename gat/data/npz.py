"""The npz files of yandex-research/heterophilous-graphs (Platonov et al. 2023, arXiv 2302.11640).

node_features [N, F], node_labels [N], edges [E, 2] stored once per undirected edge,
train_masks, val_masks, test_masks bool [S, N]. Object arrays (pickles) are never read.
"""

import zipfile
from pathlib import Path

import numpy as np
import torch

from gat.data.catalog import Card
from gat.data.edges import simple_edges
from gat.data.tables import unreadable
from gat.data.task import NodeTask, TaskGraph
from gat.errors import CorruptDataError

__all__ = ["read_arrays", "read_npz"]

KEYS = ("node_features", "node_labels", "edges", "train_masks", "val_masks", "test_masks")


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of the npz file ``path``; CorruptDataError if damaged or if one is pickled.

    InputError if it may not be read.
    """
    try:
        with path.open("rb") as stream:
            # numpy would take a file that is not a zip for a pickle.
            if not zipfile.is_zipfile(stream):
                raise zipfile.BadZipFile("it is not a zip file")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as archive:
                return {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise
    except PermissionError as error:
        # Nothing is wrong with the file: deleting it would be bad advice.
        raise unreadable(path, error) from None
    except Exception as error:  # zlib, zipfile, struct, header and pickle errors alike
        what = "holds pickled objects" if "allow_pickle" in str(error) else "cannot be read"
        raise CorruptDataError(
            f"{path} {what} ({error}); expected an npz file of plain number arrays. "
            "Nothing of it was used; delete it and fetch or write it again."
        ) from error


def read_npz(card: Card, raw: Path) -> NodeTask:
    """The task of ``card`` from its single npz file in ``raw``; edges in both directions."""
    path = raw / card.files[0].name
    arrays = read_arrays(path)
    if missing := [key for key in KEYS if key not in arrays]:
        raise CorruptDataError(f"{path} lacks {', '.join(missing)}; it has {', '.join(arrays)}")
    if (edges := arrays["edges"]).ndim != 2 or edges.shape[1] != 2:
        raise CorruptDataError(f"{path}: edges must be [E, 2], it is {list(edges.shape)}")
    labels = arrays["node_labels"]
    train, val, test = (torch.from_numpy(arrays[key].astype(bool).T.copy()) for key in KEYS[3:])
    graph = TaskGraph(
        simple_edges(edges.T, undirected=True, keep_loops=True),
        torch.from_numpy(arrays["node_features"].astype(np.float32)),
        torch.from_numpy(labels.astype(np.int64)),
        train,
        val,
        test,
    )
    classes = int(labels.max()) + 1 if labels.size else 0
    return NodeTask(card.name, (graph,), classes, card.metric, class_names=card.class_names)
