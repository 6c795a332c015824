"""Graphs of one's own from CSV: what is read, and faults 21 to 23 with their line numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gat.data import from_files
from gat.errors import InputError

NODES = """id,age,town,group
ann,30,Oslo,red
bob,41.5,Bern,blue
cem,22,Oslo,red
dee,35,,blue
eve,50,Rome,
fay,28,Bern,red
gus,33,Oslo,blue
hal,61,Rome,red
"""
EDGES = """source,target
ann,bob
bob,cem
cem,dee
dee,eve
eve,fay
fay,gus
gus,hal
"""


@pytest.fixture
def write(write_csv):
    """Writes nodes.csv and edges.csv, by default the above, and returns edges and nodes."""

    def files(nodes=NODES, edges=EDGES) -> tuple[Path, Path]:
        return write_csv(nodes, edges)

    return files


def test_from_files_reads_text_ids_features_and_labels(write):
    task = from_files(*write(), "group")
    graph = task.graphs[0]
    assert graph.node_ids == ("ann", "bob", "cem", "dee", "eve", "fay", "gus", "hal")
    assert task.class_names == ("blue", "red")
    assert graph.y.tolist() == [1, 0, 1, 0, -1, 1, 0, 1]
    # age as given, then town one-hot in the order Bern, Oslo, Rome; dee has no town
    assert graph.x[:4].tolist() == [[30, 0, 1, 0], [41.5, 1, 0, 0], [22, 0, 1, 0], [35, 0, 0, 0]]
    assert task.num_edges == 14
    assert (task.name, task.metric) == ("edges", "accuracy")


def test_from_files_says_what_it_did(write):
    notes = from_files(*write(), "group").notes
    assert notes == (
        "numeric features, as given: age",
        "one-hot features (number of values): town (3)",
        "7 rows of edges became 14 edges, in both directions, each once",
        "stratified random split of the labelled nodes: 60% train, 20% val, rest test; "
        "1 of them, seed 0",
    )


def test_from_files_leaves_unlabelled_nodes_out_of_every_part(write):
    graph = from_files(*write(), "group", splits=5).graphs[0]
    used = graph.train_mask | graph.val_mask | graph.test_mask
    assert used.all(dim=1).tolist() == [True] * 4 + [False] + [True] * 3


def test_from_files_standardises_when_asked(write):
    task = from_files(*write(), "group", standardize=True, ignore=["town"])
    x = task.graphs[0].x
    assert x.shape == (8, 1)
    assert abs(float(x.mean())) < 1e-6
    assert abs(float(x.std(correction=0)) - 1) < 1e-6
    assert "standardised to mean 0" in task.notes[0]


def test_from_files_reads_numbers_as_texts_when_asked(write):
    task = from_files(*write(), "group", features=["age"], categorical=["age"])
    assert task.graphs[0].x.tolist() == np.eye(8)[[2, 5, 0, 4, 6, 1, 3, 7]].tolist()


def test_from_files_directed_keeps_the_direction(write):
    edges = from_files(*write(), "group", directed=True).graphs[0].edge_index
    assert sorted(map(tuple, edges.T.tolist())) == [(i, i + 1) for i in range(7)]


def test_from_files_counts_both_directions_of_a_doubled_edge_once(write):
    edges = EDGES + "bob,ann\nann,bob\nann,ann\n"
    assert from_files(*write(edges=edges), "group").num_edges == 15


def test_from_files_reads_named_columns(write):
    nodes = NODES.replace("id,", "person,")
    edges = "weight,to,from\n" + "".join(
        f"1,{b},{a}\n" for a, b in (line.split(",") for line in EDGES.split()[1:])
    )
    task = from_files(
        *write(nodes, edges), "group", id="person", source="from", target="to", directed=True
    )
    assert task.graphs[0].edge_index[:, 0].tolist() == [0, 1]
    assert "columns of edges not used: weight" in task.notes


def test_from_files_reads_a_column_of_splits(write):
    rows = NODES.splitlines()
    parts = ["part", "train", "Train", "val", "validation", "test", "test", "", "test"]
    nodes = "\n".join(f"{row},{part}" for row, part in zip(rows, parts, strict=True))
    task = from_files(*write(nodes), "group", split="part")
    graph = task.graphs[0]
    assert graph.train_mask[:, 0].nonzero()[:, 0].tolist() == [0, 1]
    assert graph.val_mask[:, 0].nonzero()[:, 0].tolist() == [2, 3]
    # eve (4) has no label
    assert graph.test_mask[:, 0].nonzero()[:, 0].tolist() == [5, 7]
    assert "1 unlabelled nodes taken out of the given split" in task.notes
    assert task.num_features == 4


def test_from_files_refuses_an_unknown_part_with_its_line(write):
    nodes = NODES.replace("group", "group,part").replace("red\n", "red,train\n")
    nodes = nodes.replace("blue\n", "blue,holdout\n").replace("Rome,\n", "Rome,,\n")
    with pytest.raises(InputError, match=r"nodes\.csv, line 3: the split is 'holdout'"):
        from_files(*write(nodes), "group", split="part")


def test_from_files_without_features_numbers_the_nodes(write):
    nodes = "id,label\n" + "".join(f"{i},{i % 2}\n" for i in range(6))
    task = from_files(*write(nodes, "0,1\n2,3\n"))
    assert torch.equal(task.graphs[0].x, torch.eye(6))
    assert task.num_edges == 4


def test_from_files_sorts_numeric_classes_as_numbers(write):
    nodes = "id,label\n" + "".join(f"{i},{10 * (i % 3)}\n" for i in range(9))
    assert from_files(*write(nodes, "0,1\n")).class_names == ("0", "10", "20")


@pytest.mark.parametrize("ending", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["no BOM", "BOM"])
def test_from_files_reads_bom_crlf_and_blank_lines(write, ending, start):
    plain = from_files(*write(), "group").graphs[0]
    dressed = [
        start + text.replace("\n", "\n\n , \n").replace("\n", ending).encode()
        for text in (NODES, EDGES)
    ]
    # Named, so that a BOM left in the first column's name would be missed.
    named = from_files(*write(*dressed), "group", id="id", source="source", target="target")
    graph = named.graphs[0]
    assert torch.equal(graph.x, plain.x)
    assert torch.equal(graph.y, plain.y)
    assert torch.equal(graph.edge_index, plain.edge_index)
    assert graph.node_ids == plain.node_ids


def test_from_files_reads_quoted_cells_and_counts_lines_through_them(write):
    nodes = 'id,town,label\na,"Oslo,\nNorway",x\nb,"said ""hi""",y\nc,Rome\n'
    with pytest.raises(InputError, match=r"nodes\.csv, line 5: the row is too short"):
        from_files(*write(nodes, "a,b\n"))


def test_from_files_reads_tab_separated_files(tmp_path):
    (tmp_path / "e.tsv").write_text(EDGES.replace(",", "\t"))
    (tmp_path / "n.tsv").write_text(NODES.replace(",", "\t"))
    assert from_files(tmp_path / "e.tsv", tmp_path / "n.tsv", "group").num_edges == 14


BAD_NODES = {
    "short row": (
        "bob,41.5,Bern,blue",
        "bob,41.5,Bern",
        r"line 3: the row is too short, .* 3 cells",
    ),
    "extra column": (
        "cem,22,Oslo,red",
        "cem,22,Oslo,red,x",
        r"line 4: the row is too long.*5 cells",
    ),
    "text for a number": ("cem,22", "cem,old", r"line 4: column 'age' holds 'old' where a number"),
    "missing number": ("cem,22", "cem,", r"line 4: the number in column 'age' is missing"),
    "nan": ("cem,22", "cem,nan", r"line 4: column 'age' holds 'nan', which is not a finite"),
    "infinite": ("cem,22", "cem,1e39", r"line 4: column 'age' holds '1e39'"),
    "underscore": ("cem,22", "cem,2_2", r"line 4: column 'age' holds '2_2' where a number"),
    "id above 2^63": (
        "cem,",
        f"{2**63},",
        rf"line 4: the node id {2**63} does not fit into 64 bits",
    ),
    "missing id": ("cem,", ",", r"line 4: the node id in column 'id' is missing"),
    "double id": ("cem,", "ann,", r"line 4: the node id 'ann' was given before .*line 2\)"),
    "nan label": ("Oslo,red", "Oslo,NaN", r"line 2: the label is 'NaN'; leave the cell empty"),
    "open quote": ("cem,22", 'cem,"22', r"nodes\.csv, line \d+: unexpected end of data"),
    "quote inside": ("cem,22", 'cem,"2"2', r"line 4: ',' expected after '\"'"),
    "double column": ("id,age,town", "id,age,age", r"line 1: two columns are called 'age'"),
    "nameless column": ("id,age,town", "id,,town", r"line 1: column 2 has no name"),
    "one class": ("blue", "red", "column 'group' has 1 classes"),
}


@pytest.mark.parametrize("case", BAD_NODES)
def test_from_files_refuses_bad_nodes_with_the_line(write, case):
    old, new, says = BAD_NODES[case]
    assert old in NODES
    with pytest.raises(InputError, match=says):
        from_files(*write(NODES.replace(old, new)), "group")


BAD_EDGES = {
    "short row": ("cem,dee", "cem", r"line 4: the row is too short, it has 1 cells where 2"),
    "extra column": ("cem,dee", "cem,dee,1", r"line 4: the row is too long, it has 3 cells"),
    "missing end": ("cem,dee", "cem,", r"line 4: the node id in column 'target' is missing"),
    "id above 2^63": ("cem,dee", f"cem,{2**64}", rf"line 4: the node id {2**64} does not fit"),
    "id below -2^63": ("cem,dee", f"cem,{-(2**63) - 1}", "line 4: .* does not fit into 64 bits"),
    "no header": ("source,target\n", "", r"first row names two nodes \(ann, bob\).*add one"),
}


@pytest.mark.parametrize("case", BAD_EDGES)
def test_from_files_refuses_bad_edges_with_the_line(write, case):
    old, new, says = BAD_EDGES[case]
    with pytest.raises(InputError, match=rf"edges\.csv.*{says}"):
        from_files(*write(edges=EDGES.replace(old, new)), "group")


@pytest.mark.parametrize("which", ["nodes", "edges"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        ("\n\r\n , \n", "is empty"),
        ("source,target\n", r"has a header \(source, target\) but no rows"),
        (b"id,label\n\xff\xfe,1\n", "line 2: not UTF-8 text"),
        (b"id,label\na\0b,1\n", r"line 2: not a text file"),
    ],
    ids=["empty", "blank", "header only", "latin1", "NUL"],
)
def test_from_files_refuses_empty_and_undecodable_files(write, which, content, says):
    with pytest.raises(InputError, match=rf"{which}\.csv.*{says}"):
        from_files(*write(**{which: content}), "group")


def test_from_files_lists_the_first_five_unknown_nodes(write):
    edges = EDGES + "".join(f"ann,x{i}\n" for i in range(7)) + "x0,x1\n"
    with pytest.raises(
        InputError,
        match=r"8 edges name nodes that are not in .*nodes\.csv: 'x0' \(line 9\), "
        r"'x1' \(line 10\), 'x2' \(line 11\), "
        r"'x3' \(line 12\), 'x4' \(line 13\) and 2 more\. Add them, or drop these",
    ):
        from_files(*write(edges=edges), "group")


def test_from_files_drops_unknown_nodes_when_asked_and_counts(write):
    edges = EDGES + "ann,x\ny,bob\n"
    task = from_files(*write(edges=edges), "group", unknown="drop")
    assert task.num_edges == 14
    assert any(note.startswith("2 edges dropped that name a node not in") for note in task.notes)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"label": "colour"},
            r"no column 'colour' \(label\); its columns are id, age, town, group",
        ),
        ({"label": None}, r"which column of .* is the class\? .*id, age, town, group"),
        ({"label": "id"}, "cannot be both id and label"),
        ({"features": ["group"]}, "that would leak"),
        ({"features": ["agee"]}, r"no column 'agee' \(features\)"),
        ({"ignore": ["agee"]}, r"no column 'agee' \(ignore or categorical\)"),
        ({"source": "from"}, r"edges\.csv has no column 'from' \(source\)"),
        ({"unknown": "keep"}, "use 'error' or 'drop'"),
        ({"train": 0.9, "val": 0.1}, "sum to less than 1"),
    ],
)
def test_from_files_refuses_impossible_options(write, options, says):
    with pytest.raises(InputError, match=says):
        from_files(*write(), **({"label": "group"} | options))


def test_from_files_refuses_too_many_texts_to_encode(write):
    nodes = "id,name,label\n" + "".join(f"{i},name {i},{i % 2}\n" for i in range(300))
    with pytest.raises(InputError, match="'name' has 300 different texts, too many"):
        from_files(*write(nodes, "0,1\n"))


def test_from_files_names_a_missing_file(tmp_path, write):
    edges, _ = write()
    with pytest.raises(InputError, match=r"there is no file .*gone\.csv"):
        from_files(edges, tmp_path / "gone.csv", "group")
    with pytest.raises(InputError, match="need a nodes file"):
        from_files(edges)
