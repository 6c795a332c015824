"""Each kind of measurement on something tiny: what is run, and what its record holds."""

import json
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gat.bench import layer, loops, peers, record, sparse, step
from gat.bench.aims import Within
from gat.bench.case import Plan
from gat.bench.record import Figure
from gat.bench.shape import Shape
from gat.errors import BackendError, CorruptDataError, DoesNotFitError, InputError
from gat.train import ModelConfig

TINY = Shape("gat", 2, 5, "tiny")


@pytest.fixture
def measured(at_home):
    return layer.measure_layer(TINY, Plan(("gat", "pyg"), repeats=3, threads=1))


def test_a_layer_is_checked_then_weighed_then_timed(at_home, measured):
    turns = [("layer.samples", None)] * 6
    assert at_home == [
        ("layer.check", "default"),
        ("layer.memory", "default"),
        ("layer.memory", "default"),
        ("layer.times", "default"),
        *turns,
        ("layer.times", "kept"),
        *turns,
    ]
    (case,) = measured.cases
    shown = [(figure.peer, figure.malloc) for figure in case.figures]
    assert shown == [(peer, mode) for mode in ("default", "kept") for peer in ("gat", "pyg")]
    for figure in case.figures:
        assert set(figure.parts) == {"forward", "backward", "together"}
        assert all(len(samples) == 3 for samples in figure.parts.values())
        assert figure.seconds("forward") + figure.seconds("backward") <= 2 * figure.seconds()
    assert [held.peer for held in case.memory] == ["gat", "pyg"]
    assert set(case.checked.errors) == {"gat", "pyg"}
    assert case.floor["together"] == case.floor["forward"] + case.floor["backward"]


def test_a_record_can_be_judged_on_its_own(measured, tmp_path):
    path = measured.write(tmp_path / "a" / "x.json")
    values = json.loads(path.read_text())
    assert set(values) == set(record.Record.model_fields)
    assert values["options"] == {
        **TINY.to_dict(),
        "peers": ["gat", "pyg"],
        "malloc": ["default", "kept"],
        "repeats": 3,
        "threads": 1,
    }
    assert {"python", "gat", "torch", "torch_geometric", "compiled library"} <= set(
        values["versions"]
    )
    assert values["machine"]["threads"] == 1
    assert {"processor", "cores", "memory"} <= set(values["machine"])
    text = path.read_text()
    assert socket.gethostname() not in text
    assert str(Path.home()) not in text
    assert str(tmp_path) not in text
    assert record.Record.load(path) == measured


@pytest.mark.parametrize("text", ["", "[]", '{"kind": "layer"}', '{"kind": 1'])
def test_what_is_no_record_is_refused_by_name(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(CorruptDataError, match=r"bad.json is not a record of gat bench .*remove"):
        record.Record.load(path)


def test_a_record_that_cannot_be_written_says_so(measured, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written .* name another with --output"):
        measured.write(tmp_path / "file" / "x.json")


def test_a_peer_that_does_not_fit_is_left_out_of_the_figures(monkeypatch, at_home):
    memory = layer.memory

    def short(shape, name):
        if name == "pyg":
            raise DoesNotFitError("too large")
        return memory(shape, name)

    monkeypatch.setattr(layer, "memory", short)
    (case,) = layer.measure_layer(TINY, Plan(("gat", "pyg"), 1, 1, ("kept",))).cases
    assert case.absent == {"pyg": "did not fit in memory"}
    assert [figure.peer for figure in case.figures] == ["gat"]
    assert case.times_faster("gat", "pyg", "kept") is None


@pytest.mark.usefixtures("at_home")
def test_a_peer_that_does_not_fit_under_one_malloc_keeps_its_figures_under_the_other(monkeypatch):
    samples, timed = layer.samples, 0

    def short(shape, name, count):
        nonlocal timed
        timed += name == "pyg"
        if name == "pyg" and timed > 1:
            raise DoesNotFitError("memory in pieces")
        return samples(shape, name, count)

    monkeypatch.setattr(layer, "samples", short)
    (case,) = layer.measure_layer(TINY, Plan(("gat", "pyg"), 1, 1, ("default", "kept"))).cases
    assert case.absent == {"pyg": "did not fit in memory, malloc kept"}
    taken = [(figure.peer, figure.malloc) for figure in case.figures]
    assert taken == [("gat", "default"), ("pyg", "default"), ("gat", "kept")]
    assert case.times_faster("gat", "pyg", "default") > 0
    assert case.times_faster("gat", "pyg", "kept") is None


@pytest.mark.usefixtures("at_home")
def test_scaling_has_a_case_per_graph():
    plan = Plan(("gat",), repeats=1, threads=1, malloc=("kept",))
    found = layer.measure_scaling(Shape("gat", 1, 2), plan, ("tiny", "karate"))
    assert [case.name for case in found.cases] == ["tiny", "karate"]
    assert found.title == "gat 1x2, tiny to karate"
    assert found.options["graph"] == ["tiny", "karate"]
    with pytest.raises(InputError, match="no graph is given to scale over"):
        layer.measure_scaling(Shape(), plan, ())


@pytest.mark.usefixtures("at_home")
def test_an_epoch_is_measured_in_three_loops_from_the_same_weights():
    plan = Plan(("gat", "pyg", "drop-in"), repeats=1, threads=1, malloc=("default",))
    (case,) = step.measure_step("digits", plan).cases
    assert [figure.peer for figure in case.figures] == ["gat", "pyg", "drop-in"]
    assert set(case.figures[0].parts) == {"training", "validation", "together"}
    tensors = set(case.checked.errors["pyg"])
    assert {"logits", "grad output.bias", "grad hidden.0.conv.lin.weight"} <= tensors
    assert case.facts["features not zero"].endswith("%")


def test_an_epoch_on_a_gpu_that_is_not_here_is_refused_before_anything_is_read(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match=r"device 'cuda' was asked for, and torch .* sees no"):
        step.measure_step("no such data", Plan(("gat",), threads=1, malloc=("default",)), "cuda")
    with pytest.raises(InputError, match="device is 'tpu'; expected"):
        step.measure_step("cora", Plan(("gat",), threads=1), "tpu")


def test_a_part_of_an_epoch_may_be_what_is_to_be_reached():
    figure = Figure(peer="gat", malloc="default", parts={"training": [2e-3], "together": [5e-3]})
    case = SimpleNamespace(figure=lambda peer, malloc: figure)
    aim = Within(3e-3, "gat", part="training")
    assert aim.measured(SimpleNamespace(cases=[case])) == 2e-3
    assert str(aim) == "training step under 3 ms"
    assert Within(3e-3, "gat").measured(SimpleNamespace(cases=[case])) == 5e-3


def test_the_plain_net_is_the_models_network_layer_by_layer():
    config = ModelConfig(num_layers=3, heads=[2, 3], hidden_channels=4, output_heads=2)
    net = loops.PlainNet(loops.layers("pyg", "gatv2"), 7, 5, config)
    shown = [str(conv) for conv in net.convs]
    assert shown == [
        "GATv2Conv(7, 4, heads=2)",
        "GATv2Conv(8, 4, heads=3)",
        "GATv2Conv(12, 5, heads=2)",
    ]
    assert [conv.dropout for conv in net.convs] == [0.6] * 3
    edges = torch.tensor([[0, 1], [1, 0]])
    assert net(torch.randn(2, 7), edges).shape == (2, 5)


def test_the_drop_in_changes_the_import_and_nothing_else():
    import torch_geometric.nn as pyg

    import gat.nn

    assert loops.layers("pyg", "gat") is pyg.GATConv
    assert loops.layers("drop-in", "gat") is gat.nn.GATConv


def test_a_recipe_that_a_plain_loop_cannot_follow_is_refused_by_its_setting():
    plan = Plan(("gat",), threads=1)
    with pytest.raises(InputError, match=r"recipe of ppi has model.residual = 'identity', which"):
        step.measure_step("ppi", plan)


@pytest.mark.usefixtures("at_home")
def test_the_first_layers_product_is_the_same_three_ways():
    plan = Plan(("gat", "dense", "torch"), repeats=1, threads=1, malloc=("default",))
    (case,) = sparse.measure_sparse("karate", plan, channels=3).cases
    assert [figure.peer for figure in case.figures] == ["gat", "dense", "torch"]
    assert set(case.checked.tolerance) == {"out", "grad weight"}
    assert case.facts["features not zero"] == "2.94%"


@pytest.mark.parametrize("name", sparse.PEERS)
def test_dropout_of_features_is_drawn_and_keeps_their_mean(name):
    x = torch.zeros(4, 200)
    x[:, ::2] = 1.0
    weight = torch.ones(1, 200)
    product = sparse.PEERS[name](x)
    assert torch.equal(product(weight, 0.0), torch.full((4, 1), 100.0))
    drawn = torch.stack([product(weight, 0.5) for _ in range(50)])
    assert float(drawn.std()) > 1
    assert abs(float(drawn.mean()) - 100) < 5


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: Plan(("gat",), repeats=0), "repeats is 0; expected 1 or more"),
        (lambda: Plan(("gat",), threads=0), "threads is 0; expected 1 or more"),
        (lambda: Plan(("gat",), malloc=("x",)), "malloc is 'x'; expected default or kept"),
        (lambda: Shape(operator="agnn"), "operator is 'agnn'; expected one of 'gat', 'gatv2'"),
        (lambda: Shape(heads=0), "heads is 0; expected 1 or more"),
        (
            lambda: layer.measure_layer(TINY, Plan(("gat", "numba"), threads=1)),
            "there is no peer 'numba' here; known are gat, cpu, triton, blockwise, reference, pyg,",
        ),
        (lambda: peers.check_names(()), "no peer is given; known are gat, cpu"),
        (
            lambda: sparse.measure_sparse("cora", Plan(("pyg",), threads=1)),
            "there is no peer 'pyg' here; known are gat, dense, torch",
        ),
        (
            lambda: sparse.measure_sparse("corra", Plan(("gat",), threads=1)),
            "there is no data set 'corra'; gat datasets lists them",
        ),
        (
            lambda: sparse.measure_sparse("dates", Plan(("gat",), threads=1)),
            "the data set 'dates' is no graph; gat datasets lists those that are",
        ),
        (
            lambda: step.measure_step("cora", Plan(("torch",), threads=1)),
            "there is no peer 'torch' here; known are gat, pyg, drop-in",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_runs(at_home, call, sentence):
    with pytest.raises(InputError, match=sentence.replace("(", "\\(")):
        call()
    assert at_home == []
