"""Graphs of one's own from CSV: columns found by their names, leaks, files that may not be read."""

import re
from pathlib import Path

import pytest

from gat.data import from_files
from gat.errors import InputError


def labelled(rows: int = 9, **columns: list) -> str:
    """A nodes.csv of ``id,f,label`` and further columns; nodes "0", "1", ... of two classes."""
    lines = [",".join(["id", "f", "label", *columns])]
    for i in range(rows):
        lines.append(",".join([str(i), f"0.{i}", "ab"[i % 2], *(c[i] for c in columns.values())]))
    return "\n".join(lines) + "\n"


PARTS = ["train", "Train", "training", "val", "valid", "test", "test", "", "test"]


def test_from_files_refuses_the_label_found_by_name_among_the_features(write_csv):
    with pytest.raises(InputError, match=r"features must not hold 'label', the label column.*leak"):
        from_files(*write_csv(labelled(), "0,1\n"), features=["f", "label"])


@pytest.mark.parametrize("named", [None, "id"], ids=["found by name", "named"])
def test_from_files_refuses_the_ids_among_the_features(write_csv, named):
    with pytest.raises(InputError, match=r"features must not hold 'id', the id column"):
        from_files(*write_csv(labelled(), "0,1\n"), id=named, features=["f", "id"])


def test_from_files_finds_a_column_called_split(write_csv):
    task = from_files(*write_csv(labelled(split=PARTS), "0,1\n"))
    graph = task.graphs[0]
    parts = [mask[:, 0].nonzero()[:, 0].tolist() for mask in graph.masks().values()]
    assert parts == [[0, 1, 2], [3, 4], [5, 6, 8]]
    assert task.num_features == 1
    assert "the split is the one in column 'split', found by its name" in task.notes
    assert not any("random" in note for note in task.notes)


def test_from_files_refuses_the_split_found_by_name_among_the_features(write_csv):
    with pytest.raises(InputError, match=r"features must not hold 'split', the split column"):
        from_files(*write_csv(labelled(split=PARTS), "0,1\n"), features=["f", "split"])


def test_from_files_leaves_an_ignored_split_column_alone(write_csv):
    task = from_files(*write_csv(labelled(split=PARTS), "0,1\n"), ignore=["split"])
    assert task.num_features == 1
    assert any(note.startswith("stratified random split") for note in task.notes)
    assert not any("found by its name" in note for note in task.notes)


def test_from_files_says_why_a_column_called_split_is_not_the_split(write_csv):
    task = from_files(*write_csv(labelled(split=["left", "right", "test"] * 3), "0,1\n"))
    assert task.num_features == 4
    assert any(
        re.fullmatch(
            r"column 'split' of .*nodes\.csv is not read as the split, it holds 'left' "
            r"\(line 2\); train, val, test or nothing would be",
            note,
        )
        for note in task.notes
    )
    assert any(note.startswith("stratified random split") for note in task.notes)


@pytest.mark.parametrize("named", [None, "split"], ids=["found by name", "named"])
def test_from_files_says_which_part_a_split_column_lacks(write_csv, named):
    nodes = labelled(split=["train", "test", "test"] * 3)
    with pytest.raises(
        InputError,
        match=r"column 'split' has no labelled node for val; .*ignore=\[\"split\"\] \(on the "
        r"command line: --set 'data\.files\.ignore=\[\"split\"\]'\) .*random",
    ):
        from_files(*write_csv(nodes, "0,1\n"), split=named)


@pytest.mark.parametrize(
    "header",
    ["id,source,target", "id,Source,TARGET", "weight,src,dst", "kind,From,To", "id,target,source"],
)
def test_from_files_finds_the_ends_of_edges_by_name(write_csv, header):
    rows = ["7,3,4", "8,4,5"]
    task = from_files(*write_csv(labelled(), "\n".join([header, *rows])), directed=True)
    found = task.graphs[0].edge_index.T.tolist()
    assert found == ([[4, 3], [5, 4]] if header == "id,target,source" else [[3, 4], [4, 5]])
    assert f"columns of edges not used: {header.split(',')[0]}" in task.notes


def test_from_files_finds_the_other_end_when_one_is_named(write_csv):
    task = from_files(*write_csv(labelled(), "id,source,target\n7,3,4\n"), source="source")
    assert (3, 4) in set(map(tuple, task.graphs[0].edge_index.T.tolist()))


def test_from_files_else_reads_the_first_two_columns_of_edges(write_csv):
    task = from_files(*write_csv(labelled(), "a,b,source\n3,4,7\n"), directed=True)
    assert task.graphs[0].edge_index.tolist() == [[3], [4]]
    assert "columns of edges not used: source" in task.notes


@pytest.mark.parametrize("which", ["edges.csv", "nodes.csv"])
def test_from_files_of_a_file_that_may_not_be_read_says_so(write_csv, monkeypatch, which):
    paths = write_csv(labelled(), "0,1\n")
    opened = Path.open

    def refuse(self, *rest, **named):
        if self.name == which:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *rest, **named)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=rf"{which} could not be read: Permission denied"):
        from_files(*paths)


def test_from_files_of_a_folder_that_may_not_be_entered_says_so(write_csv, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    paths = write_csv(labelled(), "0,1\n")
    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(InputError, match=r"edges\.csv could not be read: Permission denied"):
        from_files(*paths)


def test_from_files_names_the_settings_of_the_command_line_too(write_csv):
    with pytest.raises(
        InputError,
        match=r'unknown="drop" \(on the command line: --set data\.files\.unknown=drop\)',
    ):
        from_files(*write_csv(labelled(), "0,77\n"))
    with pytest.raises(
        InputError,
        match=r'categorical=\["f"\] \(on the command line: '
        r"--set 'data\.files\.categorical=\[\"f\"\]'\)",
    ):
        from_files(*write_csv(labelled().replace("0.4", "old"), "0,1\n"))


def test_from_files_notes_classes_that_no_training_node_has(write_csv):
    few = from_files(*write_csv("id,label\n0,a\n1,b\n2,c\n", "0,1\n")).notes
    assert "split 0 has no training node of 2 of 3 classes" in few
    enough = from_files(*write_csv(labelled(), "0,1\n")).notes
    assert not any("no training node" in note for note in enough)
