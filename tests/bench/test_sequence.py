"""Attention over a sequence, measured on something tiny: who, held to what, what counts."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from gat.bench import Plan, SequenceShape, aims, measure_sequence, sequence, targets
from gat.bench.record import Record
from gat.cli import main
from gat.errors import InputError, WrongResultError

PLAN = Plan(("gat", "sdpa"), repeats=2, threads=1, malloc=("default",))
ALL = replace(PLAN, peers=("gat", "sdpa", "flex"), repeats=1)
SHAPES = {
    "window": SequenceShape(tokens=37, width=3, heads=2, channels=5),
    "causal_window": SequenceShape(tokens=37, width=3, heads=2, channels=5, causal=True),
    "complete": SequenceShape(tokens=37, width=None, heads=2, channels=5),
    "causal": SequenceShape(tokens=37, width=None, heads=2, channels=5, causal=True),
    "dense": SequenceShape(tokens=70, width=None, heads=2, channels=16),
    "one_token": SequenceShape(tokens=1, width=0, heads=1, channels=1),
    "wide": SequenceShape(tokens=5, width=9, heads=1, channels=1),
}


def pairs(shape):
    """bool [targets, sources], in loops."""
    width = shape.tokens if shape.width is None else shape.width
    looks = torch.zeros(shape.tokens, shape.tokens, dtype=torch.bool)
    for i in range(shape.tokens):
        for j in range(shape.tokens):
            looks[i, j] = abs(i - j) <= width and (j <= i or not shape.causal)
    return looks


@pytest.mark.parametrize("name", SHAPES)
def test_graph_mask_and_blocks_are_the_same_pairs(name):
    shape = SHAPES[name]
    expected = pairs(shape)
    target, source = expected.nonzero().t()
    graph = shape.graph()
    assert graph.num_edges == len(target)
    assert torch.equal(graph.edge_index, torch.stack([source, target]))
    at = torch.arange(shape.tokens)
    assert torch.equal(shape.looks_at(at[:, None], at), expected)
    assert shape.mask() is None if shape.width is None else torch.equal(shape.mask(), expected)


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize("name", SHAPES)
def test_every_peer_is_held_to_the_reference(name):
    found = sequence.check(asdict(SHAPES[name]), ["gat", "sdpa"])
    assert found["absent"] == {}
    assert set(found["errors"]) == {"gat", "sdpa"}
    tensors = {"out", "grad query", "grad key", "grad value"}
    for errors in found["errors"].values():
        assert set(errors) == tensors
        assert all(errors[tensor] <= found["tolerance"][tensor] < 1e-4 for tensor in tensors)


def test_a_sequence_is_checked_then_weighed_then_timed(at_home):
    record = measure_sequence(SHAPES["window"], PLAN)
    (case,) = record.cases
    called = [function for function, _ in at_home]
    assert called[:4] == ["sequence.check", *["sequence.memory"] * 2, "sequence.times"]
    assert called[4:] == ["sequence.samples"] * 4
    assert record.title == "attention 2x5 of 37 tokens to 3 tokens each way"
    assert record.options["tokens"] == 37
    assert case.facts == {"tokens": 37, "edges": 247, "share of all pairs": "18.04%"}
    assert [figure.peer for figure in case.figures] == ["gat", "sdpa"]
    assert all(len(samples) == 2 for f in case.figures for samples in f.parts.values())
    assert [held.peer for held in case.memory] == ["gat", "sdpa"]
    assert case.checked.on == "the first 37 tokens"
    assert json.loads(record.model_dump_json())["kind"] == "sequence"


def test_who_has_no_backward_here_is_left_out_with_torchs_reason(at_home, monkeypatch):
    (case,) = measure_sequence(SHAPES["window"], ALL).cases
    assert case.absent["flex"].endswith("says 'FlexAttention does not support backward on CPU'")
    assert case.figure("flex", "default") is None
    # Where torch has it, it is measured.
    monkeypatch.setattr(sequence, "_why_not", lambda name: "")
    monkeypatch.setitem(sequence.PEERS, "flex", sequence.PEERS["sdpa"])
    (case,) = measure_sequence(SHAPES["window"], ALL).cases
    assert case.figure("flex", "default") is not None


@pytest.mark.usefixtures("at_home")
def test_a_wrong_mask_is_refused_before_anything_is_timed(monkeypatch):
    monkeypatch.setattr(SequenceShape, "mask", lambda shape: pairs(shape).roll(1, dims=0))
    with pytest.raises(WrongResultError, match="sdpa computes out wrong for attention 2x5 of 37"):
        measure_sequence(SHAPES["window"], PLAN)


@pytest.mark.usefixtures("at_home")
def test_of_a_sequence_too_long_to_check_whole_its_first_tokens_are(monkeypatch):
    monkeypatch.setattr(sequence, "CHECKED_MOST", 1000)
    for name in ("window", "causal_window", "complete", "causal"):
        found = sequence.check(asdict(SHAPES[name]), ["gat", "sdpa"])
        count = int(found["on"].removeprefix("the first ").removesuffix(" tokens"))
        assert found["facts"]["tokens"] == SHAPES[name].tokens
        # Of 1000 numbers, ten to an edge, all but those of a few tokens.
        edges = [replace(SHAPES[name], tokens=n).graph().num_edges for n in (count, count + 3)]
        assert edges[0] <= 100 < edges[1]
    assert sequence._shorter(SHAPES["complete"], 10**9).tokens == 1


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc")
def test_memory_counts_the_mask_or_the_graph():
    shape = SequenceShape(tokens=2048, width=128, heads=1, channels=8)
    torchs, ours = (sequence.memory(asdict(shape), name) for name in ("sdpa", "gat"))
    # A byte a pair and torch's copy of it in float32; 4 bytes an edge, one way stands for both.
    assert 20 < torchs["bytes"] / 2**20 < 30
    assert 2 < ours["bytes"] / 2**20 < 8
    again = sequence.memory(asdict(shape), "gat")
    # The graph is remembered.
    assert again["bytes"] < ours["bytes"] - 2**20


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: SequenceShape(tokens=0), "tokens is 0; expected 1 or more"),
        (lambda: SequenceShape(width=-1), "width is -1; expected 0 or more"),
        (
            lambda: measure_sequence(SequenceShape(), Plan(("gat", "pyg"), threads=1)),
            "there is no peer 'pyg' here; known are gat, sdpa, flex",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_runs(at_home, call, sentence):
    with pytest.raises(InputError, match=sentence):
        call()
    assert at_home == []


def test_titles_say_what_is_looked_at():
    said = {name: str(shape).partition(" tokens to ")[2] for name, shape in SHAPES.items()}
    assert said["window"] == "3 tokens each way"
    assert said["causal_window"] == "3 tokens back"
    assert said["complete"] == "all tokens"
    assert said["causal"] == "all tokens before"


@pytest.mark.usefixtures("at_home")
def test_the_command_measures_a_window_or_all(capsys, tmp_path):
    path = tmp_path / "figures.json"
    some = ["--tokens", "19", "--heads", "2", "--channels", "3", "--repeats", "1", "--threads", "1"]
    arguments = ["bench", "sequence", *some, "--output", str(path)]
    assert main([*arguments, "--width", "2", "--causal", "--peers", "gat,sdpa"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("attention 2x3 of 19 tokens to 2 tokens back: tokens 19, edges 54, ")
    assert "times gat" in said
    assert main([*arguments, "--complete", "--peers", "gat,sdpa"]) == 0
    assert "to all tokens: tokens 19, edges 361" in capsys.readouterr().out
    assert Record.load(path).options["width"] is None
    assert main([*arguments, "--width", "-2"]) == 2
    assert "gat: width is -2; expected 0 or more" in capsys.readouterr().err


def test_the_rows_measure_what_was_to_be_reached():
    row = targets.target("sequence-window")
    assert row.options == asdict(SequenceShape(tokens=16384, width=128, heads=8, channels=64))
    assert [str(aim) for aim in row.aims] == [
        "at least 5 times torch's dense attention's speed, default malloc",
        "at most 1/10 of torch's dense attention's memory",
    ]
    assert isinstance(targets.target("sequence-complete").aims[0], aims.Slower)


@pytest.mark.usefixtures("at_home")
def test_a_record_stands_for_its_row():
    record = measure_sequence(SHAPES["window"], PLAN)
    row = targets.target("sequence-window")
    assert not row.stands_for(record)
    tiny = replace(row, options=asdict(SHAPES["window"]), peers=PLAN.peers)
    assert tiny.stands_for(Record.model_validate_json(record.model_dump_json()))
    assert all(aim.measured(record) is not None for aim in row.aims)
