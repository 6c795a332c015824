"""Sentences one after the other: their lengths, their vocabulary, what a decoder reads of them."""

import pytest
import torch

from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.models.tokens import check_tokens, shifted, sizes_of


@pytest.mark.parametrize(
    "sentences", [[[5, 6, 1]], [[5, 1], [1], [7, 8, 1]], [[], [5, 1], [], [6, 1], []], [[]], []]
)
def test_a_decoder_reads_begin_and_all_but_the_last_token(sentences):
    target = torch.tensor([token for sentence in sentences for token in sentence]).long()
    sizes = sizes_of("target", target, [len(sentence) for sentence in sentences])
    assert sizes.dtype is torch.int64
    expected = [token for sentence in sentences for token in ([9, *sentence])[: len(sentence)]]
    before = target.clone()
    assert shifted(target, sizes, 9).tolist() == expected
    assert torch.equal(target, before)


def test_lengths_are_numbers_or_a_tensor():
    tokens = torch.tensor([3, 4, 5], dtype=torch.int32)
    for lengths in ([1, 2], (1, 2), torch.tensor([1, 2]), torch.tensor([1, 2], dtype=torch.int32)):
        assert torch.equal(sizes_of("source", tokens, lengths), torch.tensor([1, 2]))


def test_tokens_of_the_vocabulary_pass():
    check_tokens("x", torch.tensor([0, 8]), 9, "inputs")
    check_tokens("x", torch.tensor([[8], [0]], dtype=torch.int32), 9, "inputs")
    check_tokens("x", torch.tensor([], dtype=torch.int64), 0, "inputs")


TWO = torch.tensor([1, 2])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: sizes_of("x", TWO, [1]), InputError, r"x has shape \[2\] and x_lengths \[1\], wh"),
        (lambda: sizes_of("x", TWO[None], [2]), InputError, r"x has shape \[1, 2\]"),
        (lambda: sizes_of("x", TWO, torch.tensor([2.0])), ArgumentTypeError, "x_lengths has dtype"),
        (lambda: sizes_of("x", TWO, [0.9, 1.9]), ArgumentTypeError, "x_lengths has dtype torch.fl"),
        (lambda: sizes_of("x", TWO, [True, True]), ArgumentTypeError, "has dtype torch.bool"),
        (lambda: sizes_of("x", TWO, [3, -1]), InputError, "x_lengths has .* a count of -1"),
        (
            lambda: check_tokens("x", TWO, 2, "size"),
            IndexRangeError,
            r"token 2; .*\[0, 2\), size=2",
        ),
        (lambda: check_tokens("x", -TWO, 2, "size"), IndexRangeError, "x has the token -2"),
        (
            lambda: check_tokens("x", TWO > 1, 2, "size"),
            ArgumentTypeError,
            "x has dtype torch.bool",
        ),
    ],
    ids=[
        "sum",
        "shape",
        "dtype_of_lengths",
        "floats",
        "flags",
        "below_0",
        "large",
        "negative",
        "dtype",
    ],
)
def test_what_does_not_fit_is_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()
