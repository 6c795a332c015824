"""Words of a sentence as pictures and pages show them."""

import unicodedata
from collections.abc import Sequence

from gat.errors import ArgumentTypeError, InputError

__all__ = ["visible", "words_of"]

SEEN = {"\n": "⏎", "\t": "⇥", "\r": "␍"}


def words_of(name: str, tokens: Sequence[str], count: int, what: str) -> list[str]:
    """The words of an argument ``name``, one for each of the ``count`` ``what``, to be shown.

    Raises ArgumentTypeError for a text that is not cut into words, InputError for another number.
    """
    if isinstance(tokens, str):
        raise ArgumentTypeError(
            f"{name} is the text {tokens[:20]!r}; expected a list of words: list(text) for "
            f"characters, text.split() for words"
        )
    if len(tokens) != count:
        raise InputError(
            f"{name} has {len(tokens)} words; expected one for each of the {count} {what}"
        )
    return [visible(str(token)) for token in tokens]


def visible(token: str) -> str:
    """A token with its blanks at the ends, line ends and control characters to be seen, and ∅ for
    none at all."""
    inner = token.strip(" ")
    before = len(token) - len(token.lstrip(" ")) if inner else len(token)
    after = len(token) - before - len(inner)
    shown = "".join(map(_seen, "␣" * before + inner + "␣" * after))
    return shown or "∅"


def _seen(letter: str) -> str:
    if letter in SEEN:
        return SEEN[letter]
    # Neither a font nor UTF-8 has surrogates.
    return "\ufffd" if unicodedata.category(letter) in ("Cc", "Cs") else letter
