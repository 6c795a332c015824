"""`gat reproduce --replica` and the page of its results, in process, on a shelf of their own."""

import pytest

from gat.cli import main
from gat.shelf import shelf as real_shelf
from gat.train import experiment, replicas

BESIDE = {"MLP": 0.1, "logistic regression": 0.2, "label propagation": 0.3}
COMMAND = ["reproduce", "ogbn-mag/gat-1-head", "--replica", "0.0005", "--epochs", "1"]
KARATE = 'title = "GAT on the karate club"\ndataset = "karate"\nseeds = 1\n[config]\nepochs = 2\n'


@pytest.fixture
def shelf(monkeypatch, tmp_path):
    """A checkout with one experiment of OGB's and a quick real one; baselines take no time."""
    folder = tmp_path / "experiments"
    for name in ("ogbn-mag/gat-1-head", "karate/gat"):
        (folder / name).parent.mkdir(parents=True)
        there = real_shelf("experiments") / f"{name}.toml"
        text = there.read_text(encoding="utf-8") if there.is_file() else KARATE
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    (tmp_path / "pyproject.toml").touch()
    for room in (experiment, replicas):
        monkeypatch.setattr(room, "shelf", lambda name: folder)
    monkeypatch.setattr(replicas, "planted_baselines", lambda task: dict(BESIDE))
    monkeypatch.setenv("GAT_CACHE", str(tmp_path / "cache"))
    return folder


def test_a_run_on_a_replica_says_so_and_has_a_page_of_its_own(capsys, shelf):
    assert main(COMMAND) == 0
    said = capsys.readouterr().out
    assert "on a replica of ogbn-mag at scale 0.0005, which is not the real data" in said
    assert "label propagation" in said
    assert (shelf / "replicas" / "ogbn-mag" / "gat-1-head" / "seed-000.json").is_file()
    assert not (shelf / "results").exists()
    assert main(["reproduce", "karate/gat"]) == 0
    assert main(["results"]) == 0
    assert "| ogbn-mag/gat-1-head | 0.0005 | 368 |" in (shelf / "REPLICAS.md").read_text()
    assert "ogbn-mag" not in (shelf / "RESULTS.md").read_text()
    assert main(["results", "--check"]) == 0
    (shelf / "REPLICAS.md").write_text("older")
    assert main(["results", "--check"]) == 2
    assert "REPLICAS.md is out of date; run gat results" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([*COMMAND, "--jobs", "2"], "leave out --root and --jobs, or --replica"),
        ([*COMMAND, "--root", "here"], "leave out --root and --jobs, or --replica"),
        ([*COMMAND[:3], "0"], "scale"),
        ([*COMMAND[:2], "--epochs", "3"], "--epochs shortens a run on a replica"),
        (["reproduce", "karate/gat", "--replica", "0.1"], "karate"),
    ],
    ids=["jobs", "root", "scale-0", "epochs-alone", "no-replica-of-it"],
)
def test_what_a_replica_cannot_be_is_said(capsys, shelf, arguments, sentence):
    assert main(arguments) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
