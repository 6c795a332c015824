"""What the generators share: checks of their options, and patterns held out from training."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

import numpy as np

from gat.data.examples import PARTS, Examples
from gat.data.ragged import Ragged
from gat.data.vocabulary import Vocabulary
from gat.errors import InputError

__all__ = ["Pairs", "check_options", "hold_out", "part_generators", "translations"]

Pattern = TypeVar("Pattern")
# A text and its translation.
Pairs = list[tuple[str, str]]
# Of all patterns, what only the test part and only the validation part have.
TEST_SHARE, VAL_SHARE = 0.15, 0.1
# In how many patterns of training a part of a held-out pattern occurs, at least.
LEAST = 2


def check_options(name: str, seed: int, **least: tuple[int, int]) -> None:
    """Refuse a seed below 0, and each option, given as (value, least), below its least value."""
    for option, (value, low) in {"seed": (seed, 0), **least}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise InputError(
                f"{name}: {option} must be a whole number of {low} or more, got {value!r}"
            )


def part_generators(seed: int) -> dict[str, np.random.Generator]:
    """A generator for each part, so that a part's examples do not depend on the others' sizes."""
    return {part: np.random.default_rng([seed, number]) for number, part in enumerate(PARTS)}


def hold_out(
    patterns: Sequence[Pattern], parts_of: Callable[[Pattern], Iterable[Hashable]], seed: int
) -> dict[str, list[Pattern]]:
    """Patterns for "train", "val" and "test", none in two of them, in random order.

    parts_of: what a pattern is made of. A pattern is held out only if each of its parts is left in
    LEAST patterns of training, so that what is new about it is the combination.
    """
    rng = np.random.default_rng([seed, len(PARTS)])
    left = Counter(part for pattern in patterns for part in set(parts_of(pattern)))
    found: dict[str, list[Pattern]] = {part: [] for part in PARTS}
    wanted = {"test": TEST_SHARE * len(patterns), "val": VAL_SHARE * len(patterns)}
    for number in rng.permutation(len(patterns)):
        pattern = patterns[number]
        parts = set(parts_of(pattern))
        part = next((name for name, size in wanted.items() if len(found[name]) < size), "train")
        if part != "train" and all(left[each] > LEAST for each in parts):
            left.subtract(parts)
        else:
            part = "train"
        found[part].append(pattern)
    return found


def translations(
    pairs: dict[str, Pairs], source: Vocabulary, target: Vocabulary
) -> dict[str, Examples]:
    """The pairs of each part as tokens."""
    return {
        part: Examples(
            Ragged.of([source.encode(text) for text, _ in pairs[part]]),
            Ragged.of([target.encode(text) for _, text in pairs[part]]),
        )
        for part in PARTS
    }
