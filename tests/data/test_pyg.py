"""PyG's own classes on small files in the true formats: same graphs, none of PyG's cache."""

import json
import os
import pickle

import numpy as np
import pytest
import scipy.sparse
import torch

from gat.data.loading import load_card
from gat.errors import CorruptDataError


def shchur_npz(path, nodes=200, classes=3):
    """The format of shchur/gnn-benchmark: adjacency and attributes as CSR parts."""
    rng = np.random.default_rng(0)
    adjacency = scipy.sparse.random(nodes, nodes, 0.02, "csr", dtype=np.float32, random_state=0)
    attributes = scipy.sparse.random(nodes, 7, 0.4, "csr", dtype=np.float32, random_state=1)
    parts = {"labels": rng.integers(0, classes, nodes)}
    for name, matrix in (("adj", adjacency), ("attr", attributes)):
        parts |= {
            f"{name}_data": matrix.data,
            f"{name}_indices": matrix.indices,
            f"{name}_indptr": matrix.indptr,
            f"{name}_shape": np.array(matrix.shape),
        }
    np.savez(path, **parts)


def wiki_cs_json(path, nodes=30, splits=20):
    rng = np.random.default_rng(0)
    parts = rng.integers(0, 3, (splits, nodes))
    content = {
        "features": rng.random((nodes, 5)).round(3).tolist(),
        "labels": (np.arange(nodes) % 4).tolist(),
        "links": [[(node + 1) % nodes, (node + 7) % nodes] for node in range(nodes)],
        "train_masks": (parts == 0).tolist(),
        "val_masks": (parts == 1).tolist(),
        "stopping_masks": (parts == 2).tolist(),
        "test_mask": [False] * nodes,
    }
    path.write_text(json.dumps(content))


def ppi_files(folder, sizes=None):
    """Node-link JSON, features, labels and graph numbers of each part, as in ppi.zip."""
    rng = np.random.default_rng(0)
    for part, graphs in (sizes or {"train": 3, "valid": 2, "test": 1}).items():
        nodes = 6 * graphs
        links = [
            {"source": 6 * graph + i, "target": 6 * graph + (i + 1) % 6}
            for graph in range(graphs)
            for i in range(6)
        ]
        content = {
            "directed": False,
            "multigraph": False,
            "graph": {},
            "nodes": [{"id": node} for node in range(nodes)],
            "links": links,
        }
        (folder / f"{part}_graph.json").write_text(json.dumps(content))
        np.save(folder / f"{part}_feats.npy", rng.random((nodes, 4)))
        np.save(folder / f"{part}_labels.npy", rng.integers(0, 2, (nodes, 3)))
        np.save(folder / f"{part}_graph_id.npy", np.repeat(np.arange(graphs) + 1, 6))


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "root" / "made_up" / "raw"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def files_of(raw):
    return [{"name": path.name} for path in sorted(raw.iterdir())]


@pytest.mark.parametrize(
    ("cls", "name", "file"),
    [
        ("Amazon", "Computers", "amazon_electronics_computers.npz"),
        ("Coauthor", "Physics", "ms_academic_phy.npz"),
    ],
)
def test_pyg_amazon_and_coauthor(raw, root, a_card, tmp_path, cls, name, file):
    from torch_geometric import datasets

    shchur_npz(raw / file)
    options = {"class": cls, "name": name, "train_per_class": 20, "val_per_class": 30}
    card = a_card(reader="pyg", options=options, files=files_of(raw), splits=4)
    graph = load_card(card, root).graphs[0]

    theirs_raw = tmp_path / "pyg" / name / "raw"
    theirs_raw.mkdir(parents=True)
    shchur_npz(theirs_raw / file)
    data = getattr(datasets, cls)(str(tmp_path / "pyg"), name)[0]
    for field in ("edge_index", "x", "y"):
        assert torch.equal(getattr(graph, field), data[field]), field
    for split in range(4):
        assert graph.y[graph.train_mask[:, split]].bincount().tolist() == [20] * 3
        assert graph.y[graph.val_mask[:, split]].bincount().tolist() == [30] * 3
    covered = graph.train_mask | graph.val_mask | graph.test_mask
    assert bool(covered.all())


def test_pyg_wiki_cs_shares_one_test_part(raw, root, a_card):
    wiki_cs_json(raw / "data.json")
    card = a_card(reader="pyg", options={"class": "WikiCS"}, files=files_of(raw), splits=20)
    task = load_card(card, root)
    graph = task.graphs[0]
    assert (task.num_classes, task.num_splits, task.num_edges) == (4, 20, 120)
    content = json.loads((raw / "data.json").read_text())
    assert graph.train_mask.T.tolist() == content["train_masks"]
    assert graph.val_mask.T.tolist() == content["val_masks"]
    assert graph.test_mask.shape == (30, 20)


@pytest.fixture
def ppi(raw, a_card):
    ppi_files(raw)
    return a_card(
        reader="pyg",
        options={"class": "PPI"},
        files=files_of(raw),
        inductive=True,
        multilabel=True,
        metric="micro-f1",
        counts={"graphs": 6, "nodes": 36, "classes": 3},
    )


def test_pyg_ppi_graphs_lie_wholly_in_one_part(ppi, root):
    task = load_card(ppi, root)
    assert task.inductive
    assert task.multilabel
    parts = [[bool(m.all()) for m in graph.masks().values()] for graph in task.graphs]
    assert parts == [[True, False, False]] * 3 + [[False, True, False]] * 2 + [[False, False, True]]
    assert task.part_sizes() == {"train": 18, "val": 12, "test": 6}
    assert all(graph.num_edges == 12 for graph in task.graphs)


def test_pyg_ppi_equals_pyg(ppi, root, raw, tmp_path):
    from torch_geometric.datasets import PPI

    (tmp_path / "pyg" / "raw").mkdir(parents=True)
    ppi_files(tmp_path / "pyg" / "raw")
    theirs = [
        data for part in ("train", "val", "test") for data in PPI(str(tmp_path / "pyg"), part)
    ]
    for ours, data in zip(load_card(ppi, root).graphs, theirs, strict=True):
        for field in ("edge_index", "x", "y"):
            assert torch.equal(getattr(ours, field), data[field]), field


def test_pyg_keeps_slow_graphs_and_reads_them_again(ppi, root, cache, monkeypatch):
    first = load_card(ppi, root)
    assert len(list((cache / "processed").glob("made-up-*.safetensors"))) == 1
    from gat.data import pyg

    monkeypatch.setattr(pyg, "_process", None)
    again = load_card(ppi, root)
    for one, two in zip(first.graphs, again.graphs, strict=True):
        assert torch.equal(one.edge_index, two.edge_index)
        assert torch.equal(one.y, two.y)
        assert torch.equal(one.test_mask, two.test_mask)


def test_pyg_makes_kept_graphs_anew_when_the_raw_files_change(ppi, root, raw, cache):
    load_card(ppi, root)
    np.save(raw / "train_feats.npy", np.ones((18, 4)))
    os.utime(raw / "train_feats.npy", ns=(1, 1))
    assert bool((load_card(ppi, root).graphs[0].x == 1).all())


@pytest.mark.parametrize("kept", [0, 8, 300])
def test_pyg_makes_damaged_kept_graphs_anew(ppi, root, cache, kept):
    first = load_card(ppi, root)
    (path,) = (cache / "processed").glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:kept])
    assert torch.equal(load_card(ppi, root).graphs[5].x, first.graphs[5].x)


class Payload:
    def __init__(self, marker) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_pyg_processed_files_are_never_read(ppi, root, raw, tmp_path):
    marker = tmp_path / "marker"
    processed = raw.parent / "processed"
    processed.mkdir()
    for name in ("train.pt", "val.pt", "test.pt", "pre_transform.pt", "pre_filter.pt"):
        (processed / name).write_bytes(pickle.dumps(Payload(marker)))
    before = {path.name: path.read_bytes() for path in processed.iterdir()}
    load_card(ppi, root)
    assert not marker.exists()
    assert {path.name: path.read_bytes() for path in processed.iterdir()} == before


def test_pyg_writes_nothing_beside_the_raw_files(ppi, root, raw, tmp_path, monkeypatch, capfd):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    load_card(ppi, root)
    assert [path.name for path in raw.parent.iterdir()] == ["raw"]
    assert not any((tmp_path / "elsewhere").iterdir())
    assert capfd.readouterr() == ("", "")


def test_pyg_refuses_an_object_array_without_running_it(raw, root, a_card, tmp_path):
    marker = tmp_path / "marker"
    shchur_npz(raw / "ms_academic_cs.npz")
    with np.load(raw / "ms_academic_cs.npz") as arrays:
        parts = dict(arrays)
    parts["labels"] = np.array([Payload(marker)] * 200, dtype=object)
    np.savez(raw / "ms_academic_cs.npz", **parts)
    options = {"class": "Coauthor", "name": "CS", "train_per_class": 20, "val_per_class": 30}
    card = a_card(reader="pyg", options=options, files=files_of(raw))
    with pytest.raises(CorruptDataError, match=r"datasets\.Coauthor: ValueError: Object arrays"):
        load_card(card, root)
    assert not marker.exists()
