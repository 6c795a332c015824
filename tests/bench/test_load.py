"""Loading: first and later loads beside pandas, held to what pandas reads, each first one fresh."""

import importlib.util

import pytest

from gat.bench import aims, load
from gat.bench.case import Plan
from gat.bench.load import LoadShape, measure_load
from gat.errors import InputError, MissingDependencyError, WrongResultError

SHAPE = LoadShape(scale=0.001)
PLAN = Plan(("first", "later", "pandas"), repeats=2, threads=1, malloc=("default",))
needs_ogb = pytest.mark.skipif(
    importlib.util.find_spec("ogb") is None, reason="needs the extra ogb"
)


@needs_ogb
def test_loads_are_checked_then_timed_one_by_one(at_home):
    record = measure_load(SHAPE, PLAN)
    (case,) = record.cases
    called = [function for function, _ in at_home]
    assert called == ["load.write", "load.check", "load.times", *["load.samples"] * 6]
    assert record.title == "loading a replica of ogbn-arxiv of scale 0.001 from csv.gz"
    assert record.options == {**record.options, "scale": 0.001}
    assert "root" not in record.options
    assert set(case.checked.errors["later"]) == {"edges", "x", "y", "train", "val", "test"}
    assert all(not any(found.values()) for found in case.checked.errors.values())
    seconds = {figure.peer: figure.seconds() for figure in case.figures}
    assert list(seconds) == ["first", "later", "pandas"]
    slower = aims.Slower(1.5, "pandas", "first")
    assert slower.measured(record) == pytest.approx(seconds["first"] / seconds["pandas"])
    assert [slower.met(times) for times in (1.5, 1.6)] == [True, False]
    assert (str(slower), slower.shown(1.234)) == ("at most 1.5 times pandas's time", "1.23 times")
    assert str(aims.Within(2, "later")) == "a later load under 2 s"


@needs_ogb
def test_a_first_load_finds_no_copy_and_a_later_one_does(monkeypatch, tmp_path):
    load.write({"scale": 0.001}, str(tmp_path))
    seen, own = [], load.load

    def spy(name, root, **how):
        seen.append((load._folder(root) / "mapped").is_dir())
        return own(name, root, **how)

    monkeypatch.setattr(load, "load", spy)
    load.samples({}, str(tmp_path), "first", 2)
    load.samples({}, str(tmp_path), "later", 1)
    assert seen == [False, False, True]


@needs_ogb
@pytest.mark.usefixtures("at_home")
def test_a_load_of_something_else_is_refused(monkeypatch):
    own = load.load

    def other(name, root, **how):
        task = own(name, root, **how)
        task.graphs[0].y[0] += 1
        return task

    monkeypatch.setattr(load, "load", other)
    with pytest.raises(WrongResultError, match="first computes y wrong for loading a replica"):
        measure_load(SHAPE, PLAN)


def test_without_ogb_the_extra_is_named_before_anything_is_written(monkeypatch, at_home):
    def missing():
        raise MissingDependencyError("ogb is missing")

    monkeypatch.setattr("gat.data.ogb.package.require", missing)
    with pytest.raises(MissingDependencyError, match="ogb is missing"):
        measure_load(SHAPE, PLAN)
    assert at_home == []


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), 11.0])
def test_a_scale_that_cannot_be_is_refused(scale):
    with pytest.raises(InputError, match=r"scale is .*; expected more than 0, at most 10"):
        LoadShape(scale=scale)
