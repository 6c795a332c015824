"""`gat datasets`, `gat reproduce` and `gat results`, in process, on a shelf of their own."""

from contextlib import contextmanager

import pytest

from gat.cli import main
from gat.train import experiment as room

KARATE = """
title = "GAT on the karate club"
dataset = "karate"
seeds = 2
notes = "Nobody has published it."
[config]
epochs = 2
"""


@pytest.fixture
def shelf(monkeypatch, tmp_path):
    folder = tmp_path / "experiments"
    (folder / "karate").mkdir(parents=True)
    (folder / "karate" / "gat.toml").write_text(KARATE)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(room, "shelf", lambda name: folder)
    return folder


def test_datasets_lists_every_card(capsys):
    assert main(["datasets"]) == 0
    said = capsys.readouterr().out
    assert "karate" in said
    assert "2,708" in next(line for line in said.splitlines() if line.startswith("cora "))


def test_datasets_lists_examples_under_a_header_of_their_own(capsys):
    assert main(["datasets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    header = lines.index("")
    columns = "name what task train/val/test metric files"
    assert lines[header + 1].split() == columns.split()
    below = {line.split()[0]: line for line in lines[header + 2 :]}
    names = {"dates", "numbers", "recall", "documents", "digit-images", "digit-rows"}
    assert set(below) == names
    assert "translation  " in below["dates"]
    assert "2000/500/1000  " in below["dates"]
    assert below["dates"].endswith("sequence-accuracy  none needed")


def test_datasets_shows_the_options_of_a_card_of_examples(capsys):
    assert main(["datasets", "recall"]) == 0
    said = capsys.readouterr().out
    lines = {tuple(line.split(maxsplit=2)[:2]): line for line in said.splitlines()}
    assert lines["option:", "length"].split() == ["option:", "length", "100"]
    assert "files" in said
    assert "graphs" not in said


def test_datasets_shows_one_card(capsys):
    assert main(["datasets", "Cora"]) == 0
    said = capsys.readouterr().out
    assert "ICML 2016" in said
    assert "ind.cora.graph" in said


def test_reproduce_without_a_name_lists_the_experiments(capsys, shelf):
    assert main(["reproduce"]) == 0
    assert "karate/gat" in capsys.readouterr().out


def test_reproduce_of_an_unknown_experiment(capsys, shelf):
    assert main(["reproduce", "karate/gatt"]) == 2
    assert "did you mean karate/gat?" in capsys.readouterr().err


def test_reproduce_prints_seeds_mean_and_that_there_is_no_row(capsys, shelf):
    assert main(["reproduce", "karate/gat", "--seeds", "2"]) == 0
    said = capsys.readouterr().out
    assert "seed 0, split 0: test " in said
    assert "mean of 2 runs" in said
    assert "there is no published row for karate/gat; Nobody has published it." in said
    assert main(["reproduce", "karate/gat", "--seeds", "2"]) == 0
    assert capsys.readouterr().out.count("(kept from before)") == 2


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_the_live_line_of_reproduce_counts_seeds(monkeypatch, shelf, jobs):
    shown = []

    @contextmanager
    def recorded(text):
        shown.append(text)
        yield shown.append

    monkeypatch.setattr("gat.cli.reproduce.live_line", recorded)
    assert main(["reproduce", "karate/gat", "--jobs", jobs]) == 0
    assert [text for text in shown if "epoch" not in text] == [
        f"karate/gat: {done} of 2 seeds" for done in (0, 1, 2)
    ]
    epochs = [text for text in shown if text.startswith("karate/gat: 1 of 2 seeds, next: epoch ")]
    assert bool(epochs) == (jobs == "1")


def test_reproduce_sets_the_published_row_and_its_source_beside_ours(capsys, shelf):
    published = """
[published]
value = 50.0
std = 50.0
metric = "test accuracy"
method = "GAT"
table = "Table 9"
paper = "Nobody, Nothing, 1999"
url = "https://example.org/nothing"
protocol = "none"
"""
    (shelf / "karate" / "gat.toml").write_text(KARATE.replace("[config]", published + "[config]"))
    assert main(["reproduce", "karate/gat", "--seeds", "1"]) == 0
    said = capsys.readouterr().out
    assert "50.0 ± 50.0" in said
    assert "Nobody, Nothing, 1999, Table 9: GAT; none" in said
    assert "lies inside the band 50.0 ± 50.0 (https://example.org/nothing)" in said


def test_results_without_any_says_how_to_get_them(capsys, shelf):
    assert main(["results"]) == 2
    assert "holds no results; run gat reproduce EXPERIMENT first" in capsys.readouterr().err


def test_results_writes_the_page_and_renews_the_readme(capsys, shelf):
    readme = shelf.parent / "README.md"
    readme.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    assert main(["reproduce", "karate/gat"]) == 0
    assert main(["results", "--check"]) == 2
    assert "is out of date; run gat results" in capsys.readouterr().err
    assert main(["results"]) == 0
    assert "| karate/gat | accuracy | 2 |" in (shelf / "RESULTS.md").read_text()
    text = readme.read_text()
    assert text.startswith("before\n<!-- results -->\n| experiment |")
    assert text.endswith("|\n<!-- /results -->\nafter\n")
    assert "old" not in text
    assert main(["results", "--check"]) == 0


def test_results_of_examples_have_a_place_of_their_own_in_the_readme(capsys, shelf):
    recall = """
title = "SimpleRNN"
dataset = "recall"
seeds = 1
[config]
epochs = 1
[config.data.options]
train = 20
val = 10
test = 10
length = 3
[config.model]
name = "sequence-classifier"
cell = "rnn"
hidden_channels = 4
"""
    (shelf / "recall").mkdir()
    (shelf / "recall" / "rnn.toml").write_text(recall)
    assert main(["reproduce", "recall/rnn"]) == 0
    assert "there is no published row for recall/rnn\n" in capsys.readouterr().out
    marks = "<!-- {0} -->\n<!-- /{0} -->\n"
    readme = shelf.parent / "README.md"
    readme.write_text(marks.format("results"))
    assert main(["results"]) == 2
    assert "put the lines <!-- example-results --> and" in capsys.readouterr().err
    readme.write_text(marks.format("results") + marks.format("example-results"))
    assert main(["results"]) == 0
    before, after = readme.read_text().split("<!-- example-results -->\n")
    assert "recall" not in before
    assert "| recall/rnn | accuracy | 1 |" in after
    assert main(["results", "--check"]) == 0


@pytest.mark.parametrize("arguments", [["results"], ["results", "--check"]], ids=" ".join)
def test_results_wants_its_marks_in_the_readme(capsys, shelf, arguments):
    (shelf.parent / "README.md").write_text("no marks\n<!-- results -->\n")
    assert main(["reproduce", "karate/gat", "--seeds", "1"]) == 0
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "README.md has no place for the results; put the lines <!-- results --> and" in said


def test_results_of_another_folder_are_rendered_there_and_the_readme_is_left_alone(
    capsys, shelf, tmp_path
):
    readme = tmp_path / "README.md"
    readme.write_text("<!-- results -->\n<!-- /results -->\n")
    mine = str(tmp_path / "a" / "b")
    assert main(["reproduce", "karate/gat", "--seeds", "1", "--output", mine]) == 0
    assert main(["results", "--output", mine]) == 0
    assert (tmp_path / "a" / "b" / "RESULTS.md").is_file()
    assert readme.read_text() == "<!-- results -->\n<!-- /results -->\n"


def test_results_leaves_out_seeds_of_another_configuration_and_says_so(capsys, shelf):
    assert main(["reproduce", "karate/gat"]) == 0
    (shelf / "karate" / "gat.toml").write_text(KARATE.replace("epochs = 2", "epochs = 3"))
    assert main(["reproduce", "karate/gat", "--seeds", "1"]) == 0
    assert main(["results"]) == 0
    said = capsys.readouterr().err
    assert "1 result(s) of karate/gat are of another configuration and left out" in said
    assert "| karate/gat | accuracy | 1 |" in (shelf / "RESULTS.md").read_text()


def test_readme_and_results_are_what_the_stored_seeds_give():
    assert main(["results", "--check"]) == 0
