"""`gat bench`: measure, show a table, store the record; render the records."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gat.cli.bench_large import Sequence, Train
from gat.cli.bench_measured import Inspect, Layer, Measured, Scaling, Sparse, Step
from gat.cli.bench_options import Report, Target
from gat.cli.pages import with_blocks, write_pages
from gat.cli.show import live_line, say, table
from gat.errors import InputError

if TYPE_CHECKING:
    from gat.bench import Plan, Record
    from gat.bench.case import Case, Say

__all__ = [
    "inspect_command",
    "layer_command",
    "report_command",
    "scaling_command",
    "sequence_command",
    "shaped_command",
    "sparse_command",
    "step_command",
    "target_command",
    "train_command",
]

Shape = TypeVar("Shape")


def layer_command(options: Layer) -> None:
    """One shape."""
    from gat.bench import Shape, measure_layer

    usual = ("gat", "pyg", "torch") if options.dtype == "float32" else ("gat", "blockwise")
    malloc = ("default", "kept") if options.device == "cpu" else ("default",)
    with _prepared(options, options.peers or usual, options.malloc or malloc) as plan:
        record = measure_layer(_shape(Shape, options), plan)
    _finish(record, options)


def shaped_command(options: Any, shape: str, measure: str) -> None:
    """What a shape describes: the names of it and of its function in `gat.bench`."""
    import gat.bench as room

    with _prepared(options, options.peers, options.malloc) as plan:
        record = getattr(room, measure)(_shape(getattr(room, shape), options), plan)
    _finish(record, options)


def _shape(shape: type[Shape], options: Measured) -> Shape:
    """The options that are the shape's fields."""
    names = (field.name for field in fields(shape))  # type: ignore[arg-type]
    return shape(**{name: getattr(options, name) for name in names})


def scaling_command(options: Scaling) -> None:
    """One shape on growing graphs."""
    from gat.bench import Shape, measure_scaling

    with _prepared(options, options.peers, options.malloc) as plan:
        shape = Shape(options.operator, options.heads, options.channels)
        record = measure_scaling(shape, plan, options.graphs)
    _finish(record, options)


def step_command(options: Step) -> None:
    """An epoch."""
    from gat.bench import measure_step

    with _prepared(options, options.peers, options.malloc) as plan:
        record = measure_step(options.dataset, plan, options.device)
    _finish(record, options)


def sparse_command(options: Sparse) -> None:
    """The first layer's product."""
    from gat.bench import measure_sparse

    with _prepared(options, options.peers, options.malloc) as plan:
        record = measure_sparse(options.dataset, plan, options.channels)
    _finish(record, options)


def inspect_command(options: Inspect) -> None:
    """Recording, or attribution."""
    from gat.bench import InspectShape, measure_attribution, measure_recording

    recording = options.kind == "record"
    peers = options.peers or (("plain", "recorded") if recording else ("node", "hub"))
    with _prepared(options, peers, options.malloc) as plan:
        shape = _shape(InspectShape, options)
        if recording:
            record = measure_recording(shape, plan)
        else:
            record = measure_attribution(options.kind, shape, plan)
    _finish(record, options)


def sequence_command(options: Sequence) -> None:
    """A window, or the whole sequence."""
    from gat.bench import SequenceShape, measure_sequence

    sizes = {name: getattr(options, name) for name in ("tokens", "heads", "channels", "causal")}
    with _prepared(options, options.peers, options.malloc) as plan:
        shape = SequenceShape(width=None if options.complete else options.width, **sizes)
        record = measure_sequence(shape, plan)
    _finish(record, options)


def train_command(options: Train) -> None:
    """An epoch, sampled or of the whole graph."""
    from gat import bench

    given = _given(options, "heads", "channels") | {
        "graph": options.graph,
        "layers": options.layers,
    }
    sampled = _given(options, "fanouts", "batch_size", "steps")
    if options.full and sampled:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in sampled)
        raise InputError(f"{names} of sampled training cannot go with --full; leave out one")
    if not options.full:
        given |= {"fanouts": (10,) * options.layers, **sampled}
    peers = options.peers or (("gat", "pyg") if options.full else ("gat", "pyg", "pyg-trimmed"))
    malloc = options.malloc or (("default",) if options.full else ("default", "kept"))
    with _prepared(options, peers, malloc) as plan:
        if options.full:
            record = bench.measure_full(bench.FullShape(**given), plan)
        else:
            record = bench.measure_train(bench.TrainShape(**given), plan)
    _finish(record, options)


def _given(options: Train, *names: str) -> dict[str, Any]:
    """Those that were given a value."""
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value not in (None, ())}


@contextmanager
def _prepared(
    options: Measured, peers: tuple[str, ...], malloc: tuple[str, ...]
) -> Iterator["Plan"]:
    """The plan, with what could be refused after minutes refused now."""
    from gat.bench import Plan
    from gat.bench.plot import check_can_plot

    if options.plot is not None:
        check_can_plot(options.plot)
    with _followed() as hear:
        yield Plan(tuple(dict.fromkeys(peers)), options.repeats, options.threads, malloc, hear)


@contextmanager
def _followed() -> Iterator["Say"]:
    """Tells on stderr what is being done: a live line on a terminal, else a line each."""
    if not sys.stderr.isatty():
        yield lambda text: print(f"gat: {text}", file=sys.stderr, flush=True)
        return
    with live_line("gat bench") as show:
        yield show


def _finish(record: "Record", options: Measured) -> None:
    """The figures on the screen, on disk, and drawn if asked for."""
    from gat.bench.plot import plot
    from gat.bench.record import new_record_path

    show_record(record)
    path = record.write(options.output or new_record_path(record.kind))
    say(f"record kept in {path}")
    if options.plot is not None:
        say(f"drawn in {plot(record, options.plot)}")


def show_record(record: "Record") -> None:
    """A table per case, and below it what the figures are to be read with."""
    from gat.bench.report import figure_rows, notes

    for case in record.cases:
        facts = ", ".join(f"{key} {_number(value)}" for key, value in case.facts.items())
        say(f"{record.title}: {facts}" if len(record.cases) == 1 else f"{case.name}: {facts}")
        if case.figures:
            table(*figure_rows(case))
        for note in notes(case):
            say(note)
        _say_per_edge(record, case)


def _say_per_edge(record: "Record", case: "Case") -> None:
    if record.kind != "scaling":
        return
    for figure in case.figures:
        each = 1e9 * figure.seconds() / float(case.facts["edges"])
        say(f"{figure.peer}, malloc {figure.malloc}: {each:.2f} ns per edge")


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def target_command(options: Target) -> None:
    """List the rows, or measure one, or all that are missing."""
    from gat.bench.record import results_folder, stored
    from gat.bench.report import current
    from gat.bench.targets import TARGETS, target

    folder = options.output or results_folder()
    found = current(stored(folder))
    if options.name is None and not options.missing:
        _list_targets(found)
        return
    if options.name is not None and options.missing:
        raise InputError(f"both the row {options.name!r} and --missing were given; leave out one")
    names = [name for name in TARGETS if name not in found] if options.name is None else None
    names = _measurable(names) if names is not None else [options.name or ""]
    rows = {name: target(name) for name in names}
    for name, row in rows.items():
        with _followed() as hear:
            record = row.measure(options.repeats, options.threads, hear)
        show_record(record)
        path = record.write(folder / f"{name}.json")
        _list_targets({name: record}, only=(name,))
        say(f"record kept in {path}; gat bench report renders it")
    if not rows:
        say("every row that this machine can measure has its record")


def _measurable(names: list[str]) -> list[str]:
    """Those that this machine can measure; the others are told."""
    from gat.bench.targets import TARGETS

    left = {name: TARGETS[name].why_open() for name in names}
    for name, reason in left.items():
        if reason:
            say(f"{name} stays open: {reason}")
    return [name for name in names if not left[name]]


def _list_targets(found: dict[str, "Record"], only: tuple[str, ...] = ()) -> None:
    from gat.bench.report import verdicts
    from gat.bench.targets import TARGETS

    rows = []
    for name in only or TARGETS:
        row = TARGETS[name]
        state = "measured" if name in found else "not measured"
        lines = verdicts(row, found.get(name))
        rows += [[name, row.what, measured, aim, verdict] for aim, measured, verdict in lines]
        rows += [] if lines else [[name, row.what, state, "–", ""]]
    table(["row", "what", "measured", "to reach", ""], rows, wide="what", spare=("what",))


def report_command(options: Report) -> None:
    """Render RESULTS.md and the README's table from the stored records."""
    from gat.bench import report
    from gat.bench.record import results_folder, stored

    folder = options.output or results_folder()
    records = stored(folder)
    for name in report.stale(records):
        print(
            f"gat: {folder / name}.json is of no row as it is measured now, and left out; "
            f"run gat bench target {name} again, or remove it",
            file=sys.stderr,
        )
    records = report.current(records)
    if options.output is not None:
        pages: dict[Path, str] = {folder / "RESULTS.md": report.render(records)}
    else:
        pages = {folder.parent / "RESULTS.md": report.render(records)}
        readme = folder.parent.parent / "README.md"
        if readme.is_file():
            pages[readme] = with_blocks(readme, {"bench": report.table(records)})
    write_pages(pages, check=options.check, command="gat bench report")
