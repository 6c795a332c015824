"""The sampler's speed: who is measured, held to what, and what the row makes of it."""

import pytest
import torch

from gat.bench import aims, sampling
from gat.bench.case import Plan
from gat.bench.sampling import SampleShape, measure_sampling
from gat.errors import InputError, WrongResultError
from gat.sampling import Sample, Sampler

PLAN = Plan(("gat", "layers", "torch"), repeats=1, malloc=("kept",))


def test_samplers_are_checked_then_timed_on_one_thread(at_home):
    record = measure_sampling(SampleShape(graph="tiny", fanouts=(3, 2), batch_size=20), PLAN)
    (case,) = record.cases
    assert record.title == "sampling 3/2 in batches of 20 on tiny"
    assert record.options["threads"] == 1
    assert [figure.peer for figure in case.figures] == ["gat", "layers", "torch"]
    assert case.checked.errors["gat"] == {"nodes": 0.0, "edges": 0.0}
    assert case.checked.errors["torch"]["edges"] == 0.0
    rate = aims.Rate(1e12, malloc="kept")
    seconds = case.figure("gat", "kept").seconds()
    assert rate.measured(record) == case.facts["sampled edges"] / seconds
    assert not rate.met(rate.measured(record))
    assert (str(rate), rate.shown(2e6)) == (
        "at least 1e+06 million edges a second",
        "2.0 million/s",
    )


def test_a_sampler_that_draws_something_else_is_not_timed(at_home, monkeypatch):
    sample = Sampler.sample

    def wrong(self: Sampler, nodes: torch.Tensor, epoch: int = 0) -> Sample:
        return sample(self, nodes, epoch + (self.graph.num_dst > 0))

    monkeypatch.setattr(sampling, "_defined", lambda case, seeds: sample(case.sampler, seeds))
    monkeypatch.setattr(Sampler, "sample", wrong)
    with pytest.raises(WrongResultError, match="gat computes nodes wrong for sampling"):
        measure_sampling(SampleShape(graph="tiny", fanouts=(2, 2), batch_size=20), PLAN)


def test_sizes_and_peers_that_are_not_known_are_refused():
    with pytest.raises(InputError, match="batch_size is 0"):
        SampleShape(batch_size=0)
    with pytest.raises(InputError, match="there is no graph 'nowhere' to measure"):
        SampleShape(graph="nowhere")
    with pytest.raises(InputError, match="dgl"):
        measure_sampling(SampleShape(), Plan(("dgl",), malloc=("default",)))
