"""gat.train.opened_examples: examples answered, and what a layer's record is called by."""

import pytest
import torch

from gat.errors import IndexRangeError
from gat.train import Example, open_run, recipe_for, train

QUESTION = ["4", ".", "8", "</s>"]
ANSWER = ["0", "4", "8", "</s>"]


def example(**parts) -> Example:
    return Example(0, (torch.zeros(1),), "said", "right", False, **parts)


def test_ends_of_a_translation_go_by_the_layer_where_lengths_are_alike():
    asked = example(tokens=QUESTION, answer=ANSWER)
    written = ["<s>", "0", "4", "8"]
    assert asked.ends("decoder.layers.0.cross.attention", 4, 4) == (QUESTION, ANSWER)
    assert asked.ends("decoder.alignment.attention", 4, 4) == (QUESTION, ANSWER)
    assert asked.ends("encoder.layers.0.self_attn.attention", 4, 4) == (QUESTION, QUESTION)
    assert asked.ends("decoder.layers.0.self_attn.attention", 4, 4) == (written, written)


def test_ends_of_a_decoder_one_shorter_than_the_question_are_its_own():
    asked = example(tokens=["x", *QUESTION], answer=ANSWER)
    sources, targets = asked.ends("decoder.layers.0.self_attn.attention", 4, 4)
    assert sources == targets == ["<s>", "0", "4", "8"]


def test_ends_of_a_sequence():
    read = example(tokens=["A", "b", "?"])
    assert read.ends("readout.attention", 3, 1) == (["A", "b", "?"], ["said"])
    assert read.ends("attention", 3, 3) == (["A", "b", "?"], ["A", "b", "?"])
    # A state looks back at those before it; in the other direction it begins at the end.
    assert read.ends("rnn.attention", 2, 2) == (["A", "b"], ["b", "?"])
    assert read.ends("rnn.attention_l0_reverse", 2, 2) == (["?", "b"], ["b", "A"])


def test_ends_of_a_document():
    read = example(document=[["a", "b"], ["c"]])
    words, sentences = ["a", "b", "c"], ["sentence 0", "sentence 1"]
    assert read.ends("reader.encoders.0.attention", 3, 3) == (words, words)
    assert read.ends("reader.poolings.0.attention", 3, 2) == (words, sentences)
    assert read.ends("reader.encoders.1.attention", 2, 2) == (sentences, sentences)
    assert read.ends("reader.poolings.1.attention", 2, 1) == (sentences, ["said"])
    assert read.ends("reader.poolings.0.attention", 3, 1) == (words, ["said"])


def test_ends_that_are_not_tokens_are_none():
    assert example(image=torch.zeros(1, 2, 2)).ends("look.attention", 4, 4) is None
    assert example(tokens=["a", "b"]).ends("attention", 5, 5) is None


def test_open_run_answers_examples_of_the_test_part(tmp_path):
    options = {"train": 30, "val": 10, "test": 9, "length": 4}
    small = {"model.hidden_channels": 8, "epochs": 1, "device": "cpu"}
    train(recipe_for("recall").updated(**{"data.options": options}, **small), tmp_path / "run")
    run = open_run(tmp_path / "run")
    found = [run.example(number) for number in range(9)]
    assert sum(one.said == one.right for one in found) / 9 == pytest.approx(run.result.test)
    for one in found:
        said = run.task.class_names[int(run.model(*one.inputs).argmax())]
        assert said == one.said
        assert one.right == one.tokens[0]
    with pytest.raises(IndexRangeError, match="example is 9; recall has 9 in its test part"):
        run.example(9)
