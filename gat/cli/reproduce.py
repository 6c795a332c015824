"""`gat reproduce`: seeds as they come, then ours beside the published row."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from gat.cli.options import Reproduce
from gat.cli.show import live_line, percent, progress_line, say, table
from gat.errors import InputError

if TYPE_CHECKING:
    from gat.train.experiment import Experiment
    from gat.train.results import SeedResult, Summary
    from gat.train.run import EpochRecord

__all__ = ["list_experiments", "reproduce_command", "show_summary"]

OnSeed = Callable[["SeedResult", bool], None]
OnEpoch = Callable[["EpochRecord"], None]


def reproduce_command(options: Reproduce) -> None:
    """Run the experiment, or list all of them."""
    from gat.train.experiment import experiment, results_folder
    from gat.train.reproducing import reproduce

    if options.experiment is None:
        list_experiments()
        return
    entry = experiment(options.experiment)
    say(f"{entry.name}: {entry.title}")
    if options.replica is not None:
        _on_replica(options, entry, options.replica)
        return
    if options.epochs is not None:
        raise InputError(
            "--epochs shortens a run on a replica; a result beside a published row runs the whole "
            "recipe. Add --replica SCALE, or use gat train with --epochs"
        )
    with _followed(options, entry) as (on_seed, on_epoch):
        summary = reproduce(
            entry.name,
            options.seeds,
            output=options.output,
            root=None if options.root is None else str(options.root),
            jobs=options.jobs,
            fresh=options.fresh,
            on_seed=on_seed,
            on_epoch=on_epoch,
        )
    show_summary(entry, summary)
    say(f"every seed is in {results_folder(options.output) / entry.name}")


def _on_replica(options: Reproduce, entry: "Experiment", scale: float) -> None:
    from gat.train.replicas import on_replica, replicas_folder

    if options.root is not None or options.jobs != 1:
        raise InputError(
            "a replica is written into the cache and run by one process; leave out --root and "
            "--jobs, or --replica"
        )
    options = replace(options, seeds=options.seeds or 1)
    say(f"on a replica of {entry.dataset} at scale {scale:g}, which is not the real data")
    with _followed(options, entry) as (on_seed, on_epoch):
        summary = on_replica(
            entry.name,
            scale,
            seeds=options.seeds or 1,
            epochs=options.epochs,
            output=options.output,
            fresh=options.fresh,
            on_seed=on_seed,
            on_epoch=on_epoch,
        )
    rows = [["ours", str(summary)]]
    rows += [[name, f"{mean:.2f}"] for name, mean in summary.baselines().items()]
    table(["on the replica", f"test {summary.results[0].metric} %"], rows)
    say(f"every seed is in {replicas_folder(options.output) / entry.name}")


@contextmanager
def _followed(options: Reproduce, entry: "Experiment") -> Iterator[tuple[OnSeed, OnEpoch]]:
    """What to call after a seed and after an epoch: a line for each seed, and a live one."""
    count = entry.seeds if options.seeds is None else options.seeds
    done = 0

    def words() -> str:
        return f"{entry.name}: {done} of {count} seeds"

    with live_line(words()) as show:

        def on_seed(result: "SeedResult", kept: bool) -> None:
            nonlocal done
            done += 1
            _say_seed(result, kept)
            show(words())

        def on_epoch(record: "EpochRecord") -> None:
            show(progress_line(f"{words()}, next", record, entry.config.epochs))

        yield on_seed, on_epoch


def _say_seed(result: "SeedResult", kept: bool) -> None:
    came = "kept from before" if kept else f"{result.seconds:.1f} s"
    say(
        f"seed {result.seed}, split {result.split}: test {percent(result.test)}, "
        f"val {percent(result.val)}, epoch {result.best_epoch} of {result.epochs} ({came})"
    )


def show_summary(entry: "Experiment", summary: "Summary") -> None:
    """Ours, the published row with its source, further rows, and the verdict."""
    from gat.train.result_tables import besides

    runs = len(summary.results)
    ours = f"mean of {runs} run{'s' if runs > 1 else ''}"
    rows = [["ours", str(summary), ours]]
    if entry.published is not None:
        rows.append(["published", str(entry.published), entry.published.source])
    rows += [[name, f"{mean:.2f}", ours] for name, mean in summary.baselines().items()]
    rows += [["also published", str(row), row.source] for row in entry.also]
    table(["", f"test {summary.results[0].metric} %", "from"], rows)
    if summary.measures():
        say(f"besides, on the test part: {besides(summary)}")
    say(_verdict(entry, summary))


def _verdict(entry: "Experiment", summary: "Summary") -> str:
    if entry.published is None:
        notes = f"; {entry.notes}" if entry.notes else ""
        return f"there is no published row for {entry.name}{notes}"
    word = summary.verdict(entry.published)
    return f"our mean of {summary.mean:.2f} lies {word} {entry.published} ({entry.published.url})"


def list_experiments() -> None:
    """Every experiment with its published row."""
    from gat.train.experiment import experiments

    rows = [
        [entry.name, entry.title, entry.seeds, entry.published or "none"]
        for entry in experiments().values()
    ]
    table(["experiment", "what", "runs", "published %"], rows)
