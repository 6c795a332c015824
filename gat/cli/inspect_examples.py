"""`gat inspect` of a run on examples: what an answer looked at, printed, drawn and as a page."""

from typing import TYPE_CHECKING, Any

import torch

from gat.cli.options import Inspect
from gat.cli.show import percent, say, table
from gat.errors import InputError

if TYPE_CHECKING:
    from gat.inspection import AttentionRecord
    from gat.train.opened_examples import OpenedExamples

__all__ = ["inspect_examples"]

# What is only about graphs of nodes.
OF_NODES = ("report", "pictures", "explainer", "graph")
# Rows of the table, at most.
MOST = 40


def inspect_examples(run: "OpenedExamples", options: Inspect) -> None:
    """Look into what the model answers to one example of the test part."""
    for name in OF_NODES:
        if getattr(options, name):
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

        self.run, self.options = run, options
        self.example = run.example(_number(options.node))
        with torch.no_grad(), record_attention(run.model) as attention:
            run.model(*self.example.inputs)
        names = [name for name in attention if "#" not in name]
        self.attention = Attention([joined(attention, name) for name in names])
        self.layer = options.layer or self._first()
        self.record = self.attention[self.layer]
        if options.head is not None:
            self.record.head(options.head)

    def _first(self) -> str:
        """The layer shown first: one that looks from the answer to the question, else the first."""
        ends = {name: (each.num_src, each.num_dst) for name, each in self.attention.items()}
        answer, tokens = self.example.answer, self.example.tokens
        if answer is not None and tokens is not None:
            across = [name for name, of in ends.items() if of == (len(tokens), len(answer))]
            # A Transformer's cross-attention; of sentences of one length each layer fits.
            named = [name for name in across if "cross" in name or "alignment" in name]
            return (named or across or list(ends))[0]
        return next(iter(ends))

    def say(self) -> None:
        """Which example, the answer, and what each part of it looked at most."""
        run, example = self.run, self.example
        say(f"{run.path}: {run.task.name}, test {run.result.metric} {percent(run.result.test)} %")
        verdict = "right" if example.said == example.right else f"wrong, it is {example.right!r}"
        asked = "" if example.tokens is None else f" {self._text()!r}"
        say(f"example {example.number}{asked}: answered {example.said!r}, {verdict}")
        say(f"layers that attended: {', '.join(self.attention)}; shown: {self.layer}")
        rows = self._rows()
        if rows:
            table(["looking", "looks most at", "weight"], rows[:MOST])

    def _text(self) -> str:
        words = self.run.task.source_vocabulary
        joiner = " " if words is None else words.joiner
        assert self.example.tokens is not None
        return joiner.join(token for token in self.example.tokens if token != "</s>")

    def _rows(self) -> list[list[Any]]:
        sources, targets = self._names(self.record)
        if sources is None or targets is None:
            return []
        part = self.record.mean() if self.options.head is None else self._head(self.record)
        rows = []
        for target, name in enumerate(targets):
            found = part.neighbours(target)
            if found:
                weight = f"{100 * float(found[0].weights[0]):.1f} %"
                rows.append([name, f"{sources[found[0].node]} ({found[0].node})", weight])
        return rows

    def _head(self, record: "AttentionRecord") -> "AttentionRecord":
        assert self.options.head is not None
        return record.head(self.options.head)

    def _names(self, record: "AttentionRecord") -> tuple[list[str] | None, list[str] | None]:
        """The tokens of a record's sources and targets, where they are tokens."""
        tokens = self.example.tokens
        if tokens is not None and record.num_src == record.num_dst == len(tokens) - 1:
            # A state that looks back: after each token but the last, before each but the first.
            return tokens[:-1], tokens[1:]
        known = [each for each in (tokens, self.example.answer) if each is not None]
        # Causal attention over the answer reads what was written before each step.
        if self.example.answer is not None:
            known.append(["<s>", *self.example.answer[:-1]])
        sources = next((each for each in known if len(each) == record.num_src), None)
        if record.num_dst == record.num_src:
            return sources, sources
        targets = next((each for each in known if len(each) == record.num_dst), None)
        if targets is None and record.num_dst == 1:
            targets = [self.example.said]
        return sources, targets

    def write(self) -> None:
        """The files asked for."""
        options = self.options
        if options.save is not None:
            self.attention.save(options.save)
            say(f"wrote {options.save}")
        if options.png is not None:
            self._picture().savefig(options.png)
            say(f"wrote {options.png}")
        if options.html is not None:
            say(f"wrote {self._page()}")

    def _picture(self) -> Any:
        from gat.inspection import pictures

        example, head = self.example, self.options.head
        if example.image is not None:
            return pictures.draw_image_attention(self.record, example.image, head=head)
        if example.document is not None and len(self.attention) == 2:
            words, sentences = self._levels()
            return pictures.draw_document(words, sentences, example.document, head=head)
        return pictures.draw_alignment(self.record, *self._tokens(), head)

    def _page(self) -> Any:
        from gat import inspection

        example, options = self.example, self.options
        assert options.html is not None
        shown: dict[str, Any] = {"layer": self.layer, "head": options.head}
        title = f"{self.run.task.name}, example {example.number}"
        if example.image is not None:
            record = list(self.attention.values())
            return inspection.write_image_page(options.html, record, example.image, title, **shown)
        if example.document is not None and len(self.attention) == 2:
            words, sentences = self._levels()
            return inspection.write_document_page(
                options.html, words, sentences, example.document, title, head=options.head
            )
        sources, targets = self._tokens()
        ends = (self.record.num_src, self.record.num_dst)
        same = [one for one in self.attention.values() if (one.num_src, one.num_dst) == ends]
        return inspection.write_text_page(options.html, same, sources, targets, title, **shown)

    def _levels(self) -> list["AttentionRecord"]:
        """Those of words and of sentences."""
        return sorted(self.attention.values(), key=lambda record: -record.num_src)

    def _tokens(self) -> tuple[list[str], list[str]]:
        example = self.example
        if example.document is not None:
            return [word for line in example.document for word in line], [example.said]
        sources, targets = self._names(self.record)
        if sources is None or targets is None:
            raise InputError(
                f"{self.layer} attends from {self.record.num_src} to {self.record.num_dst} nodes, "
                f"which are not the example's tokens; choose another --layer"
            )
        return sources, targets


def _number(node: str | None) -> int:
    if node is None:
        return 0
    if not node.isdecimal():
        raise InputError(f"--node is {node!r}; expected the number of an example, from 0")
    return int(node)
