"""Ragged against lists of rows: one by one, nested, picked, moved, and every refusal."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gat.data import Ragged
from gat.errors import ArgumentTypeError, IndexRangeError, InputError

LENGTHS = [[3, 0, 5, 1], [1], [0, 0], []]


def rows_of(lengths: list[int]) -> list[torch.Tensor]:
    """Rows that tell from where they are: row r holds 100 r, 100 r + 1, ..."""
    return [100 * row + torch.arange(length) for row, length in enumerate(lengths)]


def documents() -> list[list[list[int]]]:
    return [[[1, 2, 3], [4]], [[5]], [], [[6, 7], [], [8, 9, 10]]]


def nested() -> Ragged:
    return Ragged.of(
        [Ragged.of([torch.tensor(words, dtype=torch.int64) for words in each]) for each in
         documents()]
    )  # fmt: skip


def as_lists(rows: Ragged) -> list:
    return [as_lists(row) if isinstance(row, Ragged) else row.tolist() for row in rows]


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_ragged_gives_back_the_rows_it_was_made_of(lengths):
    rows = rows_of(lengths)
    ragged = Ragged.of(rows)
    assert (len(ragged), ragged.longest) == (len(lengths), max(lengths, default=0))
    assert ragged.lengths.dtype == ragged.values.dtype == torch.int64
    assert as_lists(ragged) == [row.tolist() for row in rows]
    assert [ragged[at - len(rows)].tolist() for at in range(len(rows))] == as_lists(ragged)


def test_ragged_has_its_lengths_where_the_rows_are(monkeypatch):
    made = []
    monkeypatch.setattr(Ragged, "__post_init__", lambda ragged: made.append(ragged))
    Ragged.of([torch.empty(2, device="meta"), torch.empty(3, device="meta")])
    assert made[0].lengths.device.type == made[0].values.device.type == "meta"


def test_ragged_keeps_features_of_its_entries():
    rows = [torch.rand(2, 3, 5), torch.rand(4, 3, 5)]
    picked = Ragged.of(rows).select(torch.tensor([1, 0]))
    assert picked.values.shape == (6, 3, 5)
    assert torch.equal(picked[0], rows[1])


def test_ragged_of_raggeds_is_rows_of_rows():
    ragged = nested()
    assert as_lists(ragged) == documents()
    assert ragged.lengths.tolist() == [2, 1, 0, 3]
    assert isinstance(ragged.values, Ragged)
    assert ragged.values.lengths.tolist() == [3, 1, 1, 2, 0, 3]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=7), st.data())
@settings(deadline=None, max_examples=50)
def test_ragged_select_is_picking_rows_one_by_one(lengths, data):
    rows = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=9))
    ragged = Ragged.of(rows_of(lengths))
    picked = ragged.select(torch.tensor(rows, dtype=torch.int64))
    assert as_lists(picked) == [ragged[row].tolist() for row in rows]


@pytest.mark.parametrize("rows", [[3, 0, 3], [2], [], [1, 1, 2, 0]], ids=str)
def test_ragged_select_picks_documents_whole(rows):
    picked = nested().select(torch.tensor(rows, dtype=torch.int64))
    assert as_lists(picked) == [documents()[row] for row in rows]


def test_ragged_row_is_a_view():
    ragged = Ragged.of(rows_of([2, 3]))
    ragged[1][0] = -7
    assert ragged.values.tolist() == [0, 1, -7, 101, 102]


def test_ragged_moves_to_a_device_level_by_level():
    moved = nested().to("meta")
    inner = moved.values
    assert {moved.lengths.device.type, inner.lengths.device.type, inner.values.device.type} == {
        "meta"
    }


@pytest.mark.parametrize(
    ("values", "lengths", "error", "says"),
    [
        (torch.arange(3), torch.tensor([1, 1]), InputError, "sum to 2, but there are 3 values"),
        (torch.arange(1), torch.tensor([2, -1]), InputError, "row 1 has -1"),
        (torch.arange(3), [3], ArgumentTypeError, r"int64 of shape \[n\], got list"),
        (torch.arange(3), torch.tensor([3.0]), ArgumentTypeError, "got torch.float32"),
        (torch.arange(3), torch.tensor(3), ArgumentTypeError, r"got torch.int64 of shape \[\]"),
        ([1, 2, 3], torch.tensor([3]), ArgumentTypeError, "a Tensor or a Ragged, got list"),
        (torch.tensor(3), torch.tensor([1]), InputError, "got a number"),
    ],
)
def test_ragged_refuses_what_does_not_fit(values, lengths, error, says):
    with pytest.raises(error, match=says):
        Ragged(values, lengths)


def test_ragged_refuses_rows_it_does_not_have():
    ragged = Ragged.of(rows_of([1, 2]))
    with pytest.raises(IndexError, match="there is no row 2; there are 2"):
        ragged[2]
    for bad in (2, -1):
        with pytest.raises(IndexRangeError, match=f"there is no row {bad}; there are 2"):
            ragged.select(torch.tensor([0, bad]))
    with pytest.raises(ArgumentTypeError, match=r"rows must be int64 .* got torch.bool"):
        ragged.select(torch.tensor([True, False]))
    with pytest.raises(ArgumentTypeError, match="all Tensors or all Raggeds"):
        Ragged.of([torch.arange(2), ragged])
