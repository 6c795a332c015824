"""OGB's data sets through ogb's own loader, on tiny folders in OGB's layout; and its Evaluator."""

import io
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from gat.data import Card, card, load, load_hetero, ogb_metric
from gat.data.catalog import make_card
from gat.data.loading import load_card
from gat.data.ogb import scoring
from gat.errors import CorruptDataError, DownloadError, InputError, MissingDependencyError
from gat.graph import Graph
from tests.data.ogb_folders import RELATIONS, SIZES, table, write_mag, write_ogb

pytestmark = pytest.mark.skipif(
    find_spec("ogb") is None, reason="the package ogb (extra ogb) reads OGB's raw files"
)

EDGES = torch.tensor([[1, 2, 5, 2, 0], [0, 0, 4, 1, 3]])
BOTH = torch.tensor([[1, 0, 2, 0, 5, 4, 2, 1, 0, 3], [0, 1, 0, 2, 4, 5, 1, 2, 3, 0]])


def shrunk(name: str, **counts) -> Card:
    """The card of ``name`` with other published counts."""
    facts = card(name).model_dump(exclude_none=True)
    return make_card(facts | {"counts": counts}, name)


@pytest.fixture
def parsed(monkeypatch):
    """Every time that raw files are read by ogb."""
    from gat.data.ogb import reader

    times = []
    read_raw = reader.read_raw
    monkeypatch.setattr(reader, "read_raw", lambda f: times.append(f.path) or read_raw(f))
    return times


@pytest.mark.parametrize("binary", [False, True], ids=["csv", "binary"])
def test_load_of_arxiv_gives_what_lies_in_the_files(tmp_path, binary):
    write_ogb(tmp_path, binary=binary)
    task = load("ogbn-arxiv", tmp_path, download=False)
    graph = task.graphs[0]
    assert torch.equal(graph.edge_index, EDGES)
    assert graph.x.dtype == torch.float32
    assert graph.x.tolist() == (torch.arange(24).reshape(6, 4) / 8).tolist()
    assert graph.y.tolist() == [0, 1, 0, 1, 0, 1]
    parts = {part: mask.nonzero().tolist() for part, mask in graph.masks().items()}
    assert parts == {"train": [[0, 0], [1, 0]], "val": [[2, 0], [3, 0]], "test": [[4, 0], [5, 0]]}
    assert graph.edge_attr is None
    assert (task.num_classes, task.metric, task.multilabel) == (2, "accuracy", False)


@pytest.mark.parametrize("binary", [False, True], ids=["csv", "binary"])
def test_load_of_products_has_both_directions(tmp_path, binary):
    edges = BOTH.T.tolist() if binary else EDGES.T.tolist()
    write_ogb(tmp_path, "ogbn-products", edges=edges, binary=binary)
    assert torch.equal(load("ogbn-products", tmp_path).graphs[0].edge_index, BOTH)


def test_load_of_proteins_sums_the_features_of_the_edges(tmp_path):
    write_ogb(tmp_path, "ogbn-proteins")
    task = load("ogbn-proteins", tmp_path)
    graph = task.graphs[0]
    assert torch.equal(graph.edge_index, BOTH)
    attr = (torch.arange(40).reshape(5, 8) / 16 + 0.5).repeat_interleave(2, dim=0)
    assert torch.equal(graph.edge_attr, attr)
    expected = [attr[BOTH[1] == node].sum(0).tolist() for node in range(6)]
    assert graph.x.tolist() == expected
    assert (graph.y.dtype, graph.y.shape) == (torch.float32, (6, 112))
    assert (task.num_classes, task.metric, task.multilabel, task.edge_dim) == (112, "roc-auc", 1, 8)
    assert any("sum of the features of the edges that enter it" in note for note in task.notes)


def test_load_of_proteins_with_the_mean_divides_by_the_edges(tmp_path):
    # Node 3 has no edge.
    write_ogb(tmp_path, "ogbn-proteins", edges=[(1, 0), (2, 0), (5, 4), (2, 1), (0, 0)])
    facts = card("ogbn-proteins").model_dump(exclude_none=True)
    mean = make_card(facts | {"options": {"node_features": "mean"}}, "mean")
    graph = load_card(mean, tmp_path).graphs[0]
    for node in range(6):
        entering = graph.edge_attr[graph.edge_index[1] == node]
        assert torch.allclose(graph.x[node], entering.sum(0) / max(1, len(entering)))
    assert graph.x[3].tolist() == [0] * 8
    # The copy that the other option made is not taken for this one's.
    assert not torch.equal(load("ogbn-proteins", tmp_path).graphs[0].x, graph.x)


@pytest.mark.parametrize("binary", [False, True], ids=["csv", "binary"])
def test_load_of_mag_is_the_papers_and_their_citations(tmp_path, binary):
    write_mag(tmp_path, binary=binary)
    task = load("ogbn-mag", tmp_path)
    graph = task.graphs[0]
    assert torch.equal(graph.edge_index, EDGES)
    assert graph.x.tolist() == torch.arange(24.0).reshape(6, 4).tolist()
    assert graph.y.tolist() == [0, 1, 2, 0, 1, 2]
    assert task.part_sizes() == {"train": 2, "val": 2, "test": 2}
    assert (task.name, task.num_classes) == ("ogbn-mag (replica 0.5)", 3)


@pytest.mark.parametrize("binary", [False, True], ids=["csv", "binary"])
def test_load_hetero_gives_the_whole_of_mag(tmp_path, binary):
    write_mag(tmp_path, binary=binary)
    data = load_hetero("ogbn-mag", tmp_path)
    assert {kind: data[kind].num_nodes for kind in data.node_types} == SIZES
    assert set(data.edge_types) == set(RELATIONS)
    for relation, rows in RELATIONS.items():
        assert data[relation].edge_index.T.tolist() == rows
    papers = data["paper"]
    assert papers.year.tolist() == [2014, 2015, 2016, 2017, 2018, 2019]
    assert papers.y.tolist() == [0, 1, 2, 0, 1, 2]
    assert papers.val_mask.tolist() == [False, False, True, True, False, False]
    assert data.validate()


def test_load_hetero_adds_the_reverse_of_every_relation(tmp_path):
    write_mag(tmp_path)
    data = load_hetero("ogbn-mag", tmp_path, reverse=True)
    back = data["paper", "rev_writes", "author"].edge_index
    assert back.flip(0).T.tolist() == RELATIONS["author", "writes", "paper"]
    assert data["paper", "cites", "paper"].num_edges == 10
    # The kept copy is as it was.
    assert load("ogbn-mag", tmp_path).num_edges == 5


def test_load_hetero_of_one_type_of_nodes_says_what_reads_it():
    with pytest.raises(InputError, match=r"one type of nodes; read it with gat\.data\.load"):
        load_hetero("ogbn-arxiv")


@pytest.mark.parametrize("edges", [[], [(0, 0)], [(1, 0)] * 3, [(k % 6, 2) for k in range(12)]])
def test_load_of_awkward_edges_keeps_them_and_their_sorted_graph(tmp_path, edges):
    # pandas reads no empty table, so neither does ogb; binary files may be empty.
    write_ogb(tmp_path, edges=edges, binary=True)
    for _ in range(2):
        graph = load("ogbn-arxiv", tmp_path).graphs[0]
        assert graph.edge_index.T.tolist() == [list(edge) for edge in edges]
        sorted_here = Graph.from_edge_index(graph.edge_index, 6)
        assert torch.equal(graph.graph().rowptr, sorted_here.rowptr)
        assert torch.equal(graph.graph().col, sorted_here.col)
        listed = graph.graph().edge_index
        assert torch.equal(listed, graph.edge_index)


def test_load_of_a_replica_says_so_and_skips_the_published_counts(tmp_path):
    write_ogb(tmp_path)
    task = load("ogbn-arxiv", tmp_path)
    assert task.name == "ogbn-arxiv (replica 0.01)"
    assert any("not the real data of ogbn-arxiv" in note for note in task.notes)
    assert task.card.reader == "ogb"
    assert task.card.name == "ogbn-arxiv"


def test_load_of_the_real_name_holds_it_to_the_published_counts(tmp_path):
    write_ogb(tmp_path, replica=None)
    with pytest.raises(CorruptDataError, match=r"hold 6 nodes, the published .* has 169343"):
        load("ogbn-arxiv", tmp_path)
    mine = shrunk("ogbn-arxiv", nodes=6, edges=5, features=4, classes=2)
    task = load_card(mine, tmp_path)
    assert (task.name, task.notes, task.num_classes) == ("ogbn-arxiv", (), 2)


@pytest.mark.parametrize(
    ("replica", "says"),
    [
        ("scale = \n", "not valid TOML"),
        ('scale = "small"\n', "scale = 'small'"),
        ("", "scale = None"),
        ("scale = true\n", "scale = True"),
        ("scale = nan\n", "scale = nan"),
        ('scale = 1\nclasses = "two"\n', "classes = 'two'"),
        ("scale = 1\nclasses = 0\n", "classes = 0"),
    ],
)
def test_load_of_a_replica_with_a_bad_description_is_refused(tmp_path, replica, says):
    write_ogb(tmp_path, replica=replica)
    with pytest.raises(CorruptDataError, match=f"{says}.*rite the replica again"):
        load("ogbn-arxiv", tmp_path)


def test_load_of_a_replica_of_another_data_set_is_refused(tmp_path):
    folder = write_ogb(tmp_path)
    folder.rename(tmp_path / "ogbn_products")
    with pytest.raises(CorruptDataError, match=r"dataset = 'ogbn-arxiv'.*expected 'ogbn-products'"):
        load("ogbn-products", tmp_path)


def test_load_again_neither_parses_nor_needs_ogb(tmp_path, parsed):
    write_ogb(tmp_path)
    first = load("ogbn-arxiv", tmp_path).graphs[0]
    again = load("ogbn-arxiv", tmp_path).graphs[0]
    assert len(parsed) == 1
    for name in ("edge_index", "x", "y", "train_mask", "val_mask", "test_mask"):
        assert torch.equal(getattr(first, name), getattr(again, name)), name
    code = f"""
import sys
sys.modules["ogb"] = None
from gat.data import load
print(load("ogbn-arxiv", {str(tmp_path)!r}).num_edges, "pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["5", "False"], done.stderr


def test_load_maps_features_and_writing_to_them_changes_no_file(tmp_path):
    write_ogb(tmp_path)
    graph = load("ogbn-arxiv", tmp_path).graphs[0]
    mapped = Path("/proc/self/maps")
    if mapped.is_file():
        assert str(tmp_path / "ogbn_arxiv" / "mapped") in mapped.read_text()
    before = graph.x.clone()
    graph.x += 1
    assert torch.equal(load("ogbn-arxiv", tmp_path).graphs[0].x, before)


def test_load_does_not_sort_again(tmp_path, monkeypatch):
    write_ogb(tmp_path)
    load("ogbn-arxiv", tmp_path)
    graph = load("ogbn-arxiv", tmp_path).graphs[0]
    monkeypatch.setattr(Graph, "from_edge_index", None)
    assert graph.graph().num_edges == 5


def test_load_leaves_no_copy_of_ogbs_own(tmp_path):
    folder = write_ogb(tmp_path)
    load("ogbn-arxiv", tmp_path)
    assert not (folder / "processed").exists()
    files = {path.name for path in (folder / "mapped").rglob("*.npy")}
    assert {"x.npy", "col.npy", "rowptr.npy"} <= files


def test_load_is_silent(tmp_path, capfd):
    write_ogb(tmp_path)
    load("ogbn-arxiv", tmp_path)
    assert capfd.readouterr() == ("", "")


def zipped(folder: Path, top: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as box:
        for path in sorted(folder.rglob("*")):
            box.write(path, f"{top}/{path.relative_to(folder)}")
        box.writestr("__MACOSX/._arxiv", "rubbish")
    return stream.getvalue()


def test_load_fetches_the_archive_with_its_folders(server, answer, tmp_path, cache):
    folder = write_ogb(tmp_path / "theirs", replica=None)
    table(folder / "mapping" / "nodeidx2paperid.csv.gz", [[0, 17]])
    facts = shrunk("ogbn-arxiv", nodes=6).model_dump(exclude_none=True)
    url = server.says("arxiv.zip", answer(zipped(folder, "arxiv")))
    mine = make_card(facts | {"archive": {"url": url, "top": "arxiv"}}, "mine")
    assert load_card(mine).num_edges == 5
    assert (cache / "ogbn_arxiv" / "mapping" / "nodeidx2paperid.csv.gz").is_file()
    assert not list((cache / "ogbn_arxiv").glob("*.zip*"))
    load_card(mine, download=False)
    assert server.asked == ["/arxiv.zip"]


def test_load_refuses_an_archive_that_lacks_a_file(server, answer, tmp_path, cache):
    folder = write_ogb(tmp_path / "theirs", replica=None)
    (folder / "split" / "time" / "test.csv.gz").unlink()
    facts = shrunk("ogbn-arxiv", nodes=6).model_dump(exclude_none=True)
    url = server.says("arxiv.zip", answer(zipped(folder, "arxiv")))
    mine = make_card(facts | {"archive": {"url": url, "top": "arxiv"}}, "mine")
    with pytest.raises(CorruptDataError, match=r"lacks split/time/test\.csv\.gz"):
        load_card(mine)
    assert not (cache / "ogbn_arxiv" / "raw").exists()


def test_load_without_files_and_download_says_where_they_belong(tmp_path):
    with pytest.raises(
        DownloadError, match=r"RELEASE_v1\.txt.* into .*ogbn_arxiv \(from https://.*/arxiv\.zip\)"
    ):
        load("ogbn-arxiv", tmp_path, download=False)


def test_load_without_ogb_names_the_extra_before_it_fetches(server, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "ogb"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ogb", None)
    # Of tests before this one.
    scoring._evaluator.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"pip install graph-attention\[ogb\]"):
        load("ogbn-arxiv", tmp_path)
    with pytest.raises(MissingDependencyError, match="need the package ogb"):
        ogb_metric("ogbn-mag", torch.zeros(1, 2), torch.zeros(1))
    write_ogb(tmp_path)
    with pytest.raises(MissingDependencyError, match="need the package ogb"):
        load("ogbn-arxiv", tmp_path)


def test_load_of_papers100m_says_that_there_is_no_card():
    with pytest.raises(InputError, match="no card for ogbn-papers100m: 111 million nodes"):
        load("ogbn-papers100M")


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_ogb_metric_of_one_class_is_the_share_that_is_right(shape):
    logits = torch.tensor([[1.0, 0], [0, 1], [2, 1], [0, 3]], requires_grad=True)
    y = torch.tensor([0, 1, 1, 1]).reshape(shape)
    assert ogb_metric("ogbn-arxiv", logits, y) == 0.75


def test_ogb_metric_of_proteins_is_the_mean_roc_auc():
    from sklearn.metrics import roc_auc_score

    logits = torch.randn(40, 112)
    y = (torch.rand(40, 112) < 0.5).float()
    expected = np.mean([roc_auc_score(y[:, k], logits[:, k]) for k in range(112)])
    assert ogb_metric("ogbn-proteins", logits, y) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "logits", "y", "says"),
    [
        ("ogbn-arxiv", torch.zeros(0, 2), torch.zeros(0), "no nodes to score"),
        ("ogbn-proteins", torch.zeros(3, 5), torch.ones(3, 5), "should be 112 but 5 given"),
        ("ogbn-proteins", torch.zeros(3, 112), torch.ones(3, 112), "No positively labeled"),
        ("ogbn-proteins", torch.full((2, 112), torch.nan), torch.eye(2)[:, [0] * 112], "NaN"),
        ("ogbn-axiv", torch.zeros(1, 2), torch.zeros(1), "OGB has no node data set 'ogbn-axiv'"),
    ],
    ids=["empty", "labels", "one value", "nan", "name"],
)
def test_ogb_metric_says_what_it_cannot_score(name, logits, y, says):
    with pytest.raises(InputError, match=says):
        ogb_metric(name, logits, y)


def test_load_from_a_moved_folder_uses_its_copy(tmp_path, parsed):
    folder = write_ogb(tmp_path / "a")
    load("ogbn-arxiv", tmp_path / "a")
    (tmp_path / "b").mkdir()
    shutil.move(folder, tmp_path / "b")
    load("ogbn-arxiv", tmp_path / "b")
    assert len(parsed) == 1
