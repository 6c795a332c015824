"""Dates written in many ways, to be translated to ISO 8601: "4th of August '87" to "1987-08-04".

A way of writing is a combination of parts (`Pattern`). Every text has one right answer: numbers
alone stand in one order for each separator, years of two digits follow an apostrophe and lie in a
span of a hundred years. Every text also tells its pattern, so that what is held out of training is
really not in it: days and months are padded only where that shows, and May has no short form.
"""

from calendar import monthrange
from dataclasses import astuple, dataclass
from datetime import date
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

__all__ = ["FIRST_YEAR", "Pattern", "all_patterns", "dates", "write"]

# Years are these and the next 99: two digits tell which.
FIRST_YEAR = 1950
# fmt: off
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# fmt: on
LETTERS = "".join(sorted(set("".join([*MONTHS, *WEEKDAYS, "of", "st", "nd", "rd", "th"]))))
SOURCE = "0123456789 ,.-/'" + "".join(sorted(set(LETTERS.lower() + LETTERS.upper())))
TARGET = "0123456789-"
# The one order in which numbers alone are written with each separator.
NUMBERS = {".": "dmy", "/": "mdy", "-": "ymd"}


@dataclass(frozen=True)
class Pattern:
    """One way to write a date.

    weekday: "none", "long" ("Tuesday, ") or "short" ("Tue ").
    order: "dmy", "mdy" or "ymd".
    month: "long", "short", "number" or "padded".
    day: "plain", "padded" or "ordinal".
    year: "full" or "short" ("'87").
    joint: " ", "-", "," (around the year), "of", "/" or ".".
    case: "usual", "lower" or "upper".
    """

    weekday: str
    order: str
    month: str
    day: str
    year: str
    joint: str
    case: str

    @property
    def parts(self) -> tuple[tuple[int, str], ...]:
        """Its seven choices, each with its place."""
        return tuple(enumerate(astuple(self)))


def all_patterns() -> list[Pattern]:
    """Every way of writing, in a fixed order."""
    free = list(product(("none", "long", "short"), ("usual", "lower", "upper"), ("full", "short")))
    found = []
    for weekday, case, year in free:
        for order, month, day in product(
            ("dmy", "mdy", "ymd"), ("long", "short"), ("plain", "padded", "ordinal")
        ):
            joints = [" ", "-", ","] + ["of"] * (order == "dmy" and day == "ordinal")
            found += [Pattern(weekday, order, month, day, year, joint, case) for joint in joints]
        # Without letters there is no case.
        if weekday == "none" and case != "usual":
            continue
        for (joint, order), month, day in product(
            NUMBERS.items(), ("number", "padded"), ("plain", "padded")
        ):
            found.append(Pattern(weekday, order, month, day, year, joint, case))
    return found


def write(pattern: Pattern, day: date) -> str:
    """``day`` as the pattern has it."""
    name = MONTHS[day.month - 1]
    month = {
        "long": name,
        "short": name[:3],
        "number": str(day.month),
        "padded": f"{day.month:02}",
    }[pattern.month]
    number = {
        "plain": str(day.day),
        "padded": f"{day.day:02}",
        "ordinal": f"{day.day}{_ending(day.day)}",
    }[pattern.day]
    year = str(day.year) if pattern.year == "full" else f"'{day.year % 100:02}"
    text = _joined(pattern, {"d": number, "m": month, "y": year})
    weekday = WEEKDAYS[day.weekday()]
    text = {"none": "", "long": f"{weekday}, ", "short": f"{weekday[:3]} "}[pattern.weekday] + text
    return {"usual": text, "lower": text.lower(), "upper": text.upper()}[pattern.case]


def dates(*, train: int, val: int, test: int, seed: int) -> ExampleTask:
    """So many dates of each part, characters to characters; no text twice.

    Validation and test have patterns of their own, which training lacks; each choice of which they
    are made occurs in training, in other combinations. Raises InputError for sizes below 1, or
    a training part too small to show every choice.
    """
    check_options("dates", seed, train=(train, 1), val=(val, 1), test=(test, 1))
    sizes = {"train": train, "val": val, "test": test}
    patterns = hold_out(all_patterns(), lambda pattern: pattern.parts, seed)
    _check_all_shown(patterns["train"][:train], train)
    pairs = {
        part: _pairs(patterns[part], sizes[part], rng)
        for part, rng in part_generators(seed).items()
    }
    source, target = Vocabulary(SOURCE), Vocabulary(TARGET)
    return ExampleTask(
        "dates",
        "translation",
        translations(pairs, source, target),
        "sequence-accuracy",
        source_vocabulary=source,
        target_vocabulary=target,
        notes=(
            f"{len(patterns['train'])} ways of writing a date are in training, "
            f"{len(patterns['val'])} others in validation, {len(patterns['test'])} others in test",
        ),
    )


def _pairs(patterns: list[Pattern], count: int, rng: np.random.Generator) -> Pairs:
    """``count`` texts, each pattern in turn, in random order."""
    found: dict[str, str] = {}
    tries = 0
    while len(found) < count:
        pattern = patterns[tries % len(patterns)]
        day = _any_day(pattern, rng)
        found.setdefault(write(pattern, day), day.isoformat())
        tries += 1
        # A pattern has 8,100 texts or more: so many repeats come of sizes near all of them.
        if tries > 10 * count:
            raise InputError(
                f"dates: {count} different texts of {len(patterns)} ways of writing are too many "
                "to be found by chance; ask for fewer"
            )
    pairs = list(found.items())
    return [pairs[number] for number in rng.permutation(count)]


def _any_day(pattern: Pattern, rng: np.random.Generator) -> date:
    """A day on which the pattern shows."""
    year = FIRST_YEAR + int(rng.integers(100))
    months = {"padded": range(1, 10), "short": [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12]}
    allowed = months.get(pattern.month, range(1, 13))
    month = allowed[int(rng.integers(len(allowed)))]
    last = 9 if pattern.day == "padded" else monthrange(year, month)[1]
    return date(year, month, 1 + int(rng.integers(last)))


def _joined(pattern: Pattern, pieces: dict[str, str]) -> str:
    day, month, year = pieces["d"], pieces["m"], pieces["y"]
    if pattern.joint == "of":
        return f"{day} of {month} {year}"
    if pattern.joint == ",":
        inner = " ".join(pieces[each] for each in pattern.order if each != "y")
        return f"{year}, {inner}" if pattern.order == "ymd" else f"{inner}, {year}"
    return pattern.joint.join(pieces[each] for each in pattern.order)


def _ending(day: int) -> str:
    return "th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def _check_all_shown(patterns: list[Pattern], train: int) -> None:
    shown = {part for pattern in patterns for part in pattern.parts}
    missing = sorted({part for pattern in all_patterns() for part in pattern.parts} - shown)
    if missing:
        field = list(Pattern.__dataclass_fields__)[missing[0][0]]
        raise InputError(
            f"dates: {train} training dates are too few to show every part of a date "
            f"({field} {missing[0][1]!r} is not among them); ask for more"
        )
