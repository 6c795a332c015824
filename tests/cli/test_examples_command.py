"""`gat train`, `gat evaluate` and `gat inspect` on examples, in process, on small networks."""

import re

import pytest

from gat.cli import main
from gat.cli.options import Train
from gat.cli.train import network_name, resolve
from gat.train import recipe_for, train

FEW = {"train": 40, "val": 10, "test": 12}
SMALL = {
    "dates/luong-general": {"model.hidden_channels": 8, "model.embedding_channels": 4},
    "dates/bahdanau": {"model.hidden_channels": 8, "model.embedding_channels": 4},
    "dates/transformer": {"model.channels": 8, "model.heads": 2, "model.feedforward": 8},
    "dates/monotonic": {"model.hidden_channels": 8, "model.embedding_channels": 4},
    "documents/hierarchical": {"model.channels": 8, "model.encoder": "self-attention"},
    "documents/flat": {"model.channels": 8},
    "digit-images/attention-net": {"model.widths": [4, 4, 4]},
    "digit-rows/attention": {"model.hidden_channels": 8},
    "recall/attentive-rnn-t20": {"model.hidden_channels": 8, "data.options": {"length": 5, **FEW}},
}
LAYERS = {
    "dates/luong-general": "decoder.alignment.attention",
    "dates/bahdanau": "decoder.alignment.attention",
    "dates/transformer": "cross",
    "dates/monotonic": "decoder.alignment.attention",
    "documents/hierarchical": "reader.poolings.0.attention",
    "documents/flat": "reader.poolings.0.attention",
    "digit-images/attention-net": "look.attention",
    "digit-rows/attention": "readout.attention",
    "recall/attentive-rnn-t20": "attention",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a small run of each network."""
    folder = tmp_path_factory.mktemp("examples")
    for name, sizes in SMALL.items():
        few = {} if "digit" in name else {"data.options": FEW}
        quick = {"epochs": 1, "device": "cpu", "schedule.warmup_epochs": 0}
        quick |= {"max_length": 12} if "dates" in name else {}
        config = recipe_for(name).updated(**(few | quick | sizes))
        train(config, folder / name.replace("/", "-"))
    return folder


@pytest.fixture
def run(capsys):
    def run(*words):
        code = main(list(map(str, words)))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_train_tells_task_network_scores_and_what_else_was_measured(run, tmp_path):
    few = [f"--set=data.options.{part}={count}" for part, count in FEW.items()]
    small = ["--set=model.hidden_channels=8", "--set=model.embedding_channels=4"]
    where = ["--epochs", "1", "--run-dir", tmp_path / "run"]
    code, out, _ = run("train", "dates/luong-general", *where, *few, *small)
    assert code == 0
    assert "kind translation, train/val/test 40/10/12" in out
    assert re.search(r"^seq2seq, luong-general \(this run\) +.*\d+\.\d\d$", out, re.MULTILINE)
    assert re.search(r"besides, on the test part: longest source \d+, beam accuracy .* %", out)
    assert "baselines" not in out
    code, again, _ = run("evaluate", tmp_path / "run")
    assert code == 0
    score = re.search(r"\(this run\) +(.*)$", out, re.MULTILINE)[1]
    assert score in again


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        ("dates/none", "seq2seq, none"),
        ("dates/transformer", "transformer"),
        ("recall/lstm-t20", "sequence-classifier, lstm, last"),
        ("documents/flat", "document-classifier, flat"),
        ("digit-images/attention-net", "attention-net, after"),
        ("digit-images/gamma-zero", "attention-net, after, gamma zero"),
    ],
)
def test_network_is_told_by_what_sets_it_apart(recipe, told):
    assert network_name(recipe_for(recipe)) == told


def test_train_sets_what_networks_of_examples_call_otherwise():
    options = Train("dates", layers=2, dropout=0.25, hidden=6, epochs=3)
    config = resolve(options)
    model = config.model
    assert (model.layers, model.dropout, model.hidden_channels, config.epochs) == (2, 0.25, 6, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--memory-budget", "1GiB"], "--memory-budget is about graphs, whose memory is predicted"),
        (["--heads", "3"], "model.heads: unknown key; known keys: attention, cell"),
        (["--set", "model.name=gat"], "model.name: expected 'seq2seq', 'transformer'"),
        (["--set", "shift=2"], "shift is an option of attention-net; 'seq2seq' has none"),
        (["--set", "data.options.length=3"], "dates has no option 'length'; its options are"),
    ],
)
def test_train_refuses_what_is_not_of_the_network(run, options, said):
    code, _, err = run("train", "dates", *options)
    assert code == 2
    assert said in err


def test_train_tells_the_experiments_of_the_data_set(run):
    code, _, err = run("train", "dates/transfomer")
    assert code == 2
    assert "did you mean dates/transformer" in err
    assert "those of dates are: dates/bahdanau" in err
    assert "cora" not in err


@pytest.mark.parametrize("name", SMALL)
def test_inspect_tells_the_answer_and_draws_it(name, runs, run, tmp_path):
    folder = runs / name.replace("/", "-")
    png, html = tmp_path / "a.png", tmp_path / "a.html"
    files = ("--png", png, "--html", html, "--save", tmp_path / "weights")
    code, out, err = run("inspect", folder, "--node", "2", *files)
    assert code == 0, err
    assert "example 2" in out
    assert "answered" in out
    assert LAYERS[name] in out.split("shown: ")[1].splitlines()[0]
    assert png.read_bytes().startswith(b"\x89PNG")
    assert html.read_text().startswith("<!DOCTYPE html>")
    assert any((tmp_path / "weights").iterdir())


def test_inspect_of_a_translation_tells_what_each_character_looks_at(runs, run):
    code, out, _ = run("inspect", runs / "dates-luong-general")
    assert code == 0
    rows = re.findall(r"^\S+ +.* \(\d+\) +\d+\.\d %$", out, re.MULTILINE)
    assert rows


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--node", "12"], "example is 12; dates has 12 in its test part"),
        (["--node", "first"], "--node is 'first'; expected the number of an example"),
        (["--report", "r.md"], "--report is about runs on graphs"),
        (["--graph", "0"], "--graph is about runs on graphs"),
        (["--hops", "3"], "--hops is about runs on graphs"),
        (["--layer", "nowhere"], "there is no record of 'nowhere'"),
        (["--head", "3"], "has no record of head 3"),
    ],
)
def test_inspect_refuses_what_cannot_be_meant(runs, run, options, said):
    code, _, err = run("inspect", runs / "dates-luong-general", *options)
    assert code == 2
    assert said in err


def test_inspect_of_a_layer_within_a_document_shows_its_words(runs, run, tmp_path):
    where = ["--layer", "reader.encoders.0.attention", "--html", tmp_path / "a.html"]
    code, out, err = run("inspect", runs / "documents-hierarchical", *where)
    assert code == 0, err
    assert re.search(r"^\d+ in the middle are not listed$", out, re.MULTILINE)
    assert "The sentence" in (tmp_path / "a.html").read_text()


def test_inspect_of_a_network_without_attention_says_so(run, tmp_path):
    sizes = {"model.hidden_channels": 8, "model.embedding_channels": 4, "data.options": FEW}
    config = recipe_for("dates/none").updated(**sizes, epochs=1, device="cpu", max_length=12)
    train(config, tmp_path / "run")
    code, _, err = run("inspect", tmp_path / "run")
    assert code == 2
    assert "its network, seq2seq, has no attention, so there is nothing to look at" in err


def test_inspect_says_how_much_of_the_attention_between_pixels_is_added(runs, run, tmp_path):
    code, out, err = run("inspect", runs / "digit-images-attention-net")
    assert code == 0, err
    assert re.search(r"^what look\.attention gives is added -?\d\S* times$", out, re.MULTILINE)
    changes = {"model.widths": [4, 4, 4], "epochs": 1, "schedule.warmup_epochs": 0}
    train(recipe_for("digit-images/gamma-zero").updated(**changes), tmp_path / "run")
    _, out, _ = run("inspect", tmp_path / "run")
    assert "what look.attention gives is added 0 times: it takes no part in the answer" in out


def test_inspect_of_an_answer_that_was_cut_says_so(run, tmp_path):
    sizes = {"model.hidden_channels": 8, "model.embedding_channels": 4, "data.options": FEW}
    # A rate at which nothing is learned, an end least of all.
    config = recipe_for("dates/luong-dot").updated(
        **sizes, epochs=1, device="cpu", max_length=12, **{"optimizer.lr": 1e-9}
    )
    train(config, tmp_path / "run")
    code, out, err = run("inspect", tmp_path / "run")
    assert code == 0, err
    assert ", cut after 12 tokens, wrong, it is" in out
    assert not re.search("^</s>", out, re.MULTILINE)
