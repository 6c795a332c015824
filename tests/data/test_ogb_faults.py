"""OGB's data sets when something is wrong: missing and hostile files, no network, two at once."""

import contextlib
import errno
import hashlib
import importlib
import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from gat.data import load, load_hetero
from gat.data.ogb import kept, raw, reader, require
from gat.errors import CorruptDataError, InputError, RunLockedError
from tests.data.ogb_folders import table, write_mag, write_ogb

pytestmark = pytest.mark.skipif(
    find_spec("ogb") is None, reason="the package ogb (extra ogb) reads OGB's raw files"
)


class Payload:
    """A pickle that makes a file when it is loaded as pickles are."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize(
    "name",
    [
        "RELEASE_v1.txt",
        "raw/edge.csv.gz",
        "raw/node-feat.csv.gz",
        "raw/node-label.csv.gz",
        "raw/num-node-list.csv.gz",
        "split/time/valid.csv.gz",
    ],
)
def test_load_names_the_missing_file_and_asks_nothing(tmp_path, name, monkeypatch):
    folder = write_ogb(tmp_path, replica=None)
    (folder / name).unlink()
    monkeypatch.setattr("builtins.input", None)
    with pytest.raises(CorruptDataError, match=f"lacks {name}; .*arxiv.zip.*load again"):
        load("ogbn-arxiv", tmp_path)


def test_load_of_a_replica_that_lacks_a_file_does_not_send_for_the_real_one(tmp_path):
    folder = write_ogb(tmp_path)
    (folder / "raw" / "edge.csv.gz").unlink()
    with pytest.raises(CorruptDataError, match=r"lacks raw/edge\.csv\.gz.*rite the replica again$"):
        load("ogbn-arxiv", tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"),
    ],
    ids=["full", "none"],
)
def test_load_without_room_for_temporary_files_does_not_blame_the_data(
    tmp_path, monkeypatch, error
):
    write_ogb(tmp_path)

    def no_room(*_, **__):
        raise error

    monkeypatch.setattr(tempfile, "mkdtemp", no_room)
    with pytest.raises(InputError, match=r"temporary file.*: .*free space, or .* TMPDIR"):
        load("ogbn-arxiv", tmp_path)


def test_load_hetero_names_the_missing_relation(tmp_path):
    folder = write_mag(tmp_path)
    shutil.rmtree(folder / "raw" / "relations" / "author___writes___paper")
    with pytest.raises(CorruptDataError, match="lacks raw/relations/author___writes___paper/edge"):
        load_hetero("ogbn-mag", tmp_path)


def test_load_says_which_file_is_empty(tmp_path):
    folder = write_ogb(tmp_path)
    (folder / "raw" / "edge.csv.gz").write_bytes(b"")
    with pytest.raises(CorruptDataError, match=r"edge\.csv\.gz is empty"):
        load("ogbn-arxiv", tmp_path)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"x": np.ones((5, 4))}, "x has 5 rows for 6 nodes"),
        ({"y": np.ones((7, 1), int)}, "y has 7 rows for 6 nodes"),
        ({"edges": [(0, 1), (1, 6)]}, "edge 1 of edge names node 6, it has 0 to 5"),
        ({"edges": [(0, 1), (-1, 0)]}, "edge 1 of edge names node -1"),
        ({"split": ((0, 1), (2, 6), (4, 5))}, "the val split names node 6"),
        ({"split": ((0, -1), (2, 3), (4, 5))}, "the train split names node -1"),
        ({"y": np.ones((6, 2), int)}, r"node-label has shape \[6, 2\]"),
        ({"edges": []}, "could not be read by ogb: EmptyDataError"),
    ],
)
def test_load_refuses_files_that_do_not_fit_together(tmp_path, changed, says):
    write_ogb(tmp_path, **changed)
    with pytest.raises(CorruptDataError, match=f"{says}.*write the replica again"):
        load("ogbn-arxiv", tmp_path)
    assert not list((tmp_path / "ogbn_arxiv" / "mapped").glob("v*"))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"x": [[0, 1, np.nan, 3]] * 6}, "feature 2 of node 0 is nan"),
        ({"split": ((0, 1), (1, 2), (4, 5))}, "node 1 of split 0 both in the train and in the val"),
        ({"y": np.array([[0], [1], [0], [1], [0], [-7]])}, "the label of node 5 is -7"),
    ],
)
def test_load_validates_before_anything_is_kept(tmp_path, changed, says):
    write_ogb(tmp_path, **changed)
    for _ in range(2):
        with pytest.raises(InputError, match=says):
            load("ogbn-arxiv", tmp_path)


def test_load_takes_nan_labels_for_none(tmp_path):
    write_ogb(tmp_path, y=np.array([[0], [1], [1], [0], [1], [np.nan]]), split=((0,), (1,), (2,)))
    assert load("ogbn-arxiv", tmp_path).graphs[0].y.tolist() == [0, 1, 1, 0, 1, -1]


@pytest.mark.parametrize("bad", [b"not gzip at all", None], ids=["text", "cut off"])
def test_load_of_a_damaged_table_names_the_folder(tmp_path, bad):
    path = write_ogb(tmp_path) / "raw" / "node-feat.csv.gz"
    path.write_bytes(bad or path.read_bytes()[:-12])
    with pytest.raises(CorruptDataError, match=r"ogbn_arxiv could not be read by ogb: \w+"):
        load("ogbn-arxiv", tmp_path)


def test_load_of_pickled_arrays_in_a_binary_file_runs_nothing(tmp_path):
    folder = write_ogb(tmp_path, binary=True)
    marker = tmp_path / "marker"
    array = np.array([Payload(marker)], dtype=object)
    np.savez(folder / "raw" / "data.npz", edge_index=array)
    with pytest.raises(CorruptDataError, match="could not be read by ogb: ValueError"):
        load("ogbn-arxiv", tmp_path)
    assert not marker.exists()


def processed_only(folder: Path, content: object) -> Path:
    """The folder with a processed file of ogb's own in place of its raw files."""
    shutil.rmtree(folder / "raw")
    path = folder / "processed" / "geometric_data_processed.pt"
    path.parent.mkdir()
    torch.save(content, path)
    return path


def test_load_reads_ogbs_processed_file_where_raw_files_are_gone(tmp_path):
    from torch_geometric.data import Data

    folder = write_ogb(tmp_path)
    task = load("ogbn-arxiv", tmp_path)
    graph = task.graphs[0]
    data = Data(edge_index=graph.edge_index.clone(), x=graph.x.clone(), y=graph.y[:, None].clone())
    data.num_nodes = 6
    processed_only(folder, (data, None))
    again = load("ogbn-arxiv", tmp_path).graphs[0]
    assert torch.equal(again.edge_index, graph.edge_index)
    assert torch.equal(again.x, graph.x)


@pytest.mark.parametrize("forced", [False, True], ids=["usual", "unsafe torch.load asked for"])
def test_load_refuses_a_hostile_processed_file(tmp_path, monkeypatch, forced):
    marker = tmp_path / "marker"
    path = processed_only(write_ogb(tmp_path), (Payload(marker), None))
    for name in ("pre_transform.pt", "pre_filter.pt"):
        # PyG opens these with weights_only=False.
        (path.parent / name).write_bytes(pickle.dumps(Payload(marker)))
    if forced:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(CorruptDataError, match=r"processed\.pt was refused.*nothing of it was run"):
        load("ogbn-arxiv", tmp_path)
    assert not marker.exists()
    assert os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD") == ("1" if forced else None)


def test_load_does_not_open_a_processed_file_beside_raw_ones(tmp_path):
    folder, marker = write_ogb(tmp_path), tmp_path / "marker"
    (folder / "processed").mkdir()
    for name in ("geometric_data_processed.pt", "data_processed", "pre_transform.pt"):
        torch.save(Payload(marker), folder / "processed" / name)
    assert load("ogbn-arxiv", tmp_path).num_edges == 5
    assert not marker.exists()


def test_load_refuses_a_hostile_split(tmp_path):
    folder, marker = write_ogb(tmp_path), tmp_path / "marker"
    torch.save(Payload(marker), folder / "split" / "time" / "split_dict.pt")
    with pytest.raises(CorruptDataError, match="could not be read by ogb: UnpicklingError"):
        load("ogbn-arxiv", tmp_path)
    assert not marker.exists()


def test_ogb_with_a_dead_network_and_stdin_closed_neither_hangs_nor_asks(tmp_path):
    # What importing ogb would ask, in a thread that keeps the process, takes a minute.
    (tmp_path / "outdated.py").write_text(
        "import time\nprint('imported')\ndef check_outdated(*_):\n    time.sleep(60)\n"
    )
    (write_ogb(tmp_path) / "RELEASE_v1.txt").unlink()
    code = f"""
import os, sys, threading
from gat.data import load, ogb_metric
try:
    load("ogbn-arxiv", {str(tmp_path)!r})
except ValueError as error:
    print("lacks RELEASE_v1.txt" in str(error))
import torch
print(ogb_metric("ogbn-arxiv", torch.eye(2), torch.tensor([0, 0])))
print("outdated" in sys.modules, "OUTDATED_IGNORE" in os.environ)
print([thread.name for thread in threading.enumerate() if not thread.daemon])
"""
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    # Importing ogb by itself, as other tests do, leaves that variable behind.
    kept = {name: value for name, value in os.environ.items() if name != "OUTDATED_IGNORE"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=kept | {"PYTHONPATH": path},
    )
    said = ["True", "0.5", "False False", "['MainThread']"]
    assert done.stdout.splitlines() == said, done.stderr


@pytest.mark.parametrize("there", [False, True], ids=["absent", "imported before"])
def test_the_package_hidden_from_ogb_is_put_back(monkeypatch, there):
    from gat.data.ogb.package import _no_question_at_import

    monkeypatch.delitem(sys.modules, "outdated", raising=False)
    monkeypatch.setenv("OUTDATED_IGNORE", "mine")
    if there:
        monkeypatch.setitem(sys.modules, "outdated", os)
    with _no_question_at_import():
        os.environ["OUTDATED_IGNORE"] = "1"
        with pytest.raises(ImportError):
            importlib.import_module("outdated")
    assert sys.modules.get("outdated") is (os if there else None)
    assert ("outdated" in sys.modules) == there
    assert os.environ["OUTDATED_IGNORE"] == "mine"


def flip(position: int):
    def change(content: bytearray) -> bytes:
        content[position] ^= 1
        return bytes(content)

    return change


DAMAGE = {
    "cut off": ("x.npy", lambda content: content[:-4]),
    "header": ("x.npy", flip(20)),
    "last byte": ("edge_index.npy", flip(-1)),
    "no array": ("y.npy", lambda content: b""),
    "manifest": ("manifest.json", flip(80)),
    "no manifest": ("manifest.json", lambda content: b""),
    "gone": ("rowptr.npy", None),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_load_makes_a_damaged_copy_again(tmp_path, damage):
    folder = write_ogb(tmp_path)
    before = load("ogbn-arxiv", tmp_path).graphs[0]
    (place,) = (folder / "mapped").glob("v*")
    name, change = DAMAGE[damage]
    original = (place / name).read_bytes()
    if change is None:
        (place / name).unlink()
    else:
        # Written anew, so that what `before` maps stays.
        content = change(bytearray(original))
        (place / name).unlink()
        (place / name).write_bytes(content)
    after = load("ogbn-arxiv", tmp_path).graphs[0]
    assert torch.equal(after.x, before.x)
    assert (place / name).read_bytes() == original


def test_load_makes_a_copy_again_whose_sorted_edges_lead_out(tmp_path):
    # Larger than what the ends cover, and damaged in the middle.
    edges = np.stack([np.arange(4000) % 6, np.arange(4000) // 7 % 6], axis=1)
    folder = write_ogb(tmp_path, edges=edges)
    load("ogbn-arxiv", tmp_path)
    (place,) = (folder / "mapped").glob("v*")
    original = (place / "col.npy").read_bytes()
    content = bytearray(original)
    content[16007] ^= 0x40
    (place / "col.npy").write_bytes(content)
    load("ogbn-arxiv", tmp_path)
    assert (place / "col.npy").read_bytes() == original


def signed_again(place: Path, change) -> None:
    """The copy's manifest after ``change``, with checksums that are right."""
    manifest = json.loads((place / "manifest.json").read_text().partition("\n")[2])
    manifest["files"] = {name: kept._signs(place / name) for name in manifest["files"]}
    body = json.dumps(change(manifest))
    digest = hashlib.sha256(body.encode()).hexdigest()
    (place / "manifest.json").write_text(f"{digest}\n{body}")


def without(key: str, name: str):
    return lambda manifest: manifest | {key: {k: v for k, v in manifest[key].items() if k != name}}


def an_npz(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, x=np.ones((6, 4)))


HOSTILE = {
    "pickled objects": lambda path: np.save(
        path, np.array([Payload(path.parent / "m")], dtype=object)
    ),
    "a pickle": lambda path: path.write_bytes(pickle.dumps(Payload(path.parent / "m"))),
    "an npz": an_npz,
    "words": lambda path: np.save(path, np.array(["a", "b"])),
    "no bytes": lambda path: path.write_bytes(b""),
    "too short": lambda path: np.save(path, np.zeros((3, 4), dtype=np.float32)),
    "a number": lambda path: np.save(path, np.float32(1)),
}


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("name", ["x", "y", "rowptr"])
def test_load_makes_a_hostile_copy_again_and_runs_nothing(tmp_path, hostile, name):
    folder = write_ogb(tmp_path)
    before = load("ogbn-arxiv", tmp_path).graphs[0]
    (place,) = (folder / "mapped").glob("v*")
    (place / f"{name}.npy").unlink()
    HOSTILE[hostile](place / f"{name}.npy")
    signed_again(place, lambda manifest: manifest)
    after = load("ogbn-arxiv", tmp_path).graphs[0]
    assert torch.equal(after.x, before.x)
    assert torch.equal(after.y, before.y)
    assert not list(place.glob("m"))


@pytest.mark.parametrize(
    "change",
    [lambda _: {}, lambda _: [], without("files", "col.npy"), without("facts", "classes")],
    ids=["empty", "a list", "no col", "no classes"],
)
def test_load_makes_a_copy_again_whose_manifest_lacks_something(tmp_path, change):
    folder = write_ogb(tmp_path)
    load("ogbn-arxiv", tmp_path)
    (place,) = (folder / "mapped").glob("v*")
    signed_again(place, change)
    assert load("ogbn-arxiv", tmp_path).num_edges == 5


def test_load_hetero_makes_a_copy_again_whose_relations_lead_out(tmp_path):
    folder = write_mag(tmp_path)
    before = load_hetero("ogbn-mag", tmp_path)["author", "writes", "paper"].edge_index.clone()
    (place,) = (folder / "mapped").glob("v*")
    path = place / "edge_index.author___writes___paper.npy"
    path.unlink()
    np.save(path, np.full((2, 4), 5))
    signed_again(place, lambda manifest: manifest)
    again = load_hetero("ogbn-mag", tmp_path)["author", "writes", "paper"].edge_index
    assert torch.equal(again, before)


def test_load_hetero_holds_the_real_name_to_the_published_counts(tmp_path):
    (write_mag(tmp_path) / "replica.toml").unlink()
    with pytest.raises(CorruptDataError, match="hold 6 nodes, the published data set has 736389"):
        load_hetero("ogbn-mag", tmp_path)


def test_load_reads_changed_raw_files_again_and_forgets_the_old_copy(tmp_path):
    folder = write_ogb(tmp_path)
    load("ogbn-arxiv", tmp_path)
    table(folder / "raw" / "node-label.csv.gz", [[1], [1], [1], [0], [0], [0]])
    assert load("ogbn-arxiv", tmp_path).graphs[0].y.tolist() == [1, 1, 1, 0, 0, 0]
    assert len(list((folder / "mapped").glob("v*"))) == 1


def test_load_from_a_folder_that_cannot_be_written_keeps_in_the_cache(tmp_path, cache, monkeypatch):
    folder = write_ogb(tmp_path)
    # As good as read-only, also for root.
    (folder / "mapped").write_text("a file where the folder would be")
    load("ogbn-arxiv", tmp_path)
    assert len(list((cache / "mapped" / "ogbn-arxiv").glob("v*/x.npy"))) == 1
    monkeypatch.setattr(reader, "read_raw", None)
    assert load("ogbn-arxiv", tmp_path).num_edges == 5


def test_load_where_nothing_can_be_written_warns_and_works(tmp_path, cache):
    folder = write_ogb(tmp_path)
    cache.write_text("no folder")
    (folder / "mapped").write_text("no folder")
    with pytest.warns(UserWarning, match="no copy of ogbn-arxiv .* could be kept"):
        task = load("ogbn-arxiv", tmp_path)
    assert task.num_edges == 5


def test_load_clears_what_a_killed_process_left(tmp_path):
    folder = write_ogb(tmp_path)
    (folder / "mapped" / ".part-1").mkdir(parents=True)
    (folder / "mapped" / ".part-1" / "x.npy").write_bytes(b"half")
    load("ogbn-arxiv", tmp_path)
    assert not (folder / "mapped" / ".part-1").exists()


def test_load_by_two_threads_reads_the_raw_files_once(tmp_path, monkeypatch):
    write_ogb(tmp_path)
    read_raw, times = reader.read_raw, []
    monkeypatch.setattr(reader, "read_raw", lambda f: times.append(f) or read_raw(f))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(load("ogbn-arxiv", tmp_path)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [task.num_edges for task in found] == [5] * 3
    assert len(times) == 1


def test_load_by_threads_of_different_data_sets_puts_everything_back(tmp_path, monkeypatch):
    # Each holds ogb open until all have come as far, or until they are seen to take turns.
    names = ["ogbn-arxiv", "ogbn-products", "ogbn-proteins"]
    gate, dataset = threading.Barrier(len(names)), raw._dataset

    def held(*arguments):
        with contextlib.suppress(threading.BrokenBarrierError):
            gate.wait(0.2)
        return dataset(*arguments)

    monkeypatch.setattr(raw, "_dataset", held)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    before = sys.stdout, sys.stderr, set(torch.serialization.get_safe_globals())
    for name in names:
        write_ogb(tmp_path, name)
    threads = [threading.Thread(target=load, args=(name, tmp_path)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    after = sys.stdout, sys.stderr, set(torch.serialization.get_safe_globals())
    assert after == before
    assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"
    assert all(list((tmp_path / name.replace("-", "_")).glob("mapped/v*")) for name in names)


def test_load_by_two_processes_reads_the_raw_files_once(tmp_path, monkeypatch):
    write_ogb(tmp_path)
    require()
    read_raw, log = reader.read_raw, tmp_path / "log"

    def noted(folder):
        with log.open("a") as stream:
            stream.write("read ")
        return read_raw(folder)

    monkeypatch.setattr(reader, "read_raw", noted)
    # Forked, so that they need not import everything again.
    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=load, args=("ogbn-arxiv", tmp_path)) for _ in "ab"]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert log.read_text() == "read "
    assert load("ogbn-arxiv", tmp_path).num_edges == 5


def test_load_waits_for_the_lock_and_says_who_holds_it(tmp_path, monkeypatch):
    from filelock import FileLock

    folder = write_ogb(tmp_path)
    (folder / "mapped").mkdir()
    monkeypatch.setattr(kept, "WAIT", 0.2)
    with (
        FileLock(folder / "mapped" / ".lock"),
        pytest.raises(
            RunLockedError, match=r"another process .* reading the raw files for .*mapped"
        ),
    ):
        load("ogbn-arxiv", tmp_path)
