"""Experiments: files that read, seeds that are stored and kept, results beside published rows."""

import json
import multiprocessing
import platform
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from gat.data import cards
from gat.errors import ConfigError, CorruptDataError, InputError, RunLockedError
from gat.ops import cpu
from gat.train import experiment as room
from gat.train.config import TrainConfig
from gat.train.experiment import experiment, experiments, recipe_for, results_folder
from gat.train.reproducing import _prepare_worker, reproduce
from gat.train.result_tables import render
from gat.train.results import Published, SeedResult, Summary, stored

KARATE = """
title = "GAT on the karate club"
dataset = "karate"
seeds = 2
notes = "Too small to mean anything."
[published]
value = 50.0
std = 50.0
metric = "test accuracy"
method = "GAT"
table = "Table 9"
paper = "Nobody, Nothing, 1999"
url = "https://example.org/nothing"
protocol = "none"
[config]
epochs = 3
[config.model]
hidden_channels = 4
heads = 2
"""


@pytest.fixture
def shelf(monkeypatch, tmp_path) -> Path:
    """A shelf with one quick experiment, karate/gat, in what looks like a checkout."""
    folder = tmp_path / "experiments"
    (folder / "karate").mkdir(parents=True)
    (folder / "karate" / "gat.toml").write_text(KARATE)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(room, "shelf", lambda name: folder)
    return folder


def row(value: float, std: float | None) -> Published:
    words = dict.fromkeys(("metric", "method", "table", "paper", "url", "protocol"), "x")
    return Published(value=value, std=std, **words)


def result(test: float, seed: int = 0, **changes) -> SeedResult:
    values = {
        "experiment": "karate/gat",
        "seed": seed,
        "split": 0,
        "metric": "accuracy",
        "train": 1.0,
        "val": 0.9,
        "test": test,
        "best_epoch": 1,
        "epochs": 3,
        "seconds": 0.5,
        "config": experiment("karate/gat").config_of(seed, 1).to_dict(),
        "versions": {"gat": "0.1.0"},
        "machine": {"cores": 2},
    }
    return SeedResult(**{**values, **changes})


def test_every_experiment_reads_and_names_a_data_set_with_a_card():
    found = experiments()
    promised = {"digits", "cora", "citeseer", "pubmed", "ppi", "minesweeper"}
    promised |= {"chameleon-filtered", "squirrel-filtered"}
    assert {f"{name}/gat" for name in promised} | {"cora/gatv2"} <= set(found)
    assert {entry.dataset for entry in found.values()} <= set(cards())
    assert all(entry.config.data.name == entry.dataset for entry in found.values())


@pytest.mark.parametrize(
    ("name", "value", "std"),
    [("cora/gat", 83.0, 0.7), ("citeseer/gat", 72.5, 0.7), ("pubmed/gat", 79.0, 0.3)],
)
def test_published_rows_of_the_gat_paper(name, value, std):
    published = experiment(name).published
    assert (published.value, published.std) == (value, std)
    assert "ICLR 2018" in published.source


def test_cora_is_the_official_recipe():
    config = experiment("cora/gat").config
    model = config.model
    assert (model.num_layers, model.hidden_channels, model.heads, model.output_heads) == (
        2,
        8,
        8,
        1,
    )
    assert {model.feature_dropout, model.attention_dropout, model.value_dropout} == {0.6}
    assert (config.optimizer.lr, config.optimizer.weight_decay) == (0.005, 5e-4)
    assert (config.stopping.name, config.stopping.patience) == ("official-gat", 100)
    assert config.data.normalize_features == "row"


def test_citeseer_stops_by_accuracy_alone():
    assert experiment("citeseer/gat").config.stopping.monitor == "accuracy"


def test_gatv2_differs_from_gat_in_the_attention_only():
    one, other = experiment("cora/gat").config, experiment("cora/gatv2").config
    assert other == one.updated(**{"model.attention": "gatv2"})
    assert experiment("cora/gatv2").published is None


def test_unknown_experiment_lists_near_and_known_ones():
    with pytest.raises(
        InputError, match=r"'cora/gta'; did you mean cora/gat.*those of cora are: cora"
    ):
        experiment("cora/gta")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("title = ", "not valid TOML"),
        (KARATE.replace("seeds", "seedz"), r"seedz: .*known keys: .*seeds"),
        (KARATE.replace("epochs = 3", "epochs = 0"), r"gat\.toml: .*epochs"),
        (KARATE.replace("value = 50.0", ""), r"published\.value"),
    ],
    ids=["torn", "unknown-key", "bad-value", "missing-key"],
)
def test_a_bad_experiment_file_is_named_with_its_key(shelf, text, sentence):
    (shelf / "karate" / "gat.toml").write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        experiment("karate/gat")


def test_recipe_for_a_data_set_without_experiment_is_the_default():
    config = recipe_for("tolokers")
    assert config == TrainConfig().updated(**{"data.name": "tolokers"})
    assert recipe_for("Chameleon_Filtered").model.norm == "batch"


def test_runs_take_their_seed_and_wrap_round_the_splits():
    entry = experiment("chameleon-filtered/gat")
    assert [entry.config_of(seed, 10).data.split for seed in (0, 3, 12)] == [0, 3, 2]
    assert entry.config_of(12, 10).seed == 12
    assert experiment("cora/gat").config_of(12, 10).data.split == 0


def test_reproduce_stores_every_seed_with_all_that_is_needed_to_judge_it(shelf):
    summary = reproduce("karate/gat")
    assert [r.seed for r in summary.results] == [0, 1]
    folder = shelf / "results" / "karate" / "gat"
    assert [path.name for path in sorted(folder.iterdir())] == ["seed-000.json", "seed-001.json"]
    values = json.loads((folder / "seed-001.json").read_text())
    assert values["config"]["seed"] == 1
    assert values["config"]["model"]["hidden_channels"] == 4
    assert {"gat", "torch", "python"} <= set(values["versions"])
    assert {"processor", "cores", "memory"} <= set(values["machine"])
    assert 0 <= values["test"] <= 1


def test_results_hold_no_paths_and_no_host_name(shelf, tmp_path):
    reproduce("karate/gat", 1, root=str(tmp_path))
    text = (shelf / "results" / "karate" / "gat" / "seed-000.json").read_text()
    assert str(tmp_path) not in text
    assert "/" not in text.replace("karate/gat", "").replace("(R)", "")
    assert platform.node() not in text


def test_an_interrupted_reproduction_keeps_the_seeds_it_has(shelf):
    class Stop(Exception):
        pass

    def stop(result, kept):
        raise Stop

    with pytest.raises(Stop):
        reproduce("karate/gat", 3, on_seed=stop)
    seen = []
    summary = reproduce("karate/gat", 3, on_seed=lambda result, kept: seen.append(kept))
    assert seen == [True, False, False]
    assert len(summary.results) == 3


def test_seeds_of_another_configuration_or_version_are_run_again(shelf):
    reproduce("karate/gat", 2)
    folder = shelf / "results" / "karate" / "gat"
    old = json.loads((folder / "seed-000.json").read_text())
    old["versions"]["torch"] = "1.0"
    (folder / "seed-000.json").write_text(json.dumps(old))
    seen = {}
    reproduce("karate/gat", 2, on_seed=lambda r, kept: seen.update({r.seed: kept}))
    assert seen == {0: False, 1: True}
    (shelf / "karate" / "gat.toml").write_text(KARATE.replace("epochs = 3", "epochs = 4"))
    seen.clear()
    reproduce("karate/gat", 2, on_seed=lambda r, kept: seen.update({r.seed: kept}))
    assert seen == {0: False, 1: False}


def test_fresh_runs_every_seed_again_and_gives_the_same(shelf):
    seen = []
    before = reproduce("karate/gat", 1)
    after = reproduce("karate/gat", 1, fresh=True, on_seed=lambda r, kept: seen.append(kept))
    assert seen == [False]
    assert after.results[0].test == before.results[0].test


def test_jobs_give_what_one_process_gives(shelf, tmp_path):
    alone = reproduce("karate/gat", 2, output=tmp_path / "one")
    together = reproduce("karate/gat", 2, output=tmp_path / "two", jobs=2)
    assert [r.test for r in together.results] == [r.test for r in alone.results]
    assert multiprocessing.active_children() == []


def test_a_missing_library_is_said_once_and_not_by_every_process(shelf, monkeypatch):
    said = []
    monkeypatch.setattr("gat.ops.cpu.notice_if_missing", lambda: said.append("parent"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    reproduce("karate/gat", 2, jobs=2)
    assert said == ["parent"]
    notice = str(cpu.Status(False, reason="it is not there", remedy="build it"))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        _prepare_worker(torch.get_num_threads())
        warnings.warn(notice, RuntimeWarning, stacklevel=1)
        warnings.warn("something else", RuntimeWarning, stacklevel=1)
    assert [str(warning.message) for warning in seen] == ["something else"]


def test_two_processes_do_not_reproduce_the_same(shelf):
    folder = shelf / "results" / "karate" / "gat"
    folder.mkdir(parents=True)
    with (
        FileLock(folder / ".lock"),
        pytest.raises(RunLockedError, match=r"another process is reproducing karate/gat into"),
    ):
        reproduce("karate/gat", 1)
    reproduce("karate/gat", 1)
    assert [path.name for path in folder.iterdir()] == ["seed-000.json"]


def test_a_folder_that_cannot_hold_results_is_refused_before_training(shelf, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"results cannot be kept in .*choose another folder"):
        reproduce("karate/gat", 1, output=tmp_path / "file")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_the_processes_of_jobs_too(tmp_path, number):
    # Enough seeds that the signal comes in the middle; the first results show that it runs.
    options = ["digits/gat", "--seeds", "50", "--jobs", "2", "--output", str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-m", "gat", "reproduce", *options])
    # Two workers, and the process that tracks their resources.
    children = wait_until(lambda: len(found := children_of(process.pid)) > 2 and found)
    assert children
    process.send_signal(number)
    assert process.wait(timeout=30) == 128 + number
    assert wait_until(lambda: not any(map(alive, children)))


def wait_until(condition, seconds=60.0):
    """The condition's value once it holds, else its last value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return value


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    # A process that has ended but was not yet reaped has an empty command line.
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("seeds", "jobs"), [(0, 1), (1, 0)])
def test_reproduce_refuses_less_than_one_seed_or_job(shelf, seeds, jobs):
    with pytest.raises(InputError, match="must be at least 1"):
        reproduce("karate/gat", seeds, jobs=jobs)


def test_a_damaged_result_is_named_and_not_used(shelf):
    folder = shelf / "results" / "karate" / "gat"
    folder.mkdir(parents=True)
    (folder / "seed-000.json").write_text("{")
    with pytest.raises(CorruptDataError, match=r"seed-000\.json is not a result of gat.*remove it"):
        reproduce("karate/gat", 1)


def test_results_outside_a_checkout_go_where_the_user_is(shelf, tmp_path):
    assert results_folder() == shelf / "results"
    (tmp_path / "pyproject.toml").unlink()
    assert results_folder() == Path("gat-results")
    assert results_folder(tmp_path / "mine") == tmp_path / "mine"


@pytest.mark.parametrize(
    ("tests", "published", "verdict"),
    [
        ([0.83], row(83.0, 0.7), "inside the band"),
        ([0.8226], row(83.0, 0.7), "inside the band"),
        ([0.8224], row(83.0, 0.7), "below the band"),
        ([0.838], row(83.0, 0.7), "above the band"),
        ([0.82, 0.84], row(83.0, None), "inside the band"),
        ([0.5], None, "no published row"),
    ],
    ids=["same", "rounds-to-the-edge", "below", "above", "mean-without-std", "no-row"],
)
def test_verdict(shelf, tests, published, verdict):
    results = tuple(result(test, seed) for seed, test in enumerate(tests))
    assert Summary("karate/gat", results).verdict(published) == verdict


def test_mean_and_sample_standard_deviation_are_per_cent(shelf):
    summary = Summary("karate/gat", (result(0.8), result(0.9, 1)))
    assert summary.mean == pytest.approx(85.0)
    assert summary.std == pytest.approx(7.0711, abs=1e-4)
    assert str(summary) == "85.00 ± 7.07"
    assert str(Summary("karate/gat", (result(0.8),))) == "80.00"


def test_render_sets_ours_beside_the_published_row_and_lists_the_seeds(shelf):
    entry = experiment("karate/gat")
    for seed, test in enumerate((0.8, 0.9)):
        result(test, seed).write(shelf / "results" / "karate" / "gat")
    found = stored(shelf / "results")["karate/gat"]
    text = render([(entry, found)])
    assert text.startswith("<!-- Generated by `gat results`")
    assert "| karate/gat | accuracy | 2 | 85.00 ± 7.07 | 50.0 ± 50.0 | inside the band |" in text
    assert "Test by seed, from 0: 80.00, 90.00." in text
    assert "Nobody, Nothing, 1999, Table 9" in text


def test_baselines_are_stored_and_shown_beside_ours_where_asked_for(shelf):
    (shelf / "karate" / "gat.toml").write_text("baselines = true\n" + KARATE)
    summary = reproduce("karate/gat", 1)
    stored_scores = summary.results[0].baselines
    assert set(stored_scores) == {"logistic regression", "label spreading"}
    means = {name: pytest.approx(100 * score) for name, score in stored_scores.items()}
    assert summary.baselines() == means
    text = render([(experiment("karate/gat"), summary)])
    assert f"label spreading {100 * stored_scores['label spreading']:.2f}" in text


def test_only_results_of_the_present_configuration_are_current(shelf):
    entry = experiment("karate/gat")
    stale = entry.config_of(1, 1).updated(epochs=9).to_dict()
    both = Summary("karate/gat", (result(0.8), result(0.9, 1, config=stale)))
    assert [r.seed for r in entry.current(both).results] == [0]
