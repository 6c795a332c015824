"""Loading OGB's raw files: a data set's first load, later ones, and pandas reading the same files.

The files are those of a replica of ogbn-arxiv, csv.gz as OGB has them. "first" is `gat.data.load`
where no mapped copy of them is kept yet: it reads them by ogb, checks and sorts the graph, and
writes the copy. "later" is the same call from then on. "pandas" is `pandas.read_csv` of each file
and nothing else. Every sample is a process of its own; packages are imported before the clock
starts, and the files have been read before, so no disk is waited for.
"""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gat.bench import process, timing, turns
from gat.bench.case import Plan
from gat.bench.check import all_errors
from gat.bench.peers import check_names
from gat.bench.record import Record
from gat.data import NodeTask, load
from gat.data.synthetic import write_replica
from gat.errors import InputError

__all__ = ["PEERS", "LoadShape", "check", "measure_load", "samples", "times", "write"]

PEERS = ("first", "later", "pandas")
DATA_SET = "ogbn-arxiv"
# Nothing may differ; a share of 0 has no tolerance to be set beside.
NONE = 1e-9
SPLIT = {"train": "train", "valid": "val", "test": "test"}

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class LoadShape:
    """scale: of the replica; 1 has as many nodes and edges as ogbn-arxiv."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.scale <= 10:
            raise InputError(f"scale is {self.scale}; expected more than 0, at most 10")

    def __str__(self) -> str:
        return f"loading a replica of {DATA_SET} of scale {self.scale:g} from csv.gz"


def measure_load(shape: LoadShape, plan: Plan) -> Record:
    """Check what is loaded against what pandas reads, then measure the plan's peers."""
    check_names(plan.peers, PEERS)
    _require()
    what = asdict(shape)
    with tempfile.TemporaryDirectory(prefix="gat-bench-") as root:
        plan.say(f"writing a replica of {DATA_SET}")
        process.run("load.write", {"shape": what, "root": root}, threads=plan.threads or 1)
        case = plan.case("load", DATA_SET, str(shape), {"shape": what, "root": root})
    return plan.record("load", str(shape), what, [case])


def _require() -> None:
    from gat.data.ogb.package import require

    require()


# What follows runs in processes of its own.


def write(shape: dict[str, Any], root: str) -> None:
    write_replica(DATA_SET, root, scale=shape["scale"])


def _folder(root: str) -> Path:
    return Path(root) / DATA_SET.replace("-", "_")


def _forget(root: str) -> None:
    """The copy that a first load kept."""
    shutil.rmtree(_folder(root) / "mapped", ignore_errors=True)


def _load(root: str) -> NodeTask:
    return load(DATA_SET, root, download=False)


def _by_pandas(root: str) -> Arrays:
    """Every file that a first load reads."""
    import pandas as pd

    folder = _folder(root)
    raw = ("edge", "node-feat", "node-label", "num-node-list", "num-edge-list")
    files = {name: folder / "raw" / f"{name}.csv.gz" for name in raw}
    files |= {part: folder / "split" / "time" / f"{part}.csv.gz" for part in SPLIT}
    return {name: pd.read_csv(file, header=None).to_numpy() for name, file in files.items()}


def check(shape: dict[str, Any], root: str, names: list[str]) -> dict[str, Any]:
    """The share of entries of edges, features, labels and split in which what is loaded differs
    from what pandas reads."""
    read = _by_pandas(root)
    wanted = _as_loaded(read)

    def find(name: str) -> dict[str, float]:
        if name == "first":
            _forget(root)
        elif name == "later":
            _load(root)
        found = wanted if name == "pandas" else _arrays(_load(root))
        return {key: _differing(found[key], wanted[key]) for key in wanted}

    errors, absent = all_errors(find, names)
    folder = _folder(root)
    packed = sum(file.stat().st_size for file in folder.rglob("*.csv.gz"))
    facts = {
        "nodes": len(wanted["x"]),
        "edges": wanted["edges"].shape[1],
        "features": wanted["x"].shape[1],
        "bytes of csv.gz": packed,
    }
    return {
        "facts": facts,
        "on": "every edge, feature, label and part of the split",
        "tolerance": dict.fromkeys(wanted, NONE),
        "errors": errors,
        "absent": absent,
    }


def _as_loaded(read: Arrays) -> Arrays:
    masks = {}
    for part, name in SPLIT.items():
        masks[name] = np.zeros((len(read["node-feat"]), 1), dtype=bool)
        masks[name][read[part][:, 0]] = True
    return {
        "edges": read["edge"].T,
        "x": read["node-feat"].astype(np.float32),
        "y": read["node-label"][:, 0],
        **masks,
    }


def _arrays(task: NodeTask) -> Arrays:
    graph = task.graphs[0]
    found = {"edges": graph.edge_index, "x": graph.x, "y": graph.y}
    found |= graph.masks()
    return {name: tensor.numpy() for name, tensor in found.items()}


def _differing(found: np.ndarray, wanted: np.ndarray) -> float:
    if found.shape != wanted.shape:
        return 1.0
    return float((found != wanted).mean()) if wanted.size else 0.0


def times(shape: dict[str, Any], root: str, names: list[str], repeats: int) -> dict[str, Any]:
    """Seconds of each, in turn, each time in a new process."""
    what = {"shape": shape, "root": root}
    return {"samples": turns.take("load", what, names, repeats, rounds=repeats)}


def samples(shape: dict[str, Any], root: str, name: str, count: int) -> list[timing.Parts]:
    """What one turn runs."""
    _require()
    call: dict[str, Callable[[], object]] = {
        "first": partial(_load, root),
        "later": partial(_load, root),
        "pandas": partial(_by_pandas, root),
    }
    if name == "later" and not (_folder(root) / "mapped").is_dir():
        _load(root)
    taken = []
    for _ in range(count):
        if name == "first":
            _forget(root)
        taken += timing.Sampler(partial(timing.untold, call[name]), loops=1)(1)
    return taken
