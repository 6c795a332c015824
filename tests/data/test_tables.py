"""Reading CSV: whatever the csv module writes comes back, whatever else is read or refused."""

import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gat.data.tables import read_table
from gat.errors import InputError

TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), max_size=6
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(TEXT, min_size=2, max_size=2), min_size=1, max_size=6))
def test_read_table_gives_back_what_csv_wrote(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("tables") / "x.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        csv.writer(stream).writerows([["a", "b"], *rows])
    expected = [[cell.strip() for cell in row] for row in rows]
    expected = [row for row in expected if any(row)]
    if not expected:
        with pytest.raises(InputError, match="no rows below it"):
            read_table(path)
        return
    assert read_table(path).rows == expected


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_read_table_of_any_bytes_reads_or_refuses(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("tables") / "x.csv"
    path.write_bytes(content)
    try:
        table = read_table(path)
    except InputError as error:
        said = str(error)
    else:
        said = "x.csv"
        assert all(len(row) == len(table.header) for row in table.rows)
    assert "x.csv" in said


def test_read_table_of_what_cannot_be_opened_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"could not be read: Is a directory") as caught:
        read_table(tmp_path)
    assert str(tmp_path) in str(caught.value)
