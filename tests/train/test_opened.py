"""open_run and newest_run: a finished run, ready to be looked into."""

import dataclasses
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
    monkeypatch.setattr("gat.train.trainer.load_task", lambda data: toy_graphs)
    train(config.updated(epochs=2), tmp_path / "run", task=toy_graphs)
    run = open_run(tmp_path / "run")
    assert run.number == 6
    assert run.name == f"{toy_graphs.name}, graph 6 (of {len(toy_graphs.graphs)}, from 0)"
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


@pytest.fixture
def opened(run_dir):
    """The run, with edges of its own: 40 enter node 1, 3 node 2, 1 node 3, 4 node 4, one of them
    from node 1, and itself node 0."""
    run = open_run(run_dir)
    target = torch.tensor([1] * 40 + [2] * 3 + [3] + [4] * 4 + [0] * 9)
    source = torch.cat([torch.arange(100, 147), torch.tensor([1]), torch.zeros(9).long()])
    graph = dataclasses.replace(run.graph, test_mask=torch.zeros_like(run.graph.test_mask))
    return dataclasses.replace(run, edge_index=torch.stack([source, target]), graph=graph)


def with_test(run, *nodes):
    run.graph.test_mask[list(nodes)] = True
    return run


def test_the_example_fits_a_picture_where_one_does(opened):
    # Node 4 has more edges, but one of them leads to forty.
    assert opened.example() == 2
    assert opened.example(readable=40) == 1
    # Only test nodes, if there are any; the least large, where all are too large.
    assert with_test(opened, 0, 3).example() == 3
    assert with_test(opened, 1, 2).example(readable=2) == 3
    opened.graph.test_mask[:] = False
    assert with_test(opened, 1, 2).example(readable=2) == 2


def test_a_sample_is_of_nodes_with_neighbours_and_the_same_every_time(opened):
    with_test(opened, 0, 1, 2, 3, 4)
    assert sorted(opened.sample("test", 10).tolist()) == [1, 2, 3, 4]
    assert torch.equal(opened.sample("test", 2), opened.sample("test", 10)[:2])
    assert opened.sample("test", 0).tolist() == []


def test_a_node_is_found_by_name_before_number(opened):
    assert opened.node("7") == 7
    names = ("7", *(f"n{k}" for k in range(1, opened.x.size(0))))
    named = dataclasses.replace(opened, graph=dataclasses.replace(opened.graph, node_ids=names))
    assert [named.node(text) for text in ("7", "n3", "5")] == [0, 3, 5]
    with pytest.raises(InputError, match=r"or a node's name, such as '7'"):
        named.node("nobody")


@pytest.mark.parametrize("options", [{}, {"num_layers": 1}, {"linear_output": True}])
def test_the_features_that_enter_a_layer(tmp_path, config, options):
    config = config.updated(epochs=1, **{f"model.{name}": one for name, one in options.items()})
    train(config, tmp_path / "run")
    run = open_run(tmp_path / "run")
    first = next(name for name, one in run.model.named_modules() if hasattr(one, "att_src"))
    assert torch.equal(run.entering(first), run.x)


def test_a_run_whose_edges_have_features_is_not_looked_into_without_them(
    tmp_path, config, toy, monkeypatch
):
    graph = toy.graphs[0]
    edges = torch.rand(graph.num_edges, 3)
    task = dataclasses.replace(toy, graphs=(dataclasses.replace(graph, edge_attr=edges),))
    train(config.updated(epochs=1), tmp_path, task=task)
    monkeypatch.setattr("gat.train.trainer.load_task", lambda _: task)
    with pytest.raises(InputError, match=r"the edges of toy have features, .*record_attention"):
        open_run(tmp_path)


def test_a_run_in_bfloat16_is_scored_in_it(tmp_path, config):
    seen = []
    train(config.updated(epochs=1, precision="bfloat16"), tmp_path)
    run = open_run(tmp_path)
    handle = run.model.register_forward_hook(
        lambda *_: seen.append(torch.is_autocast_enabled("cpu"))
    )
    assert run.score() == run.result.test
    handle.remove()
    assert seen == [True]
