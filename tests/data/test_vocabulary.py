"""Vocabulary: text to numbers and back."""

import pytest
import torch

from gat.data import Vocabulary
from gat.data.examples import BEGIN, END, UNKNOWN
from gat.errors import ArgumentTypeError, IndexRangeError, InputError


def test_vocabulary_numbers_three_special_tokens_first():
    characters = Vocabulary("ab-")
    assert (BEGIN, END, UNKNOWN) == (0, 1, 2)
    assert characters.tokens == ("<s>", "</s>", "<unk>", "a", "b", "-")
    assert len(characters) == 6
    assert characters.encode("b-a").tolist() == [4, 5, 3, END]
    assert characters.encode("bXa", end=False).tolist() == [4, UNKNOWN, 3]
    assert characters.encode("").tolist() == [END]


@pytest.mark.parametrize(
    ("symbols", "joiner", "text"), [("abc", "", "cabba"), (["one", "ten"], " ", "ten one ten")]
)
def test_vocabulary_decodes_what_it_encoded(symbols, joiner, text):
    vocabulary = Vocabulary(symbols, joiner)
    numbers = vocabulary.encode(text)
    assert numbers.dtype == torch.int64
    assert vocabulary.decode(numbers) == text
    began = torch.cat([torch.tensor([BEGIN]), numbers, numbers])
    assert vocabulary.decode(began) == text
    assert vocabulary.names(began)[0] == "<s>"
    assert vocabulary.names(numbers)[-1] == "</s>"


def test_vocabulary_of_words_takes_the_text_of_a_special_token_for_unknown():
    assert Vocabulary(["a"], " ").encode("a </s> b").tolist() == [3, UNKNOWN, UNKNOWN, END]


@pytest.mark.parametrize(
    ("symbols", "joiner", "says"),
    [
        (["a", "b", "a"], "", "'a' came twice"),
        (["ab"], "", "single characters, got 'ab'"),
        (["a b"], " ", "words without ' ', got 'a b'"),
        (["a", ""], " ", "got ''"),
        (["<s>"], " ", "'<s>' came twice"),
    ],
)
def test_vocabulary_refuses_symbols_it_could_not_give_back(symbols, joiner, says):
    with pytest.raises(InputError, match=says):
        Vocabulary(symbols, joiner)


def test_vocabulary_refuses_numbers_it_does_not_have():
    with pytest.raises(IndexRangeError, match="no token 5; the vocabulary has 4"):
        Vocabulary("a").decode(torch.tensor([3, 5]))
    with pytest.raises(ArgumentTypeError, match="numbers must be integers"):
        Vocabulary("a").names(torch.tensor([0.5]))
