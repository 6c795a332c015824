"""Layer-wise inference: every layer held to its definition, minutes by layer, memory in all."""

from dataclasses import replace

import pytest
import torch

from gat.bench import aims, inference, replicas
from gat.bench.case import Plan
from gat.bench.inference import InferenceShape, measure_inference
from gat.errors import InputError, WrongResultError

# So little room that layers are computed in many parts.
SHAPE = InferenceShape(heads=2, channels=3, room=3e-5)
PLAN = Plan(("gat",), repeats=1, threads=1, malloc=("default",))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(replicas.PLANTED, "products-size", ("ogbn-products", 0.0002))


def test_each_layer_is_checked_timed_and_all_is_weighed(at_home):
    record = measure_inference(SHAPE, PLAN)
    (case,) = record.cases
    called = [function for function, _ in at_home]
    assert called == [
        "replicas.write",
        *(f"inference.{k}" for k in ("check", "memory", "times", "samples")),
    ]
    assert record.title == "layer-wise inference on products-size, 3 layers of 2x3"
    (figure,) = case.figures
    assert set(figure.parts) == {"layer 1", "layer 2", "layer 3", "together"}
    assert set(case.checked.errors["gat"]) == {"layer 1", "layer 2", "layer 3", "outputs"}
    assert max(case.checked.tolerance.values()) < 1e-4
    assert case.held("gat").total > case.held("gat").bytes
    ends = aims.Finishes()
    assert ends.measured(record) == figure.seconds()
    assert ends.met(1e9)
    assert [ends.shown(seconds) for seconds in (59, 90)] == ["59.0 s", "1.5 min"]


@pytest.mark.usefixtures("at_home")
def test_a_large_graph_is_checked_layer_by_layer_alone(monkeypatch):
    monkeypatch.setattr(inference, "WHOLE", 0)
    monkeypatch.setattr(inference, "CHECKED", 20)
    (case,) = measure_inference(SHAPE, PLAN).cases
    assert case.checked.on == "20 nodes in each layer"


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize("whole", [0, 10**6], ids=["large", "small"])
@pytest.mark.parametrize("fault", ["neighbour", "order"])
def test_wrong_outputs_are_refused(monkeypatch, whole, fault):
    own = inference.predict

    def predict(model, x, graph, **how):
        if fault == "order":
            return own(model, x, graph, **how).flip(0)
        col = graph.col.clone()
        col[:] = col[0]
        return own(model, x, type(graph)(graph.rowptr, col, graph.num_src, graph.num_dst), **how)

    monkeypatch.setattr(inference, "WHOLE", whole)
    monkeypatch.setattr(inference, "predict", predict)
    tensor = {"neighbour": "layer 1", "order": "outputs"}[fault]
    with pytest.raises(WrongResultError, match=f"gat computes {tensor} wrong for layer-wise"):
        measure_inference(SHAPE, PLAN)


def test_the_direct_computation_is_the_layers_own_on_the_whole_graph():
    graph, held = replicas.tensors(replicas.arrays_of("products-size"))
    made = inference.Inferred(inference.GAT(100, 5, heads=2).eval().double(), held["x"], graph, 1)
    stage, nodes = made.model.stages()[0], torch.tensor([5, 0, 3])
    with torch.no_grad():
        wanted = stage.forward(held["x"].double(), graph)[nodes]
        found = inference._directly(stage.layer, held["x"], graph, nodes, torch.float64)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"room": 0.0}, "room is 0.0; expected GiB, more than 0"),
        ({"room": float("nan")}, "room is nan"),
        ({"layers": 0}, "layers is 0"),
        ({"graph": "cora"}, "cora is a data set"),
    ],
    ids=str,
)
def test_sizes_that_cannot_be_are_refused(change, sentence):
    with pytest.raises(InputError, match=sentence):
        replace(SHAPE, **change)
