"""`gat inspect`: what a run's attention looks at, printed, drawn, as a page and as a report."""

import io
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gat.cli.options import Inspect
from gat.cli.show import live_line, percent, say, table
from gat.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gat.inspection import Attention, Faithfulness, Report
    from gat.train import OpenedRun

__all__ = ["inspect_command"]

# In the order in which a reader asks; GNNExplainer takes a second a node and is asked for.
METHODS = ("attention", "gatt", "gradient_x_input", "nearest", "random")


def inspect_command(options: Inspect) -> None:
    """Look into a run, and write what was asked for."""
    from gat.cli.inspect_examples import inspect_examples
    from gat.train import newest_run, open_run
    from gat.train.opened_examples import OpenedExamples

    check_options(options)
    run = open_run(options.run_dir or newest_run(), options.graph)
    if isinstance(run, OpenedExamples):
        inspect_examples(run, options)
        return
    look = Look(run, options)
    look.say_what()
    asked = options.html or options.png or options.report or options.pictures or options.save
    if options.node is not None or not asked:
        look.say_verdicts()
    if options.node is not None:
        look.say_node()
    look.write()


def check_options(options: Inspect) -> None:
    """Refuse what cannot be done before anything is read."""
    from gat.inspection.files import check_file, check_folder

    for name, least in (("hops", 1), ("faithfulness", 0)):
        value = getattr(options, name)
        if value < least:
            raise InputError(f"--{name} is {value}; expected {least} or more")
    if options.html is not None:
        check_file(options.html, "page.html")
    if options.png is not None:
        check_file(options.png, "node.png")
    if options.report is not None:
        path = markdown_path(options.report)
        for one in (options.report, path, path.with_suffix(".json")):
            check_file(one, "report.md")
    if options.pictures is not None:
        check_folder(options.pictures)


def markdown_path(path: Path) -> Path:
    """Where the Markdown goes: FILE, but its JSON stands beside it under the same name."""
    return path.with_suffix(".md") if path.suffix in ("", ".json") else path


class Look:
    """One run's attention, and what the options ask of it."""

    def __init__(self, run: "OpenedRun", options: Inspect) -> None:
        from gat.inspection import record_attention
        from gat.inspection.words import called

        self.run, self.options = run, options
        with torch.no_grad(), record_attention(run.model) as attention:
            run.model(run.x, run.edge_index)
        self.attention: Attention = attention
        self.names, self.class_names = run.graph.node_ids, run.task.class_names
        self.node = run.example() if options.node is None else run.node(options.node)
        self.called = called(self.node, self.names)
        self.layer = options.layer or next(iter(attention))
        if self.layer not in attention:
            raise InputError(
                f"--layer is {self.layer!r}; the run's layers are {', '.join(attention)}"
            )
        if options.head is not None:
            attention[self.layer].head(options.head)

    def say_what(self) -> None:
        """Which run this is."""
        said = f"{self.run.path}: {self.run.name}, {self.score()}"
        say(said if self.run.result.stopped_by else f"{said}, of a run that has not ended")
        say(f"attention of {self.layers()}, over {self.run.edge_index.size(1):,} edges")

    def score(self) -> str:
        result = self.run.result
        if math.isnan(result.test):
            return "no test nodes"
        return f"test {result.metric} {percent(result.test)} %"

    def layers(self) -> str:
        from gat.inspection.words import counted

        records = self.attention.values()
        return ", ".join(
            f"{r.name} ({r.layer_type}, {counted(r.num_heads, 'head')})" for r in records
        )

    def say_verdicts(self) -> None:
        """A row for each head, and the layers in a sentence."""
        from gat.inspection import measure, summary, verdicts

        measures = measure(self.attention, self.run.labels)
        rows = [[one.layer, one.head, one.kind, one.brief] for one in verdicts(measures)]
        table(["layer", "head", "verdict", "on average"], rows, wide="on average")
        for sentence in summary(measures):
            say(sentence)

    def say_node(self) -> None:
        """What the node looks at, most attended first."""
        from gat.inspection.node_look import look_at

        look = look_at(self.attention, self.node, self.run.labels, self.names, self.class_names)
        if not look.rows:
            say(f"{self.called}: no edge enters it, so there is nothing to attend to")
            return
        say(f"{self.called} looks at (means over heads):")
        rows = [
            [name, label, *(f"{100 * weight:.1f} %" for weight in weights)]
            for name, label, weights, _ in look.rows
        ]
        table(["neighbour", "class", *look.layers], rows)
        if look.left_out:
            say(f"{look.left_out} more are not listed")

    def write(self) -> None:
        """The files asked for."""
        options = self.options
        if options.save is not None:
            self.attention.save(options.save)
            say(f"wrote {options.save}")
        if options.node is None and (options.png or options.pictures or options.report):
            say(f"{self.called} is looked at as an example; --node chooses another")
        if options.png is not None:
            write_picture(self.neighbourhood(), options.png)
        if options.html is not None:
            self.write_page(options.html)
        if options.report is not None:
            self.write_report(markdown_path(options.report))
        elif options.pictures is not None:
            self.write_pictures(options.pictures, None)

    def neighbourhood(self) -> "Figure":
        from gat.inspection.pictures import draw_neighbourhood

        return draw_neighbourhood(
            self.attention[self.layer],
            self.node,
            self.run.labels,
            self.class_names,
            self.names,
            hops=self.options.hops,
            heads=None if self.options.head is None else [self.options.head],
        )

    def write_page(self, path: Path) -> None:
        """Of the node asked for; else of the whole graph, or of the example if that is large."""
        from gat.inspection.page import MAX_EDGES, write_page

        edges = self.run.edge_index.size(1)
        node: int | None = self.node
        if self.options.node is None and max(edges, self.run.x.size(0)) <= MAX_EDGES:
            node = None
        elif self.options.node is None:
            say(f"the page is of what {self.called} looks at, an example; --node chooses another")
        write_page(
            path,
            self.attention,
            node,
            self.options.hops,
            self.run.labels,
            self.class_names,
            self.names,
            layer=self.options.layer,
            head=self.options.head,
        )
        say(f"wrote {path}")

    def write_pictures(self, folder: Path, found: "Faithfulness | None") -> dict[str, str]:
        """Every picture as PNG, all drawn before the first is written; their names by title."""
        from gat.inspection.files import make_folder
        from gat.inspection.pictures import Picture, draw_overview

        last = list(self.attention.values())[-1].layer
        drawn = {"neighbourhood": Picture(f"What {self.called} looks at", self.neighbourhood())}
        drawn |= draw_overview(
            self.attention, self.run.entering(last), self.run.labels, self.class_names, found
        )
        make_folder(folder)
        for name, picture in drawn.items():
            write_picture(picture.figure, folder / f"{name}.png")
        return {picture.title: f"{name}.png" for name, picture in drawn.items()}

    def write_report(self, path: Path) -> None:
        """FILE.md and FILE.json, and the pictures in --pictures or a folder beside them."""
        found, unmeasured = self.faithfulness()
        report = self.report(found, unmeasured)
        folder = self.options.pictures or path.with_name(f"{path.stem}-pictures")
        pictures = self.write_pictures(folder, found)
        beside = Path(os.path.relpath(folder, path.parent)).as_posix()
        links = {title: f"{beside}/{name}" for title, name in pictures.items()}
        for written in report.write(path, links):
            say(f"wrote {written}")

    def faithfulness(self) -> "tuple[Faithfulness | None, str | None]":
        """Over some test nodes; or why it is not measured."""
        from gat.inspection import faithfulness

        nodes = self.run.sample("test", self.options.faithfulness)
        if self.options.faithfulness == 0:
            return None, "it was not asked for (--faithfulness 0)"
        if self.run.task.multilabel:
            return None, "it follows the probability of one class, and these nodes have several"
        if not nodes.numel():
            return None, "no test node of this graph has a neighbour"
        methods = (*METHODS, "gnn_explainer") if self.options.explainer else METHODS
        run = self.run
        try:
            with live_line(f"faithfulness over {nodes.numel()} nodes"):
                return faithfulness(run.model, run.x, run.edge_index, nodes, methods), None
        except InputError as error:
            # Some models cannot be measured so; the rest of the report holds all the same.
            return None, str(error)

    def report(self, found: "Faithfulness | None", unmeasured: str | None) -> "Report":
        from gat.inspection import report

        run = self.run
        facts = {
            "run": run.path.name,
            "data": f"{run.name}, {run.x.size(0):,} nodes, {run.edge_index.size(1):,} edges",
            "layers": self.layers(),
            "score": self.score(),
        }
        return report(
            self.attention,
            run.labels,
            title=f"What the attention of {run.name} looks at",
            facts=facts,
            faithfulness=found,
            node=self.node,
            names=self.names,
            class_names=self.class_names,
            even=self.even(),
            unmeasured=unmeasured,
        )

    def even(self) -> str | None:
        """The test score with all attention made even, in a sentence; None without test nodes."""
        from gat.inspection import uniform_attention

        result = self.run.result
        if math.isnan(result.test):
            return None
        with uniform_attention(self.run.model):
            score = self.run.score("test")
        return (
            f"With every weight made even, and nothing trained anew, test {result.metric} is "
            f"{percent(score)} % instead of {percent(result.test)} %."
        )


def write_picture(figure: "Figure", path: Path) -> None:
    from gat.inspection.files import write_whole

    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=150)
    write_whole(path, data.getvalue())
    say(f"wrote {path}")
