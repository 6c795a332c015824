"""Experiments: one file per published row, run over seeds and set beside that row.

The files stand in ``experiments/DATASET/NAME.toml``; a file with a ``sweep`` is an experiment for
each of its values. How results are stored, summed up and shown is
in :mod:`gat.train.results`, how one seed is trained in :mod:`gat.train.trainer`.
"""

import difflib
import multiprocessing
import os
import tomllib
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gat.errors import ConfigError, GatError, InputError, RunLockedError
from gat.shelf import shelf
from gat.train.config import TrainConfig
from gat.train.kinds import Config, load_task, read_config
from gat.train.results import (
    Published,
    SeedResult,
    Summary,
    commit_and_changes,
    machine,
    versions,
)

__all__ = [
    "Experiment",
    "experiment",
    "experiments",
    "locked",
    "measured",
    "recipe_for",
    "reproduce",
]


class Experiment(BaseModel):
    """One experiment: a data set, a configuration, and the published row it stands beside.

    vary_split: run k uses split k of the data set, wrapping round; else all use split 0.
    baselines: run scikit-learn's baselines on the same splits too (where no row is published).
    also: further published rows, for comparison only.
    swept: the name of the file's sweep and this experiment's value, where it is one of a sweep.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    dataset: str
    seeds: int = Field(default=10, ge=1)
    vary_split: bool = False
    baselines: bool = False
    notes: str = ""
    published: Published | None = None
    also: tuple[Published, ...] = ()
    swept: tuple[str, str] | None = None
    config: Config

    @property
    def of_nodes(self) -> bool:
        """Whether it is node classification; else it is of examples."""
        return isinstance(self.config, TrainConfig)

    def config_of(self, seed: int, num_splits: int) -> Config:
        """The configuration of run ``seed``."""
        split = seed % num_splits if self.vary_split else self.config.data.split
        return self.config.updated(seed=seed, **{"data.split": split})

    def current(self, summary: Summary) -> Summary:
        """Only the results that this file, as it is now, would give again."""
        kept = [
            result
            for result in summary.results
            if result.stands_for(
                self.config.updated(seed=result.seed, **{"data.split": result.split}),
                result.versions,
            )
        ]
        return Summary(self.name, tuple(kept))


class Sweep(BaseModel):
    """One setting that takes several values: NAME.toml is then the experiments NAME-tVALUE, if "t"
    is the sweep's name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    name: str
    values: tuple[int | float | str, ...]


def experiments() -> dict[str, Experiment]:
    """Every experiment by name ("cora/gat"), in the order of their files."""
    found: dict[str, Experiment] = {}
    for name, path in _files().items():
        found |= {entry.name: entry for entry in _read(name, path)}
    return found


def experiment(name: str) -> Experiment:
    """The experiment called ``name``; InputError lists near matches and those of its data set."""
    files = _files()
    if name in files:
        first, *others = _read(name, files[name])
        if first.name == name:
            return first
        raise InputError(
            f"{name} is swept; name one of {', '.join(each.name for each in (first, *others))}"
        )
    known = experiments()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    # All of them would bury what is said.
    dataset = name.partition("/")[0]
    own = [one for one in known if one.startswith(f"{dataset}/")]
    listed = f"those of {dataset} are: {', '.join(own)}" if own else "gat reproduce lists them"
    raise InputError(f"there is no experiment {name!r}; {hint}{listed}")


def recipe_for(dataset: str) -> Config:
    """The configuration for a data set: its experiment's, else the defaults with early stopping;
    or that of the experiment of this name ("dates/transformer")."""
    wanted = dataset.strip().lower().replace("_", "-")
    if "/" in wanted:
        return experiment(wanted).config
    name, files = f"{wanted}/gat", _files()
    if name in files:
        return _read(name, files[name])[0].config
    recipe = _recipe(wanted)
    if recipe is not None:
        return experiment(f"{wanted}/{recipe}").config
    return TrainConfig().updated(**{"data.name": dataset})


def _recipe(dataset: str) -> str | None:
    from gat.data import cards

    found = cards().get(dataset)
    return None if found is None else found.recipe


def _files() -> dict[str, Path]:
    folder = shelf("experiments")
    paths = sorted(folder.glob("*/*.toml"))
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}


def _read(name: str, path: Path) -> list[Experiment]:
    """The experiments of a file: one, or one for each value of its sweep."""
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
        settings = facts.pop("config", {})
        settings["data"] = {**settings.get("data", {}), "name": facts.get("dataset")}
        config, sweep = read_config(settings), facts.pop("sweep", None)
        if sweep is None:
            return [Experiment(name=name, config=config, **facts)]
        sweep = Sweep(**sweep)
        return [
            Experiment(
                name=f"{name}-{sweep.name}{value}",
                config=config.updated(**{sweep.key: value}),
                swept=(sweep.name, str(value)),
                **facts,
            )
            for value in sweep.values
        ]
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        known = ", ".join(sorted({*Experiment.model_fields, "sweep"} - {"name", "swept"}))
        raise ConfigError(f"{path}: {key}: {first['msg']}; known keys: {known}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def reproduce(
    name: str,
    seeds: int | None = None,
    *,
    output: Path | None = None,
    root: str | None = None,
    jobs: int = 1,
    fresh: bool = False,
    on_seed: Callable[[SeedResult, bool], None] | None = None,
    on_epoch: Callable[..., None] | None = None,
) -> Summary:
    """Run experiment ``name`` for seeds 0 to ``seeds`` - 1 and store each result as it comes.

    output: folder of results (default: ``experiments/results`` of the checkout). Seeds found there
    with the same configuration and versions are kept, unless ``fresh``. jobs: processes.
    on_seed(result, kept) is called after each; on_epoch goes to the trainer (one process only).
    """
    from gat.data import card

    entry = experiment(name)
    count = entry.seeds if seeds is None else seeds
    if count < 1 or jobs < 1:
        raise InputError(f"seeds and jobs must be at least 1, got {count} and {jobs}")
    folder = results_folder(output) / name
    num_splits = card(entry.dataset).splits if entry.vary_split else 1
    configs: dict[int, Config]
    configs = {seed: entry.config_of(seed, num_splits) for seed in range(count)}
    found: dict[int, SeedResult] = {}
    with locked(folder, name):
        for seed, config in configs.items():
            kept = None if fresh else SeedResult.read(folder, seed)
            if kept is not None and kept.stands_for(config, versions()):
                found[seed] = kept
                if on_seed:
                    on_seed(kept, True)
        todo = [
            (name, configs[seed], root, entry.baselines) for seed in configs if seed not in found
        ]
        for result in _results(todo, jobs, on_epoch):
            result.write(folder)
            found[result.seed] = result
            if on_seed:
                on_seed(result, False)
    return Summary(name, tuple(found[seed] for seed in sorted(found)))


@contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """While results of ``name`` go into ``folder``: two processes would both train every seed."""
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise RunLockedError(
            f"another process is reproducing {name} into {folder}; wait for it to end, or choose "
            "another folder with --output"
        ) from None
    except OSError as error:
        raise InputError(
            f"results cannot be kept in {folder}: {error.strerror or error}; choose another "
            "folder with --output"
        ) from None
    try:
        yield
    finally:
        # The folder is part of the checkout: only results stay in it. Where an open file cannot be
        # removed (Windows), the lock removes it itself.
        with suppress(OSError):
            (folder / ".lock").unlink()
        lock.release()


def results_folder(output: Path | None = None) -> Path:
    """Where results are kept: ``output``, else the checkout's, else ``gat-results`` here."""
    if output is not None:
        return Path(output)
    experiments = shelf("experiments")
    in_checkout = (experiments.parent / "pyproject.toml").is_file()
    return experiments / "results" if in_checkout else Path("gat-results")


# Experiment, configuration, folder of data, whether baselines are wanted.
Task = tuple[str, Config, str | None, bool]


def _results(
    todo: list[Task], jobs: int, on_epoch: Callable[..., None] | None
) -> Iterator[SeedResult]:
    if jobs == 1 or len(todo) <= 1:
        for task in todo:
            yield run_one(task, on_epoch)
        return
    import torch

    from gat.ops.cpu import notice_if_missing

    jobs = min(jobs, len(todo))
    # spawn: a forked child of a process that has used torch's threads may hang.
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // jobs)
    others = set(multiprocessing.active_children())
    if todo[0][1].device == "cpu" or not torch.cuda.is_available():
        notice_if_missing()
    with ProcessPoolExecutor(jobs, context, _prepare_worker, (threads,)) as pool:
        try:
            for future in as_completed([pool.submit(run_one, task) for task in todo]):
                yield future.result()
        except BaseException as error:
            # Killed, not asked: training would note a SIGTERM and finish its step first, and there
            # is nothing of an unfinished seed to save.
            for child in set(multiprocessing.active_children()) - others:
                child.kill()
            if isinstance(error, BrokenProcessPool):
                raise GatError(
                    f"one of the {jobs} processes ended by itself (out of memory?); the seeds that "
                    "were done are stored: run again with fewer --jobs"
                ) from None
            raise


def _prepare_worker(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    # Said once, by the process that started this one.
    warnings.filterwarnings("ignore", "compiled CPU library", RuntimeWarning)


def run_one(task: Task, on_epoch: Callable[..., None] | None = None) -> SeedResult:
    """Train one seed; no run folder is left behind."""
    # Deferred: listing experiments needs neither models nor data.
    from gat.train.baselines import baselines

    name, config, root, with_baselines = task
    local = config if root is None else config.updated(**{"data.root": root})
    data = load_task(local.data)
    fields = measured(name, config, data, on_epoch)
    if with_baselines and isinstance(local, TrainConfig):
        how = local.data.normalize_features
        fields["baselines"] = baselines(data, local.data.split, normalize=how)
    return SeedResult(**fields)


def measured(
    name: str, config: Config, data: Any, on_epoch: Callable[..., None] | None = None
) -> dict[str, Any]:
    """The fields of a `SeedResult` of experiment ``name``: ``config`` trained on ``data``."""
    from gat.train.trainer import train

    run = train(config, task=data, on_epoch=on_epoch)
    commit, changed = commit_and_changes()
    names = ("metric", "train", "val", "test", "best_epoch", "epochs", "seconds")
    scores: dict[str, Any] = {name: getattr(run, name) for name in names}
    raw = {part: scores[part] for part in run.smoothed}
    scores |= run.reported
    return {
        "experiment": name,
        "seed": config.seed,
        "split": config.data.split,
        "config": config.to_dict(),
        "versions": versions(),
        "machine": machine(),
        "commit": commit,
        "uncommitted_changes": changed,
        "unsmoothed": raw,
        "measures": run.measures,
        **scores,
    }
