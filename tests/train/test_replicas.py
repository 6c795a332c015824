"""Experiments on replicas: written once, run with scaled batches, kept apart from real results."""

import json
import re

import pytest

from gat.errors import CorruptDataError, InputError
from gat.train import replicas as room
from gat.train.experiment import experiment
from gat.train.replicas import (
    ReplicaResult,
    current_replicas,
    on_replica,
    planted_baselines,
    render_replicas,
    replica_config,
    replica_root,
    stored_replicas,
)
from gat.train.results import SeedResult
from gat.train.simple_baselines import label_propagation, mlp
from gat.train.trainer import load_task

NAME = "ogbn-arxiv/gat-1-head"
BESIDE = {"MLP": 0.1, "logistic regression": 0.2, "label propagation": 0.3}


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """One epoch of one experiment on a small replica, beside baselines that take no time."""
    monkeypatch.setattr(room, "planted_baselines", lambda task: dict(BESIDE))

    def run(**options):
        where = {"output": tmp_path / "out", "cache": tmp_path / "cache"}
        return on_replica(NAME, 0.002, epochs=1, **where, **options)

    return run


def test_batches_are_scaled_with_the_graph_and_warm_up_ends_in_time():
    walks = replica_config(experiment("ogbn-arxiv/gat"), 0.01, seed=3)
    assert (walks.sampling.roots, walks.seed) == (200, 3)
    small = replica_config(experiment("ogbn-products/gat"), 0.001, seed=0)
    assert small.sampling.batch_size == room.SMALLEST_BATCH["batch"] == 256
    unnormalised = replica_config(experiment("ogbn-products/gat-sampled"), 0.001, seed=0)
    assert unnormalised.sampling.batch_size == room.SMALLEST_BATCH["none"] == 32
    whole = replica_config(experiment("ogbn-products/gat"), 1.0, seed=0)
    assert whole == experiment("ogbn-products/gat").config
    short = replica_config(experiment("ogbn-arxiv/gat-labels"), 0.01, seed=0, epochs=20)
    assert (short.epochs, short.schedule.warmup_epochs) == (20, 19)
    rare = replica_config(experiment("ogbn-products/gat"), 0.001, seed=0, epochs=1)
    assert rare.evaluate_every == 1


def test_a_replica_is_written_once_for_each_scale(tmp_path):
    root = replica_root("ogbn-arxiv", 0.002, cache=tmp_path)
    fact = root / "ogbn_arxiv" / "replica.toml"
    written = fact.stat().st_mtime_ns
    assert replica_root("ogbn-arxiv", 0.002, cache=tmp_path) == root
    assert fact.stat().st_mtime_ns == written
    assert replica_root("ogbn-arxiv", 0.003, cache=tmp_path) != root
    with pytest.raises(InputError, match="cora"):
        replica_root("cora", 0.01, cache=tmp_path)


def test_results_are_kept_and_say_what_they_are_of(quick, tmp_path):
    seen = []
    first = quick(seeds=2, on_seed=lambda result, kept: seen.append((result.seed, kept)))
    again = quick(seeds=2, on_seed=lambda result, kept: seen.append((result.seed, kept)))
    assert seen == [(0, False), (1, False), (0, True), (1, True)]
    assert first.results == again.results
    facts = first.results[0].replica
    assert (facts["scale"], facts["nodes"]) == (0.002, 339)
    assert facts["planted"]["exponent"] > 2
    assert first.results[0].baselines == BESIDE
    # Of the user's machine nothing but what computes.
    text = (tmp_path / "out" / NAME / "seed-000.json").read_text()
    assert str(tmp_path) not in text


def test_another_scale_or_fresh_is_run_again(quick, tmp_path):
    kept = []
    quick()
    quick(fresh=True, on_seed=lambda result, was: kept.append(was))
    path = tmp_path / "out" / NAME / "seed-000.json"
    values = json.loads(path.read_text())
    values["replica"]["scale"] = 0.5
    path.write_text(json.dumps(values))
    quick(on_seed=lambda result, was: kept.append(was))
    assert kept == [False, False]


def test_a_result_on_a_replica_is_no_real_result(quick, tmp_path):
    quick()
    path = tmp_path / "out" / NAME / "seed-000.json"
    assert isinstance(ReplicaResult.load(path), ReplicaResult)
    with pytest.raises(CorruptDataError, match="replica"):
        SeedResult.load(path)


def test_impossible_counts_are_refused(tmp_path):
    with pytest.raises(InputError, match="seeds and epochs must be at least 1, got 0 and None"):
        on_replica(NAME, 0.002, seeds=0, output=tmp_path)
    with pytest.raises(InputError, match="got 1 and 0"):
        on_replica(NAME, 0.002, epochs=0, output=tmp_path)


@pytest.mark.parametrize(("dataset", "scale"), [("ogbn-proteins", 0.001), ("ogbn-mag", 0.0005)])
def test_baselines_are_scored_as_ogb_scores(tmp_path, dataset, scale):
    config = experiment(f"{dataset}/gat").config
    root = str(replica_root(dataset, scale, cache=tmp_path))
    task = load_task(config.updated(**{"data.root": root}).data)
    assert 0 < label_propagation(task) < 1
    assert 0 < mlp(task, epochs=10) < 1


def test_baselines_have_their_names(tmp_path):
    root = str(replica_root("ogbn-arxiv", 0.002, cache=tmp_path))
    config = experiment(NAME).config.updated(**{"data.root": root})
    found = planted_baselines(load_task(config.data))
    assert set(found) == set(BESIDE)


def test_the_page_says_who_is_above_whom(quick, tmp_path):
    quick()
    (results,) = stored_replicas(tmp_path / "out").values()
    entry = experiment(NAME)
    for test, word in ((0.31, "yes"), (0.3, "no")):
        changed = [ReplicaResult(**{**vars(results[0]), "test": test})]
        page = render_replicas([(entry, changed)])
        (line,) = re.findall(rf"^\| {NAME} .*$", page, flags=re.MULTILINE)
        assert line.endswith(f"| {100 * test:.2f} | 10.00 | 20.00 | 30.00 | {word} |")
        assert "| 0.002 | 339 |" in line
        assert "| 1 of 50 |" in line
    assert "not results on OGB's data sets" in page
    assert page.endswith("\n")


def test_results_of_another_recipe_are_left_out(quick, tmp_path):
    quick()
    (results,) = stored_replicas(tmp_path / "out").values()
    entry = experiment(NAME)
    assert current_replicas(entry, results) == results
    other = entry.model_copy(update={"config": entry.config.updated(**{"optimizer.lr": 0.5})})
    assert current_replicas(other, results) == []
