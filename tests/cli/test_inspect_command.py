"""`gat inspect`: what it prints and what it writes, on a small trained run."""

import importlib.util
import json
import re
from dataclasses import replace

import pytest
import torch

from gat.cli import main
from gat.inspection import load_attention
from gat.train import TrainConfig, train
from gat.train.trainer import evaluated

SMALL = {"hidden_channels": 4, "heads": 2}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder runs/ with one run on the digits."""
    folder = tmp_path_factory.mktemp("inspect")
    config = TrainConfig(epochs=15, model=SMALL, optimizer={"lr": 0.02}, device="cpu")
    train(config, folder / "runs" / "digits")
    return folder


@pytest.fixture(scope="module")
def files(runs):
    """A graph of one's own: 20 named nodes, node 0 called "3", the last without edges."""
    names = ["3", *(f"node {k}" for k in range(1, 19)), "alone"]
    rows = [f"{name},{k % 3},{k % 2},{'red' if k % 2 else 'green'}" for k, name in enumerate(names)]
    (runs / "nodes.csv").write_text("\n".join(["id,f,g,colour", *rows]) + "\n")
    pairs = [f"{names[k]},{names[(k * 5 + 1) % 19]}" for k in range(19)]
    (runs / "edges.csv").write_text("\n".join(["source,target", *pairs]) + "\n")
    return {
        "edges": str(runs / "edges.csv"),
        "nodes": str(runs / "nodes.csv"),
        "label": "colour",
    }


@pytest.fixture(scope="module")
def own(runs, files):
    """A run on it."""
    model = SMALL | {"add_self_loops": False}
    train(TrainConfig(epochs=2, data=files, model=model, device="cpu"), runs / "own")
    return runs / "own"


@pytest.fixture
def inspect(runs, monkeypatch, capsys):
    monkeypatch.chdir(runs)

    def inspect(*options):
        code = main(["inspect", *map(str, options)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return inspect


def test_the_newest_run_gets_a_verdict_for_each_head(inspect):
    code, out, _ = inspect()
    assert code == 0
    assert "runs/digits: digits, test accuracy" in out
    for layer, head in (("hidden.0.conv", 0), ("hidden.0.conv", 1), ("output", 0)):
        assert any(line.split()[:2] == [layer, str(head)] for line in out.splitlines())
    assert "attention of hidden.0.conv (GATConv, 2 heads), output (GATConv, 1 head)" in out


def test_a_node_is_looked_at(inspect):
    _, out, _ = inspect("--node", 42)
    assert "node 42 looks at (means over heads):" in out
    assert "42 (itself)" in out


def test_report_page_and_picture_are_written(inspect, tmp_path):
    options = ("--report", tmp_path / "r.md", "--png", tmp_path / "p.png")
    code, out, _ = inspect(*options, "--html", tmp_path / "h.html", "--faithfulness", 10)
    assert code == 0
    text = (tmp_path / "r.md").read_text()
    assert text.startswith("# What the attention of digits looks at")
    assert "With every weight made even, and nothing trained anew, test accuracy is" in text
    assert "10 nodes; 0 without a neighbour" in text
    data = json.loads((tmp_path / "r.json").read_text())
    assert len(data["verdicts"]) == 3
    linked = [line for line in text.splitlines() if line.startswith("![")]
    assert len(linked) == len(list((tmp_path / "r-pictures").glob("*.png"))) == 8
    for line in linked:
        path = tmp_path / line.rpartition("(")[2].rstrip(")")
        assert path.read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert "<!DOCTYPE html>" in (tmp_path / "h.html").read_text()[:200]
    assert "is looked at as an example; --node chooses another" in out
    # Asked for files, it does not repeat the report on the terminal.
    assert "verdict" not in out


def test_weights_are_saved(inspect, tmp_path):
    inspect("--save", tmp_path / "weights")
    attention = load_attention(tmp_path / "weights")
    assert list(attention) == ["hidden.0.conv", "output"]
    record = attention["output"]
    torch.testing.assert_close(record.sums, torch.ones_like(record.sums))


def test_layer_and_head_are_chosen(inspect, tmp_path):
    inspect("--html", tmp_path / "h.html", "--layer", "hidden.0.conv", "--head", 1, "--hops", 1)
    assert '"start": {"layer": 0, "head": 1}' in (tmp_path / "h.html").read_text()
    inspect("--png", tmp_path / "p.png", "--layer", "output")
    assert (tmp_path / "p.png").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--node", "9999"), "node is '9999'; expected a number in [0, 1797)"),
        (("--node", "x"), "node is 'x'; expected a number in [0, 1797)"),
        (("--layer", "conv9"), "--layer is 'conv9'; the run's layers are hidden.0.conv, output"),
        (("--node", "-1"), "node is '-1'; expected a number in [0, 1797)"),
        (("--head", "7"), "hidden.0.conv has no record of head 7"),
        (("--layer", "output", "--head", "1"), "output has no record of head 1"),
        (("--hops", "0"), "--hops is 0; expected 1 or more"),
        (("--hops", "-2"), "--hops is -2; expected 1 or more"),
        (("--faithfulness", "-5"), "--faithfulness is -5; expected 0 or more"),
        (("--png", "runs"), "runs is a folder; expected the name of a file, such as node.png"),
        (("--html", "runs"), "runs is a folder; expected the name of a file, such as page.html"),
        (("--report", "runs"), "runs is a folder; expected the name of a file, such as report.md"),
        (("--report", "no/such/r.md"), "there is no folder no/such; make it"),
        (("--pictures", "runs/digits/config.toml"), "config.toml is a file; expected the name of"),
        (("--graph", "3"), "graph is 3; digits has 1 graphs, counted from 0"),
        (("--head", "7", "--png", "p.png"), "no record of head 7"),
        (("--html", "no/such/folder/p.html"), "no/such/folder"),
        (("nowhere",), "nowhere holds no checkpoint; expected the folder of a run of gat train"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_bad_options_are_refused_in_words(inspect, options, said):
    code, _, err = inspect(*options)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


def test_without_a_run(inspect, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = inspect()
    assert code == 2
    assert "runs/ holds no run; train one first (gat train cora)" in err


def test_what_cannot_be_written_is_said_and_leaves_nothing(inspect, own, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    code, _, err = inspect(own, "--png", tmp_path / "p.png")
    assert code == 2
    assert f"could not write {tmp_path / 'p.png'}" in err
    assert "No space left on device" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "written"),
    [("r", "r.md"), ("r.json", "r.md"), ("r.markdown", "r.markdown"), ("my r.md", "my r.md")],
)
def test_a_report_has_its_json_beside_it(inspect, own, tmp_path, given, written):
    code, _, _ = inspect(own, "--report", tmp_path / given, "--faithfulness", 0)
    assert code == 0
    path = tmp_path / written
    assert {one.name for one in tmp_path.iterdir()} == {
        written,
        path.with_suffix(".json").name,
        f"{path.stem}-pictures",
    }
    assert "was not measured: it was not asked for (--faithfulness 0)." in path.read_text()
    links = [line for line in path.read_text().splitlines() if line.startswith("![")]
    assert len(links) == 7
    assert all(" " not in link.rpartition("](")[2] for link in links)


def test_a_png_is_one_whatever_its_name(inspect, own, tmp_path):
    for name in ("node", "node.xyz"):
        assert inspect(own, "--png", tmp_path / name)[0] == 0
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_pictures_of_the_report_go_where_they_are_asked_for(inspect, own, tmp_path):
    report, folder = tmp_path / "r.md", tmp_path / "p" / "q"
    inspect(own, "--report", report, "--pictures", folder, "--faithfulness", 0)
    assert not (tmp_path / "r-pictures").exists()
    assert "](p/q/embedding.png)" in (tmp_path / "r.md").read_text()
    assert (tmp_path / "p" / "q" / "embedding.png").exists()


def test_without_matplotlib_it_says_what_to_install(inspect, own, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "gat.inspection.pictures.style.find_spec",
        lambda name: None if name == "matplotlib" else found(name),
    )
    code, _, err = inspect(own, "--report", tmp_path / "r.md", "--faithfulness", 0)
    assert code == 2
    assert "pip install graph-attention[plot]" in err
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_be_measured_has_a_report_that_says_why(runs, files, inspect, tmp_path):
    model = SMALL | {"symmetric_norm": True}
    train(TrainConfig(epochs=1, data=files, model=model, device="cpu"), runs / "scaled")
    code, _, _ = inspect("scaled", "--report", tmp_path / "r.md", "--faithfulness", 2)
    assert code == 0
    text = (tmp_path / "r.md").read_text()
    assert "was not measured: the model's output at a node changes with edges that leave" in text


def test_a_small_graph_is_on_the_page_as_a_whole(inspect, own, tmp_path):
    code, out, _ = inspect(own, "--html", tmp_path / "h.html")
    assert code == 0
    assert "example" not in out
    assert "What each node looks at" in (tmp_path / "h.html").read_text()


def test_a_name_that_is_another_nodes_number_is_a_name(inspect, own):
    _, out, _ = inspect(own, "--node", "3")
    assert "3 (node 0) looks at (means over heads):" in out
    _, out, _ = inspect(own, "--node", "4")
    assert "node 4 (node 4) looks at" in out


def test_a_node_without_edges_has_nothing_to_look_at(inspect, own):
    _, out, _ = inspect(own, "--node", "alone")
    assert "alone (node 19): no edge enters it, so there is nothing to attend to" in out


def test_a_run_that_has_not_ended_is_called_so(inspect, own, monkeypatch):
    _, out, _ = inspect(own)
    assert "has not ended" not in out

    def unfinished(path):
        result, session = evaluated(path)
        return replace(result, stopped_by=""), session

    monkeypatch.setattr("gat.train.opened.evaluated", unfinished)
    _, out, _ = inspect(own)
    assert re.search(r"test accuracy .* %, of a run that has not ended", out)
