"""Numbers: each text read back by a slow reader of the test's own, and what is held out."""

from functools import lru_cache

import pytest

from gat.data import ExampleTask
from gat.data.generated import numbers
from gat.data.generated.numbers import in_words
from gat.errors import InputError

# fmt: off
NAMES = {
    1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight",
    9: "nine", 10: "ten", 11: "eleven", 12: "twelve", 13: "thirteen", 14: "fourteen",
    15: "fifteen", 16: "sixteen", 17: "seventeen", 18: "eighteen", 19: "nineteen", 20: "twenty",
    30: "thirty", 40: "forty", 50: "fifty", 60: "sixty", 70: "seventy", 80: "eighty", 90: "ninety",
}
# fmt: on
SCALES = {1_000_000: "million", 1000: "thousand", 100: "hundred"}


@lru_cache(maxsize=2)
def made(max_digits: int = 6) -> ExampleTask:
    return numbers(train=4000, val=500, test=500, max_digits=max_digits, seed=0)


def pairs(task: ExampleTask, part: str) -> list[tuple[str, str]]:
    examples = task.parts[part]
    sources = [task.source_vocabulary.decode(row) for row in examples.inputs]
    return list(zip(sources, map(task.target_vocabulary.decode, examples.targets), strict=True))


def said(number: int) -> str:
    """As a child would say it: the largest thing that fits, then the rest."""
    for size, name in SCALES.items():
        if number >= size:
            rest = number % size
            return f"{said(number // size)} {name}" + (f" {said(rest)}" if rest else "")
    if number in NAMES:
        return NAMES[number]
    return f"{NAMES[number // 10 * 10]} {NAMES[number % 10]}"


def value(words: str) -> int:
    """What the words mean."""
    numbers = {name: number for number, name in (NAMES | SCALES).items()}
    total = group = 0
    for word in words.split():
        if word == "hundred":
            group *= 100
        elif word in ("thousand", "million"):
            total, group = total + group * numbers[word], 0
        else:
            group += numbers[word]
    return total + group


def pattern(digits: str) -> str:
    return "".join("0" if digit == "0" else "N" for digit in digits)


def groups(digits: str) -> set[tuple[int, str]]:
    grouped = f"{int(digits):,}".split(",")
    return {(at, pattern(group)) for at, group in enumerate(reversed(grouped))}


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (1, "one"),
        (10, "ten"),
        (19, "nineteen"),
        (21, "twenty one"),
        (80, "eighty"),
        (100, "one hundred"),
        (40_021, "forty thousand twenty one"),
        (1_000_000, "one million"),
        (7_000_300, "seven million three hundred"),
        (
            912_013_114,
            "nine hundred twelve million thirteen thousand one hundred fourteen",
        ),
    ],
)
def test_in_words_says_what_english_says(number, words):
    assert in_words(number) == words == said(number)


def test_in_words_is_the_slow_reading_of_small_numbers():
    for number in range(1, 3000):
        assert in_words(number) == said(number)
        assert value(in_words(number)) == number


@pytest.mark.parametrize("part", ["train", "val", "test"])
@pytest.mark.parametrize("max_digits", [6, 9])
def test_numbers_are_their_words_and_back(part, max_digits):
    for digits, words in pairs(made(max_digits), part):
        assert said(int(digits)) == words
        assert value(words) == int(digits)
        assert digits == str(int(digits))
        assert len(digits) <= max_digits


@pytest.mark.parametrize("max_digits", [5, 6, 9])
def test_numbers_hold_out_patterns_all_parts_of_which_are_in_training(max_digits):
    small = {"train": 2000, "val": 60, "test": 60, "seed": 3}
    task = made(max_digits) if max_digits > 5 else numbers(max_digits=5, **small)
    digits = {part: [source for source, _ in pairs(task, part)] for part in task.parts}
    assert len({each for part in digits.values() for each in part}) == sum(
        map(len, digits.values())
    )
    patterns = {part: set(map(pattern, each)) for part, each in digits.items()}
    assert not patterns["train"] & (patterns["val"] | patterns["test"])
    assert not patterns["val"] & patterns["test"]
    held_out = digits["val"] + digits["test"]
    assert {len(each) for each in digits["train"]} == set(range(1, max_digits + 1))
    known = set().union(*map(groups, digits["train"]))
    assert set().union(*map(groups, held_out)) <= known


@pytest.mark.parametrize(("max_digits", "val", "test"), [(6, 7, 10), (9, 52, 77)])
def test_numbers_hold_out_a_tenth_and_a_sixth_of_the_patterns(max_digits, val, test):
    task = made(max_digits)
    found = {part: {pattern(source) for source, _ in pairs(task, part)} for part in task.parts}
    assert (len(found["val"]), len(found["test"])) == (val, test)
    assert len(found["train"]) == 2**max_digits - 1 - val - test


def test_numbers_use_up_the_patterns_that_have_few():
    found = {digits for digits, _ in pairs(made(), "train")}
    assert {str(number) for number in range(1, 10)} <= found


def test_numbers_share_themselves_out_evenly():
    counts: dict[str, int] = {}
    for digits, _ in pairs(made(), "train"):
        counts[pattern(digits)] = counts.get(pattern(digits), 0) + 1
    full = {each: 9 ** each.count("N") for each in counts}
    rich = [count for each, count in counts.items() if count < full[each]]
    assert max(rich) - min(rich) <= 1
    assert max(rich) >= max(counts.values())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_digits": 4}, "max_digits must be 5 to 9, got 4"),
        ({"max_digits": 10}, "max_digits must be 5 to 9, got 10"),
        ({"max_digits": "6"}, "max_digits must be a whole number of 1 or more, got '6'"),
        ({"val": 0}, "numbers: val must be a whole number of 1 or more, got 0"),
        ({"train": 45}, "45 training numbers are fewer than training's patterns, .* are 46"),
        (
            {"train": 10**6},
            r"there are \d+ numbers of the train part's patterns, asked for 1000000",
        ),
    ],
)
def test_numbers_refuse_options_they_cannot_keep(options, says):
    usual = {"train": 100, "val": 10, "test": 10, "max_digits": 6, "seed": 0}
    with pytest.raises(InputError, match=says):
        numbers(**(usual | options))
