"""gat.inspection.tokens: words as they are shown, and what is refused."""

import pytest

from gat.errors import ArgumentTypeError, InputError
from gat.inspection.tokens import visible, words_of


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("cat", "cat"),
        (" ", "␣"),
        ("  ", "␣␣"),
        (" the", "␣the"),
        ("New York ", "New York␣"),
        ("", "∅"),
        ("\n", "⏎"),
        ("a\tb", "a⇥b"),
        ("\x07\ud800", "\ufffd\ufffd"),
        ("</s>", "</s>"),
        ("$x_1$", "$x_1$"),
    ],
)
def test_visible(token, shown):
    assert visible(token) == shown


def test_words_of_takes_one_for_each():
    assert words_of("tokens", ("a", " "), 2, "sources of x") == ["a", "␣"]
    with pytest.raises(InputError, match="tokens has 2 words; expected one for each of the 3 sou"):
        words_of("tokens", ["a", "b"], 3, "sources of x")


def test_words_of_a_text_asks_for_a_list():
    with pytest.raises(ArgumentTypeError, match=r"the text '12 May'.*list\(text\) for characters"):
        words_of("tokens", "12 May", 6, "sources of x")
