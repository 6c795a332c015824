"""How examples of a kind meet a network: what it is fed, what its answer is held to.

n examples in a batch, K classes, V words of the target's vocabulary.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gat.data import Examples, ExampleTask, Ragged
from gat.errors import ConfigError, InputError
from gat.train.examples_config import ExamplesConfig

__all__ = ["Way", "way_for"]


class Way(ABC):
    """A kind of examples, the network that a configuration names for it, and its measures."""

    # The networks, by the name in [model], that examples of this kind can be fed to.
    models: tuple[str, ...] = ()

    def __init__(self, config: ExamplesConfig, task: ExampleTask) -> None:
        self.config, self.task = config, task
        if config.model.name not in self.models:
            raise ConfigError(
                f"model.name is {config.model.name!r}; {task.name} is {task.kind}, for which there "
                f"are {', '.join(map(repr, self.models))}"
            )

    def build(self) -> nn.Module:
        """The network, freshly initialised."""
        from gat import models

        options = self.config.model.model_dump(exclude={"name"})
        kind = getattr(models, CLASSES[self.config.model.name])
        try:
            return kind(**self.sizes(), **options)
        except (InputError, ValueError, TypeError) as error:
            raise ConfigError(f"model: {error}") from error

    @abstractmethod
    def sizes(self) -> dict[str, Any]:
        """Those arguments of the network that the data decide, by name."""

    def vocabulary(self, side: str) -> int:
        """How many tokens there are; InputError where a task of tokens has no vocabulary."""
        found = getattr(self.task, f"{side}_vocabulary")
        if found is None:
            raise InputError(f"{self.task.name} is of tokens, but it has no {side}_vocabulary")
        return len(found)

    def changed(self, batch: Examples) -> Examples:
        """A batch of training as the step at hand is fed it."""
        return batch

    @abstractmethod
    def logits(self, model: Any, batch: Examples) -> tuple[Tensor, Tensor]:
        """Scores [R, K] and the classes [R] that they are held to."""

    @abstractmethod
    def right(self, model: Any, batch: Examples) -> Tensor:
        """Which examples are answered rightly, bool [n]."""

    def measures(self, model: Any, batches: Iterable[Examples], right: Tensor) -> dict[str, float]:
        """What else is told of the test part; right: bool [n], as `right` of all of it."""
        return {}


class Translation(Way):
    """A sentence to a sentence: right is an answer that is right to its end."""

    models = ("seq2seq", "transformer")

    def __init__(self, config: ExamplesConfig, task: ExampleTask) -> None:
        super().__init__(config, task)
        longest = max(_ragged(part.targets).longest for part in task.parts.values())
        if config.max_length < longest:
            raise ConfigError(
                f"max_length is {config.max_length}, and the longest answer of {task.name} has "
                f"{longest} tokens with its end, which could never be written; set it to "
                f"{longest} or more"
            )

    def sizes(self) -> dict[str, Any]:
        return {f"{side}_size": self.vocabulary(side) for side in ("source", "target")}

    def logits(self, model: Any, batch: Examples) -> tuple[Tensor, Tensor]:
        source, target = _ragged(batch.inputs), _ragged(batch.targets)
        scores = model(source.values, source.lengths, target.values, target.lengths)
        return scores, target.values

    def right(self, model: Any, batch: Examples) -> Tensor:
        return self.compared(self.answers(model, batch), batch)

    def answers(self, model: Any, batch: Examples) -> list[Tensor]:
        """What is written, token by token, without its end: int64 [T] for each example."""
        from gat.models.decoding import greedy

        source = _ragged(batch.inputs)
        limit = self.config.max_length
        return greedy(model, source.values, source.lengths, max_length=limit)

    def measures(self, model: Any, batches: Iterable[Examples], right: Tensor) -> dict[str, float]:
        """longest_source: see `longest_handled`; beam_accuracy: by beam search."""
        from gat.models.decoding import beam

        found: dict[str, float] = {}
        found["longest_source"] = longest_handled(_ragged(self.task.parts["test"].inputs), right)
        if self.config.beam_width:
            options = {"width": self.config.beam_width, "max_length": self.config.max_length}
            parts = []
            for batch in batches:
                source = _ragged(batch.inputs)
                answers = beam(model, source.values, source.lengths, **options)
                parts.append(self.compared(answers, batch))
            found["beam_accuracy"] = float(torch.cat(parts).double().mean())
        return found

    def compared(self, answers: list[Tensor], batch: Examples) -> Tensor:
        """Which answers are right, bool [n]."""
        from gat.models.decoding import right_sentences

        return torch.tensor(right_sentences(answers, list(_ragged(batch.targets))))


class Classification(Way):
    """A class for each example."""

    def logits(self, model: Any, batch: Examples) -> tuple[Tensor, Tensor]:
        return model(*self.fed(batch)), _tensor(batch.targets)

    def right(self, model: Any, batch: Examples) -> Tensor:
        logits, targets = self.logits(model, batch)
        return (logits.argmax(dim=-1) == targets).cpu()

    def fed(self, batch: Examples) -> tuple[Tensor, ...]:
        """What the network is called with."""
        inputs: Any = batch.inputs
        return (inputs,) if isinstance(inputs, Tensor) else (inputs.values, inputs.lengths)


class Sequences(Classification):
    """Tokens, or steps with features."""

    models = ("sequence-classifier",)

    def sizes(self) -> dict[str, Any]:
        inputs: Any = self.task.parts["train"].inputs
        values = inputs if isinstance(inputs, Tensor) else inputs.values
        classes = {"num_classes": self.task.num_classes}
        if values.is_floating_point():
            return {"inputs": None, "features": values.size(-1), **classes}
        return {"inputs": self.vocabulary("source"), **classes}


class Documents(Classification):
    """Words in sentences in documents."""

    models = ("document-classifier",)

    def sizes(self) -> dict[str, Any]:
        words = self.vocabulary("source")
        return {"vocabulary_size": words, "num_classes": self.task.num_classes}

    def fed(self, batch: Examples) -> tuple[Tensor, ...]:
        sentences = _ragged(batch.inputs)
        return sentences.values.values, sentences.values.lengths, sentences.lengths


class Images(Classification):
    """Images [n, C, H, W]."""

    models = ("attention-net",)

    def __init__(self, config: ExamplesConfig, task: ExampleTask) -> None:
        super().__init__(config, task)
        height, width = _tensor(task.parts["train"].inputs).shape[-2:]
        if config.shift > min(height, width) // 2:
            raise ConfigError(
                f"shift is {config.shift}, and images of {task.name} are {height} x {width}: "
                f"there would be nothing left of some; expected at most {min(height, width) // 2}"
            )

    def sizes(self) -> dict[str, Any]:
        channels = _tensor(self.task.parts["train"].inputs).size(1)
        return {"in_channels": channels, "num_classes": self.task.num_classes}

    def changed(self, batch: Examples) -> Examples:
        """Each image shifted at random, by up to ``config.shift`` pixels; zeros come in."""
        shift = self.config.shift
        if not shift:
            return batch
        images = _tensor(batch.inputs)
        count, _, height, width = images.shape
        padded = F.pad(images, [shift] * 4)
        top, left = torch.randint(0, 2 * shift + 1, (2, count, 1), device=images.device)
        rows = (top + torch.arange(height, device=images.device))[:, None, :, None]
        columns = (left + torch.arange(width, device=images.device))[:, None, None, :]
        number = torch.arange(count, device=images.device)[:, None, None, None]
        channel = torch.arange(images.size(1), device=images.device)[None, :, None, None]
        return Examples(padded[number, channel, rows, columns], batch.targets)


CLASSES = {
    "seq2seq": "Seq2Seq",
    "transformer": "Transformer",
    "sequence-classifier": "SequenceClassifier",
    "document-classifier": "DocumentClassifier",
    "attention-net": "AttentionNet",
}
WAYS: dict[str, type[Way]] = {
    "translation": Translation,
    "sequence classification": Sequences,
    "document classification": Documents,
    "image classification": Images,
}


def way_for(config: ExamplesConfig, task: ExampleTask) -> Way:
    """The way of a task's kind; ConfigError for a network that is of another kind."""
    return WAYS[task.kind](config, task)


def longest_handled(sources: Ragged, right: Tensor, share: float = 0.9) -> int:
    """The largest length (tokens of the source) such that of all sentences up to it ``share`` or
    more are right; 0 where there is none."""
    lengths, right = sources.lengths.cpu(), right.cpu()
    longest = 0
    for length in lengths.unique().tolist():
        if float(right[lengths <= length].double().mean()) >= share:
            longest = int(length)
    return longest


def _tensor(values: Any) -> Tensor:
    assert isinstance(values, Tensor)
    return values


def _ragged(values: Any) -> Any:
    assert isinstance(values, Ragged)
    return values
