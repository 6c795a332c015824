"""Targets, their verdicts, the pages rendered from stored records, and pictures."""

import importlib.util
import json
from dataclasses import replace

import pytest

from gat.bench import aims, plot, record, report, targets
from gat.bench.record import (
    Bandwidth,
    Case,
    Checked,
    Figure,
    Gpu,
    Held,
    Record,
    results_folder,
    stored,
)
from gat.errors import BackendError, InputError, MissingDependencyError

CHECKED = Checked(on="all edges", tolerance={"out": 1e-6}, errors={"gat": {"out": 5e-7}})


def a_case(ours=1.0, theirs=8.0, edges=100, held=2**28):
    parts = {"forward": [ours / 4], "backward": [ours * 3 / 4], "together": [ours]}
    others = {"forward": [theirs / 2], "backward": [theirs / 2], "together": [theirs]}
    return Case(
        name="tiny",
        facts={"nodes": 1000, "edges": edges},
        checked=CHECKED,
        figures=[
            Figure(peer="gat", malloc="kept", parts=parts),
            Figure(peer="pyg", malloc="kept", parts=others),
        ],
        memory=[
            Held(peer="gat", bytes=held, inputs=1, exact=True, total=7 * 2**29),
            Held(peer="pyg", bytes=3 * 2**30, inputs=1, exact=True),
        ],
        bandwidth=[Bandwidth(malloc="kept", copied=60e9, gathered=40e9)],
        floor={"together": 32_000_000_000},
    )


def a_record(*cases, **options):
    return Record(
        kind="layer",
        title="gat 2x5 on tiny",
        options=options,
        cases=list(cases),
        versions={"torch": "2.13.0"},
        machine={"processor": "a processor"},
        commit="0123456789abcdef",
        day="2026-01-31",
    )


@pytest.mark.parametrize(
    ("aim", "value", "met", "words"),
    [
        (aims.Faster(7), 8.0, True, "8.0 times"),
        (aims.Faster(9), 8.0, False, "8.0 times"),
        (aims.Floor(1.3), 1.25, True, "1.25 times"),
        (aims.Floor(1.2), 1.25, False, "1.25 times"),
        (aims.Memory(0.25), 0.25, True, "0.25 GiB"),
        (aims.Memory(0.2), 0.25, False, "0.25 GiB"),
        (aims.LessMemory(10), 12.0, True, "1/12.0"),
        (aims.LessMemory(13), 12.0, False, "1/12.0"),
        (aims.Growth(1.2), 1.0, True, "1.00 times"),
        (aims.Slower(0.2, "pyg", malloc="kept"), 0.125, True, "0.12 times"),
        (aims.Slower(0.1, "pyg", malloc="kept"), 0.125, False, "0.12 times"),
        (aims.Finishes(malloc="kept"), 1.0, True, "1.0 s"),
        (aims.Total(4), 3.5, True, "3.5 GiB"),
        (aims.Total(3), 3.5, False, "3.5 GiB"),
    ],
    ids=str,
)
def test_an_aim_is_measured_on_its_record_and_judged(aim, value, met, words):
    assert aim.measured(a_record(a_case())) == pytest.approx(value)
    assert aim.met(value) is met
    assert aim.shown(value) == words


def a_gpu_record(ours=1.5e-3, gpu="NVIDIA H200", **options):
    """Of a graph whose bytes a copy would take a millisecond for."""
    case = Case(
        name="tiny",
        facts={"edges": 100},
        checked=CHECKED,
        figures=[
            Figure(peer="gat", malloc="default", parts={"together": [ours]}),
            Figure(peer="turbo-gnn", malloc="default", parts={"together": [3e-3]}),
        ],
        memory=[Held(peer="gat", bytes=2**28, inputs=1, exact=True)],
        bandwidth=[Bandwidth(malloc="default", copied=4e12, gathered=3e12, floor_at="copied")],
        floor={"together": 4_000_000_000},
    )
    found = Gpu(name=gpu, cuda="13.0", driver="580.1", triton="3.6.0")
    return a_record(case, **options).model_copy(update={"gpu": found})


@pytest.mark.parametrize(
    ("aim", "value", "met", "shown", "words"),
    [
        (aims.Within(2e-3, "gat"), 1.5e-3, True, "1.5 ms", "forward and backward under 2 ms"),
        (aims.Within(1.1e-3, "gat"), 1.5e-3, False, "1.5 ms", "forward and backward under 1.1 ms"),
        (targets.COPY_FLOOR, 1.5, True, "1.50 times", "at most 1.5 times the copy floor"),
        (
            aims.Faster(1.5, than="turbo-gnn", malloc="default", on_gpu=True),
            *(2.0, True, "2.0 times", "at least 1.5 times Turbo-GNN's speed"),
        ),
        (
            aims.Growth(1.3, malloc="default", first="the even graph"),
            *(1.0, True, "1.00 times", "at most 1.3 times the even graph's time per edge"),
        ),
    ],
    ids=str,
)
def test_an_aim_of_a_gpu_is_measured_judged_and_said(aim, value, met, shown, words):
    assert aim.measured(a_gpu_record()) == pytest.approx(value)
    assert aim.met(value) is met
    assert (aim.shown(value), str(aim)) == (shown, words)


def test_growth_is_of_the_time_per_edge():
    grown = a_record(a_case(ours=1.0, edges=100), a_case(ours=3.0, edges=200))
    assert aims.Growth(1.2).measured(grown) == pytest.approx(1.5)
    shrunk = a_record(a_case(ours=1.0, edges=100), a_case(ours=1.0, edges=200))
    assert aims.Growth(1.2).measured(shrunk) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "aim",
    [
        aims.Faster(7, malloc="default"),
        aims.Floor(1, "default"),
        aims.LessMemory(2, peer="cpu"),
        aims.Total(1, "pyg"),
    ],
)
def test_what_was_not_measured_has_no_value(aim):
    assert aim.measured(a_record(a_case())) is None


ROW = targets.Target(
    "a tiny row",
    lambda plan: a_record(a_case(), graph="tiny", peers=list(plan.peers), malloc=["kept"]),
    {"graph": "tiny"},
    ("gat", "pyg"),
    (aims.Faster(7), aims.Memory(0.1)),
    malloc=("kept",),
    note="The memory is the output's own.",
)
BARE = targets.Target("a row without aims", ROW.run, {"graph": "bare"}, ("gat",))


def only_rows(monkeypatch, **rows):
    """These are all the rows there are."""
    for room in (targets, report):
        monkeypatch.setattr(room, "TARGETS", rows)


@pytest.fixture
def rows(monkeypatch):
    only_rows(monkeypatch, tiny=ROW, bare=BARE)


@pytest.mark.usefixtures("rows")
def test_the_table_sets_every_aim_beside_what_was_measured():
    record = ROW.measure(say=lambda text: None)
    assert ROW.stands_for(record)
    assert report.table({"tiny": record}).splitlines()[2:] == [
        "| a tiny row | 8.0 times | at least 7 times PyG's speed | reached |",
        "| a tiny row | 0.25 GiB | at most 0.1 GiB over the inputs | not reached |",
    ]
    assert "| a tiny row | not measured | at least 7 times PyG's speed | open |" in report.table({})


@pytest.mark.usefixtures("rows")
def test_the_page_has_every_figure_and_what_it_was_taken_on():
    page = report.render({"tiny": ROW.measure(say=lambda text: None)})
    assert "## tiny: gat 2x5 on tiny\nThe memory is the output's own." in page
    assert "tiny: nodes 1,000, edges 100." in page
    head = "| peer | malloc | forward ms | backward ms | together ms | times gat | times the floor "
    assert head + "| GiB over the inputs | GiB of the process |" in page
    assert "| gat | kept | 250 | 750 | 1,000 | 1.00 | 1.25 | 0.25 | 3.5 |" in page
    assert "checked on all edges; closest to its tolerance: out of gat, at 50% of it." in page
    assert "copy 60.0 GB/s, rows in random order 40.0 GB/s." in page
    assert "2026-01-31, commit 0123456789, on processor a processor, with torch 2.13.0." in page


@pytest.mark.usefixtures("rows")
def test_a_record_of_another_definition_is_stale():
    old = a_record(a_case(), graph="tiny", peers=["gat"], malloc=["kept"])
    records = {"tiny": old, "gone": old}
    assert report.current(records) == {}
    assert report.stale(records) == ["tiny", "gone"]


def test_a_row_of_a_gpu_stands_for_records_of_that_gpu_alone():
    row = replace(ROW, gpu="H200", malloc=("default",))
    options = {"graph": "tiny", "peers": ["gat", "pyg"], "malloc": ["default"]}
    assert row.stands_for(a_gpu_record(**options))
    assert not row.stands_for(a_gpu_record(gpu="NVIDIA A100", **options))
    assert not row.stands_for(a_record(a_case(), **options))
    assert not replace(row, gpu=None).stands_for(a_gpu_record(**options))
    assert replace(row, gpu=None).stands_for(a_record(a_case(), **options))


def test_a_row_of_a_gpu_is_open_where_there_is_another(monkeypatch):
    row = replace(ROW, gpu="H200")
    for here, reason in (
        ("", "it is of an H200, here is no GPU"),
        ("NVIDIA A100", "it is of an H200, here is NVIDIA A100"),
        ("NVIDIA H200", ""),
    ):
        monkeypatch.setattr("gat.bench.row.name_of_gpu", lambda here=here: here)
        assert row.why_open() == reason
        if reason:
            with pytest.raises(BackendError, match=f"a tiny row cannot be measured: {reason}"):
                row.measure(say=lambda text: None)
    assert ROW.why_open() == ""


def test_a_gpus_section_says_how_its_floor_was_taken_and_on_what(monkeypatch):
    only_rows(monkeypatch, tiny=replace(ROW, gpu="H200"))
    page = report.render({"tiny": a_gpu_record()})
    assert (
        "copy 4000.0 GB/s, by which the floor is told, rows by index_select 3000.0 GB/s, " in page
    )
    assert "there is one malloc mode, since the C library's memory is not the GPU's." in page
    assert "with torch 2.13.0, cuda 13.0, driver 580.1, triton 3.6.0." in page
    assert "| gat | default | 1.5 | 1.00 | 1.50 | 0.25 |" in page


def test_a_record_of_before_there_were_gpus_loads_and_is_of_the_cpu(tmp_path):
    path = a_record(a_case()).write(tmp_path / "x.json")
    old = json.loads(path.read_text())
    del old["gpu"]
    for bandwidth in old["cases"][0]["bandwidth"]:
        del bandwidth["floor_at"]
    path.write_text(json.dumps(old))
    found = Record.load(path)
    assert found == a_record(a_case())
    assert found.cases[0].over_floor(found.cases[0].figures[0]) == pytest.approx(1.25)


def test_rows_that_were_measured_before_there_were_gpus_are_not_stale():
    records = stored(results_folder())
    assert report.stale(records) == []
    assert {"gat-8x32", "scaling"} <= report.current(records).keys()


def test_the_rows_are_the_ones_the_project_answers_for():
    wanted = {name: [str(aim) for aim in row.aims] for name, row in targets.TARGETS.items()}
    assert wanted["gat-8x32"] == [
        "at least 7 times PyG's speed",
        "at most 1.3 times the gather floor",
        "at most 0.4 GiB over the inputs",
    ]
    assert wanted["gat-3x250"] == ["at most 1.2 GiB over the inputs"]
    assert wanted["gat-3x250-part"] == ["at least 5 times PyG's speed, default malloc"]
    assert wanted["gatv2-8x32"] == ["at most 0.6 GiB over the inputs"]
    assert wanted["gatv2-8x32-part"] == ["at least 7 times PyG's speed"]
    assert wanted["dot-8x32-part"] == ["at least 5 times PyG's speed"]
    assert wanted["epoch-cora"] == ["at least 12 times PyG's speed, default malloc"]
    assert wanted["epoch-citeseer"] == ["at least 20 times PyG's speed, default malloc"]
    assert wanted["drop-in-cora"] == ["at least 1.5 times PyG's speed, default malloc"]
    assert wanted["scaling"] == ["at most 1.2 times the smallest graph's time per edge"]
    assert wanted["accelerate-gat"] == [
        "at least 4 times PyG's speed, default malloc",
        "at least 4 times PyG's speed",
        "at most 1/10 of PyG's memory",
    ]
    assert wanted["entmax15-gatv2"] == ["at least 1 times PyG's speed"]
    assert wanted["sample-arxiv"] == ["at least 35 million edges a second"]
    assert wanted["train-arxiv"] == [
        "at least 3 times PyG's speed, default malloc",
        "at least 3 times PyG's speed",
    ]
    assert wanted["full-arxiv"] == ["fits into 16 GiB", "finishes"]
    assert wanted["infer-products"] == ["fits into 20 GiB", "finishes"]
    assert wanted["gat-8x32-h200"] == [
        "forward and backward under 2 ms",
        "at most 1.5 times the copy floor",
    ]
    assert wanted["gat-8x32-bf16-h200"] == [
        "forward and backward under 1.1 ms",
        "at most 1.5 times the copy floor",
    ]
    assert wanted["gat-3x250-h200"] == ["forward and backward under 6 ms"]
    assert wanted["gatv2-8x32-h200"] == [
        "forward and backward under 4.5 ms",
        "at least 1.5 times Turbo-GNN's speed",
    ]
    assert wanted["gat-4x64-reddit-h200"] == [
        "forward and backward under 25 ms",
        "at most 1 GiB over the inputs",
    ]
    assert wanted["hub-h200"] == ["at most 1.3 times the even graph's time per edge"]
    assert wanted["load-arxiv"] == ["at most 1.5 times pandas's time", "a later load under 2 s"]


def test_a_row_whose_runs_take_minutes_takes_few_samples():
    taken = []
    row = replace(ROW, run=lambda plan: taken.append(plan.repeats) or a_record(a_case()), most=2)
    row.measure()
    row.measure(repeats=1)
    assert taken == [2, 1]


def test_what_a_process_held_in_all_is_told():
    held = Held(peer="gat", bytes=2**30, inputs=1, exact=True, total=3 * 2**30)
    header, rows = report.figure_rows(a_case().model_copy(update={"memory": [held]}))
    place = header.index("GiB of the process")
    assert [row[place] for row in rows] == ["3", ""]
    bare = a_case().model_copy(update={"memory": []})
    assert "GiB of the process" not in report.figure_rows(bare)[0]


def test_an_unknown_row_is_refused_with_near_ones():
    with pytest.raises(InputError, match=r"no target 'gat-8x3'; did you mean gat-8x32 .*known are"):
        targets.target("gat-8x3")


def test_records_lie_in_the_checkout_or_here(monkeypatch):
    assert results_folder().parts[-2:] == ("benchmarks", "results")
    monkeypatch.setattr("gat.bench.record.checkout", lambda: None)
    assert str(results_folder()) == "gat-benchmarks"


def test_without_matplotlib_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(plot, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'graph-attention\[plot\]'"):
        plot.plot(a_record(a_case()), tmp_path / "x.png")


def test_a_picture_has_a_known_ending(monkeypatch, tmp_path):
    monkeypatch.setattr(plot, "find_spec", lambda name: True)
    with pytest.raises(InputError, match=r"expected a name that ends in .png, .pdf or .svg"):
        plot.plot(a_record(a_case()), tmp_path / "x.gif")


def test_nothing_cannot_be_drawn(monkeypatch, tmp_path):
    monkeypatch.setattr(plot, "find_spec", lambda name: True)
    with pytest.raises(InputError, match="gat 2x5 on tiny: nothing was measured that could be"):
        plot.plot(a_record(), tmp_path / "x.png")


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs the extra plot")
@pytest.mark.parametrize("count", [1, 2], ids=["bars", "lines"])
def test_a_record_is_drawn(tmp_path, count):
    cases = [a_case(edges=100 * (n + 1)) for n in range(count)]
    path = plot.plot(a_record(*cases), tmp_path / "a" / "x.svg")
    drawn = path.read_text()
    assert drawn.startswith("<?xml")


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize("name", ["gat-8x32-h200", "gat-4x64-reddit-h200", "hub-h200"])
def test_what_a_row_of_a_gpu_measures_is_what_it_stands_for(monkeypatch, name):
    # Nothing is measured: what a record would be made of is.
    row, seen = targets.TARGETS[name], []

    def case(self, kind, name, title, what, **how):
        seen.append(what["shape"])
        return a_gpu_record().cases[0]

    gpu = {**record.provenance(1), "gpu": Gpu(name="NVIDIA H200")}
    monkeypatch.setattr("gat.bench.case.Plan.case", case)
    monkeypatch.setattr("gat.bench.case.provenance", lambda *what: gpu)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "NVIDIA H200")
    found = row.measure(threads=1, say=lambda text: None)
    assert row.stands_for(found)
    assert {shape["device"] for shape in seen} == {"cuda"}
    assert len(seen) == (2 if name == "hub-h200" else 1)
