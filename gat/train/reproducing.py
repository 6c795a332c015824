"""One experiment run over its seeds, each result stored as it comes.

What an experiment is stands in :mod:`gat.train.experiment`, how one seed is trained in
:mod:`gat.train.trainer`.
"""

import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gat.errors import GatError, InputError, RunLockedError
from gat.train.config import TrainConfig
from gat.train.experiment import experiment, results_folder
from gat.train.kinds import Config, load_task
from gat.train.results import SeedResult, Summary, commit_and_changes, machine, versions

__all__ = ["locked", "measured", "reproduce", "run_one"]


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
