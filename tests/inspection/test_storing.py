"""save_attention and load_attention: what went in comes back, or a sentence says why not."""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gat.errors import (
    ArgumentTypeError,
    CorruptDataError,
    InputError,
    MissingDependencyError,
    RunLockedError,
)
from gat.inspection import Attention, AttentionRecord
from gat.inspection.storing import arrow_files, attention_folder, mapped_file, saving
from gat.inspection.storing.saving import load_attention, save_attention
from tests.inspection.stored_records import AWKWARD, assert_same, partial, record

pa = pytest.importorskip("pyarrow")


@pytest.fixture
def folder(tmp_path):
    """A folder with an attention of one record."""
    save_attention(record(), tmp_path / "attention")
    return tmp_path / "attention"


def only(path):
    (found,) = load_attention(path).values()
    return found


@pytest.mark.parametrize("name", AWKWARD)
def test_every_field_comes_back(name, tmp_path):
    save_attention(AWKWARD[name], tmp_path / "a")
    assert_same(only(tmp_path / "a"), AWKWARD[name])


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_record_comes_back(data, tmp_path_factory):
    draw = data.draw
    edges, heads = draw(st.integers(0, 40)), draw(st.integers(1, 5))
    num_src, num_dst = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    dtype = draw(st.sampled_from(arrow_files.DTYPES))
    seed = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    rows = [torch.randint(count, (edges,), generator=seed) for count in (num_src, num_dst)]
    flow = draw(st.sampled_from(arrow_files.FLOWS))
    flags = st.none() | st.lists(st.booleans(), min_size=num_dst, max_size=num_dst).map(
        torch.tensor
    )
    weights = torch.randn(edges, heads, generator=seed).to(dtype)
    if edges:
        weights[0, 0] = draw(st.sampled_from([0.0, float("nan"), float("inf"), -0.0]))
    one = AttentionRecord(
        layer=draw(st.text()),
        layer_type=draw(st.text(max_size=5)),
        when=draw(st.sampled_from(["before_dropout", "after_dropout"])),
        edge_index=torch.stack(rows if flow == arrow_files.FLOWS[0] else rows[::-1]),
        weights=weights,
        loops=torch.randn(num_dst, heads, generator=seed),
        num_src=num_src,
        num_dst=num_dst,
        flow=flow,
        edge_type=draw(st.none() | st.tuples(st.text(), st.text(), st.text())),
        heads=tuple(draw(st.permutations(range(9)))[:heads]),
        edge_id=draw(st.sampled_from([None, torch.arange(edges) - 2**62])),
        seen=draw(flags),
        complete=draw(flags),
    )
    path = tmp_path_factory.mktemp("any")
    save_attention(one, path)
    assert_same(only(path), one)


ODD = [
    "a/b",
    "..",
    ".",
    "",
    "net.0.conv",
    "<a___b___c>",
    "слой",
    "層",
    "con",
    "a\nb",
    "\x00",
    "\ud800",
]


def test_layers_come_back_under_their_names_in_their_order(tmp_path):
    types = [("a", "b", "c"), ("c", "../..", "a"), ("a", "b/c", "ä")]
    records = [record(layer=name) for name in ODD]
    records += [record("bipartite_wide", layer="hetero", edge_type=kind) for kind in types]
    save_attention(records, tmp_path / "a")
    loaded = load_attention(tmp_path / "a")
    assert list(loaded) == [*ODD, *(("hetero", kind) for kind in types)]
    assert loaded["hetero", types[1]].edge_type == types[1]
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len([name for name in names if name.endswith(".arrow")]) == 2 * len(records)
    assert all(name.isascii() and name.strip(".").replace(".", "").isalnum() for name in names)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_tensors_lie_on_the_file_and_writing_to_them_changes_only_them(folder):
    one = only(folder)
    before = [path.read_bytes() for path in sorted(folder.glob("*.arrow"))]
    one.weights.mul_(2)
    one.edge_index.zero_()
    one.loops.zero_()
    assert [path.read_bytes() for path in sorted(folder.glob("*.arrow"))] == before
    assert_same(only(folder), record())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and makes a sparse file")
def test_a_file_larger_than_memory_can_be_mapped(tmp_path):
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    with open(tmp_path / "large", "wb") as file:
        file.truncate(4 * pages * size)
    held = mapped_file._map(tmp_path / "large")
    assert len(held) == 4 * pages * size
    assert held[3 * pages * size] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_loading_copies_neither_weights_nor_edges(tmp_path):
    edges = 500_000
    wide = record(
        heads=16,
        edge_index=torch.zeros(2, edges, dtype=torch.int64),
        weights=torch.rand(edges, 16),
        edge_id=torch.arange(edges),
    )
    save_attention(wide, tmp_path / "a")
    held = _anonymous_bytes()
    one = only(tmp_path / "a")
    assert float(one.weights[edges // 2].sum()) > 0
    assert _anonymous_bytes() - held < 8e6  # of 44 MB
    assert one.weights.is_contiguous()


def _anonymous_bytes():
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) * 1024


def test_other_programs_find_one_row_per_edge(folder, tmp_path):
    save_attention(partial(), folder)
    (path,) = folder.glob("*.edges.arrow")
    table = pa.ipc.open_file(str(path)).read_all()
    assert table.column_names == ["edge", "source", "target", "weights"]
    assert table.column("edge").to_pylist() == partial().edge_id.tolist()
    assert table.column("target").to_pylist() == partial().target.tolist()
    assert table.column("weights").to_pylist() == partial().weights.tolist()
    assert json.loads(table.schema.metadata[b"gat"])["layer"] == "conv1"


def test_saving_again_replaces_all_and_leaves_nothing_behind(folder):
    old = only(folder)
    save_attention([record("hub", layer="a"), record("hub", layer="b")], folder)
    assert list(load_attention(folder)) == ["a", "b"]
    assert sorted(path.suffix for path in folder.iterdir() if path.name != ".lock") == [
        *[".arrow"] * 4,
        ".json",
    ]
    assert_same(old, record())  # what is mapped stays, though its file has no name any more


def test_a_loaded_record_can_be_saved_where_it_came_from(folder):
    save_attention(replace(only(folder), layer="renamed"), folder)
    assert_same(only(folder), record(layer="renamed"))


@pytest.mark.parametrize("failing", ["_write", "replace", "fsync"])
def test_an_interrupted_save_leaves_the_old_one(failing, folder, monkeypatch):
    calls = []

    def fail(real):
        def wrapped(*args):
            calls.append(args)
            if len(calls) == 4:
                raise KeyboardInterrupt
            return real(*args)

        return wrapped

    place = arrow_files if failing == "_write" else attention_folder.os
    with monkeypatch.context() as patch:
        patch.setattr(place, failing, fail(getattr(place, failing)))
        with pytest.raises(KeyboardInterrupt):
            save_attention([record("hub", layer=name) for name in "ab"], folder)
    assert_same(only(folder), record())
    assert {path.suffix for path in folder.iterdir()} <= {"", ".json", ".arrow", ".tmp"}
    assert len(list(folder.glob("*.arrow"))) == 2
    save_attention(record("hub"), folder)
    assert_same(only(folder), record("hub"))
    assert len(list(folder.glob("*"))) == 4  # the lock, the index, two files


def test_loading_while_somebody_saves_gives_the_new_one(folder, monkeypatch):
    waiting = [record("hub")]

    def slow(path):
        entries = attention_folder.read_index(path)
        if waiting:
            save_attention(waiting.pop(), folder)
        return entries

    monkeypatch.setattr(saving, "read_index", slow)
    assert_same(only(folder), record("hub"))


@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_a_killed_save_leaves_the_old_one_and_is_cleaned_up(folder, monkeypatch):
    if (child := os.fork()) == 0:
        kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731
        monkeypatch.setattr(attention_folder.AttentionFolder, "commit", kill)
        save_attention([record("hub"), record("path_both_ways", layer="b")], folder)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert len(list(folder.glob("*.edges.arrow"))) == 3
    assert_same(only(folder), record())
    save_attention(record("hub"), folder)
    assert len(list(folder.glob("*.edges.arrow"))) == 1


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"is not an attention folder: it holds thesis\.tex; noth"):
        save_attention(record(), tmp_path)
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(InputError, match=r"it holds index\.json, thesis\.tex"):
        save_attention(record(), tmp_path)
    with pytest.raises(InputError, match="is a file; expected a folder"):
        save_attention(record(), tmp_path / "thesis.tex")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.json", "thesis.tex"]


def test_a_note_beside_the_attention_is_kept(folder):
    (folder / "notes.txt").write_text("look at head 3")
    save_attention(record("hub"), folder)
    assert (folder / "notes.txt").read_text() == "look at head 3"


def test_a_folder_in_use_is_refused(folder):
    with (
        FileLock(folder / ".lock"),
        pytest.raises(RunLockedError, match="another process is writing attention to"),
    ):
        save_attention(record(), folder)
    assert_same(only(folder), record())


def test_a_folder_without_attention_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"there is no index\.json in it"):
        load_attention(tmp_path)
    with pytest.raises(InputError, match="nowhere is not an attention folder"):
        load_attention(tmp_path / "nowhere")


@pytest.mark.parametrize("which", ["edges", "nodes"])
@pytest.mark.parametrize("harm", ["cut", "empty", "zeros", "text", "missing", "swapped"])
def test_a_damaged_file_is_named(which, harm, folder, tmp_path):
    (path,) = folder.glob(f"*.{which}.arrow")
    data = path.read_bytes()
    (other,) = folder.glob("*.nodes.arrow" if which == "edges" else "*.edges.arrow")
    harmed = {
        "cut": data[:-9],
        "empty": b"",
        "zeros": bytes(len(data)),
        "text": b"x" * len(data),
        "swapped": other.read_bytes(),
    }
    path.unlink() if harm == "missing" else path.write_bytes(harmed[harm])
    with pytest.raises(CorruptDataError, match=rf"{path.name}.*record the attention again"):
        load_attention(folder)
    if harm != "missing":  # its size in the index does not tell all damage
        index = json.loads((folder / "index.json").read_text())
        index["records"][0][f"{which}_bytes"] = len(harmed[harm])
        (folder / "index.json").write_text(json.dumps(index))
        with pytest.raises(CorruptDataError, match=r"\.arrow is damaged or not attention that gat"):
            load_attention(folder)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_changed_bytes_are_refused_or_read_but_never_crash(data, folder):
    path = data.draw(st.sampled_from(sorted(folder.glob("*.arrow"))))
    before = path.read_bytes()
    harmed = bytearray(before)
    ends = st.integers(0, 1500) | st.integers(len(harmed) - 1500, len(harmed) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        harmed[data.draw(ends) % len(harmed)] = data.draw(st.integers(0, 255))
    path.write_bytes(harmed)
    try:
        one = only(folder)
        assert one.weights.shape == (one.num_edges, len(one.heads))
        one.weights.sum(), one.edge_index.sum(), one.loops.sum()
    except CorruptDataError:
        pass
    finally:
        path.write_bytes(before)


def _table(folder, metadata, **columns):
    """Another program's file in the place of the edges."""
    (path,) = folder.glob("*.edges.arrow")
    if metadata is None:
        metadata = pa.ipc.open_file(str(path)).schema.metadata
    table = pa.table(columns).replace_schema_metadata(metadata)
    options = pa.ipc.IpcWriteOptions(compression="lz4" if "lz4" in columns else None)
    with (
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_file(sink, table.schema, options=options) as w,
    ):
        w.write_table(table)
    index = json.loads((folder / "index.json").read_text())
    index["records"][0]["edges_bytes"] = path.stat().st_size
    (folder / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("metadata", "columns"),
    [
        ({}, {"edge": [1]}),
        ({"gat": "{"}, {"edge": [1]}),
        ({"gat": "[]"}, {"edge": [1]}),
        (None, {"edge": [1]}),
        (None, {"edge": [1], "source": [1], "target": [1.0], "weights": [[0.1, 0.2, 0.3]]}),
        (None, {"edge": [1], "source": [1], "target": [1], "weights": [[0.1, 0.2, 0.3]]}),
        (None, {"source": list(range(99)), "target": list(range(99)), "lz4": [0] * 99}),
    ],
    ids=["bare", "no_json", "list", "columns_missing", "dtype", "ragged", "compressed"],
)
def test_a_foreign_arrow_file_is_refused(metadata, columns, folder):
    _table(folder, metadata, **columns)
    with pytest.raises(CorruptDataError, match="is damaged or not attention that gat saved"):
        load_attention(folder)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ("", "not the index of an attention folder"),
        ("[1]", "not the index"),
        ('{"kind": "attention"}', "not the index"),
        ('{"kind": "attention", "format": 1, "records": [{"number": 1}]}', "not the index"),
        ('{"kind": "attention", "format": 2, "gat": "9.0"}', "use the version that wrote it, 9.0"),
    ],
)
def test_a_damaged_index_is_named_and_can_be_replaced(index, said, folder):
    (folder / "index.json").write_text(index)
    with pytest.raises(CorruptDataError, match=rf"index\.json.*{said}"):
        load_attention(folder)
    with pytest.raises(InputError):
        save_attention(record(flow="upstream"), folder)
    assert (folder / "000001.edges.arrow").exists()  # the index could still be mended
    save_attention(record("hub"), folder)
    assert_same(only(folder), record("hub"))


def test_nothing_that_could_run_code_is_in_the_files(folder):
    assert all(b"pickle" not in path.read_bytes() for path in folder.iterdir())
    assert {path.suffix for path in folder.iterdir()} <= {".arrow", ".json", ""}


@pytest.mark.parametrize(
    ("records", "error", "said"),
    [
        ([], InputError, "there are no attention records"),
        ([record(), record("hub")], InputError, "2 records of 1 layers"),
        (record(heads=0), InputError, r"conv1 has no heads"),
        (
            record(dtype=torch.int32),
            ArgumentTypeError,
            "weights of conv1 is torch.int32; expected one of",
        ),
        (record(num_dst=9), InputError, r"loops of conv1 is \[31, 3\]; expected \[9, 3\]"),
        (
            replace(record(), heads=(1, 2)),
            InputError,
            r"weights of conv1 is \[211, 3\]; expected \[211, 2\]",
        ),
        (record(edge_id=torch.arange(5)), InputError, r"edge_id of conv1 is \[5\]; expected"),
        (record(seen=torch.ones(5).bool()), InputError, r"seen of conv1 is \[5\]; expected \[31\]"),
        (record(flow="upstream"), InputError, "flow is 'upstream'; expected"),
    ],
    ids=["none", "twins", "no_heads", "whole", "loops", "heads", "edge_id", "seen", "flow"],
)
def test_what_cannot_be_kept_is_refused_and_nothing_changes(records, error, said, folder):
    with pytest.raises(error, match=said):
        save_attention(records, folder)
    assert_same(only(folder), record())
    assert not list(folder.glob("*.scratch"))


def test_without_pyarrow_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for call in (lambda: save_attention(record(), folder), lambda: load_attention(folder)):
        with pytest.raises(MissingDependencyError, match=r"pip install 'graph-attention\[arrow\]'"):
            call()


def test_records_of_an_attention_come_back_as_one(tmp_path):
    save_attention(Attention([record(layer="a"), partial()]), tmp_path)
    loaded = load_attention(str(tmp_path))
    assert isinstance(loaded, Attention)
    assert_same(loaded["conv1"], partial())
