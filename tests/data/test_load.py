"""gat.data.load on real files: the published counts, the search order, what PyG reads."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gat.data import load
from gat.errors import CorruptDataError, DownloadError, InputError

# nodes, columns of edge_index, features, classes, splits: as published (see the cards)
PUBLISHED = {
    "cora": (2708, 2 * 5278, 1433, 7, 1),
    "citeseer": (3327, 2 * 4552, 3703, 6, 1),
    "minesweeper": (10000, 2 * 39402, 7, 2, 10),
    "chameleon-filtered": (890, 2 * 8854, 2325, 5, 10),
    "squirrel-filtered": (2223, 2 * 46998, 2089, 5, 10),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_load_gives_the_published_counts(gat_data, name):
    task = load(name, gat_data, download=False)
    found = (
        task.num_nodes,
        task.num_edges,
        task.num_features,
        task.num_classes,
        task.num_splits,
    )
    assert found == PUBLISHED[name]
    assert task.card is not None
    assert task.metric == task.card.metric


@pytest.mark.parametrize("name", PUBLISHED)
def test_load_gives_a_symmetric_graph_without_loops_and_duplicates(gat_data, name):
    edges = load(name, gat_data).graphs[0].edge_index
    nodes = int(edges.max()) + 1
    forward, backward = edges[0] * nodes + edges[1], edges[1] * nodes + edges[0]
    assert torch.equal(forward.sort().values, backward.sort().values)
    assert len(forward.unique()) == len(forward)
    assert bool((edges[0] != edges[1]).all())


@pytest.mark.parametrize(("name", "classes"), [("cora", 7), ("citeseer", 6)])
def test_load_gives_the_public_split(gat_data, name, classes):
    graph = load(name, gat_data).graphs[0]
    sizes = {part: int(mask.sum()) for part, mask in graph.masks().items()}
    assert sizes == {"train": 20 * classes, "val": 500, "test": 1000}
    per_class = graph.y[graph.train_mask[:, 0]].bincount()
    assert per_class.tolist() == [20] * classes


@pytest.mark.parametrize(("name", "theirs"), [("cora", "Cora"), ("citeseer", "CiteSeer")])
def test_load_of_planetoid_equals_pyg(gat_data, tmp_path, name, theirs):
    from torch_geometric.datasets import Planetoid

    raw = tmp_path / theirs / "raw"
    shutil.copytree(gat_data / theirs / "raw", raw)
    data = Planetoid(str(tmp_path), theirs)[0]
    ours = load(name, gat_data).graphs[0]
    assert set(map(tuple, ours.edge_index.T.tolist())) == set(
        map(tuple, data.edge_index.T.tolist())
    )
    assert torch.equal(ours.x, data.x)
    for part in ("train", "val", "test"):
        assert torch.equal(ours.masks()[part][:, 0], data[f"{part}_mask"])
    # PyG gives CiteSeer's 15 nodes without any label class 0; here they are unlabelled.
    labelled = ours.y >= 0
    assert int((~labelled).sum()) == (15 if name == "citeseer" else 0)
    assert torch.equal(ours.y[labelled], data.y[labelled])


def test_load_of_npz_equals_pyg(gat_data, tmp_path):
    from torch_geometric.datasets import HeterophilousGraphDataset

    shutil.copytree(gat_data / "minesweeper" / "raw", tmp_path / "minesweeper" / "raw")
    data = HeterophilousGraphDataset(str(tmp_path), "minesweeper")[0]
    ours = load("minesweeper", gat_data).graphs[0]
    code = {tuple(edge) for edge in ours.edge_index.T.tolist()}
    assert code == {tuple(edge) for edge in data.edge_index.T.tolist()}
    for field in ("x", "y", "train_mask", "val_mask", "test_mask"):
        assert torch.equal(getattr(ours, field), data[field]), field


def test_load_builds_the_graph_once(gat_data):
    graph = load("cora", gat_data).graphs[0]
    assert graph.graph() is graph.graph()
    assert graph.graph().num_edges == 10556


def copied(gat_data: Path, place: Path) -> Path:
    """Minesweeper under ``place``; returns the npz file."""
    shutil.copytree(gat_data / "minesweeper", place / "minesweeper")
    path = place / "minesweeper" / "raw" / "minesweeper.npz"
    path.chmod(0o644)
    path.parent.chmod(0o755)
    return path


def test_load_looks_in_root_then_gat_data_then_cache(gat_data, tmp_path, cache, monkeypatch):
    places = [tmp_path / "root", tmp_path / "data", cache]
    for place in reversed(places):
        path = copied(gat_data, place)
        path.write_bytes(place.name.encode() + path.read_bytes()[len(place.name) :])
        monkeypatch.setenv("GAT_DATA", str(tmp_path / "data"))
        # The damage at the start of each copy tells which one was opened.
        with pytest.raises(CorruptDataError, match=str(path)):
            load("minesweeper", tmp_path / "root")


def test_load_refuses_a_found_file_of_another_checksum_and_leaves_it(gat_data, tmp_path):
    path = copied(gat_data, tmp_path)
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptDataError, match=r"has sha256 .*, expected e664c8da.*Delete it"):
        load("minesweeper", tmp_path, download=False)
    assert path.read_bytes() == bytes(content)


@pytest.mark.parametrize(("kept", "says"), [(0, "is empty"), (999, "has 999 bytes, expected")])
def test_load_refuses_a_found_file_that_is_cut_off(gat_data, tmp_path, kept, says):
    path = copied(gat_data, tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CorruptDataError, match=says):
        load("minesweeper", tmp_path)


def test_load_without_files_and_download_says_where_they_belong(tmp_path):
    with pytest.raises(DownloadError, match=r"put ind\.cora\.x.* into .*Cora/raw.*planetoid"):
        load("cora", tmp_path, download=False)


def test_load_of_an_unknown_name_is_an_input_error():
    with pytest.raises(InputError, match="no data set 'corra'"):
        load("corra")


def test_load_refuses_files_that_are_not_the_published_data_set(gat_data, tmp_path, a_card):
    from gat.data.loading import load_card

    path = copied(gat_data, tmp_path)
    entry = a_card(
        folder="minesweeper", files=[{"name": path.name}], splits=10, counts={"edges": 39402}
    )
    with pytest.raises(CorruptDataError, match=r"hold 78804 edges, the published .* has 39402"):
        load_card(entry, tmp_path)


def test_load_of_a_replica_says_so_and_skips_the_published_counts(gat_data, tmp_path, a_card):
    from gat.data.loading import load_card

    path = copied(gat_data, tmp_path)
    (path.parents[1] / "replica.toml").write_text('dataset = "made-up"\nscale = 0.25\n')
    entry = a_card(
        folder="minesweeper", files=[{"name": path.name}], splits=10, counts={"edges": 39402}
    )
    task = load_card(entry, tmp_path)
    assert task.name == "made-up (replica 0.25)"
    assert task.num_edges == 78804
    assert "not the real data of made-up" in task.notes[0]
    assert task.card is not None
    assert task.card.counts.edges is None


def test_import_of_gat_data_is_light():
    code = """
import sys, gat.data
heavy = ["sklearn", "networkx", "scipy", "torch_geometric", "pandas", "filelock", "rich"]
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
