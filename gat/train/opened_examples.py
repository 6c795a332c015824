"""A finished run on examples, opened to look into: what its model answers to an example of the test
part, and what it is called with so that its attention can be recorded."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gat.data import Examples, ExampleTask, Ragged
from gat.data.vocabulary import END
from gat.errors import IndexRangeError
from gat.train.example_session import ExampleSession
from gat.train.examples_config import ExamplesConfig
from gat.train.run import RunResult
from gat.train.step import autocast

__all__ = ["Example", "OpenedExamples"]


@dataclass(frozen=True, eq=False)
class Example:
    """One example as a person reads it.

    number: in the test part. inputs: what the model is called with, a batch of one. said, right:
    the answer and the one that was wanted, as text; is_right: whether the metric counts it right.
    tokens: of a sentence or sequence, [num_src]; answer: the tokens of a translation's answer, its
    end too unless it was cut; document: the words of each sentence; image: [C, H, W]. Those that do
    not apply are None.
    """

    number: int
    inputs: tuple[Tensor, ...]
    said: str
    right: str
    is_right: bool
    tokens: list[str] | None = None
    answer: list[str] | None = None
    document: list[list[str]] | None = None
    image: Tensor | None = None

    def ends(self, layer: str, num_src: int, num_dst: int) -> tuple[list[str], list[str]] | None:
        """What the sources [num_src] and the targets [num_dst] of a layer of the network are
        called; None where they are no tokens, words or sentences.

        The layer's name tells too, since a question and its answer may be of one length.
        """
        known = self._ends_known(layer)
        return next((ends for ends in known if tuple(map(len, ends)) == (num_src, num_dst)), None)

    def _ends_known(self, layer: str) -> Iterator[tuple[list[str], list[str]]]:
        tokens, answer, whole = self.tokens or [], self.answer, [self.said]
        if answer is not None:
            # Attention over the answer is over what was written before each step.
            written = ["<s>", *answer[:-1]]
            reads = layer.startswith("encoder")
            inside = (tokens, tokens) if reads else (written, written)
            yield inside if reads or "self_attn" in layer else (tokens, answer)
        elif self.document is not None:
            words = [word for line in self.document for word in line]
            sentences = [f"sentence {number}" for number in range(len(self.document))]
            yield from ((words, whole), (sentences, whole), (words, sentences))
            yield from ((words, words), (sentences, sentences))
        else:
            yield from ((tokens, tokens), (tokens, whole))
            # A state that looks back: after each token but the last, before each but the first.
            steps = tokens[::-1] if "reverse" in layer else tokens
            yield steps[:-1], steps[1:]


@dataclass(frozen=True, eq=False)
class OpenedExamples:
    """A run ready to be asked: ``run.model(*run.example(3).inputs)``.

    path: its folder; result: its scores; task, config: what it was trained on and how; model: in
    eval mode, on the CPU, with the weights the run kept.
    """

    path: Path
    result: RunResult
    task: ExampleTask
    config: ExamplesConfig
    model: nn.Module
    way: Any

    @classmethod
    def of(cls, path: Path, result: RunResult, session: ExampleSession) -> "OpenedExamples":
        """The run whose weights are in the session."""
        model = session.model.cpu().eval()
        return cls(path, result, session.task, session.config, model, session.way)

    def example(self, number: int = 0) -> Example:
        """An example of the test part, answered. IndexRangeError for one that is not there."""
        part = self.task.parts["test"]
        if not 0 <= number < len(part):
            raise IndexRangeError(
                f"example is {number}; {self.task.name} has {len(part)} in its test part, counted "
                f"from 0"
            )
        batch = part.select(torch.tensor([number]))
        tell = self._translated if self.task.kind == "translation" else self._told
        with torch.no_grad(), autocast(torch.device("cpu"), self.config.precision):
            return tell(number, batch)

    def _translated(self, number: int, batch: Examples) -> Example:
        source: Any = batch.inputs
        target: Any = batch.targets
        words, written = self.task.source_vocabulary, self.task.target_vocabulary
        assert words is not None
        assert written is not None
        (answer,) = self.way.answers(self.model, batch)
        is_right = bool(self.way.compared([answer], batch))
        # One that was cut has written no end.
        if answer.numel() < self.config.max_length:
            answer = torch.cat([answer, target.values.new_tensor([END])])
        # The model reads its own answer again, so that all steps are of one forward pass.
        inputs = (source.values, source.lengths, answer, torch.tensor([answer.numel()]))
        return Example(
            number,
            inputs,
            written.decode(answer),
            written.decode(target.values),
            is_right,
            tokens=words.names(source.values),
            answer=written.names(answer),
        )

    def _told(self, number: int, batch: Examples) -> Example:
        logits, targets = self.way.logits(self.model, batch)
        inputs, values = self.way.fed(batch), batch.inputs
        numbers = int(logits.argmax()), int(targets[0])
        said, right = map(self._class, numbers)
        is_right = numbers[0] == numbers[1]
        words = self.task.source_vocabulary
        if self.task.kind == "document classification":
            assert words is not None
            sentences: Any = values
            document = [words.names(one) for one in sentences[0]]
            return Example(number, inputs, said, right, is_right, document=document)
        if self.task.kind == "image classification":
            assert isinstance(values, Tensor)
            return Example(number, inputs, said, right, is_right, image=values[0])
        row: Any = values[0] if isinstance(values, Tensor | Ragged) else None
        steps = [f"step {step}" for step in range(len(row))]
        tokens = steps if words is None else words.names(row)
        return Example(number, inputs, said, right, is_right, tokens=tokens)

    def _class(self, number: int) -> str:
        names = self.task.class_names
        return str(number) if names is None else names[number]
