"""Numbers in digits, to be translated to English words: "40021" to "forty thousand twenty one".

A pattern says how many digits a number has and which of them are zero: "N00NN". Zeros decide which
words are there at all, so a pattern that training lacks asks for a new combination.
"""

from collections.abc import Iterable
from itertools import product

import numpy as np

from gat.data.examples import ExampleTask
from gat.data.generated.patterns import (
    Pairs,
    check_options,
    hold_out,
    part_generators,
    translations,
)
from gat.data.vocabulary import Vocabulary
from gat.errors import InputError

__all__ = ["all_patterns", "in_words", "numbers"]

# fmt: off
UNITS = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
# fmt: on
GROUPS = ("", "thousand", "million")
# Below, no pattern can be held out whose parts are in others.
FEWEST, MOST = 5, 9


def all_patterns(max_digits: int) -> list[str]:
    """Every pattern of 1 to ``max_digits`` digits, "N" not zero and "0" zero, the first "N"."""
    return [
        "N" + "".join(rest)
        for length in range(1, max_digits + 1)
        for rest in product("N0", repeat=length - 1)
    ]


def in_words(number: int) -> str:
    """1 to 999,999,999 in English, without "and" and hyphens."""
    words: list[str] = []
    for power in reversed(range(len(GROUPS))):
        group = number // 1000**power % 1000
        words += _group_in_words(group)
        words += [GROUPS[power]] if group and power else []
    return " ".join(words)


def numbers(*, train: int, val: int, test: int, max_digits: int, seed: int) -> ExampleTask:
    """So many numbers of up to ``max_digits`` digits (5 to 9), characters to words; none twice.

    Validation and test have patterns of their own, which training lacks; their lengths, and each of
    their groups of three digits at its place, occur in training. Numbers come from all patterns of
    a part equally often, as far as they have so many. Raises InputError for sizes below 1 or above
    what the patterns have, and a training part that cannot show each of its patterns.
    """
    check_options(
        "numbers", seed, train=(train, 1), val=(val, 1), test=(test, 1), max_digits=(max_digits, 1)
    )
    if not FEWEST <= max_digits <= MOST:
        raise InputError(f"numbers: max_digits must be {FEWEST} to {MOST}, got {max_digits}")
    sizes = {"train": train, "val": val, "test": test}
    patterns = hold_out(all_patterns(max_digits), _parts_of, seed)
    if train < len(patterns["train"]):
        raise InputError(
            f"numbers: {train} training numbers are fewer than training's patterns, of which there "
            f"are {len(patterns['train'])}; ask for more, or for a smaller max_digits"
        )
    pairs = {
        part: _pairs(part, patterns[part], sizes[part], rng)
        for part, rng in part_generators(seed).items()
    }
    source = Vocabulary("0123456789")
    target = Vocabulary([*UNITS, *TENS, "hundred", *GROUPS[1:]], " ")
    return ExampleTask(
        "numbers",
        "translation",
        translations(pairs, source, target),
        "sequence-accuracy",
        source_vocabulary=source,
        target_vocabulary=target,
        notes=(
            f"{len(patterns['train'])} patterns of zeros are in training, "
            f"{len(patterns['val'])} others in validation, {len(patterns['test'])} others in test",
        ),
    )


def _parts_of(pattern: str) -> Iterable[tuple[str, int | str]]:
    """Its length, and its groups of three digits with their place from the right."""
    yield "length", len(pattern)
    for place, end in enumerate(range(len(pattern), 0, -3)):
        yield f"group {place}", pattern[max(0, end - 3) : end]


def _group_in_words(group: int) -> list[str]:
    hundreds, rest = divmod(group, 100)
    words = [UNITS[hundreds - 1], "hundred"] if hundreds else []
    if rest >= 20:
        words.append(TENS[rest // 10 - 2])
        rest %= 10
    return [*words, UNITS[rest - 1]] if rest else words


def _pairs(part: str, patterns: list[str], count: int, rng: np.random.Generator) -> Pairs:
    """``count`` numbers, shared out among the patterns, in random order."""
    room = [9 ** pattern.count("N") for pattern in patterns]
    if sum(room) < count:
        raise InputError(
            f"numbers: there are {sum(room)} numbers of the {part} part's patterns, asked for "
            f"{count}; ask for fewer or for a larger max_digits"
        )
    found: list[int] = []
    for pattern, share in zip(patterns, _shares(room, count), strict=True):
        found += _draw(pattern, share, rng)
    return [(str(found[at]), in_words(found[at])) for at in rng.permutation(count)]


def _shares(room: list[int], count: int) -> list[int]:
    """``count`` as evenly as the room of each allows."""
    shares = [0] * len(room)
    for left, at in zip(range(len(room), 0, -1), np.argsort(room, kind="stable"), strict=True):
        shares[at] = min(room[at], count // left)
        count -= shares[at]
    return shares


def _draw(pattern: str, count: int, rng: np.random.Generator) -> list[int]:
    """``count`` different numbers of the pattern."""
    places = [10 ** (len(pattern) - 1 - at) for at, sign in enumerate(pattern) if sign == "N"]
    found: dict[int, None] = {}
    while len(found) < count:
        digits = rng.integers(1, 10, (2 * count + 8, len(places)))
        found |= dict.fromkeys((digits * np.array(places)).sum(axis=1).tolist())
    return list(found)[:count]
