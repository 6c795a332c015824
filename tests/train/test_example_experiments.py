"""Experiments on examples: sweeps, their results and tables, and the files of the checkout."""

from pathlib import Path

import pytest

from gat.data import card, cards
from gat.errors import InputError
from gat.train import ExamplesConfig
from gat.train import experiment as room
from gat.train.experiment import experiment, experiments, recipe_for
from gat.train.reproducing import reproduce
from gat.train.result_tables import example_tables, node_table, render
from gat.train.results import SeedResult, Summary, stored

RECALL = """
title = "SimpleRNN"
dataset = "recall"
seeds = 2
[sweep]
key = "data.options.length"
name = "t"
values = [2, 3]
[config]
epochs = 1
[config.data.options]
train = 40
val = 10
test = 10
[config.model]
name = "sequence-classifier"
cell = "rnn"
hidden_channels = 4
"""
KARATE = """
title = "GAT"
dataset = "karate"
[config]
epochs = 1
"""


@pytest.fixture
def shelf(monkeypatch, tmp_path) -> Path:
    folder = tmp_path / "experiments"
    for name, text in (("recall/rnn", RECALL), ("karate/gat", KARATE)):
        (folder / name).parent.mkdir(parents=True)
        (folder / f"{name}.toml").write_text(text)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(room, "shelf", lambda name: folder)
    return folder


def test_a_sweep_is_an_experiment_for_each_value(shelf):
    found = experiments()
    assert list(found) == ["karate/gat", "recall/rnn-t2", "recall/rnn-t3"]
    assert [found[f"recall/rnn-t{t}"].config.data.options["length"] for t in (2, 3)] == [2, 3]
    assert found["recall/rnn-t2"].swept == ("t", "2")
    assert experiment("recall/rnn-t3") == found["recall/rnn-t3"]
    assert found["karate/gat"].of_nodes
    assert not found["recall/rnn-t2"].of_nodes


def test_the_name_of_a_swept_file_lists_its_experiments(shelf):
    with pytest.raises(InputError, match=r"recall/rnn is swept; name one of recall/rnn-t2, recall"):
        experiment("recall/rnn")


def test_recipe_for_takes_an_experiments_name(shelf):
    assert recipe_for("recall/rnn-t2").data.options["length"] == 2
    with pytest.raises(InputError, match="there is no experiment 'recall/rn'"):
        recipe_for("recall/rn")


def test_reproduce_stores_each_seed_with_its_options_and_keeps_it(shelf):
    summary = reproduce("recall/rnn-t2")
    assert [one.seed for one in summary.results] == [0, 1]
    kept = []
    again = reproduce("recall/rnn-t2", on_seed=lambda result, found: kept.append(found))
    assert kept == [True, True]
    assert again == summary
    result = SeedResult.read(shelf / "results" / "recall" / "rnn-t2", 1)
    assert result.config["data"]["options"]["length"] == 2
    assert result.stands_for(experiment("recall/rnn-t2").config.updated(seed=1), result.versions)
    other = experiment("recall/rnn-t3").config.updated(seed=1)
    assert not result.stands_for(other, result.versions)
    assert list(stored(shelf / "results")) == ["recall/rnn-t2"]


def summary(name: str, *tests: float, **measures: float) -> Summary:
    results = [
        SeedResult(
            name, seed, 0, "accuracy", 1.0, 1.0, test, 1, 1, 1.0, {"data": {}}, {}, {},
            measures=measures,
        )
        for seed, test in enumerate(tests)
    ]  # fmt: skip
    return Summary(name, tuple(results))


def test_tables_have_a_line_for_a_sweep_and_keep_nodes_apart(shelf):
    found = experiments()
    rows = [
        (found["karate/gat"], summary("karate/gat", 0.5)),
        (found["recall/rnn-t2"], summary("recall/rnn-t2", 1.0, 0.5)),
        (found["recall/rnn-t3"], summary("recall/rnn-t3", 0.25)),
    ]
    assert "| karate/gat | accuracy | 1 | 50.00 | none | no published row |" in node_table(rows)
    assert "recall" not in node_table(rows)
    assert example_tables(rows).splitlines() == [
        "| accuracy, 1–2 runs | t = 2 | t = 3 |",
        "|---|---|---|",
        "| recall/rnn | 75.00 ± 35.36 | 25.00 |",
    ]
    page = render(rows)
    assert example_tables(rows) in page
    assert node_table(rows) in page


def test_measures_are_shown_shares_in_per_cent(shelf):
    entry = experiment("recall/rnn-t2").model_copy(update={"swept": None})
    given = summary("recall/rnn-t2", 0.5, 0.7, beam_accuracy=0.625, longest_source=17)
    line = example_tables([(entry, given)]).splitlines()[-1]
    shown = "beam accuracy 62.5, longest source 17"
    assert line == f"| recall/rnn-t2 | accuracy | 2 | 60.00 ± 14.14 | {shown} |"
    assert f"Besides, on the test part: {shown}." in render([(entry, given)])


def test_every_data_set_of_examples_has_a_recipe_that_is_an_experiment():
    made = [one.name for one in cards().values() if one.task != "node classification"]
    assert len(made) == 6
    for name in made:
        assert card(name).recipe is not None, name
        recipe = recipe_for(name)
        assert isinstance(recipe, ExamplesConfig), name
        assert recipe.data.name == name


def test_translations_are_tried_with_every_attention():
    attentions = {"bahdanau", "normed-bahdanau", "luong-dot", "luong-general", "luong-concat"}
    attentions |= {"scaled-luong", "monotonic", "local", "none", "transformer"}
    for data, more in (("dates", {"monotonic-10000"}), ("numbers", set())):
        names = {name.split("/")[1] for name in experiments() if name.startswith(f"{data}/")}
        assert names == attentions | more
        sizes = {
            (entry.config.model.hidden_channels, entry.config.model.embedding_channels)
            for name, entry in experiments().items()
            if name.startswith(f"{data}/") and entry.config.model.name == "seq2seq"
        }
        # Networks of one size, or none would tell what attention does.
        assert len(sizes) == 1
