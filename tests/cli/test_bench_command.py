"""`gat bench` in process: tables, records, rows that are resumed, pages that are checked."""

import json
from dataclasses import asdict, replace

import pytest

from gat.bench import process, record
from gat.bench.record import Record
from gat.cli import main
from tests.bench.test_report import ROW, a_case, a_record, only_rows

KINDS = ("layer", "model", "conv", "scaling", "step", "sparse", "inspect")
LARGE = ("sequence", "sample", "train", "inference", "load")


@pytest.fixture
def measured(monkeypatch):
    """`gat bench layer` of something that was measured long ago; the plans it was given."""
    plans = []

    def measure(shape, plan):
        plans.append((shape, plan))
        plan.say("measuring")
        return a_record(a_case(), graph=shape.graph)

    monkeypatch.setattr("gat.bench.measure_layer", measure)
    return plans


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.fixture
def rows(monkeypatch, tmp_path):
    """Two rows, in a checkout of their own."""
    only_rows(monkeypatch, tiny=ROW, other=ROW)
    monkeypatch.setattr(record, "checkout", lambda: tmp_path)
    return tmp_path


def test_help_names_every_kind_of_measurement(capsys):
    assert main(["bench", "--help"]) == 0
    said = capsys.readouterr().out
    for name in (*KINDS, *LARGE, "target", "report"):
        assert f"• {name} " in said
    assert main(["bench"]) == 2
    assert f"Expected one of {{{', '.join(KINDS)}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "layer",
            [
                *("--operator {gat,gatv2,dot}", "arxiv-size", "8", "--device {cpu,cuda}"),
                *("--dtype {float32,bfloat16,float16}", "(default: gat,pyg,torch; of 16 bits gat,"),
                *("(default: default,kept; on cuda default)", "reddit-size", "pyg-compiled"),
            ],
        ),
        (
            "model",
            ["--v2", "--layers N", "accelerated (the model after gat.accelerate)", "(default: 40)"],
        ),
        (
            "conv",
            ["--score NAME", "--normalizer NAME", "GATv2Conv for gatv2", "(default: gat,pyg)"],
        ),
        ("scaling", ["uniform-1M,uniform-4M", "--graphs NAME,NAME"]),
        ("step", ["[DATASET]", "(default: cora)", "drop-in", "--malloc"]),
        ("sparse", ["[DATASET]", "--channels N", "(default: 64)"]),
        (
            "inspect",
            ["{record,gatt,rollout}", "--self-loops", "--dense", "(default: plain,recorded or"],
        ),
        (
            "sequence",
            ["--width N", "--complete", "--causal", "(default: 16384)", "(default: gat,sdpa,flex)"],
        ),
        ("sample", ["--fanouts N,N", "(default: gat,layers,torch)", "--batch-size N"]),
        (
            "train",
            ["--full", "--steps N", "(default: 4; with --full 3)", "trim_to_layer", "--fanouts"],
        ),
        ("inference", ["--room N", "(default: products-size)", "gat.train.predict"]),
        ("load", ["--scale N", "(default: first,later,pandas)", "from a mapped copy"]),
        ("target", ["[NAME]", "--missing", "benchmarks/results of the checkout"]),
        ("report", ["--check", "<!-- bench -->"]),
    ],
)
def test_help_of_each_explains_its_options(capsys, command, words):
    assert main(["bench", command, "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split()).replace(" │ │ ", " ")
    for word in words:
        assert word in said
    assert "None" not in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--repeats", "few"], "--repeats: expected a whole number, got 'few'"),
        (["--fraction", "half"], "--fraction: expected a number, got 'half'"),
        (["--operator", "agnn"], "--operator"),
    ],
    ids=["repeats", "fraction", "operator"],
)
def test_a_usage_error_names_the_argument(capsys, arguments, sentence):
    assert main(["bench", "layer", *arguments]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["layer", "--peers", "gat,numba"], "gat: there is no peer 'numba' here; known are gat,"),
        (["layer", "--graph", "corra"], "gat: there is no graph 'corra' to measure; expected"),
        (["layer", "--malloc", "jemalloc"], "gat: malloc is 'jemalloc'; expected default or kept"),
        (["layer", "--plot", "x.gif"], "gat: "),
        (["model", "--peers", "gat"], "gat: there is no peer 'gat' here; known are accelerated,"),
        (["conv", "--score", "mpl"], "gat: score is 'mpl'; expected one of additive, bilinear,"),
        (["inspect", "gatt", "--peers", "pyg"], "gat: there is no peer 'pyg' here; known are node"),
        (["train", "--peers", "dgl"], "gat: there is no peer 'dgl' here; known are gat, pyg, pyg-"),
        (["train", "--full", "--peers", "dgl"], "gat: there is no peer 'dgl' here; known are gat,"),
        (
            ["train", "--full", "--batch-size", "3", "--fanouts", "5,5"],
            "gat: --fanouts, --batch-size of sampled training cannot go with --full; leave out one",
        ),
        (["train", "--fanouts", "5,5"], "gat: fanouts has 2 numbers and layers is 3; expected a"),
        (["inference", "--room", "0"], "gat: room is 0.0; expected GiB, more than 0"),
        (["sequence", "--tokens", "0"], "gat: tokens is 0; expected 1 or more"),
        (["sequence", "--peers", "pyg"], "gat: there is no peer 'pyg' here; known are gat, sdpa,"),
        (["load", "--scale", "0"], "gat: scale is 0.0; expected more than 0, at most 10"),
        (["target", "gat-8x3"], "gat: there is no target 'gat-8x3'; did you mean gat-8x32"),
        (["target", "gat-8x32", "--missing"], "gat: both the row 'gat-8x32' and --missing"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_measured_exits_with_2_in_one_sentence(capsys, arguments, sentence):
    assert main(["bench", *arguments]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(sentence)
    assert said.err.count("\n") == 1
    assert said.out == ""


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["layer", "--device", "cuda", "--graph", "corra"], "gat: device 'cuda' was asked for, "),
        (["target", "gat-8x32-h200"], "gat: GAT 8x32, arxiv-size, float32 on an H200 cannot be "),
    ],
    ids=["layer", "target"],
)
def test_without_a_gpu_what_is_of_one_exits_with_2_in_one_sentence(capsys, arguments, sentence):
    assert main(["bench", *arguments]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(sentence)
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_layer_shows_a_table_and_keeps_the_record(capsys, measured, tmp_path):
    path = tmp_path / "figures.json"
    arguments = ["--graph", "tiny", "--peers", "gat, pyg,gat", "--malloc", "kept", "--threads", "3"]
    assert main(["bench", "layer", *arguments, "--output", str(path)]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0] == "gat 2x5 on tiny: nodes 1,000, edges 100"
    assert lines[1].split("  ")[0] == "peer"
    assert [line.split()[0] for line in lines[2:4]] == ["gat", "pyg"]
    assert "checked on all edges; closest to its tolerance: out of gat, at 50% of it" in lines
    assert lines[-1] == f"record kept in {path}"
    assert Record.load(path).options == {"graph": "tiny"}
    assert said.err == "gat: measuring\n"
    ((shape, plan),) = measured
    assert (shape.graph, plan.peers, plan.malloc, plan.threads) == (
        "tiny",
        ("gat", "pyg"),
        ("kept",),
        3,
    )


@pytest.mark.parametrize(
    ("arguments", "device", "dtype", "peers", "malloc"),
    [
        ([], "cpu", "float32", ("gat", "pyg", "torch"), ("default", "kept")),
        (["--device", "cuda"], "cuda", "float32", ("gat", "pyg", "torch"), ("default",)),
        (
            ["--device", "cuda", "--dtype", "bfloat16", "--malloc", "kept"],
            *("cuda", "bfloat16", ("gat", "blockwise"), ("kept",)),
        ),
        (
            ["--dtype", "float16", "--peers", "gat,pyg"],
            *("cpu", "float16", ("gat", "pyg"), ("default", "kept")),
        ),
    ],
    ids=["usual", "gpu", "narrow-gpu", "narrow"],
)
def test_layer_measures_on_the_device_and_in_the_dtype_asked_for(
    measured, tmp_path, arguments, device, dtype, peers, malloc
):
    assert main(["bench", "layer", *arguments, "--output", str(tmp_path / "x.json")]) == 0
    ((shape, plan),) = measured
    assert (shape.device, shape.dtype) == (device, dtype)
    assert (plan.peers, tuple(plan.malloc)) == (peers, malloc)


@pytest.mark.usefixtures("measured")
def test_without_output_the_record_goes_to_a_new_file_under_runs(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "layer"]) == 0
    assert main(["bench", "layer"]) == 0
    found = sorted((tmp_path / "runs").glob("bench-layer-*.json"))
    assert len(found) == 2
    assert json.loads(found[0].read_text())["title"] == "gat 2x5 on tiny"


def test_scaling_tells_the_time_per_edge(capsys, monkeypatch, tmp_path):
    grown = a_record(a_case(edges=10**9), a_case(edges=2 * 10**9)).model_copy(
        update={"kind": "scaling"}
    )
    monkeypatch.setattr("gat.bench.measure_scaling", lambda *arguments: grown)
    assert main(["bench", "scaling", "--output", str(tmp_path / "x.json")]) == 0
    said = capsys.readouterr().out
    assert "gat, malloc kept: 1.00 ns per edge" in said
    assert "gat, malloc kept: 0.50 ns per edge" in said


@pytest.mark.parametrize(
    ("arguments", "function", "given", "peers", "malloc"),
    [
        (
            ["--layers", "2", "--steps", "9"],
            "measure_train",
            {"fanouts": (10, 10), "steps": 9, "heads": 4, "channels": 32, "batch_size": 1024},
            ("gat", "pyg", "pyg-trimmed"),
            ("default", "kept"),
        ),
        (
            ["--fanouts", "5,-1,3", "--batch-size", "8", "--malloc", "kept"],
            "measure_train",
            {"fanouts": (5, -1, 3), "steps": None, "layers": 3, "batch_size": 8},
            ("gat", "pyg", "pyg-trimmed"),
            ("kept",),
        ),
        (
            ["--full", "--graph", "products-size", "--heads", "2"],
            "measure_full",
            {"graph": "products-size", "layers": 3, "heads": 2, "channels": 250},
            ("gat", "pyg"),
            ("default",),
        ),
    ],
    ids=["steps", "fanouts", "full"],
)
def test_train_measures_what_its_options_say(
    monkeypatch, tmp_path, arguments, function, given, peers, malloc
):
    seen = []

    def measure(shape, plan):
        seen.append((shape, plan))
        return a_record(a_case())

    monkeypatch.setattr(f"gat.bench.{function}", measure)
    assert main(["bench", "train", *arguments, "--output", str(tmp_path / "x.json")]) == 0
    ((shape, plan),) = seen
    assert given.items() <= asdict(shape).items()
    assert (plan.peers, tuple(plan.malloc)) == (peers, malloc)


def test_target_lists_the_rows_with_what_was_measured(capsys, rows):
    assert main(["bench", "target"]) == 0
    said = capsys.readouterr().out
    assert said.count("not measured") == 4
    assert main(["bench", "target", "tiny"]) == 0
    said = capsys.readouterr().out
    assert "8.0 times  at least 7 times PyG's speed" in said
    assert "not reached" in said
    assert "gat bench report renders it" in said
    assert (rows / "benchmarks" / "results" / "tiny.json").is_file()
    assert main(["bench", "target"]) == 0
    assert capsys.readouterr().out.count("not measured") == 2


def test_missing_rows_are_measured_and_the_others_kept(capsys, rows):
    assert main(["bench", "target", "tiny"]) == 0
    kept = rows / "benchmarks" / "results" / "tiny.json"
    kept.write_text(kept.read_text().replace("2026-01-31", "2026-02-01"))
    assert main(["bench", "target", "--missing"]) == 0
    assert (kept.parent / "other.json").is_file()
    assert "2026-02-01" in kept.read_text()
    capsys.readouterr()
    assert main(["bench", "target", "--missing"]) == 0
    assert capsys.readouterr().out == "every row that this machine can measure has its record\n"


@pytest.mark.usefixtures("no_gpu")
def test_a_missing_row_of_a_gpu_stays_open_where_there_is_none(capsys, monkeypatch, rows):
    only_rows(monkeypatch, tiny=ROW, large=replace(ROW, gpu="H200"))
    assert main(["bench", "target", "--missing"]) == 0
    said = capsys.readouterr().out
    assert "large stays open: it is of an H200, here is no GPU" in said
    assert [path.name for path in (rows / "benchmarks" / "results").iterdir()] == ["tiny.json"]
    assert main(["bench", "target"]) == 0
    assert capsys.readouterr().out.count("not measured") == 2


def test_report_writes_the_page_and_renews_the_readme(capsys, rows):
    readme = rows / "README.md"
    readme.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    assert main(["bench", "target", "tiny"]) == 0
    assert main(["bench", "report", "--check"]) == 2
    assert "is out of date; run gat bench report" in capsys.readouterr().err
    assert main(["bench", "report"]) == 0
    assert "## tiny: gat 2x5 on tiny" in (rows / "benchmarks" / "RESULTS.md").read_text()
    text = readme.read_text()
    assert text.startswith("before\n<!-- bench -->\n| | measured |")
    assert text.endswith("|\n<!-- /bench -->\nafter\n")
    assert "| a tiny row | 8.0 times | at least 7 times PyG's speed | reached |" in text
    assert main(["bench", "report", "--check"]) == 0


def test_report_wants_its_marks_in_the_readme(capsys, rows):
    (rows / "README.md").write_text("no marks\n")
    assert main(["bench", "report"]) == 2
    said = capsys.readouterr().err
    assert "has no place for the results; put the lines <!-- bench --> and <!-- /bench -->" in said


def test_report_of_another_folder_leaves_the_readme_alone(capsys, rows, tmp_path):
    (rows / "README.md").write_text("no marks\n")
    mine = tmp_path / "mine"
    assert main(["bench", "target", "tiny", "--output", str(mine)]) == 0
    assert main(["bench", "report", "--output", str(mine)]) == 0
    assert "gat 2x5 on tiny" in (mine / "RESULTS.md").read_text()


def test_report_leaves_out_a_record_of_another_definition_and_says_so(capsys, rows):
    folder = rows / "benchmarks" / "results"
    a_record(a_case(), graph="another").write(folder / "tiny.json")
    assert main(["bench", "report"]) == 0
    said = capsys.readouterr().err
    assert (
        "tiny.json is of no row as it is measured now, and left out; run gat bench target" in said
    )
    assert "gat 2x5" not in (rows / "benchmarks" / "RESULTS.md").read_text()


def test_a_damaged_record_exits_with_3(capsys, rows):
    folder = rows / "benchmarks" / "results"
    folder.mkdir(parents=True)
    (folder / "tiny.json").write_text("{")
    assert main(["bench", "report"]) == 3
    assert "tiny.json is not a record of gat bench" in capsys.readouterr().err


def test_readme_and_results_are_what_the_stored_records_give():
    assert main(["bench", "report", "--check"]) == 0


def test_a_whole_run_in_processes_of_its_own(capsys, tmp_path):
    shape = ["--graph", "karate", "--heads", "2", "--channels", "3", "--peers", "gat,pyg"]
    path = tmp_path / "x.json"
    options = ["--repeats", "1", "--threads", "1", "--malloc", "kept", "--output", str(path)]
    assert main(["bench", "layer", *shape, *options]) == 0
    (case,) = Record.load(path).cases
    assert [figure.peer for figure in case.figures] == ["gat", "pyg"]
    assert set(process.MALLOC) >= {figure.malloc for figure in case.figures} == {"kept"}
    assert case.facts["edges"] == 190


def test_a_whole_run_in_a_narrow_dtype(capsys, tmp_path):
    shape = ["--graph", "karate", "--heads", "2", "--channels", "3", "--dtype", "bfloat16"]
    path = tmp_path / "x.json"
    options = ["--repeats", "1", "--threads", "1", "--malloc", "kept", "--output", str(path)]
    assert main(["bench", "layer", *shape, *options]) == 0
    found = Record.load(path)
    assert found.title == "gat 2x3 on karate, bfloat16 on cpu"
    assert found.options["dtype"] == "bfloat16"
    assert found.gpu is None
    assert [figure.peer for figure in found.cases[0].figures] == ["gat", "blockwise"]
