"""Node tasks of known data sets' sizes, for what trains and predicts.

Making one takes more memory than what is then measured on it, so a process of its own writes it as
plain .npy files into a temporary folder, its edges sorted; the others map them.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gat.bench import graphs, process
from gat.bench.case import Plan
from gat.bench.peers import check_names
from gat.bench.record import Record
from gat.data import NodeTask, TaskGraph
from gat.data.synthetic import PlantedGraph, planted_graph
from gat.errors import InputError
from gat.graph import Graph

__all__ = [
    "Arrays",
    "arrays_of",
    "check_name",
    "facts",
    "mapped",
    "measure",
    "task",
    "tensors",
    "write",
    "written",
]

Arrays = dict[str, np.ndarray]

# Of the data sets' replicas, with the name and scale by which they are planted. All other graphs of
# `graphs.build` get features and labels drawn at random.
PLANTED: dict[str, tuple[str, float]] = {
    "arxiv-size": ("ogbn-arxiv", 1.0),
    "products-size": ("ogbn-products", 1.0),
}
FEATURES, CLASSES, TRAINING = 128, 40, 0.54


def check_name(name: str) -> None:
    """Refuse what is not drawn here: a data set has a recipe of its own."""
    if name in PLANTED:
        return
    graphs.check_name(name)
    if not graphs.is_synthetic(name):
        raise InputError(
            f"{name} is a data set, which gat bench step measures; expected "
            f"{', '.join(PLANTED)} or uniform-NM (N million edges)"
        )


def measure(
    kind: str, shape: Any, plan: Plan, peers: tuple[str, ...], *, memory: bool = False
) -> Record:
    """A record of module ``kind``'s peers on the task that ``shape.graph`` names, written once."""
    check_names(plan.peers, peers)
    what = asdict(shape)
    with written(shape.graph, plan) as folder:
        given = {"shape": what, "folder": folder}
        case = plan.case(kind, shape.graph, str(shape), given, memory=memory)
    return plan.record(kind, str(shape), what, [case])


@contextmanager
def written(name: str, plan: Plan) -> Iterator[str]:
    """The folder that holds the task called ``name``, while it is needed."""
    check_name(name)
    with tempfile.TemporaryDirectory(prefix="gat-bench-") as folder:
        plan.say(f"making {name}")
        process.run("replicas.write", {"name": name, "folder": folder}, threads=plan.threads or 1)
        yield folder


def write(name: str, folder: str) -> None:
    """The arrays of `arrays_of`, as files."""
    for key, array in arrays_of(name).items():
        np.save(Path(folder) / f"{key}.npy", array)


def arrays_of(name: str, scale: float | None = None) -> Arrays:
    """rowptr [N + 1] and col [E] of the edges by target, both directions, no loops; x [N, F],
    y [N], train [N] and val [N]. scale: of a planted graph, rather than its own."""
    if name not in PLANTED:
        return _random(name)
    data_set, own = PLANTED[name]
    return _planted(planted_graph(data_set, scale=scale or own))


def _planted(made: PlantedGraph) -> Arrays:
    assert made.x is not None
    one, two = made.edge_index
    key = np.empty(2 * made.num_edges, dtype=np.int64)
    # A product of int32 would overflow.
    for half, source, target in (
        (key[: made.num_edges], one, two),
        (key[made.num_edges :], two, one),
    ):
        np.multiply(target, made.num_nodes, out=half, dtype=np.int64)
        half += source
    masks = {part: np.zeros(made.num_nodes, dtype=bool) for part in ("train", "val")}
    masks["train"][made.parts["train"]] = True
    masks["val"][made.parts["valid"]] = True
    return {**_by_target(key, made.num_nodes), "x": made.x, "y": made.y, **masks}


def _random(name: str) -> Arrays:
    source, target = graphs.build(name).edge_index.numpy()
    nodes = int(target.max()) + 1
    other = source != target
    draw = np.random.default_rng(graphs.SEED)
    train = draw.random(nodes) < TRAINING
    return {
        **_by_target(target[other] * nodes + source[other], nodes),
        "x": draw.standard_normal((nodes, FEATURES), dtype=np.float32),
        "y": draw.integers(0, CLASSES, nodes),
        "train": train,
        "val": ~train,
    }


def _by_target(key: np.ndarray, nodes: int) -> Arrays:
    """key: target * nodes + source of each edge; it is sorted in place."""
    key.sort()
    rowptr = np.searchsorted(key, np.arange(nodes + 1) * nodes)
    key %= nodes
    return {"rowptr": rowptr, "col": key}


def mapped(folder: str) -> Arrays:
    """The arrays that `write` wrote, read as they are needed."""
    return {path.stem: np.load(path, mmap_mode="c") for path in sorted(Path(folder).glob("*.npy"))}


def tensors(arrays: Arrays) -> tuple[Graph, dict[str, Tensor]]:
    """The graph, and each array as a tensor, without a copy."""
    held = {key: torch.from_numpy(array) for key, array in arrays.items()}
    nodes = held["y"].numel()
    return Graph(held["rowptr"], held["col"], nodes, nodes), held


def task(name: str, arrays: Arrays) -> NodeTask:
    """Arrays as `arrays_of` gives them, as a task."""
    graph, held = tensors(arrays)
    train, val = held["train"][:, None], held["val"][:, None]
    one = TaskGraph(graph.edge_index, held["x"], held["y"], train, val, ~(train | val))
    # Sorted already, and in the order listed.
    one._graph = graph
    return NodeTask(name, (one,), int(held["y"].max()) + 1)


def facts(name: str, arrays: Arrays) -> dict[str, Any]:
    """What a reader of the figures wants to know of a task."""
    return {
        "graph": f"planted replica of {PLANTED[name][0]}" if name in PLANTED else "random",
        "nodes": len(arrays["y"]),
        "edges": len(arrays["col"]),
        "features": arrays["x"].shape[1],
        "classes": int(arrays["y"].max()) + 1,
    }
