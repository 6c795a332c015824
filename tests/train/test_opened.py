"""open_run and newest_run: a finished run, ready to be looked into."""

import os

import pytest
import torch

from gat.errors import IndexRangeError, InputError
from gat.train import load_task, newest_run, open_run, train


@pytest.fixture
def run_dir(tmp_path, config):
    config = config.updated(**{"data.normalize_features": "row", "epochs": 3})
    train(config, tmp_path / "one")
    return tmp_path / "one"


def test_an_opened_run_predicts_what_it_was_scored_by(run_dir):
    run = open_run(run_dir)
    with torch.no_grad():
        predicted = run.model(run.x, run.edge_index).argmax(1)
    test = run.part("test")
    correct = (predicted[test] == run.labels[test]).double().mean()
    assert run.result.test == pytest.approx(float(correct))
    assert run.score() == pytest.approx(run.result.test)
    assert run.score("val") == pytest.approx(run.result.val)
    assert not run.model.training
    assert run.x.layout is torch.strided
    torch.testing.assert_close(run.x.sum(1), torch.ones(run.x.size(0)))
    assert torch.equal(run.edge_index, load_task(run.config.data).graphs[0].edge_index)
    assert run.path == run_dir


def test_a_graph_that_is_not_there(run_dir):
    with pytest.raises(IndexRangeError, match="graph is 1; digits has 1 graphs, counted from 0"):
        open_run(run_dir, graph=1)


def test_of_several_graphs_the_first_with_test_nodes_is_looked_at(
    tmp_path, config, toy_graphs, monkeypatch
):
    monkeypatch.setattr("gat.train.opened.load_task", lambda data: toy_graphs)
    monkeypatch.setattr("gat.train.trainer.load_task", lambda data: toy_graphs)
    train(config.updated(epochs=2), tmp_path / "run", task=toy_graphs)
    run = open_run(tmp_path / "run")
    assert run.number == 6
    assert run.labels is None
    assert open_run(tmp_path / "run", graph=2).graph is toy_graphs.graphs[2]


def test_the_newest_run_is_the_one_started_last(run_dir, config):
    parent = run_dir.parent
    train(config.updated(epochs=1), parent / "another")
    os.utime(parent / "another" / "config.toml", (1, 1))
    (parent / "no run").mkdir()
    assert newest_run(parent) == run_dir
    with pytest.raises(InputError, match=r"holds no run; train one first \(gat train cora\)"):
        newest_run(parent / "no run")
