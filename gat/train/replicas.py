"""Experiments on replicas: whether a recipe runs and learns where the real data cannot be had.

A replica (:mod:`gat.data.synthetic`) has a data set's files and proportions at a smaller scale and
planted classes. A score on it says nothing about the real data set, so these results are kept and
shown apart from real ones: in ``experiments/replicas`` and ``experiments/REPLICAS.md``.
"""

import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from gat._version import __version__
from gat.errors import InputError
from gat.shelf import shelf
from gat.train.config import TrainConfig
from gat.train.experiment import Experiment, experiment
from gat.train.kinds import nodes_only
from gat.train.reproducing import locked, measured
from gat.train.results import SeedResult, Summary, versions

__all__ = [
    "ReplicaResult",
    "current_replicas",
    "on_replica",
    "render_replicas",
    "replica_config",
    "replica_root",
    "replicas_folder",
    "stored_replicas",
]

# No batch of a replica is made smaller than this, by norm: statistics of a batch need many nodes.
SMALLEST_BATCH = {"none": 32, "layer": 32, "batch": 256}
BASELINES = ("MLP", "logistic regression", "label propagation")


@dataclass(frozen=True)
class ReplicaResult(SeedResult):
    """What one seed gave on a replica; ``replica``: its scale, seed, nodes and edges."""

    replica: dict[str, Any] = field(default_factory=dict, repr=False)


def replica_config(
    entry: Experiment, scale: float, seed: int, epochs: int | None = None
) -> TrainConfig:
    """The recipe for a replica: as it is, but batches are scaled with the graph.

    So an epoch has about as many steps as on the real data, or fewer, where batches are normalised
    and would have too few nodes for that. epochs: at most so many.
    """
    config = nodes_only(entry.config_of(seed, 1))
    changes: dict[str, Any] = {}
    key = {"neighbor": "batch_size", "random-walk": "roots"}.get(config.sampling.name)
    if key is not None:
        count = int(getattr(config.sampling, key))
        smallest = max(SMALLEST_BATCH[config.model.norm], round(count * scale))
        changes[f"sampling.{key}"] = min(count, smallest)
    if epochs is not None:
        changes["epochs"] = min(epochs, config.epochs)
        changes["evaluate_every"] = min(config.evaluate_every, changes["epochs"])
        warmup = min(config.schedule.warmup_epochs, changes["epochs"] - 1)
        changes["schedule.warmup_epochs"] = warmup
    return config.updated(**changes)


def replica_root(dataset: str, scale: float, *, seed: int = 0, cache: Path | None = None) -> Path:
    """The folder to give as ``data.root``: the replica in it is written if it is not there yet.

    cache: where replicas are kept (default: ``replicas`` in the user's cache of data sets).
    InputError for a data set of which there are no replicas, and for a scale of 0 or less.
    """
    from gat.data.places import cache_dir
    from gat.data.synthetic import write_replica

    place = cache_dir() / "replicas" if cache is None else cache
    # Another version of gat may plant otherwise.
    root = place / f"{dataset}-{scale:g}-seed{seed}-gat{__version__}"
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{root}.lock"):
        if not (root / dataset.replace("-", "_")).is_dir():
            write_replica(dataset, root, scale=scale, seed=seed)
    return root


def on_replica(
    name: str,
    scale: float,
    *,
    seeds: int = 1,
    epochs: int | None = None,
    output: Path | None = None,
    cache: Path | None = None,
    fresh: bool = False,
    on_seed: Callable[[SeedResult, bool], None] | None = None,
    on_epoch: Callable[..., None] | None = None,
) -> Summary:
    """Run experiment ``name`` on a replica of its data set, beside baselines on the same data.

    seeds 0 to ``seeds`` - 1 of the recipe, all on one replica; each is stored as it comes, and kept
    next time unless ``fresh``. epochs: at most so many. output: folder of such results (default:
    ``experiments/replicas`` of the checkout). cache: see `replica_root`.
    """
    from gat.train.trainer import load_task

    entry = experiment(name)
    if seeds < 1 or (epochs is not None and epochs < 1):
        raise InputError(f"seeds and epochs must be at least 1, got {seeds} and {epochs}")
    folder = replicas_folder(output) / name
    root = replica_root(entry.dataset, scale, cache=cache)
    here: dict[str, Any] = {"data.root": str(root), "data.download": False}
    found: list[SeedResult] = []
    beside: dict[str, float] = {}
    with locked(folder, name):
        for seed in range(seeds):
            config = replica_config(entry, scale, seed, epochs)
            kept = None if fresh else ReplicaResult.read(folder, seed)
            if kept is None or not _same(kept, config, scale):
                task = load_task(config.updated(**here).data)
                # The baselines see the same data whatever the seed of the weights.
                beside = beside or planted_baselines(task)
                facts = {"scale": scale, "seed": 0, "nodes": task.num_nodes}
                facts |= {"edges": task.num_edges, "planted": _planted(root, entry.dataset)}
                fields = measured(name, config, task, on_epoch) | {"baselines": beside}
                result: SeedResult = ReplicaResult(**fields, replica=facts)
                result.write(folder)
            else:
                result = kept
            found.append(result)
            if on_seed:
                on_seed(result, result is kept)
    return Summary(name, tuple(found))


def planted_baselines(task: Any) -> dict[str, float]:
    """Test scores by name, of features alone and of the graph alone."""
    from gat.train.baselines import logistic_regression
    from gat.train.simple_baselines import label_propagation, mlp

    scores = (mlp(task), logistic_regression(task), label_propagation(task))
    return dict(zip(BASELINES, scores, strict=True))


def _same(kept: SeedResult, config: TrainConfig, scale: float) -> bool:
    assert isinstance(kept, ReplicaResult)
    return kept.replica.get("scale") == scale and kept.stands_for(config, versions())


def _planted(root: Path, dataset: str) -> Any:
    text = (root / dataset.replace("-", "_") / "replica.toml").read_text(encoding="utf-8")
    return tomllib.loads(text).get("planted")


def replicas_folder(output: Path | None = None) -> Path:
    """Where results on replicas are kept: ``output``, else the checkout's, else a folder here."""
    if output is not None:
        return Path(output)
    shelved = shelf("experiments")
    in_checkout = (shelved.parent / "pyproject.toml").is_file()
    return shelved / "replicas" if in_checkout else Path("gat-replica-results")


def stored_replicas(folder: Path) -> dict[str, list[ReplicaResult]]:
    """Every result on a replica under ``folder``, by experiment and in the order of seeds."""
    found: dict[str, list[ReplicaResult]] = {}
    for path in sorted(folder.glob("*/*/seed-*.json")):
        result = ReplicaResult.load(path)
        assert isinstance(result, ReplicaResult)
        found.setdefault(result.experiment, []).append(result)
    return found


def current_replicas(entry: Experiment, results: Iterable[ReplicaResult]) -> list[ReplicaResult]:
    """Only the results that the experiment's file, as it is now, would give again."""
    kept = []
    for result in results:
        epochs = int(result.config["epochs"])
        config = replica_config(entry, float(result.replica["scale"]), result.seed, epochs)
        if result.stands_for(config, result.versions):
            kept.append(result)
    return kept


HEAD = """<!-- Generated by `gat results` from experiments/replicas; do not edit. -->
# Recipes on replicas

**These are not results on OGB's data sets.** Each recipe was run on a replica (`gat.data.synthetic`):
files, splits and proportions of the real data set at a smaller scale, with planted classes. The
table says whether the recipe runs from OGB's raw files to OGB's Evaluator, and whether the network
learns what neither the features alone (MLP, logistic regression) nor the graph with the training
labels alone (label propagation) tell. Batches are scaled with the graph. The scores are per cent, of
the test nodes, by OGB's Evaluator.

In ogbn-proteins the features of edges tell which neighbours to trust, and their sums, which are the
nodes' features, tell it less well. The recipes of the GATv2 paper leave the former out of their
scores. Their GAT with one head then hardly leaves the start in some runs and is no better than the
MLP in others: its published row, 70.77 ± 5.79, is below that of an MLP on the real data too (72.04
in OGB's paper), and the program of the GATv2 paper trains runs that stay at the start again.

| experiment | scale | nodes | edges | epochs | metric | ours | MLP | logistic regression | label propagation | above all |
|---|---|---|---|---|---|---|---|---|---|---|
"""  # noqa: E501


def render_replicas(rows: Iterable[tuple[Experiment, list[ReplicaResult]]]) -> str:
    """REPLICAS.md, one line for each experiment and its results."""
    rows = list(rows)
    lines = [_line(entry, results) for entry, results in rows]
    machines = dict.fromkeys(_machine(result) for _, results in rows for result in results)
    return HEAD + "\n".join(lines) + f"\n\nMeasured on {' and '.join(machines)}.\n"


def _line(entry: Experiment, results: list[ReplicaResult]) -> str:
    first, summary = results[0], Summary(entry.name, tuple(results))
    beside = summary.baselines()
    epochs = f"{first.config['epochs']:,} of {entry.config.epochs:,}"
    above = all(summary.mean > score for score in beside.values())
    facts = first.replica
    cells = [entry.name, f"{facts['scale']:g}", f"{facts['nodes']:,}", f"{facts['edges']:,}"]
    cells += [epochs, first.metric, str(summary)]
    cells += [f"{beside[name]:.2f}" for name in BASELINES]
    return f"| {' | '.join([*cells, 'yes' if above else 'no'])} |"


def _machine(result: ReplicaResult) -> str:
    facts = [f"{key} {value}" for key, value in result.machine.items()]
    return ", ".join([*facts, *(f"{key} {value}" for key, value in result.versions.items())])
