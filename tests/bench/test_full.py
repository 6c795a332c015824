"""Full-batch epochs of the arxiv recipes' network: held to float64, weighed in all, timed."""

from dataclasses import replace

import pytest

from gat.bench import aims, full, process, recipe, replicas
from gat.bench.case import Plan
from gat.bench.full import FullShape, measure_full
from gat.errors import DoesNotFitError, InputError, WrongResultError

SHAPE = FullShape(heads=2, channels=3)
PLAN = Plan(("gat", "pyg"), repeats=1, threads=1, malloc=("default",))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(replicas.PLANTED, "arxiv-size", ("ogbn-arxiv", 0.001))
    monkeypatch.setattr(full, "CHECKED", 0.0005)


def test_both_networks_are_checked_weighed_and_timed(at_home):
    (case,) = measure_full(SHAPE, PLAN).cases
    assert [function for function, _ in at_home] == [
        "replicas.write",
        "full.check",
        *["full.memory"] * 2,
        "full.times",
        *["full.samples"] * 2,
    ]
    assert [set(figure.parts) for figure in case.figures] == [
        {"training", "validation", "together"}
    ] * 2
    for held in case.memory:
        assert held.total >= held.bytes + 2**20
    assert "gat's grad hidden.0.norm.weight" in case.checked.errors["gat"]
    assert "pyg's grad convs.0.att_src" in case.checked.errors["pyg"]
    assert max(case.checked.tolerance.values()) < 1e-3


def test_a_peer_that_does_not_fit_is_told_and_ours_is_judged(monkeypatch, at_home):
    run = process.run

    def short(function, arguments, **how):
        if function == "full.memory" and arguments["name"] == "pyg":
            raise DoesNotFitError("full.memory needs more memory than is free")
        return run(function, arguments, **how)

    monkeypatch.setattr(process, "run", short)
    record = measure_full(SHAPE, PLAN)
    (case,) = record.cases
    assert case.absent == {"pyg": "did not fit in memory"}
    assert [figure.peer for figure in case.figures] == ["gat"]
    total = aims.Total(16)
    assert total.measured(record) == case.held("gat").total / 2**30
    assert total.met(total.measured(record))
    assert aims.Total(16, peer="pyg").measured(record) is None
    assert str(total) == "fits into 16 GiB"


@pytest.mark.usefixtures("at_home")
def test_a_wrong_network_is_refused(monkeypatch):
    own = recipe.RecipeNet.forward

    def forward(self, x, edge_index):
        theirs = type(self.convs[0]).__module__.startswith("torch_geometric")
        return own(self, x, edge_index.flip(0) if theirs else edge_index) * (2 if theirs else 1)

    monkeypatch.setattr(recipe.RecipeNet, "forward", forward)
    with pytest.raises(WrongResultError, match="pyg computes pyg's logits wrong for an epoch of"):
        measure_full(SHAPE, PLAN)


def test_sizes_and_graphs_that_are_not_known_are_refused():
    with pytest.raises(InputError, match="heads is 0"):
        replace(SHAPE, heads=0)
    with pytest.raises(InputError, match="cora is a data set"):
        replace(SHAPE, graph="cora")
