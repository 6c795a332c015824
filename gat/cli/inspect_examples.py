"""`gat inspect` of a run on examples: what an answer looked at, printed, drawn and as a page."""

from typing import TYPE_CHECKING, Any

import torch

from gat.cli.inspect import write_picture
from gat.cli.looked_at import looks_of_document, looks_of_image, looks_of_tokens
from gat.cli.options import Inspect
from gat.cli.show import percent, say, table
from gat.errors import InputError

if TYPE_CHECKING:
    from gat.inspection import AttentionRecord
    from gat.train.opened_examples import OpenedExamples

__all__ = ["inspect_examples"]

# What is only about graphs of nodes.
OF_NODES = ("report", "pictures", "graph", "hops", "faithfulness", "explainer")
# Parts of the names of layers that lead to the answer; the first of these is shown first.
TELLING = ("cross", "alignment", "pooling")
# Rows of the table that are shown of its beginning and of its end.
SHOWN = 20


def inspect_examples(run: "OpenedExamples", options: Inspect) -> None:
    """Look into what the model answers to one example of the test part."""
    unasked = Inspect()
    for name in OF_NODES:
        if getattr(options, name) != getattr(unasked, name):
            raise InputError(
                f"--{name} is about runs on graphs, and {run.path} is one on examples "
                f"({run.task.kind}); --node, --layer, --head, --png, --html and --save apply"
            )
    look = ExampleLook(run, options)
    look.say()
    look.write()


class ExampleLook:
    """One example, the answer, and the records of the layers that attended."""

    def __init__(self, run: "OpenedExamples", options: Inspect) -> None:
        from gat.inspection import Attention, joined, record_attention
        from gat.inspection.recording.listening import attention_layers

        if not attention_layers(run.model):
            raise InputError(
                f"{run.path}: its network, {run.config.model.name}, has no attention, so there is "
                f"nothing to look at; choose a run that has, such as one of gat train dates"
            )
        self.run, self.options = run, options
        self.example = run.example(_number(options.node))
        with torch.no_grad(), record_attention(run.model) as attention:
            run.model(*self.example.inputs)
        names = [name for name in attention if "#" not in name]
        self.attention = Attention([joined(attention, name) for name in names])
        telling = [name for name in names if any(part in name for part in TELLING)]
        self.layer = options.layer or [*telling, *names][0]
        self.record = self.attention[self.layer]
        if options.head is not None:
            self.record.head(options.head)

    def say(self) -> None:
        """Which example, the answer, and what each part of it looked at most."""
        run, example = self.run, self.example
        said = f"{run.path}: {run.task.name}, test {run.result.metric} {percent(run.result.test)} %"
        say(said if run.result.stopped_by else f"{said}, of a run that has not ended")
        say(f"example {example.number}{self._asked()}: answered {self._answer()}")
        say(f"layers that attended: {', '.join(self.attention)}; shown: {self.layer}")
        for name in self.attention:
            self._say_share(name)
        header, rows = self._looks()
        left_out = max(0, len(rows) - 2 * SHOWN)
        table(header, rows[:SHOWN] + rows[SHOWN + left_out :])
        if left_out:
            say(f"{left_out} in the middle are not listed")

    def _say_share(self, name: str) -> None:
        """By what a layer's sum is multiplied before it is added, where it is (`SelfAttention`)."""
        gamma = getattr(self.run.model.get_submodule(name.rpartition(".")[0]), "gamma", None)
        if gamma is not None:
            so = "" if float(gamma) else ": it takes no part in the answer"
            say(f"what {name} gives is added {float(gamma):.3g} times{so}")

    def _asked(self) -> str:
        words = self.run.task.source_vocabulary
        if words is None or self.example.tokens is None:
            return ""
        return f" {words.joiner.join(one for one in self.example.tokens if one != '</s>')!r}"

    def _answer(self) -> str:
        said, example = repr(self.example.said), self.example
        if example.answer is not None and example.answer[-1:] != ["</s>"]:
            said += f", cut after {len(example.answer)} tokens"
        return f"{said}, right" if example.is_right else f"{said}, wrong, it is {example.right!r}"

    def _looks(self) -> tuple[list[str], list[list[Any]]]:
        """The table of what is looked at, with its header."""
        example = self.example
        if example.image is not None:
            return looks_of_image(self._shown(self.record), example.image)
        if example.document is not None and (levels := self._levels()) is not None:
            words, sentences = map(self._shown, levels)
            return looks_of_document(words, sentences, example.document)
        return looks_of_tokens(self._shown(self.record), self._ends())

    def _shown(self, record: "AttentionRecord") -> "AttentionRecord":
        """Of the head asked for, else the mean of all."""
        return record.mean() if self.options.head is None else record.head(self.options.head)

    def write(self) -> None:
        """The files asked for."""
        options = self.options
        if options.save is not None:
            self.attention.save(options.save)
            say(f"wrote {options.save}")
        if options.png is not None:
            write_picture(self._picture(), options.png)
        if options.html is not None:
            say(f"wrote {self._page()}")

    def _picture(self) -> Any:
        from gat.inspection import pictures

        example, head = self.example, self.options.head
        if example.image is not None:
            return pictures.draw_image_attention(self.record, example.image, head=head)
        if example.document is not None and (levels := self._levels()) is not None:
            return pictures.draw_document(*levels, example.document, head=head)
        sources, targets = self._ends()
        if len(targets) == 1:
            # A matrix of one row has its words where they can hardly be read.
            return pictures.draw_sentence(self.record, sources, head=head, target_tokens=targets)
        return pictures.draw_alignment(self.record, sources, targets, head)

    def _page(self) -> Any:
        from gat import inspection

        example, options = self.example, self.options
        assert options.html is not None
        shown: dict[str, Any] = {"layer": self.layer, "head": options.head}
        title = f"{self.run.task.name}, example {example.number}: {self._answer()}"
        if example.image is not None:
            record = list(self.attention.values())
            return inspection.write_image_page(options.html, record, example.image, title, **shown)
        if example.document is not None and (levels := self._levels()) is not None:
            return inspection.write_document_page(
                options.html, *levels, example.document, title, head=options.head
            )
        sources, targets = ends = self._ends()
        same = [one for one in self.attention.values() if self._ends_of(one) == ends]
        looking = None if targets is sources else targets
        return inspection.write_text_page(options.html, same, sources, looking, title, **shown)

    def _levels(self) -> "tuple[AttentionRecord, AttentionRecord] | None":
        """Those that pool words to sentences and sentences to the document, if one is shown."""
        pooling = [one for name, one in self.attention.items() if "pooling" in name]
        if len(pooling) != 2 or "pooling" not in self.layer:
            return None
        return pooling[0], pooling[1]

    def _ends_of(self, record: "AttentionRecord") -> tuple[list[str], list[str]] | None:
        return self.example.ends(record.layer, record.num_src, record.num_dst)

    def _ends(self) -> tuple[list[str], list[str]]:
        """What the sources and targets of the layer shown are called."""
        ends = self._ends_of(self.record)
        if ends is None:
            raise InputError(
                f"{self.layer} attends from {self.record.num_src} to {self.record.num_dst} nodes, "
                f"which are not the example's tokens; choose another --layer"
            )
        return ends


def _number(node: str | None) -> int:
    if node is None:
        return 0
    if not node.isdecimal():
        raise InputError(f"--node is {node!r}; expected the number of an example, from 0")
    return int(node)
