"""What ogb's loader gives, as named arrays: the form in which a data set is kept and mapped.

x [N, F] float32, y [N] int64 or [N, K] float32, edge_index [2, E] int64, edge_attr [E, D] float32,
train, val, test bool [N, 1]. Of several node types these are the target's ("paper") and its own
relation's ("cites"); the others are edge_index.HEAD___RELATION___TAIL, year [N], x.TYPE.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gat.data.ogb.files import Folder
from gat.errors import CorruptDataError

__all__ = ["Arrays", "Facts", "named_arrays", "relation_key"]

Arrays = dict[str, np.ndarray]
Facts = dict[str, Any]
PARTS = (("train", "train"), ("val", "valid"), ("test", "test"))
# Edges whose features are added up at once.
BLOCK = 1 << 22


def named_arrays(folder: Folder, data: Any, split: dict[str, Any]) -> tuple[Arrays, Facts]:
    """The arrays of ``data``, and the facts that are no arrays: classes, sizes, relations."""
    arrays, facts = (_hetero if folder.hetero else _homogeneous)(folder, data)
    nodes = facts["nodes"]
    for name in ("x", "y"):
        if len(arrays[name]) != nodes:
            raise _mismatch(folder, f"{name} has {len(arrays[name])} rows for {nodes} nodes")
    target = folder.card.options.get("target")
    for part, theirs in PARTS:
        numbers = split[theirs][target] if target else split[theirs]
        arrays[part] = _mask(folder, part, torch.as_tensor(numbers), nodes)
    facts["classes"] = _classes(arrays["y"])
    return arrays, facts


def relation_key(relation: tuple[str, str, str]) -> str:
    """The array's name for the edges of (head, relation, tail), as OGB spells its folders."""
    return "edge_index." + "___".join(relation)


def _homogeneous(folder: Folder, data: Any) -> tuple[Arrays, Facts]:
    nodes = int(data.num_nodes)
    arrays = {"edge_index": _edges(folder, data.edge_index, "edge", (nodes, nodes))}
    attr = getattr(data, "edge_attr", None)
    if attr is not None:
        arrays["edge_attr"] = _floats(attr)
        if len(attr) != data.edge_index.shape[1]:
            raise _mismatch(
                folder, f"edge-feat has {len(attr)} rows for {data.edge_index.shape[1]} edges"
            )
    x = getattr(data, "x", None)
    if x is None:
        x = _from_edges(folder, data.edge_index, attr, nodes)
    arrays |= {"x": _floats(x), "y": _labels(folder, data.y)}
    return arrays, {"nodes": nodes}


def _hetero(folder: Folder, data: Any) -> tuple[Arrays, Facts]:
    target = str(folder.card.options["target"])
    sizes = {kind: int(count) for kind, count in data.num_nodes_dict.items()}
    arrays, relations = {}, []
    for relation, edges in data.edge_index_dict.items():
        name = "/".join(relation)
        checked = _edges(folder, edges, name, (sizes[relation[0]], sizes[relation[2]]))
        own = relation == (target, folder.card.options["relation"], target)
        arrays["edge_index" if own else relation_key(relation)] = checked
        relations.append(list(relation))
    if "edge_index" not in arrays:
        raise _mismatch(folder, f"it has no edges {target}/{folder.card.options['relation']}")
    for kind, x in data.x_dict.items():
        arrays["x" if kind == target else f"x.{kind}"] = _floats(x)
    arrays["y"] = _labels(folder, data.y_dict[target])
    year = getattr(data, "node_year", {}).get(target)
    if year is not None:
        arrays["year"] = year.reshape(-1).numpy().astype(np.int64)
    return arrays, {"nodes": sizes[target], "sizes": sizes, "relations": relations}


def _floats(x: Tensor) -> np.ndarray:
    return np.ascontiguousarray(x.float().numpy())


def _edges(folder: Folder, edges: Tensor, name: str, sizes: tuple[int, int]) -> np.ndarray:
    """int64 [2, E], whose numbers are within ``sizes`` (sources, targets)."""
    if edges.dim() != 2 or edges.shape[0] != 2:
        raise _mismatch(folder, f"{name} has shape {list(edges.shape)}, expected [2, E]")
    for row, size in zip(edges, sizes, strict=True):
        low, high = row.aminmax() if row.numel() else (0, -1)
        if low < 0 or high >= size:
            bad = int(((row < 0) | (row >= size)).nonzero()[0])
            raise _mismatch(
                folder, f"edge {bad} of {name} names node {int(row[bad])}, it has 0 to {size - 1}"
            )
    return np.ascontiguousarray(edges.long().numpy())


def _labels(folder: Folder, y: Tensor) -> np.ndarray:
    """[N] int64, NaN as -1; or [N, K] float32 of 0, 1 and NaN."""
    if folder.card.multilabel:
        return np.ascontiguousarray(y.float().numpy())
    if y.dim() != 2 or y.shape[1] != 1:
        raise _mismatch(folder, f"node-label has shape {list(y.shape)}, expected [N, 1]")
    if y.is_floating_point():
        y = torch.where(y.isnan(), -1, y)
    return y[:, 0].long().numpy()


def _classes(y: np.ndarray) -> int:
    return int(y.shape[1] if y.ndim == 2 else y.max(initial=-1) + 1)


def _mask(folder: Folder, part: str, numbers: Tensor, nodes: int) -> np.ndarray:
    mask = np.zeros((nodes, 1), dtype=bool)
    bad = ((numbers < 0) | (numbers >= nodes)).nonzero()
    if len(bad):
        first = int(numbers[bad[0]])
        raise _mismatch(folder, f"the {part} split names node {first}, it has 0 to {nodes - 1}")
    mask[numbers.long().numpy()] = True
    return mask


def _from_edges(folder: Folder, edges: Tensor, attr: Tensor | None, nodes: int) -> Tensor:
    """x [N, D]: the sum (or mean) over the edges that enter a node of their features.

    In blocks, each added up in float64.
    """
    if attr is None:
        raise _mismatch(folder, "it has features neither of nodes nor of edges")
    total = torch.zeros(nodes, attr.shape[1], dtype=torch.float64)
    for start in range(0, len(attr), BLOCK):
        block = slice(start, start + BLOCK)
        total.index_add_(0, edges[1, block], attr[block].double())
    if folder.card.options["node_features"] == "mean":
        total /= torch.bincount(edges[1], minlength=nodes).clamp(min=1)[:, None]
    return total.float()


def _mismatch(folder: Folder, problem: str) -> CorruptDataError:
    return CorruptDataError(
        f"the files of {folder.card.name} in {folder.path} do not fit together: {problem}; "
        f"{folder.remedy}"
    )
