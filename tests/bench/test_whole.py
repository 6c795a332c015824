"""Modules measured whole: the peers are what they are called, held to their definitions, timed."""

from dataclasses import asdict, replace

import pytest
import torch
import torch_geometric.nn as pyg

import gat.nn
from gat.bench import check, conv, graphs, model, whole
from gat.bench.case import Plan
from gat.bench.conv import ConvShape, measure_conv
from gat.bench.model import ModelShape, measure_model
from gat.bench.record import Record
from gat.cli import main
from gat.errors import InputError, WrongResultError

MODEL = ModelShape(graph="tiny", layers=2, heads=2, channels=3, features=4, classes=3)
CONV = ConvShape(graph="tiny", heads=2, channels=5, features=4)
KEPT = {"repeats": 1, "threads": 1, "malloc": ("kept",)}


def test_a_model_is_checked_weighed_and_timed_before_and_after_accelerate(at_home):
    found = measure_model(MODEL, Plan(("accelerated", "pyg"), **KEPT))
    called = [function for function, _ in at_home]
    assert called == [
        "model.check",
        *["model.memory"] * 2,
        "model.times",
        *["model.samples"] * 2,
    ]
    assert found.kind == "model"
    assert found.title == "PyG's GAT, 2 layers of 2x3 on tiny"
    assert found.options["layers"] == 2
    (case,) = found.cases
    assert {"features": 4, "classes": 3}.items() <= case.facts.items()
    assert case.facts["edges"] == graphs.build("tiny").num_edges
    assert [figure.peer for figure in case.figures] == ["accelerated", "pyg"]
    for figure in case.figures:
        assert set(figure.parts) == {"forward", "backward", "update", "together"}
    tensors = {"GAT's out", "GAT's grad convs.0.lin.weight", "GAT's grad convs.1.bias"}
    assert tensors <= set(case.checked.errors["pyg"]) == set(case.checked.tolerance)
    assert max(case.checked.tolerance.values()) < 1e-4


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize(
    ("score", "normalizer", "layer"),
    [
        ("additive", "softmax", "GATConv"),
        ("gatv2", "entmax15", "GATv2Conv"),
        ("scaled_dot", "gumbel", "TransformerConv"),
    ],
)
def test_a_layer_is_held_to_its_own_definition_and_pygs_to_its_twin(score, normalizer, layer):
    shape = replace(CONV, score=score, normalizer=normalizer)
    (case,) = measure_conv(shape, Plan(("gat", "pyg"), **KEPT)).cases
    assert case.facts["PyG's layer"] == layer
    assert "AttentionConv's grad x" in case.checked.errors["gat"]
    assert f"{layer}'s grad x" in case.checked.errors["pyg"]
    assert not case.checked.errors["gat"].keys() & case.checked.errors["pyg"].keys()
    assert [set(figure.parts) for figure in case.figures] == [
        {"forward", "backward", "together"}
    ] * 2
    assert [held.peer for held in case.memory] == ["gat", "pyg"]


@pytest.mark.usefixtures("at_home")
def test_a_score_that_pyg_has_no_layer_for_is_measured_alone():
    shape = replace(CONV, score="cosine", normalizer="uniform")
    (case,) = measure_conv(shape, Plan(("gat",), **KEPT)).cases
    assert case.facts["PyG's layer"] == "none"
    assert case.checked.errors["gat"]["AttentionConv's grad score.beta"] == 0


@pytest.mark.parametrize(
    ("v2", "name"), [(False, "GATConv"), (True, "GATv2Conv")], ids=["gat", "v2"]
)
def test_the_models_differ_in_their_layers_classes_alone(v2, name):
    shape = replace(MODEL, v2=v2)
    before, after = shape.module("pyg"), shape.module("accelerated")
    assert {type(layer) for layer in before.convs} == {getattr(pyg, name)}
    assert {type(layer) for layer in after.convs} == {getattr(gat.nn, name)}
    assert [str(layer) for layer in before.convs] == [
        f"{name}(4, 3, heads=2)",
        f"{name}(6, 3, heads=2)",
    ]
    for mine, theirs in zip(after.parameters(), before.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("score", conv.LAYERS)
def test_pygs_layer_is_of_the_same_size_and_its_twin_has_its_parameters(score):
    shape = replace(CONV, score=score)
    peer, twin, ours = shape.module("pyg"), shape.twin("pyg"), shape.module("gat")
    assert type(peer).__module__.startswith("torch_geometric")
    assert type(twin).__module__.startswith("gat.nn")
    for mine, theirs in zip(twin.parameters(), peer.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    given = shape.given(graphs.build("tiny"))
    assert ours(given.x, given.edges).shape == peer(given.x, given.edges).shape == (50, 10)


def test_a_training_step_moves_the_parameters_and_gradients_do_not_add_up():
    given = MODEL.given(graphs.build("tiny"))
    step = whole.Step(MODEL, MODEL.module("pyg"), given)
    first = {name: value.clone() for name, value in step.results().items()}
    for name, value in step.results().items():
        torch.testing.assert_close(value, first[name], msg=name)
    before = [parameter.detach().clone() for parameter in step.module.parameters()]
    assert set(step()) == {"forward", "backward", "update"}
    assert not any(map(torch.equal, before, step.module.parameters()))


def test_a_wrong_module_is_refused_before_anything_is_timed(monkeypatch, at_home):
    module = ModelShape.module

    def wrong(shape, peer):
        made = module(shape, peer)
        if peer == "pyg":
            made.convs[0].negative_slope = 0.21
        return made

    monkeypatch.setattr(ModelShape, "module", wrong)
    with pytest.raises(WrongResultError, match=r"pyg computes GAT's out wrong for PyG's GAT, 2"):
        measure_model(MODEL, Plan(("accelerated", "pyg"), **KEPT))
    assert [function for function, _ in at_home] == ["model.check"]


def test_nudged_features_differ_by_roundings():
    given = CONV.given(graphs.build("tiny"))
    nudged = given.nudged(0)
    gap = (nudged.x / given.x - 1).detach().abs()
    assert 0 < float(gap.max()) < 1e-6
    assert nudged.x.requires_grad
    assert not torch.equal(nudged.x, given.nudged(1).x)


def test_the_worst_of_several_float32_runs_says_what_is_tolerated():
    def truth(dtype):
        return {"out": torch.tensor([1.0, 2.0], dtype=dtype)}

    alike = [{"out": torch.tensor([1.0, 2.0 + gap])} for gap in (2e-3, 4e-3)]
    assert check.bounds(truth)["out"].tolerance == check.LEAST
    assert check.bounds(truth, alike)["out"].tolerance == pytest.approx(0.02, rel=1e-3)


@pytest.mark.parametrize("kind", [model.KIND, conv.KIND], ids=lambda kind: kind.name)
def test_of_a_large_graph_fewer_edges_are_checked(monkeypatch, kind):
    shape = MODEL if kind is model.KIND else CONV
    monkeypatch.setattr(kind.shape, "checked_most", 200 * shape.width)
    found = kind.check(asdict(shape), ["pyg"])
    checked, every = found["on"].split(" of ")
    assert 100 <= int(checked) < int(every.split()[0]) == found["facts"]["edges"]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: replace(MODEL, layers=0), "layers is 0; expected 1 or more"),
        (lambda: replace(CONV, features=-1), "features is -1; expected 1 or more"),
        (lambda: replace(CONV, score="mpl"), "score is 'mpl'; expected one of additive, bilin"),
        (lambda: replace(CONV, normalizer="max"), "normalizer is 'max'; expected one of entmax"),
        (
            lambda: measure_model(MODEL, Plan(("gat",), threads=1)),
            "there is no peer 'gat' here; known are accelerated, pyg",
        ),
        (
            lambda: measure_conv(replace(CONV, score="mlp"), Plan(("gat", "pyg"), threads=1)),
            "PyG has no layer with the score 'mlp' .* leave it out with --peers gat, or choose one",
        ),
        (
            lambda: measure_model(replace(MODEL, fraction=0.0), Plan(("pyg",), threads=1)),
            "fraction is 0.0; expected a share of the edges",
        ),
    ],
    ids=["layers", "features", "score", "normalizer", "peer", "no layer", "fraction"],
)
def test_what_cannot_be_measured_is_refused_before_anything_runs(at_home, call, sentence):
    with pytest.raises(InputError, match=sentence):
        call()
    assert at_home == []


@pytest.mark.usefixtures("at_home")
def test_the_commands_measure_what_their_options_say(capsys, tmp_path):
    path = tmp_path / "x.json"
    some = ["--graph", "tiny", "--heads", "2", "--channels", "3", "--features", "4"]
    some += ["--repeats", "1", "--malloc", "kept", "--output", str(path)]
    assert main(["bench", "model", *some, "--layers", "2", "--classes", "3", "--v2"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("PyG's GAT of GATv2Conv, 2 layers of 2x3 on tiny: nodes 50, edges ")
    assert "update ms" in said
    assert "times accelerated" in said
    assert Record.load(path).options["v2"] is True
    parts = ["--score", "gatv2", "--normalizer", "topk", "--fraction", "0.5"]
    assert main(["bench", "conv", *some, *parts]) == 0
    said = capsys.readouterr().out
    assert said.startswith("AttentionConv of gatv2 and topk, 2x3 on tiny, 50% of its edges: nodes")
    assert Record.load(path).options["normalizer"] == "topk"
