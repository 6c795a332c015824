"""`gat inspect`: what a run's attention looks at, printed, drawn, as a page and as a report."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gat.cli.options import Inspect
from gat.cli.show import live_line, say, table
from gat.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gat.inspection import Attention, Faithfulness
    from gat.train import OpenedRun

__all__ = ["inspect_command"]

# A neighbourhood of at most so many fits a picture with all its names.
READABLE = 12
# In the order in which a reader asks; GNNExplainer takes a second a node and is asked for.
METHODS = ("attention", "gatt", "gradient_x_input", "nearest", "random")


def inspect_command(options: Inspect) -> None:
    """Look into a run, and write what was asked for."""
    from gat.train import newest_run, open_run

    asked = options.html or options.png or options.report or options.pictures or options.save
    run = open_run(options.run_dir or newest_run(), options.graph)
    look = Look(run, options)
    look.say_what()
    if options.node is not None or not asked:
        look.say_verdicts()
    if options.node is not None:
        look.say_node()
    look.write()


class Look:
    """One run's attention, and what the options ask of it."""

    def __init__(self, run: "OpenedRun", options: Inspect) -> None:
        from gat.inspection import record_attention

        self.run, self.options = run, options
        with torch.no_grad(), record_attention(run.model) as attention:
            run.model(run.x, run.edge_index)
        self.attention: Attention = attention
        self.names = run.graph.node_ids
        self.class_names = run.task.class_names
        self.node = self.default_node() if options.node is None else self.find_node(options.node)
        self.layer = options.layer or next(iter(attention))
        if self.layer not in attention:
            raise InputError(
                f"--layer is {self.layer!r}; the run's layers are {', '.join(attention)}"
            )

    def find_node(self, text: str) -> int:
        """A node by its name in the data, or by its number."""
        if self.names is not None and text in self.names:
            return self.names.index(text)
        count = self.run.x.size(0)
        if text.isdecimal() and int(text) < count:
            return int(text)
        raise InputError(
            f"--node is {text!r}; expected a number in [0, {count})"
            + ("" if self.names is None else f", or a node's name, such as {self.names[0]!r}")
        )

    def default_node(self) -> int:
        """The test node with most neighbours that still fits a picture; the first of equals."""
        degree = self.attention[next(iter(self.attention))].graph.in_degree
        nodes = self.run.part("test")
        nodes = nodes if nodes.numel() else torch.arange(degree.numel())
        fits = degree[nodes] <= READABLE
        return int(nodes[torch.where(fits, degree[nodes], -1).argmax()])

    def name(self, node: int) -> str:
        return str(node) if self.names is None else f"{self.names[node]} ({node})"

    def say_what(self) -> None:
        """Which run this is."""
        result, task = self.run.result, self.run.task
        say(f"{self.run.path}: {task.name}, test {result.metric} {100 * result.test:.2f} %")
        say(f"attention of {self.layers()}, over {self.run.edge_index.size(1):,} edges")

    def layers(self) -> str:
        from gat.inspection.reports import counted

        records = self.attention.values()
        return ", ".join(
            f"{r.name} ({r.layer_type}, {counted(r.num_heads, 'head')})" for r in records
        )

    def say_verdicts(self) -> None:
        """A row for each head, and the layers in a sentence."""
        report = self.report(with_faithfulness=False)
        rows = [[one.layer, one.head, one.kind, one.sentence] for one in report.verdicts]
        table(["layer", "head", "verdict", "in words"], rows, wide="in words")
        for sentence in report.summary:
            say(sentence)

    def say_node(self) -> None:
        """What the node looks at, most attended first."""
        look = self.report(with_faithfulness=False).node
        assert look is not None
        rows = [
            [name, label, *(f"{100 * weight:.1f} %" for weight in weights)]
            for name, label, weights, _ in look.rows
        ]
        say(f"node {look.name} looks at (means over heads):")
        table(["neighbour", "class", *look.layers], rows)
        if look.left_out:
            say(f"{look.left_out} more are not listed")

    def write(self) -> None:
        """The files asked for."""
        options = self.options
        if options.save is not None:
            self.attention.save(options.save)
            say(f"wrote {options.save}")
        if options.png is not None:
            self.say_choice()
            self.save_picture(self.neighbourhood(), options.png)
        if options.html is not None:
            self.write_page(options.html)
        found = self.faithfulness() if options.report is not None else None
        if options.pictures is not None:
            self.write_pictures(options.pictures, found)
        if options.report is not None:
            self.write_report(options.report, found)

    def say_choice(self) -> None:
        if self.options.node is None:
            say(
                f"node {self.name(self.node)} is looked at, the test node with most neighbours up "
                f"to {READABLE}; --node chooses another"
            )

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
        from gat.inspection.page import write_page

        self.say_choice()
        write_page(
            path,
            self.attention,
            self.node,
            self.options.hops,
            self.run.labels,
            self.class_names,
            self.names,
            layer=self.options.layer,
            head=self.options.head,
        )
        say(f"wrote {path}")

    def write_pictures(self, folder: Path, found: "Faithfulness | None") -> dict[str, str]:
        """Every picture as PNG; their paths by title."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = {}
        for name, (title, figure) in self.figures(found).items():
            path = folder / f"{name}.png"
            self.save_picture(figure, path)
            paths[title] = path.name
        return paths

    def figures(self, found: "Faithfulness | None") -> dict[str, tuple[str, "Figure"]]:
        """Every picture by the name of its file, with its title."""
        from gat.inspection import pictures

        look = f"What node {self.name(self.node)} looks at"
        drawn = {"neighbourhood": (look, self.neighbourhood())}
        for record in self.attention.values():
            stem = record.name.replace("/", "-").replace(" ", "-")
            of = f", {record.name}"
            drawn[f"entropy-{stem}"] = (
                f"How evenly attention is spread{of}",
                pictures.draw_entropy(record),
            )
            drawn[f"degree-{stem}"] = (
                f"Weight by degree{of}",
                pictures.draw_weight_by_degree(record),
            )
            if record.num_heads > 1:
                title = f"How much the heads differ{of}"
                drawn[f"heads-{stem}"] = title, pictures.draw_head_agreement(record)
        embedding = pictures.draw_embedding(
            self.hidden(), self.run.labels, class_names=self.class_names
        )
        drawn["embedding"] = "What the last layer sees", embedding
        if found is not None:
            curves = pictures.draw_deletion_curves(found)
            drawn["deletion"] = "Does it mean anything?", curves
        return drawn

    def hidden(self) -> torch.Tensor:
        """The features that enter the last attention layer, [N, F]."""
        last = list(self.attention.values())[-1].layer
        seen: list[torch.Tensor] = []
        layer = self.run.model.get_submodule(last)
        handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            with torch.no_grad():
                self.run.model(self.run.x, self.run.edge_index)
        finally:
            handle.remove()
        return seen[0]

    def faithfulness(self) -> "Faithfulness | None":
        """Of so many test nodes, chosen by a fixed seed; None of none."""
        from gat.inspection import faithfulness

        nodes = self.run.part("test")
        degree = self.attention[self.layer].graph.in_degree
        nodes = nodes[degree[nodes] > 0]
        count = min(self.options.faithfulness, nodes.numel())
        if count == 0 or self.run.task.multilabel:
            return None
        chosen = nodes[torch.randperm(nodes.numel(), generator=torch.Generator().manual_seed(0))]
        methods = (*METHODS, "gnn_explainer") if self.options.explainer else METHODS
        with live_line(f"faithfulness over {count} nodes"):
            return faithfulness(
                self.run.model, self.run.x, self.run.edge_index, chosen[:count], methods
            )

    def report(self, found: "Faithfulness | None" = None, *, with_faithfulness: bool = True) -> Any:
        from gat.inspection import report

        run = self.run
        facts = {
            "run": run.path.name,
            "data": f"{run.task.name}, {run.x.size(0):,} nodes, {run.edge_index.size(1):,} edges",
            "layers": self.layers(),
            f"test {run.result.metric}": f"{100 * run.result.test:.2f} %",
        }
        return report(
            self.attention,
            run.labels,
            title=f"What the attention of {run.task.name} looks at",
            facts=facts,
            faithfulness=found if with_faithfulness else None,
            node=self.node,
            names=self.names,
            class_names=self.class_names,
            even=self.even() if with_faithfulness else None,
        )

    def even(self) -> str:
        """The test score with all attention made even, in a sentence."""
        from gat.inspection import uniform_attention

        result = self.run.result
        with uniform_attention(self.run.model):
            score = self.run.score("test")
        return (
            f"With every weight made even, and nothing trained anew, test {result.metric} is "
            f"{100 * score:.2f} % instead of {100 * result.test:.2f} %."
        )

    def write_report(self, path: Path, found: "Faithfulness | None") -> None:
        """FILE.md and FILE.json, and the pictures in a folder beside them."""
        path = path.with_suffix(".md") if path.suffix == ".json" else path
        folder = path.with_name(f"{path.stem}-pictures")
        pictures = self.write_pictures(folder, found)
        links = {title: f"{folder.name}/{name}" for title, name in pictures.items()}
        report = self.report(found)
        path.write_text(report.markdown(links), encoding="utf-8")
        say(f"wrote {path}")
        data = path.with_suffix(".json")
        data.write_text(json.dumps(report.to_dict(), indent=1, allow_nan=False), encoding="utf-8")
        say(f"wrote {data}")

    def save_picture(self, figure: "Figure", path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
        say(f"wrote {path}")
