"""`gat datasets` and `gat results`: what there is, and what came out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gat.cli.options import Datasets, Results
from gat.cli.pages import with_blocks, write_pages
from gat.cli.show import say, table
from gat.errors import InputError

if TYPE_CHECKING:
    from gat.data import Card
    from gat.train.experiment import Experiment
    from gat.train.results import Summary

__all__ = ["datasets_command", "results_command"]


def datasets_command(options: Datasets) -> None:
    """List the cards, or show one."""
    from gat.data import card, cards

    if options.name is None:
        found = cards().values()
        _list_graphs([entry for entry in found if entry.is_graph])
        _list_examples([entry for entry in found if not entry.is_graph])
        return
    entry = card(options.name)
    facts = entry.model_dump(exclude_none=True)
    files = facts.pop("files", ())
    facts |= {f"counts: {key}": value for key, value in facts.pop("counts", {}).items()}
    settings = facts.pop("options", {})
    if not entry.is_graph:
        # Of a graph they are its reader's; of examples they may be chosen when loading.
        facts |= {f"option: {key}": value for key, value in settings.items()}
        facts.pop("counts: graphs", None)
        facts["files"] = _files(entry)
    shown = [[key, _shown(value)] for key, value in facts.items()]
    shown += [["file", f"{file['name']}  {file.get('url', '')}".rstrip()] for file in files]
    table(["fact", "value"], shown)


def _list_graphs(entries: list["Card"]) -> None:
    rows = [[c.name, c.title, *_counts(c.counts), c.metric, c.splits] for c in entries]
    table(
        ["name", "what", "nodes", "edges", "features", "classes", "metric", "splits"],
        rows,
        wide="what",
        spare=("splits", "features", "metric", "edges"),
    )


def _list_examples(entries: list["Card"]) -> None:
    """Data sets of sequences, images and documents, under a header of their own."""
    say("")
    rows = [[c.name, c.title, c.task, _sizes(c), c.metric, _files(c)] for c in entries]
    table(
        ["name", "what", "task", "train/val/test", "metric", "files"],
        rows,
        wide="what",
        spare=("files", "metric", "train/val/test"),
    )


def _sizes(entry: "Card") -> str:
    return "/".join(str(entry.options.get(part, "–")) for part in ("train", "val", "test"))


def _files(entry: "Card") -> str:
    return "fetched" if entry.needs_files else "none needed"


def _counts(counts: object) -> list[str]:
    values = (getattr(counts, key) for key in ("nodes", "edges", "features", "classes"))
    return ["–" if value is None else f"{value:,}" for value in values]


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return " ".join(str(value).split())


def results_command(options: Results) -> None:
    """Render RESULTS.md, REPLICAS.md and the README's table from the stored seeds."""
    from gat.train.experiment import results_folder
    from gat.train.result_tables import example_tables, node_table, render

    folder = results_folder(options.output)
    rows = _current(folder)
    if options.output is not None:
        pages = {folder / "RESULTS.md": render(rows)}
        write_pages(pages, check=options.check, command="gat results")
        return
    texts = {folder.parent / "RESULTS.md": render(rows), **_replicas(folder.parent)}
    readme = folder.parent.parent / "README.md"
    if readme.is_file():
        blocks = {"results": node_table(rows)}
        if any(not entry.of_nodes for entry, _ in rows):
            blocks["example-results"] = example_tables(rows)
        texts[readme] = with_blocks(readme, blocks)
    write_pages(texts, check=options.check, command="gat results")


def _current(folder: Path) -> list[tuple["Experiment", "Summary"]]:
    """What the experiments, as they are now, would give again; InputError where there is none."""
    from gat.train.experiment import experiments
    from gat.train.results import stored

    found = stored(folder)
    rows = []
    for name, entry in experiments().items():
        current = entry.current(found[name]) if name in found else None
        if current is None or not current.results:
            continue
        _say_stale(len(found[name].results) - len(current.results), name)
        rows.append((entry, current))
    if not rows:
        raise InputError(f"{folder} holds no results; run gat reproduce EXPERIMENT first")
    return rows


def _replicas(experiments_folder: Path) -> dict[Path, str]:
    """The page of results on replicas, where there are any."""
    from gat.train.experiment import experiments
    from gat.train.replicas import current_replicas, render_replicas, stored_replicas

    found = stored_replicas(experiments_folder / "replicas")
    rows = []
    for name, entry in experiments().items():
        current = current_replicas(entry, found.get(name, []))
        _say_stale(len(found.get(name, [])) - len(current), f"{name} on a replica")
        if current:
            rows.append((entry, current))
    return {experiments_folder / "REPLICAS.md": render_replicas(rows)} if rows else {}


def _say_stale(count: int, name: str) -> None:
    if count:
        print(
            f"gat: {count} result(s) of {name} are of another configuration and left out; "
            f"run gat reproduce {name.split()[0]} again",
            file=sys.stderr,
        )
