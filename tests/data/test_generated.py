"""Generated examples: the same on every machine; recall, documents and digits as promised."""

import hashlib
import inspect
from functools import cache

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from gat.data import Examples, ExampleTask, card, cards, generated, load_examples
from gat.data.generated import documents, recall
from gat.data.generated.documents import TOPICS
from gat.errors import InputError

NAMES = [entry.name for entry in cards().values() if not entry.is_graph]
# sha256 of every tensor of the data set with its card's options.
SUMS = {
    "dates": "f343f46a8ef50bd3369ac43af66d915ffa798515f2c90374cba326438fa5d442",
    "digit-images": "8396616314ec3a906746b7dc86b274c2a7fe392df493143bc7576fa587fc3b3e",
    "digit-rows": "822cf9dba517d251e722edca5951f8f5aaad2d4a241aeb0e751d4c43790f0716",
    "documents": "6e15c9c19e6c19c0f65528f3bd4ad4840b15ed5f5483e031718d8d94ebad8420",
    "numbers": "72b8e99e2303051c3d0b00a67fc49679e26a3ce2c144cb51df4ec60f0fa7bec7",
    "recall": "8922cd15cf4a70401a869c0d47c38e506727e7ad6afab75430d7905d6dff2990",
}


@cache
def made(name: str) -> ExampleTask:
    return load_examples(name)


def sha256(task: ExampleTask) -> str:
    total = hashlib.sha256()
    for name, tensor in task.tensors():
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        total.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return total.hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_load_examples_gives_the_same_numbers_everywhere(name):
    assert sha256(made(name)) == SUMS[name]


@pytest.mark.parametrize("name", NAMES)
def test_load_examples_agrees_with_the_card(name):
    task, entry = made(name), card(name)
    assert (task.name, task.kind, task.metric) == (entry.name, entry.task, entry.metric)
    assert task.card is entry
    assert task.num_classes == entry.counts.classes
    if entry.class_names is not None:
        assert task.class_names == entry.class_names
    sizes = {part: len(examples) for part, examples in task.parts.items()}
    assert sizes == {part: entry.options[part] for part in sizes}
    assert all(f"{size:,} " in entry.split for size in sizes.values())
    maker = getattr(generated, name.replace("-", "_"))
    assert list(entry.options) == list(inspect.signature(maker).parameters)
    assert not entry.needs_files


def test_load_examples_with_another_seed_gives_other_examples():
    for name in NAMES:
        assert sha256(load_examples(name, seed=1)) != SUMS[name]


def rows(part: Examples) -> set[bytes]:
    return {row.numpy().tobytes() for row in part.inputs}


@pytest.mark.parametrize("length", [1, 2, 20, 101])
def test_recall_is_a_symbol_then_noise_then_the_query(length):
    few = (
        {"train": 11, "val": 5, "test": 2} if length == 1 else {"train": 90, "val": 33, "test": 17}
    )
    task = recall(length=length, symbols=5, noise=17, seed=0, **few).validate()
    vocabulary = task.source_vocabulary
    assert vocabulary.tokens[3:] == (*"ABCDE", *"abcdefghijklmnopq", "?")
    for name, part in task.parts.items():
        assert part.inputs.dtype == torch.int64
        assert part.inputs.shape == (few[name], length + 2)
        for tokens, target in zip(part.inputs, part.targets.tolist(), strict=True):
            text = vocabulary.decode(tokens)
            assert text[0] == task.class_names[target] == "ABCDE"[target]
            assert text[1:-1].islower()
            assert text[-1] == "?"
        counts = part.targets.bincount(minlength=5)
        assert counts.max() - counts.min() <= 1
    every = [rows(part) for part in task.parts.values()]
    assert len(set.union(*every)) == sum(few.values())


def test_recall_noise_says_nothing_of_the_symbol():
    task = made("recall")
    body, first = task.train.inputs[:, 1:-1], task.train.targets
    # The share of each kind of noise among sequences of each symbol: 25,000 tokens each.
    shares = torch.stack([body[first == k].flatten().bincount(minlength=19)[11:] for k in range(8)])
    shares = shares / shares.sum(1, keepdim=True)
    assert (shares - 1 / 8).abs().max() < 0.01


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"length": 0}, "recall: length must be a whole number of 1 or more, got 0"),
        ({"symbols": 1}, "symbols must be a whole number of 2 or more, got 1"),
        ({"symbols": 27}, "symbols must be 26 or less, got 27"),
        ({"noise": 1}, "noise must be a whole number of 2 or more, got 1"),
        ({"noise": 27}, "noise must be 26 or less, got 27"),
        ({"length": 2, "noise": 2, "symbols": 8}, "up to 4 different .* there are 4; ask for half"),
    ],
)
def test_recall_refuses_options_it_cannot_keep(options, says):
    usual = {"train": 9, "val": 8, "test": 8, "length": 20, "symbols": 8, "noise": 8, "seed": 0}
    with pytest.raises(InputError, match=says):
        recall(**(usual | options))


def sentences(task: ExampleTask, part: str) -> list[list[list[str]]]:
    decode = task.source_vocabulary.decode
    return [[decode(row).split() for row in each] for each in task.parts[part].inputs]


TOPIC_OF = {word: topic for topic, words in TOPICS.items() for word in words}


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_documents_are_decided_by_the_one_marked_sentence(part):
    task = made("documents")
    targets = task.parts[part].targets.tolist()
    for document, target in zip(sentences(task, part), targets, strict=True):
        marked = [words for words in document if words[0] == "verdict"]
        assert len(marked) == 1
        assert sum(words.count("verdict") for words in document) == 1
        named = [TOPIC_OF[word] for word in marked[0] if word in TOPIC_OF]
        assert named == [task.class_names[target]]
        assert 3 <= len(document) <= 12
        assert all(4 <= len(words) <= 12 for words in document)


def test_documents_name_every_topic_equally_often():
    for document in sentences(made("documents"), "train"):
        named = [TOPIC_OF[word] for words in document for word in words if word in TOPIC_OF]
        each = -(-len(document) // 4)
        assert {topic: named.count(topic) for topic in TOPICS} == dict.fromkeys(TOPICS, each)


def test_documents_have_decoys_in_other_sentences_and_all_sizes():
    documents = sentences(made("documents"), "train")
    assert {len(document) for document in documents} == set(range(3, 13))
    lengths = {len(words) for document in documents for words in document}
    assert lengths == set(range(4, 13))
    places = {[words[0] for words in document].index("verdict") for document in documents}
    assert places == set(range(12))
    openers = {words[0] for document in documents for words in document}
    assert len(openers) == 6


def bags(task: ExampleTask, part: str) -> np.ndarray:
    """How often each word occurs in each document, [n, words]."""
    documents = task.parts[part].inputs
    counts = np.zeros((len(documents), len(task.source_vocabulary)))
    words = documents.values.lengths.numpy()
    document = np.repeat(np.arange(len(documents)), documents.lengths.numpy()).repeat(words)
    np.add.at(counts, (document, documents.values.values.numpy()), 1)
    return counts


def test_documents_are_near_chance_for_every_rule_of_one_word():
    task = made("documents")
    counts = {part: bags(task, part).astype(int) for part in ("train", "test")}
    y = {part: task.parts[part].targets.numpy() for part in counts}
    assert (np.bincount(y["test"]) == 125).all()
    best = 0.0
    for word in range(len(task.source_vocabulary)):
        table = np.zeros((max(counts[part][:, word].max() for part in counts) + 1, 4))
        np.add.at(table, (counts["train"][:, word], y["train"]), 1)
        said = table.argmax(axis=1)[counts["test"][:, word]]
        best = max(best, float((said == y["test"]).mean()))
    # Chance is 25 %; the best of 75 rules is a little luckier.
    assert best < 0.35


def test_documents_are_near_chance_for_a_classifier_of_all_words():
    task = made("documents")
    model = LogisticRegression(max_iter=1000).fit(bags(task, "train"), task.train.targets)
    assert model.score(bags(task, "test"), task.test.targets) < 0.32


def test_documents_refuse_no_documents():
    with pytest.raises(InputError, match="documents: test must be a whole number of 1 or more"):
        documents(train=4, val=4, test=0, seed=0)


def test_digits_parts_are_all_images_once_and_stratified():
    task = made("digit-images")
    pixels, labels = load_digits(return_X_y=True)
    expected = sorted(
        (image.astype(np.float32) / 16).tobytes() + bytes([label])
        for image, label in zip(pixels, labels, strict=True)
    )
    found = sorted(
        image.numpy().tobytes() + bytes([label])
        for part in task.parts.values()
        for image, label in zip(part.inputs, part.targets.tolist(), strict=True)
    )
    assert found == expected
    share = np.bincount(labels) / len(labels)
    for part in task.parts.values():
        assert part.inputs.shape == (len(part), 1, 8, 8)
        assert np.abs(part.targets.bincount().numpy() - share * len(part)).max() <= 2


def test_digit_rows_are_the_images_without_the_channel():
    images, sequences = made("digit-images"), made("digit-rows")
    for part in images.parts:
        assert torch.equal(images.parts[part].inputs[:, 0], sequences.parts[part].inputs)
        assert torch.equal(images.parts[part].targets, sequences.parts[part].targets)


def test_digits_refuse_more_than_there_are():
    with pytest.raises(InputError, match=r"digit-rows: there are 1797 digits, .* ask for 1798"):
        load_examples("digit-rows", train=1198)
    assert len(load_examples("digit-rows", train=5, val=1, test=1).train) == 5
