"""Documents in which one sentence decides: that which begins with "verdict".

Each topic is named equally often in every document, so which words occur, and how often, says
nothing of the class. Only the topic named in the marked sentence does, and it is named there once:
a model must find the sentence, or see which words stand together.
"""

import numpy as np
import torch

from gat.data.examples import Examples, ExampleTask
from gat.data.generated.patterns import check_options, part_generators
from gat.data.ragged import Ragged
from gat.data.vocabulary import UNKNOWN, Vocabulary

__all__ = ["MARKER", "TOPICS", "documents"]

TOPICS = {
    "sport": ("football", "tennis", "rowing", "cycling"),
    "weather": ("storm", "snow", "drought", "fog"),
    "music": ("violin", "opera", "drums", "choir"),
    "food": ("bread", "soup", "cheese", "pepper"),
}
MARKER = "verdict"
# With what the other sentences begin.
OPENERS = ("rumour", "memory", "question", "remark", "gossip")
# fmt: off
FILLERS = (
    "the", "a", "our", "their", "that", "this", "old", "new", "small", "quiet", "long", "early",
    "late", "and", "but", "while", "before", "after", "near", "with", "about", "again", "often",
    "never", "almost", "people", "friends", "neighbours", "letter", "morning", "evening", "street",
    "house", "garden", "river", "bridge", "window", "corner", "table", "talked", "wrote", "waited",
    "remembered", "asked", "walked", "knew", "found", "heard", "left", "stayed",
)
# fmt: on
SENTENCES, WORDS = (3, 12), (4, 12)


def documents(*, train: int, val: int, test: int, seed: int) -> ExampleTask:
    """So many documents of each part: 3 to 12 sentences of 4 to 12 words; inputs are Ragged of
    sentences, each Ragged of words. The class is the topic named in the sentence that begins with
    "verdict"; in each part classes are equally frequent, to within one document.

    A document of s sentences names each of the four topics ceil(s / 4) times, the topic in the
    marked sentence included. Raises InputError for sizes below 1.
    """
    check_options("documents", seed, train=(train, 1), val=(val, 1), test=(test, 1))
    sizes = {"train": train, "val": val, "test": test}
    keywords = [word for words in TOPICS.values() for word in words]
    vocabulary = Vocabulary([MARKER, *OPENERS, *keywords, *FILLERS], " ")
    parts = {}
    for part, rng in part_generators(seed).items():
        classes = rng.permutation(np.arange(sizes[part]) % len(TOPICS))
        rows = [_document(int(topic), rng) for topic in classes]
        parts[part] = Examples(_ragged(rows), torch.from_numpy(classes.astype(np.int64)))
    return ExampleTask(
        "documents",
        "document classification",
        parts,
        num_classes=len(TOPICS),
        source_vocabulary=vocabulary,
        class_names=tuple(TOPICS),
    )


# Where each kind of word begins in the vocabulary; the marker is its first word.
_MARKER = UNKNOWN + 1
_OPENERS = _MARKER + 1
_KEYWORDS = _OPENERS + len(OPENERS)
_EACH = len(next(iter(TOPICS.values())))
_FILLERS = _KEYWORDS + _EACH * len(TOPICS)


def _ragged(documents: list[list[np.ndarray]]) -> Ragged:
    """Documents of sentences of words."""
    sentences = [sentence for document in documents for sentence in document]
    words = torch.from_numpy(np.concatenate(sentences))
    lengths = torch.tensor([len(sentence) for sentence in sentences])
    return Ragged(Ragged(words, lengths), torch.tensor([len(each) for each in documents]))


def _document(topic: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Sentences, the topic in the marked one."""
    count = int(rng.integers(SENTENCES[0], SENTENCES[1] + 1))
    marked = int(rng.integers(count))
    named = np.repeat(np.arange(len(TOPICS)), -(-count // len(TOPICS)))
    # One naming of the topic is the marked sentence's; the rest are dealt out to the others.
    decoys = rng.permutation(np.delete(named, np.flatnonzero(named == topic)[0]))
    others = rng.permutation(np.delete(np.arange(count), marked))
    topics: list[list[int]] = [[] for _ in range(count)]
    topics[marked].append(topic)
    for number, decoy in enumerate(decoys):
        topics[others[number % len(others)]].append(int(decoy))
    return [_sentence(names, at == marked, rng) for at, names in enumerate(topics)]


def _sentence(topics: list[int], marked: bool, rng: np.random.Generator) -> np.ndarray:
    """An opening word, and keywords of the topics among other words; int64 [words]."""
    length = int(rng.integers(WORDS[0], WORDS[1] + 1))
    words = _FILLERS + rng.integers(len(FILLERS), size=length, dtype=np.int64)
    words[0] = _MARKER if marked else _OPENERS + rng.integers(len(OPENERS))
    places = 1 + rng.permutation(length - 1)[: len(topics)]
    named = np.array(topics, dtype=np.int64)
    words[places] = _KEYWORDS + _EACH * named + rng.integers(_EACH, size=len(topics))
    return words
