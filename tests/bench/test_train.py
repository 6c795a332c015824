"""Sampled training: the same batches for all, held to float64, wrong results refused."""

from dataclasses import asdict, replace

import pytest
import torch

from gat.bench import replicas, sampled, train
from gat.bench.case import Plan
from gat.bench.train import TrainShape, measure_train
from gat.data.synthetic import planted_graph
from gat.errors import InputError, WrongResultError

SHAPE = TrainShape(fanouts=(3, 2), batch_size=8, layers=2, heads=2, channels=3, steps=2)
PLAN = Plan(("gat", "pyg", "pyg-trimmed"), repeats=1, threads=1, malloc=("kept",))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(replicas.PLANTED, "arxiv-size", ("ogbn-arxiv", 0.001))


@pytest.mark.parametrize(
    ("graph", "kind"),
    [("arxiv-size", "planted replica of ogbn-arxiv"), ("tiny", "random")],
    ids=["planted", "random"],
)
def test_sampled_training_is_checked_on_a_batch_then_timed(at_home, graph, kind):
    record = measure_train(replace(SHAPE, graph=graph), PLAN)
    (case,) = record.cases
    called = [function for function, _ in at_home]
    assert called == ["replicas.write", "train.check", "train.times", *["train.samples"] * 3]
    assert record.title == (
        f"2 steps of sampled training on {graph}, 2 layers of 2x3, 3/2 neighbours, batches of 8"
    )
    assert "folder" not in record.options
    assert [figure.peer for figure in case.figures] == ["gat", "pyg", "pyg-trimmed"]
    assert all(set(figure.parts) == {"together"} for figure in case.figures)
    assert (case.facts["graph"], case.facts["steps"]) == (kind, 2)
    assert "grad hidden.0.conv.att_src" in case.checked.errors["pyg-trimmed"]
    assert max(case.checked.tolerance.values()) < 1e-4


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize("peer", ["gat", "pyg"])
def test_a_loop_over_other_batches_is_not_timed(monkeypatch, peer):
    if peer == "gat":
        own = sampled.OurEpochs.logits
        monkeypatch.setattr(sampled.OurEpochs, "logits", lambda self: own(self).flip(0))
    else:
        own = sampled.Batches.batch
        # The check takes a batch for the truth before it asks a peer for its own.
        epochs = iter([0, 1])
        monkeypatch.setattr(
            sampled.Batches, "batch", lambda self, epoch, step: own(self, next(epochs), step)
        )
    with pytest.raises(WrongResultError, match=f"{peer} computes logits wrong for 2 steps of"):
        measure_train(SHAPE, replace(PLAN, peers=(peer,)))


@pytest.fixture
def started(tmp_path):
    """A run of a shape that has not begun, and the steps of its epochs."""
    replicas.write("arxiv-size", str(tmp_path))
    return lambda shape: train._session(asdict(shape), str(tmp_path))


def test_epochs_differ_and_take_as_many_steps_as_told(started):
    session, steps = started(SHAPE)
    loops = [sampled.epochs(name, session) for name in PLAN.peers]
    ours, plain, trimmed = loops
    for loop in loops:
        loop.run(steps)
        loop.run(steps)
    # Two epochs of the same steps leave the same weights.
    for mine, theirs in zip(ours.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-4, rtol=1e-3)
    assert session.at.epoch == 2
    assert session.at.step == 0
    first, second = (plain.batches.batch(epoch, 0).n_id[:8] for epoch in (0, 1))
    assert not torch.equal(first, second)
    assert trimmed.epoch == 2


def test_the_whole_epoch_has_every_training_node_once(started):
    session, steps = started(replace(SHAPE, steps=None))
    batches = sampled.Batches(session)
    assert steps == len(batches) == -(-batches.nodes.numel() // 8)
    seeds = [batches.batch(0, step) for step in range(steps)]
    found = torch.cat([data.n_id[: data.batch_size] for data in seeds])
    assert torch.equal(found.sort().values, batches.nodes)


def test_a_planted_graph_is_kept_sorted_in_both_directions():
    made = planted_graph("ogbn-arxiv", scale=0.001)
    task = replicas.task("arxiv-size", replicas.arrays_of("arxiv-size"))
    both = made.both_directions().astype("int64")
    graph = task.graphs[0]
    wanted = {tuple(edge) for edge in both.T.tolist()}
    assert {tuple(edge) for edge in graph.edge_index.T.tolist()} == wanted
    assert graph.num_edges == both.shape[1]
    assert graph.graph().perm is None
    assert graph.train_mask[:, 0].nonzero()[:, 0].tolist() == made.parts["train"].tolist()
    assert graph.val_mask[:, 0].nonzero()[:, 0].tolist() == made.parts["valid"].tolist()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"graph": "cora"}, "cora is a data set, which gat bench step measures; expected arxiv-"),
        ({"graph": "nowhere"}, "there is no graph 'nowhere' to measure"),
        ({"layers": 3}, "fanouts has 2 numbers and layers is 3; expected a number for each layer"),
        ({"steps": 0}, "steps is 0"),
    ],
    ids=str,
)
def test_what_cannot_be_trained_on_is_refused(change, sentence):
    with pytest.raises(InputError, match=sentence):
        replace(SHAPE, **change)
