"""`gat train` and `gat evaluate`, in process, on the karate club."""

import json
import re
from pathlib import Path

import pytest

from gat.cli import main
from gat.cli.options import Train
from gat.cli.train import resolve, show_result
from gat.data import NodeTask
from gat.errors import ConfigError, InputError
from gat.train import RunResult

BASELINES = "baselines on the same split (--skip-baselines leaves them out):"
QUICK = ["--epochs", "3", "--skip-baselines"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_train_shows_scores_beside_the_baselines_and_keeps_the_run(capsys, tmp_path):
    assert main(["train", "karate", "--epochs", "3", "--run-dir", "here"]) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0].startswith("name karate, graphs 1, nodes 34, edges 156")
    assert re.search(r"^accuracy +train % +val % +test %$", said, re.MULTILINE)
    for name in (r"GAT \(this run\)", "logistic regression", "label spreading"):
        assert re.search(rf"^{name} +.*\d+\.\d\d$", said, re.MULTILINE), name
    assert "of 3, trained" in said
    ours = next(n for n, line in enumerate(lines) if line.startswith("GAT (this run)"))
    kept, theirs = lines.index("run kept in here"), lines.index(BASELINES)
    assert ours < kept < theirs < len(lines) - 2
    assert (tmp_path / "here" / "metrics.json").is_file()


def test_ctrl_c_during_the_baselines_leaves_the_result_printed(capsys, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("gat.train.baselines", interrupt)
    assert main(["train", "karate", "--epochs", "3", "--run-dir", "here"]) == 130
    said = capsys.readouterr()
    assert re.search(r"^GAT \(this run\) .*\d+\.\d\d$", said.out, re.MULTILINE)
    assert "run kept in here\n" in said.out
    assert said.err.endswith("gat: interrupted\n")


def test_sizes_are_of_the_split_that_is_asked_for(capsys, monkeypatch):
    asked = []
    describe = NodeTask.describe

    def watched(task, split=0):
        asked.append(split)
        return describe(task, split)

    monkeypatch.setattr(NodeTask, "describe", watched)
    assert main(["train", "digits", "--split", "3", "--epochs", "1", "--skip-baselines"]) == 0
    assert asked == [3]
    assert "split 3 of " in capsys.readouterr().out


def test_a_split_out_of_range_is_refused_before_anything_is_said(capsys):
    assert main(["train", "karate", "--split", "9"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "karate has no split 9" in said.err


def test_train_without_run_dir_makes_one_under_runs(capsys, tmp_path):
    assert main(["train", "karate", *QUICK, "--seed", "7"]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("karate-seed7-")
    assert "logistic regression" not in capsys.readouterr().out


def test_evaluate_repeats_the_scores_of_the_run(capsys, tmp_path):
    assert main(["train", "karate", *QUICK, "--run-dir", "run"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "run"]) == 0
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())
    row = next(s for s in capsys.readouterr().out.splitlines() if s.startswith("kept weights"))
    assert row.split()[2:] == [f"{100 * scores[part]:.2f}" for part in ("train", "val", "test")]


@pytest.mark.parametrize(
    ("stopped_by", "words"), [("patience", "stopped by patience"), ("", "still unfinished")]
)
def test_the_result_says_how_the_run_ended(capsys, stopped_by, words):
    show_result("GAT", RunResult("accuracy", 0.5, 0.5, 0.5, 3, 9, 1.0, None, stopped_by))
    assert capsys.readouterr().out.endswith(f"weights of epoch 3 of 9, trained 1.0 s, {words}\n")


def test_resume_continues_for_more_epochs(capsys):
    assert main(["train", "karate", *QUICK, "--run-dir", "run"]) == 0
    assert main(["train", "--resume", "run", "--epochs", "5", "--skip-baselines"]) == 0
    assert "of 5, trained" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentences"),
    [
        (["train", "karat"], ["there is no data set 'karat'", "karate"]),
        (["train", "karate", "--lr", "-1"], ["optimizer.lr", "-1"]),
        (["train", "karate", "--dropout", "1.5"], ["model.feature_dropout", "1.5"]),
        (["train", "karate", "--set", "stoping.patience=3"], ["stoping", "did you mean stopping"]),
        (["train", "karate", "--set", "patience"], ["--set patience: expected KEY=VALUE"]),
        (["train", "karate", "--edges", "e.csv"], ["both the data set 'karate' and --edges e.csv"]),
        (["train", "--resume", "nowhere"], ["nowhere holds no run to resume", "config.toml"]),
        (["train", "karate", "--resume", "nowhere"], ["leave out DATASET"]),
        (["train", "--nodes", "n.csv"], ["edges is missing"]),
        (["train", "--config", "none.toml"], ["none.toml: the configuration cannot be read"]),
        (["train", "karate", "--split", "9"], ["split", "9"]),
        (["evaluate", "nowhere"], ["nowhere holds no checkpoint"]),
    ],
    ids=lambda value: "-".join(value[1:]) if isinstance(value, list) else None,
)
def test_input_errors_exit_with_2_and_name_the_next_step(capsys, arguments, sentences):
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("gat: ")
    assert "Traceback" not in said
    for sentence in sentences:
        assert sentence in said


def test_training_over_a_run_is_refused(capsys):
    assert main(["train", "karate", *QUICK, "--run-dir", "run"]) == 0
    assert main(["train", "karate", *QUICK, "--run-dir", "run"]) == 2
    assert "run already holds a run; continue it with resume" in capsys.readouterr().err


def test_resolve_takes_the_data_sets_recipe():
    config = resolve(Train(dataset="pubmed"))
    assert (config.data.name, config.model.output_heads, config.optimizer.lr) == ("pubmed", 8, 0.01)


def test_resolve_takes_the_defaults_where_there_is_no_recipe():
    config = resolve(Train(dataset="wiki-cs"))
    assert (config.data.name, config.stopping.name) == ("wiki-cs", "official-gat")


def test_resolve_lets_options_win_over_the_recipe_and_set_over_options():
    options = Train(
        dataset="cora", heads=4, dropout=0.3, lr=0.01, set=("optimizer.lr=0.02", "model.norm=layer")
    )
    config = resolve(options)
    assert config.model.heads == 4
    assert config.model.feature_dropout == config.model.value_dropout == 0.3
    assert config.model.attention_dropout == 0.3
    assert config.optimizer.lr == 0.02
    assert config.model.norm == "layer"


def test_resolve_reads_lists_and_bare_words():
    config = resolve(Train(set=("model.num_layers=3", "model.heads=[4, 2]", 'device="cpu"')))
    assert config.model.heads == [4, 2]
    assert config.device == "cpu"


def test_resolve_lets_a_file_take_the_place_of_the_recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("epochs = 7\n[model]\nheads = 2\n")
    config = resolve(Train(dataset="cora", config=path))
    assert (config.data.name, config.epochs, config.model.heads) == ("cora", 7, 2)
    assert config.data.normalize_features == "none"


def test_resolve_for_a_graph_of_ones_own(tmp_path):
    config = resolve(Train(edges=tmp_path / "e.csv", nodes=tmp_path / "n.csv", label="topic"))
    assert (config.data.edges, config.data.label) == (str(tmp_path / "e.csv"), "topic")


@pytest.mark.parametrize("way", ["options", "set", "config"])
def test_paths_are_kept_from_the_root(tmp_path, way):
    paths = {"edges": "e.csv", "nodes": "n.csv", "root": "data"}
    if way == "options":
        options = Train(**{name: Path(path) for name, path in paths.items()})
    elif way == "set":
        options = Train(set=tuple(f"data.{name}={path}" for name, path in paths.items()))
    else:
        lines = "\n".join(f'{name} = "{path}"' for name, path in paths.items())
        (tmp_path / "mine.toml").write_text(f"[data]\n{lines}\n")
        options = Train(config=Path("mine.toml"))
    data = resolve(options).data
    kept = {name: getattr(data, name) for name in paths}
    assert kept == {name: str(tmp_path / path) for name, path in paths.items()}


@pytest.mark.parametrize("way", ["set", "config"])
def test_a_data_set_beside_edges_of_the_configuration_is_refused(tmp_path, way):
    (tmp_path / "mine.toml").write_text('[data]\nedges = "e.csv"\n')
    options = {"set": {"set": ("data.edges=e.csv",)}, "config": {"config": Path("mine.toml")}}
    edges = re.escape(f"data.edges = {str(tmp_path / 'e.csv')!r}")
    with pytest.raises(InputError, match=f"both the data set 'cora' and {edges} were given"):
        resolve(Train(dataset="cora", **options[way]))


def test_set_of_an_unknown_key_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"nonsense: unknown key; known keys: .*epochs"):
        resolve(Train(dataset="karate", set=("nonsense=1",)))


def test_train_on_a_graph_of_ones_own_and_go_on_from_another_folder(capsys, monkeypatch, tmp_path):
    ring = "\n".join(f"n{i},n{(i + 1) % 40}" for i in range(40))
    (tmp_path / "edges.csv").write_text(f"source,target\n{ring}\n")
    rows = "\n".join(f"n{i},{i % 2},{i},{'ab'[i < 20]}" for i in range(40))
    (tmp_path / "nodes.csv").write_text(f"id,parity,number,topic\n{rows}\n")
    files = ["--edges", "edges.csv", "--nodes", "nodes.csv", "--label", "topic"]
    assert main(["train", *files, *QUICK]) == 0
    said = capsys.readouterr().out
    assert "nodes 40" in said
    assert "run kept in runs/edges-seed0-" in said
    (run,) = (tmp_path / "runs").iterdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["evaluate", str(run)]) == 0
    assert main(["train", "--resume", str(run), "--epochs", "4", "--skip-baselines"]) == 0
    assert "of 4, trained" in capsys.readouterr().out


def test_train_on_sampled_neighbours(capsys, tmp_path):
    sampling = ["--set", "sampling.name=neighbor", "--set", "sampling.num_neighbors=[4,2]"]
    assert main(["train", "karate", *QUICK, "--run-dir", "here", *sampling]) == 0
    assert (
        'name = "neighbor"\nnum_neighbors = [4, 2]' in (tmp_path / "here/config.toml").read_text()
    )
    assert main(["train", "--resume", "here", "--epochs", "4"]) == 0
    assert "of 4, trained" in capsys.readouterr().out
    assert main(["train", "karate", *QUICK, *sampling, "--layers", "3"]) == 2
    assert "2 numbers, [4, 2], and model.num_layers is 3" in capsys.readouterr().err


def test_a_memory_budget_says_the_predicted_figure_in_one_line(capsys):
    assert main(["train", "karate", *QUICK, "--memory-budget", "4GiB", "--run-dir", "here"]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("memory: ")]
    assert len(said) == 1
    assert "bytes for each of 34 nodes" in said[0]
    assert said[0].endswith("the budget is 4.00 GiB")
    assert 'memory_budget = "4GiB"' in Path("here/config.toml").read_text()


def test_a_full_batch_beyond_the_budget_is_refused_with_numbers_and_a_next_step(capsys):
    assert main(["train", "karate", *QUICK, "--memory-budget", "10MB", "--run-dir", "here"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("gat: a full batch is predicted to need 0.")
    assert "the budget is 0.01 GiB" in said
    assert "--set sampling.name=neighbor" in said
    assert not Path("here").exists()


def test_a_budget_that_is_no_amount_is_refused_in_words(capsys):
    assert main(["train", "karate", "--memory-budget", "much"]) == 2
    assert "memory_budget: expected an amount of memory such as '16GiB'" in capsys.readouterr().err
