"""OGB's rows: files that cite them, networks of published sizes, recipes that run to the end."""

import math

import pytest
import torch

from gat.data import card
from gat.train.experiment import experiment, experiments
from gat.train.replicas import replica_config, replica_root
from gat.train.reproducing import measured
from gat.train.session import build_model
from gat.train.trainer import load_task, train

NAMES = [name for name in experiments() if name.startswith("ogbn-")]
# As small as still has nodes of several classes in every part.
SCALES = {
    "ogbn-arxiv": 0.003,
    "ogbn-products": 0.0002,
    "ogbn-proteins": 0.002,
    "ogbn-mag": 0.001,
}
# Of OGB's leaderboards, of DGL's and PyG's examples, and of Table 1 of Brody et al. 2022.
PUBLISHED = {
    "ogbn-arxiv/gat": (71.54, 0.30),
    "ogbn-arxiv/gat-1-head": (71.59, 0.38),
    "ogbn-arxiv/gatv2": (71.87, 0.25),
    "ogbn-arxiv/gatv2-1-head": (71.78, 0.18),
    "ogbn-arxiv/gat-labels": (73.66, 0.11),
    "ogbn-arxiv/gat-label-reuse": (73.91, 0.12),
    "ogbn-arxiv/gat-correct-and-smooth": (73.95, 0.12),
    "ogbn-arxiv/gat-self-distillation": (74.16, 0.08),
    "ogbn-products/gat": (81.26, 0.18),
    "ogbn-products/gat-sampled": (79.45, 0.59),
    "ogbn-products/gat-8-heads": (77.23, 2.37),
    "ogbn-products/gat-1-head": (79.04, 1.54),
    "ogbn-products/gatv2": (78.46, 2.45),
    "ogbn-products/gatv2-1-head": (80.63, 0.70),
    "ogbn-proteins/gat": (87.47, 0.16),
    "ogbn-proteins/gat-labels": (87.65, 0.08),
    "ogbn-proteins/gat-8-heads": (78.63, 1.62),
    "ogbn-proteins/gat-1-head": (70.77, 5.79),
    "ogbn-proteins/gatv2": (79.52, 0.55),
    "ogbn-proteins/gatv2-1-head": (77.23, 3.32),
    "ogbn-mag/gat": (31.75, 1.60),
    "ogbn-mag/gat-1-head": (32.20, 1.46),
    "ogbn-mag/gatv2": (32.52, 0.39),
    "ogbn-mag/gatv2-1-head": (32.61, 0.44),
}
# What OGB's leaderboard and DGL's README count, less what differs: a second bias in each layer of
# PyG's example (512 + 512 + 47 of 751,574); in DGL's others, an unused linear layer of products
# (12,120), and scores that are linear maps of a layer's input rather than of its projection.
SIZES = {
    "ogbn-arxiv/gat-labels": 1_441_580,
    "ogbn-arxiv/gat-label-reuse": 1_441_580,
    "ogbn-arxiv/gat-correct-and-smooth": 1_441_580,
    "ogbn-arxiv/gat-self-distillation": 1_441_580,
    "ogbn-products/gat-sampled": 751_574 - (512 + 512 + 47),
    "ogbn-products/gat": 1_065_127 - 12_120 - (800 + 2 * 3_840) + 3 * 960,
    "ogbn-proteins/gat": 2_475_232
    - (960 + 5 * 5_760 + 6 * 96)
    + 6 * (960 + 16 * 480 + 480),
}  # fmt: skip


@pytest.fixture(scope="module")
def replicas(tmp_path_factory):
    place = tmp_path_factory.mktemp("replicas")
    return lambda dataset: str(replica_root(dataset, SCALES[dataset], cache=place))


def network(name: str) -> torch.nn.Module:
    """The experiment's network at the sizes of the real data, without memory for its weights."""
    entry = experiment(name)
    facts, config = card(entry.dataset), entry.config
    proteins = entry.dataset == "ogbn-proteins"
    features = 8 if proteins else facts.counts.features
    features += facts.counts.classes if config.labels.inputs else 0
    edges = 8 if proteins and config.data.edge_features else None
    with torch.device("meta"):
        return build_model(config.model, features, facts.counts.classes, edges)


def test_every_row_has_its_experiment():
    rows = {name: experiment(name).published for name in NAMES}
    assert {name: (row.value, row.std) for name, row in rows.items()} == PUBLISHED


@pytest.mark.parametrize("name", NAMES)
def test_experiments_say_where_they_are_from_and_where_they_differ(name):
    entry = experiment(name)
    assert "Ours differs" in entry.notes
    assert entry.published.url.startswith("https://")
    assert entry.seeds == 10


@pytest.mark.parametrize("name", NAMES)
def test_networks_of_the_real_sizes_can_be_built(name):
    model = network(name)
    size = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert size == SIZES.get(name, size)
    layers = experiment(name).config.model.num_layers
    assert len(model.stages()) == layers


@pytest.mark.parametrize("name", NAMES)
def test_recipes_run_from_raw_files_to_ogbs_score(name, replicas):
    entry = experiment(name)
    config = replica_config(entry, SCALES[entry.dataset], seed=0, epochs=1)
    data = config.updated(**{"data.root": replicas(entry.dataset), "data.download": False}).data
    task = load_task(data)
    assert task.name == f"{entry.dataset} (replica {SCALES[entry.dataset]:g})"
    found = measured(name, config, task)
    assert found["epochs"] == found["best_epoch"] == 1
    assert found["metric"] == card(entry.dataset).metric
    assert all(0 <= found[part] <= 1 for part in ("train", "val", "test"))
    assert not math.isnan(found["test"])


def test_tricks_are_added_one_by_one():
    labels = experiment("ogbn-arxiv/gat-labels").config
    reuse = experiment("ogbn-arxiv/gat-label-reuse").config
    changes = {"labels.reuse": 1, "model.edge_dropout": 0.3, "model.input_dropout": 0.25}
    assert reuse == labels.updated(**changes)
    smoothed = experiment("ogbn-arxiv/gat-correct-and-smooth").config
    assert smoothed.correct_and_smooth.correction_layers == 0
    assert reuse == smoothed.updated(correct_and_smooth=reuse.correct_and_smooth)
    student = experiment("ogbn-arxiv/gat-self-distillation").config
    assert (student.distillation.alpha, student.distillation.temperature) == (0.95, 0.7)
    assert reuse == student.updated(distillation=reuse.distillation)


@pytest.mark.parametrize("dataset", SCALES)
@pytest.mark.parametrize("heads", [1, 8])
def test_gatv2_differs_from_gat_in_the_attention_only(dataset, heads):
    eight = "gat" if dataset in ("ogbn-arxiv", "ogbn-mag") else "gat-8-heads"
    one = experiment(f"{dataset}/{eight if heads == 8 else 'gat-1-head'}").config
    two = experiment(f"{dataset}/{'gatv2' if heads == 8 else 'gatv2-1-head'}").config
    assert one.model.heads == two.model.heads == heads
    changes = {"model.attention": "gatv2", "model.share_weights": True}
    # DGL's own GATConv has a bias, the paper's GATv2 none.
    changes |= {"model.bias": False} if dataset == "ogbn-proteins" else {}
    assert two == one.updated(**changes)


def test_features_of_edges_can_be_left_out_of_the_scores(replicas):
    entry = experiment("ogbn-proteins/gat-1-head")
    config = replica_config(entry, SCALES[entry.dataset], seed=0, epochs=1)
    given = load_task(
        config.updated(**{"data.root": replicas(entry.dataset), "data.edge_features": True}).data
    )
    without = load_task(config.updated(**{"data.root": replicas(entry.dataset)}).data)
    assert (given.edge_dim, without.edge_dim) == (8, None)
    # A node's features, the sums of those of its edges, stay.
    assert torch.equal(given.graphs[0].x, without.graphs[0].x)
    one, two = (train(config, task=task) for task in (given, without))
    assert one.test == two.test
