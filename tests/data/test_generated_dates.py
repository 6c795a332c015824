"""Dates: each text read back by a parser of the test's own, and what is held out of training."""

import re
from datetime import date
from functools import lru_cache

import pytest

from gat.data import ExampleTask
from gat.data.examples import UNKNOWN
from gat.data.generated import dates
from gat.errors import InputError

# fmt: off
MONTHS = [
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
]
# fmt: on
WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
ORDERS = {".": "dmy", "/": "mdy", "-": "ymd"}
FIELDS = ("weekday", "order", "month", "day", "year", "joint", "case")


@lru_cache(maxsize=1)
def made() -> ExampleTask:
    return dates(train=2000, val=500, test=1000, seed=0)


def texts(task: ExampleTask, part: str) -> list[tuple[str, str]]:
    examples = task.parts[part]
    sources = [task.source_vocabulary.decode(row) for row in examples.inputs]
    return list(zip(sources, map(task.target_vocabulary.decode, examples.targets), strict=True))


def read(text: str) -> tuple[date, tuple[str, ...]]:
    """The day that a text means, and how it is written, field by field."""
    lower = text.lower()
    case = "usual"
    if lower != text.upper():
        case = {lower: "lower", text.upper(): "upper"}.get(text, "usual")
    weekday, named, rest = "none", None, lower
    if found := re.match(r"([a-z]+day), ", lower):
        weekday, named, rest = "long", found[1], lower[found.end() :]
    elif lower[:4] in [f"{each[:3]} " for each in WEEKDAYS]:
        weekday, named, rest = "short", lower[:3], lower[4:]
    if numeric := re.fullmatch(r"('?\d+)([./-])('?\d+)\2('?\d+)", rest):
        joint, order = numeric[2], ORDERS[numeric[2]]
        pieces = dict(zip(order, (numeric[1], numeric[3], numeric[4]), strict=True))
    else:
        tokens = re.findall(r"'\d\d|\d{4}|\d{1,2}(?:st|nd|rd|th)?|[a-z]{3,}", rest)
        kinds = ["y" if re.fullmatch(r"'\d\d|\d{4}", each) else "d" if each[0].isdigit() else "m"
                 for each in tokens]  # fmt: skip
        order, pieces = "".join(kinds), dict(zip(kinds, tokens, strict=True))
        joint = next((sign for sign in (" of ", ",", "-") if sign in rest), " ").strip() or " "
    return meant(pieces, named), (
        weekday,
        order,
        form_of_month(pieces["m"]),
        "ordinal" if pieces["d"][-1].isalpha() else "padded" if pieces["d"][0] == "0" else "plain",
        "short" if pieces["y"][0] == "'" else "full",
        joint,
        case,
    )


def form_of_month(month: str) -> str:
    if month[0].isdigit():
        return "padded" if month[0] == "0" else "number"
    return "long" if month in MONTHS else "short"


def meant(pieces: dict[str, str], weekday: str | None) -> date:
    year = int(pieces["y"].lstrip("'"))
    if pieces["y"][0] == "'":
        year += 1900 if year >= 50 else 2000
    month = pieces["m"]
    number = int(month) if month.isdigit() else [m[:3] for m in MONTHS].index(month[:3]) + 1
    day = date(year, number, int(re.match(r"\d+", pieces["d"])[0]))
    assert weekday is None or WEEKDAYS[day.weekday()].startswith(weekday[:3])
    return day


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_dates_have_the_one_answer_that_their_text_means(part):
    for source, target in texts(made(), part):
        day, _ = read(source)
        assert day.isoformat() == target, source
        assert 1950 <= day.year <= 2049


def test_dates_texts_are_distinct_over_all_parts():
    task = made()
    sources = [source for part in task.parts for source, _ in texts(task, part)]
    assert len(sources) == len(set(sources)) == 3500


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_dates_hold_out_patterns_all_parts_of_which_are_in_training(seed):
    task = made() if seed == 0 else dates(train=2000, val=400, test=400, seed=seed)
    seen = {part: {read(source)[1] for source, _ in texts(task, part)} for part in task.parts}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["val"]
    assert not seen["val"] & seen["test"]
    assert len(seen["test"]) == 177
    assert len(seen["val"]) == 118
    assert len(seen["train"]) == 1176 - 177 - 118
    for at, field in enumerate(FIELDS):
        choices = {part: {pattern[at] for pattern in seen[part]} for part in seen}
        assert choices["test"] | choices["val"] <= choices["train"], field


def test_dates_show_every_form_of_the_card():
    written = {read(source)[1] for source, _ in texts(made(), "train")}
    shown = [{pattern[at] for pattern in written} for at in range(len(FIELDS))]
    assert shown == [
        {"none", "long", "short"},
        {"dmy", "mdy", "ymd"},
        {"long", "short", "number", "padded"},
        {"plain", "padded", "ordinal"},
        {"full", "short"},
        {" ", "-", ",", "of", "/", "."},
        {"usual", "lower", "upper"},
    ]
    months = {target[5:7] for _, target in texts(made(), "test")}
    assert len(months) == 12


def test_dates_endings_of_ordinals():
    ordinals = {
        found[0].lower()
        for source, _ in texts(made(), "train")
        if (found := re.search(r"\d+(st|nd|rd|th)", source, re.IGNORECASE))
    }
    plain = {f"{day}th" for day in range(1, 32)}
    others = {"1st", "2nd", "3rd", "21st", "22nd", "23rd", "31st"}
    assert ordinals == plain - {f"{other[:-2]}th" for other in others} | others


def test_dates_of_a_part_do_not_depend_on_the_sizes_of_others():
    small = dates(train=1000, val=3, test=1000, seed=0)
    assert texts(small, "test") == texts(made(), "test")
    assert texts(dates(train=1000, val=1, test=1, seed=1), "train") != texts(small, "train")


def test_dates_have_no_character_unknown():
    for name, tensor in made().tensors():
        assert name.endswith("lengths") or not (tensor == UNKNOWN).any()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"train": 0}, "dates: train must be a whole number of 1 or more, got 0"),
        ({"test": -1}, "test must be a whole number of 1 or more, got -1"),
        ({"val": 2.5}, "val must be a whole number of 1 or more, got 2.5"),
        ({"val": True}, "val must be a whole number of 1 or more, got True"),
        ({"seed": -1}, "seed must be a whole number of 0 or more, got -1"),
        ({"train": 3}, "3 training dates are too few to show every part .*; ask for more"),
    ],
)
def test_dates_refuse_options_they_cannot_keep(options, says):
    usual = {"train": 1000, "val": 10, "test": 10, "seed": 0}
    with pytest.raises(InputError, match=says):
        dates(**(usual | options))
