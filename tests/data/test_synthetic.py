"""Planted graphs hold what they promise, and the real ogb and PyG read their replicas."""

import builtins
import gzip
import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch

from gat.data import card, synthetic
from gat.data.loading import load_card
from gat.data.synthetic import Planted, planted_graph, planted_mag, write_ppi, write_replica
from gat.data.synthetic.blocks import Blocks, degree_law, unique_pairs
from gat.data.synthetic.facts import PUBLISHED, scaled
from gat.data.synthetic.planted import DEFAULTS
from gat.data.synthetic.tables import write_numbers
from gat.errors import InputError

# A few hundred to two thousand nodes of each.
SCALES = {
    "ogbn-arxiv": 0.012,
    "ogbn-products": 0.0006,
    "ogbn-proteins": 0.004,
    "ogbn-mag": 0.002,
}
NAMES = list(SCALES)


@pytest.fixture(scope="module")
def graphs():
    return {name: planted_graph(name, scale=scale) for name, scale in SCALES.items()}


def arrays(graph):
    return {
        "edge_index": graph.edge_index,
        "x": graph.x,
        "y": graph.y,
        "edge_attr": graph.edge_attr,
        **graph.parts,
        **graph.columns,
    }


def test_published_sizes_are_those_of_the_cards():
    for name in ("ogbn-arxiv", "ogbn-products", "ogbn-proteins"):
        facts, counts = PUBLISHED[name], card(name).counts
        assert (facts.nodes, facts.classes) == (counts.nodes, counts.classes)
        assert sum(facts.parts) == facts.nodes
        assert f"{facts.edges:,}" in f"{counts.edges:,}, {counts.edges_counted}"
        assert facts.metric == card(name).metric
        assert scaled(facts, 1.0) == facts
    assert scaled(PUBLISHED["ogbn-mag"], 1.0) == PUBLISHED["ogbn-mag"]


@pytest.mark.parametrize("name", NAMES)
def test_planted_graph_has_the_sizes_and_dtypes_it_tells(graphs, name):
    graph, facts = graphs[name], graphs[name].facts
    assert graph.edge_index.dtype == np.int32
    assert graph.edge_index.shape == (2, facts.edges)
    assert graph.num_nodes == facts.nodes == round(SCALES[name] * PUBLISHED[name].nodes)
    if name == "ogbn-proteins":
        assert graph.x is None
        assert graph.edge_attr.shape == (facts.edges, 8)
        assert graph.edge_attr.dtype == np.float32
        assert 0 <= graph.edge_attr.min() < graph.edge_attr.max() <= 1
        assert graph.y.shape == (facts.nodes, 112)
        assert set(np.unique(graph.y)) == {0.0, 1.0}
        assert ((graph.y.mean(0) > 0) & (graph.y.mean(0) < 1)).all()
    else:
        assert (graph.x.shape, graph.x.dtype) == ((facts.nodes, facts.features), np.float32)
        assert np.isfinite(graph.x).all()
        assert graph.edge_attr is None
        assert sorted(set(graph.y)) == list(range(facts.classes))
        counts = np.bincount(graph.y)
        assert counts.min() >= 5
        assert counts.max() >= 4 * counts.min()


@pytest.mark.parametrize("name", NAMES)
def test_planted_edges_are_distinct_pairs_without_loops(graphs, name):
    one, two = graphs[name].edge_index.astype(np.int64)
    assert min(one.min(), two.min()) >= 0
    assert max(one.max(), two.max()) < graphs[name].num_nodes
    assert (one != two).all()
    keys = np.minimum(one, two) * graphs[name].num_nodes + np.maximum(one, two)
    assert len(np.unique(keys)) == len(keys)
    both = graphs[name].both_directions()
    assert both[:, 0::2].tolist() == [one.tolist(), two.tolist()]
    assert both[:, 1::2].tolist() == [two.tolist(), one.tolist()]


@pytest.mark.parametrize("name", NAMES)
def test_planted_split_covers_every_node_once(graphs, name):
    graph = graphs[name]
    together = np.concatenate(list(graph.parts.values()))
    assert list(graph.parts) == ["train", "valid", "test"]
    assert sorted(together.tolist()) == list(range(graph.num_nodes))
    assert tuple(map(len, graph.parts.values())) == graph.facts.parts
    shares = np.array(graph.facts.parts) / graph.num_nodes
    published = np.array(PUBLISHED[name].parts) / PUBLISHED[name].nodes
    assert np.abs(shares - published).max() < 0.01


@pytest.mark.parametrize("name", ["ogbn-arxiv", "ogbn-mag"])
def test_planted_years_follow_the_split_and_citations_are_not_newer(graphs, name):
    graph = graphs[name]
    years = graph.columns["node_year"]
    assert years[graph.parts["train"]].max() <= 2017
    assert set(years[graph.parts["valid"]]) == {2018}
    assert years[graph.parts["test"]].min() >= 2019
    part = np.empty(graph.num_nodes)
    for number, nodes in enumerate(graph.parts.values()):
        part[nodes] = number
    source, target = graph.edge_index
    assert (part[source] >= part[target]).all()


def test_planted_species_lie_wholly_in_one_part(graphs):
    graph = graphs["ogbn-proteins"]
    found = [set(graph.columns["node_species"][nodes]) for nodes in graph.parts.values()]
    assert [len(species) for species in found] == [6, 1, 1]
    assert len(set.union(*found)) == 8


@pytest.mark.parametrize("name", ["ogbn-arxiv", "ogbn-products", "ogbn-mag"])
def test_planted_degrees_have_a_long_tail(graphs, name):
    degrees = np.bincount(graphs[name].edge_index.ravel(), minlength=graphs[name].num_nodes)
    # A small replica of the denser products has no room for a hub of many times the mean.
    assert degrees.max() > (2.5 if name == "ogbn-products" else 7) * degrees.mean()
    assert degrees.max() < 0.15 * graphs[name].num_nodes
    assert np.median(degrees) < 0.95 * degrees.mean()


@pytest.mark.parametrize("name", ["ogbn-arxiv", "ogbn-products", "ogbn-mag"])
def test_planted_homophily_is_informative_and_not_sufficient(graphs, name):
    graph = graphs[name]
    same = graph.y[graph.edge_index[0]] == graph.y[graph.edge_index[1]]
    by_chance = ((np.bincount(graph.y) / graph.num_nodes) ** 2).sum()
    assert 0.2 < same.mean() < 0.55
    assert same.mean() > 3 * by_chance


def test_degree_law_has_its_exponent():
    # Survival of d ** -1.6 at exponent 2.6: ten times the degree, 10 ** -1.6 as many nodes.
    law = degree_law(2.6, mean=10.0, largest=5000.0, size=200_000)
    drawn = np.random.default_rng(0).random(2_000_000)
    degrees = np.bincount((law.ranks(drawn) * 200_000).astype(int), minlength=200_000)
    many, more = (degrees > 50).sum(), (degrees > 500).sum()
    assert many / more == pytest.approx(10**1.6, rel=0.15)
    assert 4500 < degrees.max() < 5500


def test_blocks_pick_within_the_blocks_asked_for():
    rng = np.random.default_rng(0)
    blocks = Blocks(np.array([5, 0, 1, 94]), degree_law(2.5, 4.0, 20.0, 94), rng)
    wanted = rng.choice([0, 2, 3], 1000)
    assert (blocks.block_of_node()[blocks.pick(rng, wanted)] == wanted).all()
    assert set(blocks.any_block(rng, 1000)) == {0, 2, 3}
    assert np.bincount(blocks.block_of_node()).tolist() == [5, 0, 1, 94]
    assert blocks.rank_of_node().min() == 0


def test_unique_pairs_gives_what_there_is_where_more_is_wanted():
    rng = np.random.default_rng(0)

    def draw(count):
        return rng.integers(0, 3, count, dtype=np.int32), rng.integers(0, 3, count, dtype=np.int32)

    assert unique_pairs(draw, 50, 3, None, rng).tolist() == [[0, 0, 1], [1, 2, 2]]
    assert unique_pairs(draw, 50, 3, 3, rng).shape == (2, 9)
    assert unique_pairs(draw, 0, 3, 3, rng).shape == (2, 0)
    assert unique_pairs(draw, 4, 3, 3, rng).shape == (2, 4)


@pytest.mark.parametrize("name", NAMES)
def test_planted_graph_is_a_function_of_its_seed(graphs, name):
    again = planted_graph(name, scale=SCALES[name])
    for key, values in arrays(graphs[name]).items():
        np.testing.assert_array_equal(arrays(again)[key], values, err_msg=key)
    other = planted_graph(name, scale=SCALES[name], seed=1)
    assert not np.array_equal(other.edge_index, again.edge_index)
    assert not np.array_equal(other.y, again.y)


@pytest.mark.parametrize("name", NAMES)
def test_planted_graph_of_the_least_size(name):
    graph = planted_graph(name, scale=1e-9)
    assert graph.num_nodes == 60
    assert 0 < graph.num_edges <= 0.04 * 60 * 60 / 2


def test_planted_graph_takes_other_parameters():
    pure = replace(DEFAULTS["ogbn-arxiv"], same=1.0, general=0.0, general_nodes=0.0)
    graph = planted_graph("ogbn-arxiv", scale=0.01, planted=pure)
    assert (graph.y[graph.edge_index[0]] == graph.y[graph.edge_index[1]]).all()
    assert graph.planted["same"] == 1.0


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: planted_graph("cora"), "no replica of 'cora'; there are those of ogbn-arxiv"),
        (lambda: planted_graph("ogbn-arxiv", scale=0), "scale must be a number above 0, got 0"),
        (lambda: planted_graph("ogbn-arxiv", scale=float("nan")), "above 0, got nan"),
        (lambda: planted_graph("ogbn-arxiv", scale="small"), "above 0, got 'small'"),
        (lambda: planted_graph("ogbn-arxiv", scale=True), "above 0, got True"),
        (lambda: write_ppi("nowhere", scale=-1.0), "scale must be a number above 0, got -1.0"),
        (lambda: write_ppi("nowhere", scale=float("inf")), "above 0, got inf"),
        (lambda: write_ppi("nowhere", seed=None), "seed must be a whole number.* got None"),
        (lambda: write_replica("ogbn-arxiv", "nowhere", seed=None), "seed must be .* got None"),
        (lambda: planted_graph("ogbn-proteins", scale=1e-3, seed=-1), "0 or above; got -1"),
        (lambda: planted_mag(scale=1e-4, seed=1.5), "seed must be a whole number.* got 1.5"),
        (lambda: Planted(0.5, 0.5, 0, 0, float("nan"), 1, 2.5), "signal must be a finite number"),
        (lambda: Planted(0.5, 0.5, 0, 0, 1, float("inf"), 2.5), "mark must be a finite number"),
        (lambda: Planted(0.5, 0.5, 0, 0, 1, 1, float("nan")), "exponent must be a finite number"),
        (lambda: Planted("a", 0.5, 0, 0, 1, 1, 2.5), "same must be a finite number, got 'a'"),
        (lambda: Planted(0.5, 0.5, 1.0, 0, 1, 1, 2.5), "general_nodes = 1 there are none"),
        (lambda: write_replica("ogbn-arxiv", "nowhere", format="npz"), "'csv' or 'binary', got"),
        (
            lambda: planted_graph("ogbn-proteins", planted=DEFAULTS["ogbn-arxiv"]),
            "leave planted out",
        ),
        (lambda: Planted(1.5, 0, 0, 0, 1, 1, 2.5), "same is a share, 0 to 1; got 1.5"),
        (lambda: Planted(0.6, 0.6, 0, 0, 1, 1, 2.5), "must not exceed 1 together"),
        (lambda: Planted(0.5, 0.5, 0, 0, 1, 1, 2.0), "exponent must be above 2, got 2.0"),
    ],
)
def test_impossible_wishes_are_refused_in_words(make, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=sentence):
        make()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def arxiv_scores():
    """Test accuracies of scikit-learn on the planted arxiv, from more and more information."""
    from scipy.sparse import coo_matrix
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    graph = planted_graph("ogbn-arxiv", scale=0.012, seed=3)
    source, target = graph.both_directions()
    degree = np.maximum(np.bincount(target, minlength=graph.num_nodes), 1)
    mean = coo_matrix((1 / degree[target], (target, source)), (graph.num_nodes,) * 2).tocsr()
    train, test = graph.parts["train"], graph.parts["test"]

    def regression(x):
        x = StandardScaler().fit_transform(x)
        model = LogisticRegression(C=0.01, max_iter=100).fit(x[train], graph.y[train])
        return model.score(x[test], graph.y[test])

    known = np.zeros((graph.num_nodes, graph.facts.classes))
    known[train, graph.y[train]] = 1
    spread = known
    for _ in range(30):
        spread = 0.1 * known + 0.9 * (mean @ spread)
    return {
        "labels": (spread.argmax(1) == graph.y)[test].mean(),
        "features": regression(graph.x),
        "both": regression(np.concatenate([graph.x, mean @ graph.x], axis=1)),
    }


def test_planted_arxiv_labels_and_features_each_tell_too_little(arxiv_scores):
    assert 0.4 < arxiv_scores["labels"] < 0.6
    assert 0.4 < arxiv_scores["features"] < 0.6
    assert arxiv_scores["both"] > arxiv_scores["features"] + 0.04
    assert arxiv_scores["both"] > arxiv_scores["labels"] + 0.04


@pytest.fixture(scope="module")
def proteins():
    return planted_graph("ogbn-proteins", scale=0.006)


def neighbours_tell(graph, weight):
    """The score of test labels by the training labels around, as weighted sums over edges."""
    from sklearn.metrics import roc_auc_score

    source, target = graph.both_directions()
    base = graph.y[graph.parts["train"]].mean(0)
    known = np.tile(base, (graph.num_nodes, 1))
    known[graph.parts["train"]] = graph.y[graph.parts["train"]]
    total = np.zeros_like(known)
    np.add.at(total, target, weight[:, None] * known[source])
    whole = np.maximum(np.bincount(target, weight, graph.num_nodes), 1e-9)
    test = graph.parts["test"]
    return roc_auc_score(graph.y[test], (total / whole[:, None])[test])


def test_planted_proteins_strong_edges_tell_the_functions(proteins):
    strong = np.repeat(proteins.edge_attr.mean(1), 2)
    alike = neighbours_tell(proteins, np.ones_like(strong))
    assert 0.65 < alike < 0.85
    assert neighbours_tell(proteins, strong**4) > alike + 0.04


def test_planted_proteins_sums_over_edges_tell_whom_to_leave_out(proteins):
    source, target = proteins.both_directions()
    found_together = np.repeat(proteins.edge_attr[:, -1], 2)
    degree = np.bincount(target, minlength=proteins.num_nodes)
    mean = np.bincount(target, found_together, proteins.num_nodes) / np.maximum(degree, 1)
    sticky = mean > 0.8
    assert 0.2 < sticky.mean() < 0.4
    alike = neighbours_tell(proteins, np.ones(len(source)))
    assert neighbours_tell(proteins, np.where(sticky[source], 0.0, 1.0)) > alike + 0.04


def read_with_ogb(name, root, monkeypatch, meta_dict=None):
    # Whether there is a newer ogb is not asked of the network.
    monkeypatch.setenv("OUTDATED_IGNORE", "1")
    pytest.importorskip("ogb", reason="needs ogb (extra 'ogb')")
    from ogb.nodeproppred import PygNodePropPredDataset
    from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
    from torch_geometric.data.storage import GlobalStorage

    def refuse(prompt=""):
        raise AssertionError(f"ogb asked: {prompt}")

    monkeypatch.setattr(builtins, "input", refuse)
    needed = [DataEdgeAttr, DataTensorAttr, GlobalStorage]
    if meta_dict is not None:
        # In its binary format ogb keeps the number of nodes as a number of numpy.
        needed += [np._core.multiarray.scalar, np.dtype, np.dtypes.Int64DType]
    with torch.serialization.safe_globals(needed):
        dataset = PygNodePropPredDataset(name, str(root), meta_dict=meta_dict)
        return dataset[0], dataset.get_idx_split()


def meta_dict_of(folder):
    facts = tomllib.loads((folder / "replica.toml").read_text())
    return facts["meta_dict"] | {"dir_path": str(folder)}


@pytest.mark.parametrize("format", ["csv", "binary"])
@pytest.mark.parametrize("name", NAMES[:3])
def test_write_replica_is_read_by_ogb(graphs, name, format, tmp_path, monkeypatch):
    graph = graphs[name]
    folder = write_replica(name, tmp_path, scale=SCALES[name], format=format)
    assert folder == tmp_path / name.replace("-", "_")
    meta_dict = meta_dict_of(folder) if format == "binary" else None
    data, split = read_with_ogb(name, tmp_path, monkeypatch, meta_dict)
    edges = graph.edge_index if graph.facts.directed else graph.both_directions()
    assert data.edge_index.dtype == torch.int64
    np.testing.assert_array_equal(data.edge_index, edges)
    assert data.y.dtype == torch.int64
    np.testing.assert_array_equal(data.y, graph.y.reshape(graph.num_nodes, -1))
    assert int(data.num_nodes) == graph.num_nodes
    if graph.x is not None:
        assert data.x.dtype == torch.float32
        np.testing.assert_array_equal(data.x, graph.x)
    if graph.edge_attr is not None:
        np.testing.assert_array_equal(data.edge_attr, np.repeat(graph.edge_attr, 2, axis=0))
    for part, nodes in split.items():
        np.testing.assert_array_equal(nodes, graph.parts[part])
    if format == "csv":
        for column, values in graph.columns.items():
            np.testing.assert_array_equal(data[column], values[:, None])


@pytest.mark.parametrize("format", ["csv", "binary"])
def test_write_replica_of_mag_is_read_by_ogb(format, tmp_path, monkeypatch):
    made = planted_mag(scale=0.001)
    folder = write_replica("ogbn-mag", tmp_path, scale=0.001, format=format)
    meta_dict = meta_dict_of(folder) if format == "binary" else None
    data, split = read_with_ogb("ogbn-mag", tmp_path, monkeypatch, meta_dict)
    counts = {kind: int(count) for kind, count in data.num_nodes_dict.items()}
    assert counts == made.num_nodes
    assert set(data.edge_index_dict) == set(made.edges)
    for number, (triplet, edges) in enumerate(made.edges.items()):
        np.testing.assert_array_equal(data.edge_index_dict[triplet], edges)
        assert (data.edge_reltype[triplet] == number).all()
    np.testing.assert_array_equal(data.x_dict["paper"], made.papers.x)
    np.testing.assert_array_equal(data.y_dict["paper"][:, 0], made.papers.y)
    np.testing.assert_array_equal(data.node_year["paper"][:, 0], made.papers.columns["node_year"])
    for part, nodes in made.papers.parts.items():
        np.testing.assert_array_equal(split[part]["paper"], nodes)


def test_planted_mag_relations_join_their_kinds_and_keep_to_classes():
    made = planted_mag(scale=0.002)
    assert set(made.num_nodes) == {"author", "field_of_study", "institution", "paper"}
    assert len(made.edges) == 4
    for (source, _, target), edges in made.edges.items():
        assert edges[0].max() < made.num_nodes[source]
        assert edges[1].max() < made.num_nodes[target]
        assert np.unique(edges, axis=1).shape == edges.shape
    writer, paper = made.edges[("author", "writes", "paper")]
    order = np.lexsort((paper, writer))
    writer, y = writer[order], made.papers.y[paper[order]]
    one_author = writer[1:] == writer[:-1]
    # Two papers of one author share a class far more often than any two.
    assert (y[1:] == y[:-1])[one_author].mean() > 0.25
    assert ((np.bincount(y) / len(y)) ** 2).sum() < 0.1


@pytest.mark.parametrize("name", NAMES)
def test_write_replica_notes_its_facts(name, tmp_path):
    folder = write_replica(name, tmp_path, scale=1e-3, seed=5)
    facts = tomllib.loads((folder / "replica.toml").read_text())
    graph = planted_graph(name, scale=1e-3, seed=5)
    expected = {"dataset": name, "scale": 1e-3, "seed": 5, "format": "csv"}
    expected |= {"nodes": graph.num_nodes, "edges": graph.num_edges, "planted": graph.planted}
    assert facts.items() >= expected.items()
    assert (folder / f"RELEASE_v{graph.facts.version}.txt").is_file()
    assert "not the real data" in (folder / "README.md").read_text()
    assert (folder / "split" / facts["split"]).is_dir()
    names = sorted((folder / "mapping").glob("*.csv.gz"))
    assert len(names) >= 2
    for path in names:
        assert "idx," in gzip.decompress(path.read_bytes()).decode().splitlines()[0]


def test_meta_dict_agrees_with_the_table_in_ogb(tmp_path):
    pd = pytest.importorskip("pandas", reason="needs pandas")
    ogb = pytest.importorskip("ogb", reason="needs ogb (extra 'ogb')")
    from pathlib import Path

    from gat.data.synthetic.facts import meta_of

    path = Path(ogb.__file__).parent / "nodeproppred" / "master.csv"
    table = pd.read_csv(path, index_col=0, keep_default_na=False)
    for name in NAMES:
        ours = meta_of(name, PUBLISHED[name], binary=False)
        assert ours.pop("url") == ""
        assert {key: table[name][key] for key in ours} == ours


def test_write_replica_never_replaces_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    folder = write_replica("ogbn-arxiv", tmp_path, scale=0.001)
    with pytest.raises(InputError, match=r"ogbn_arxiv exists already.*delete it or choose"):
        write_replica("ogbn-arxiv", tmp_path, scale=0.001)
    assert [path.name for path in tmp_path.iterdir()] == ["ogbn_arxiv"]

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(synthetic.replica.mapping, "write", full)
    with pytest.raises(OSError, match="disk full"):
        write_replica("ogbn-products", tmp_path, scale=0.0001)
    assert list(tmp_path.iterdir()) == [folder]


def test_write_replica_beside_another_process_that_was_quicker(tmp_path, monkeypatch):
    write = synthetic.replica.mapping.write

    def slower(folder, graph):
        write(folder, graph)
        (tmp_path / "ogbn_arxiv" / "raw").mkdir(parents=True)

    monkeypatch.setattr(synthetic.replica.mapping, "write", slower)
    with pytest.raises(InputError, match="ogbn_arxiv exists already"):
        write_replica("ogbn-arxiv", tmp_path, scale=0.001)
    assert [path.name for path in tmp_path.iterdir()] == ["ogbn_arxiv"]


def test_write_replica_does_not_write_through_a_link_to_nowhere(tmp_path):
    (tmp_path / "ogbn_arxiv").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match="ogbn_arxiv exists already"):
        write_replica("ogbn-arxiv", tmp_path, scale=0.001)


def test_write_replica_knows_the_home_folder_as_load_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert write_replica("ogbn-arxiv", "~/data", scale=0.001) == tmp_path / "data" / "ogbn_arxiv"


def test_write_replica_takes_numbers_of_numpy(tmp_path):
    planted = replace(DEFAULTS["ogbn-arxiv"], same=np.float64(0.25))
    folder = write_replica(
        "ogbn-arxiv", tmp_path, scale=np.float32(0.001), seed=np.int64(5), planted=planted
    )
    facts = tomllib.loads((folder / "replica.toml").read_text())
    assert (facts["seed"], facts["planted"]["same"]) == (5, 0.25)


def test_write_replica_writes_the_same_bytes_again(tmp_path):
    one, two = (write_replica("ogbn-mag", tmp_path / at, scale=0.0005) for at in "ab")
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert len(files) > 20
    for file in files:
        assert (one / file).read_bytes() == (two / file).read_bytes(), file


@pytest.mark.parametrize(
    ("values", "text"),
    [
        pytest.param([[0, -1], [10, 123456]], "0,-1\n10,123456\n", id="integers"),
        pytest.param([[-(2**40), 2**62]], "-1099511627776,4611686018427387904\n", id="int64"),
        pytest.param([7, 0], "7\n0\n", id="a column"),
        pytest.param([[0.0, -1.5, 10.25]], "0.000000,-1.500000,10.250000\n", id="floats"),
        pytest.param([[-123.4567894, 1e-9]], "-123.456789,0.000000\n", id="rounded"),
        pytest.param(np.zeros((0, 3)), "", id="no rows"),
    ],
)
def test_write_numbers(values, text, tmp_path):
    write_numbers(tmp_path / "new" / "a.csv.gz", np.array(values))
    assert gzip.decompress((tmp_path / "new" / "a.csv.gz").read_bytes()).decode() == text


def test_write_numbers_in_blocks_reads_back(tmp_path, monkeypatch):
    from gat.data.synthetic import tables

    monkeypatch.setattr(tables, "CELLS", 50)
    values = np.random.default_rng(0).standard_normal((101, 7)).astype(np.float32) * 30
    write_numbers(tmp_path / "a.csv.gz", values)
    with gzip.open(tmp_path / "a.csv.gz") as stream:
        np.testing.assert_allclose(np.loadtxt(stream, delimiter=","), values, atol=5.1e-7)
    with pytest.raises(TypeError, match="numbers is written, got dtype"):
        write_numbers(tmp_path / "b.csv.gz", np.array(["a"]))


def test_write_ppi_is_read_as_ppi(tmp_path):
    folder = write_ppi(tmp_path, scale=0.02)
    assert folder == tmp_path / "PPI"
    facts = tomllib.loads((folder / "replica.toml").read_text())
    small = card("ppi").model_copy(
        update={"counts": card("ppi").counts.model_copy(update={"nodes": facts["nodes"]})}
    )
    task = load_card(small, tmp_path, download=False)
    assert (len(task.graphs), task.num_nodes, task.num_classes) == (24, facts["nodes"], 121)
    assert task.num_edges == 2 * facts["edges"]
    assert [int(graph.train_mask.any()) for graph in task.graphs] == [1] * 20 + [0] * 4
    for graph in task.graphs:
        degrees = graph.edge_index[1].bincount(minlength=graph.num_nodes)
        assert degrees.min() >= 1
        assert degrees.max() > 1.5 * degrees.float().mean()
    with pytest.raises(InputError, match="PPI exists already"):
        write_ppi(tmp_path)
