"""`gat inspect`: what it prints and what it writes, on a small trained run."""

import json

import pytest
import torch

from gat.cli import main
from gat.inspection import load_attention
from gat.train import TrainConfig, train


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder runs/ with one run on the digits."""
    folder = tmp_path_factory.mktemp("inspect")
    config = TrainConfig(
        epochs=15, model={"hidden_channels": 4, "heads": 2}, optimizer={"lr": 0.02}, device="cpu"
    )
    train(config, folder / "runs" / "digits")
    return folder


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
    assert "the test node with most neighbours up to 12; --node chooses another" in out
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
        (("--node", "9999"), "--node is '9999'; expected a number in [0, 1797)"),
        (("--node", "x"), "--node is 'x'; expected a number in [0, 1797)"),
        (("--layer", "conv9"), "--layer is 'conv9'; the run's layers are hidden.0.conv, output"),
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
