"""`gat.accelerate` and `gat.restore`: the class changes, and nothing else about a model."""

import copy
import pickle

import pytest
import torch
import torch_geometric.nn as pyg
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.nn.models.attentive_fp import GATEConv

import gat
import gat.nn
from gat.errors import ArgumentTypeError
from gat.nn.accelerate import MARK, OTHERS, TWINS, AccelerateReport, LayerNote
from tests.graphs import GRAPHS

EDGE_INDEX = GRAPHS["random"][0]
NODES, EDGES = 31, EDGE_INDEX.size(1)
EDGE_TYPES = [("a", "to", "b"), ("b", "to", "a")]
METADATA = (["a", "b"], EDGE_TYPES)
HETERO = dict.fromkeys(EDGE_TYPES, EDGE_INDEX)


def numbers(*size):
    return torch.randn(*size, dtype=torch.float64)


class Shared(torch.nn.Module):
    """One layer at two names, in nested containers."""

    def __init__(self):
        super().__init__()
        conv = pyg.GATConv(6, 3, heads=2)
        self.blocks = torch.nn.ModuleDict(
            {"first": torch.nn.ModuleList([conv, pyg.GATv2Conv(6, 6)])}
        )
        self.again = conv

    def forward(self, x, edge_index):
        for layer in (*self.blocks["first"], self.again):
            x = layer(x, edge_index).tanh()
        return x


def hetero_conv():
    return pyg.HeteroConv({t: pyg.GATConv(6, 4, add_self_loops=False) for t in EDGE_TYPES})


def to_hetero():
    return pyg.to_hetero(pyg.models.GAT(6, 8, 2, 4, add_self_loops=False, v2=True), METADATA)


def two_types():
    return {"a": numbers(NODES, 6), "b": numbers(NODES, 6)}, HETERO


def one_type(*more):
    return numbers(NODES, 6), EDGE_INDEX, *more


# name -> (the model, its inputs)
MODELS = {
    "GATConv": (lambda: pyg.GATConv(6, 4, 2, residual=True), one_type),
    "GATv2Conv": (lambda: pyg.GATv2Conv(6, 4, 2, concat=False), one_type),
    "lazy": (lambda: pyg.GATConv(-1, 4), one_type),
    "edge_dim": (lambda: pyg.GATConv(6, 4, edge_dim=3), lambda: one_type(numbers(EDGES, 3))),
    "models.GAT": (lambda: pyg.models.GAT(6, 8, 3, 4, heads=2, jk="cat"), one_type),
    "models.GAT_v2": (lambda: pyg.models.GAT(6, 8, 3, 4, heads=2, v2=True), one_type),
    "data_parallel": (lambda: torch.nn.DataParallel(pyg.models.GAT(6, 8, 2, 4)), one_type),
    "shared": (Shared, one_type),
    "sequential": (
        lambda: pyg.Sequential(
            "x, e", [(pyg.GATConv(6, 4), "x, e -> x"), (pyg.GATv2Conv(4, 4), "x, e -> x")]
        ),
        one_type,
    ),
    "hetero_conv": (hetero_conv, two_types),
    "to_hetero": (to_hetero, two_types),
    "TransformerConv": (lambda: pyg.TransformerConv(6, 4, 2, beta=True), one_type),
    "SuperGATConv": (lambda: pyg.SuperGATConv(6, 4, 2), one_type),
    "AGNNConv": (lambda: pyg.AGNNConv(), one_type),
    "RGATConv": (
        lambda: pyg.RGATConv(6, 4, 3),
        lambda: one_type(torch.arange(EDGES) % 3),
    ),
    "HANConv": (lambda: pyg.HANConv(6, 4, METADATA), two_types),
}  # fmt: skip
BOTH = ["models.GAT", "models.GAT_v2"]


@pytest.fixture(params=MODELS)
def case(request):
    """A model in float64, in evaluation, and its inputs; lazy sizes are not known yet."""
    torch.manual_seed(0)
    build, inputs = MODELS[request.param]
    return build().double().eval(), inputs()


def network(name="models.GAT"):
    build, inputs = MODELS[name]
    return build().double().eval(), inputs()


def results(model, inputs):
    """Outputs, and the gradients of all parameters."""
    out = model(*inputs)
    outs = list(out.values()) if isinstance(out, dict) else [out]
    model.zero_grad()
    sum((o * torch.linspace(-1, 2, o.numel()).view_as(o)).sum() for o in outs).backward()
    return outs, {name: p.grad for name, p in model.named_parameters()}


def classes(model):
    return [type(module) for module in model.modules()]


def names(notes):
    return [note.name for note in notes]


def test_results_gradients_and_state_stay_before_after_and_restored(case):
    model, inputs = case
    expected = results(copy.deepcopy(model).requires_grad_(), inputs) if _is_sized(model) else None
    objects, before = {id(m) for m in model.modules()}, classes(model)
    parameters, keys = [id(p) for p in model.parameters()], list(model.state_dict())
    report = gat.accelerate(model)
    assert [id(p) for p in model.parameters()] == parameters
    assert list(model.state_dict()) == keys
    assert {id(m) for m in model.modules()} == objects
    ours = results(model, inputs)
    if expected is not None:
        torch.testing.assert_close(ours, expected)
    restored = gat.restore(model)
    assert names(restored.changed) == names(report.changed)
    assert classes(model) == before
    torch.testing.assert_close(results(model, inputs), ours)
    assert not any(MARK in vars(module) for module in model.modules())


def _is_sized(model):
    return not any(isinstance(p, torch.nn.UninitializedParameter) for p in model.parameters())


def test_every_twin_that_gat_has_is_changed_and_every_other_is_told_of(case):
    model, _ = case
    layers = {n: type(m).__name__ for n, m in model.named_modules() if type(m).__name__ in TWINS}
    report = gat.accelerate(model)
    had = [LayerNote(n, layer) for n, layer in layers.items() if hasattr(gat.nn, layer)]
    assert list(report.changed) == had
    lacked = {n for n, layer in layers.items() if not hasattr(gat.nn, layer)}
    assert {note.name for note in report.left} == lacked
    for note in report.changed:
        assert type(model.get_submodule(note.name)) is getattr(gat.nn, note.layer)
    again = gat.accelerate(model)
    assert (again.changed, again.already, again.left) == ((), report.changed, report.left)


def test_every_twin_is_a_subclass_of_pygs():
    for name in set(TWINS) & set(gat.nn.__all__):
        assert issubclass(getattr(gat.nn, name), getattr(pyg, name))


def test_the_report_reads_as_a_list():
    class MyConv(pyg.GATConv):
        pass

    model = torch.nn.ModuleDict(
        {"a": pyg.GATConv(6, 4), "b": gat.nn.GATv2Conv(6, 4), "c": MyConv(2, 2)}
    )
    report = gat.accelerate(model)
    assert str(report) == (
        "accelerated 1:\n  a: GATConv\n"
        "already ours 1:\n  b: GATv2Conv\n"
        "left 1:\n  c: MyConv, a subclass of GATConv, which may have code of its own"
    )  # fmt: skip
    assert str(gat.accelerate(torch.nn.Linear(1, 1))) == "accelerated no layers"
    assert str(gat.accelerate(pyg.GATConv(1, 1))) == "accelerated 1:\n  (the model itself): GATConv"
    assert str(gat.restore(model)) == "restored 1:\n  a: GATConv"
    assert type(model["c"]) is MyConv
    with pytest.raises(AttributeError):
        report.changed = ()


def left(layer):
    report = gat.accelerate(layer)
    assert report.changed == ()
    return [note.why for note in report.left]


@pytest.mark.parametrize("method", ["forward", "message", "edge_update", "propagate"])
def test_a_layer_with_a_method_of_its_own_is_left(method):
    layer = pyg.GATConv(6, 4)
    setattr(layer, method, lambda *args: None)
    assert left(layer) == [f"its `{method}` was replaced on the instance"]
    assert type(layer) is pyg.GATConv


def test_layers_that_only_pygs_code_serves_are_left():
    assert left(pyg.GATConv(6, 4, aggr="max")) == [
        "it aggregates by 'max', which only PyG's code does"
    ]
    turned = {"flow": "target_to_source", "add_self_loops": False}
    assert left(pyg.GATConv((6, 6), 4, **turned))[0].startswith("flow='target_to_source' on a bi")
    assert gat.accelerate(pyg.GATConv(6, 4, **turned)).changed
    assert left(pyg.HGTConv(4, 4, METADATA)) == [OTHERS["HGTConv"]]
    assert left(pyg.FAConv(4)) == [OTHERS["FAConv"]]
    assert left(GATEConv(4, 4, 3)) == [OTHERS["GATEConv"]]
    assert left(pyg.GeneralConv(4, 4, attention=True)) == [OTHERS["GeneralConv"]]
    assert left(pyg.GeneralConv(4, 4)) == left(pyg.GCNConv(4, 4)) == []
    assert left(pyg.HypergraphConv(4, 4)) == []
    assert left(pyg.HypergraphConv(4, 4, use_attention=True)) == [OTHERS["HypergraphConv"]]


def test_the_layer_inside_gpsconv_is_changed_and_gpsconv_is_told_of():
    model = pyg.GPSConv(8, pyg.GATConv(8, 8), heads=2)
    report = gat.accelerate(model)
    assert names(report.changed) == ["conv"]
    assert report.left == (LayerNote("", "GPSConv", OTHERS["GPSConv"]),)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_traced_layer_is_left():
    model, inputs = network("sequential")
    traced = torch.jit.trace(model, inputs)
    report = gat.accelerate(traced)
    assert report.changed == ()
    assert [note.layer for note in report.left] == ["GATConv", "GATv2Conv"]
    assert {note.why for note in report.left} == {"its code was fixed by torch.jit"}


def test_what_is_no_module_is_refused():
    for call in (gat.accelerate, gat.restore):
        with pytest.raises(ArgumentTypeError, match=r"model is a dict; expected a torch\.nn\.Mod"):
            call({"weight": 1})


@pytest.mark.parametrize("name", BOTH)
def test_an_optimiser_made_before_steps_the_same_parameters(name):
    (theirs, inputs), (ours, _) = network(name), network(name)
    ours.load_state_dict(theirs.state_dict())
    for model in (theirs, ours):
        optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
        for step in range(3):
            if model is ours and step:
                gat.accelerate(model) if step == 1 else gat.restore(model)
            results(model, inputs)
            optimiser.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


def test_flags_hooks_and_attributes_of_ones_own_are_kept():
    model, inputs = network()
    seen = []
    model.convs[0].note = "mine"
    model.convs[0].register_forward_hook(lambda *args: seen.append(1))
    model.convs[1].train()
    model.convs[1].lin.weight.requires_grad_(False)
    for change in (gat.accelerate, gat.restore):
        change(model)
        model(*inputs)
        assert model.convs[0].note == "mine"
        assert (model.training, model.convs[0].training, model.convs[1].training) == (0, 0, 1)
        assert not model.convs[1].lin.weight.requires_grad
    assert seen == [1, 1]


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_of_an_accelerated_model_works_and_can_be_restored(clone):
    model, inputs = network()
    expected = results(model, inputs)
    gat.accelerate(model)
    copied = clone(model)
    assert len(gat.accelerate(copied).already) == 3
    torch.testing.assert_close(results(copied, inputs), expected)
    assert len(gat.restore(copied).changed) == 3
    assert {type(c) for c in copied.convs} == {pyg.GATConv}
    assert {type(c) for c in model.convs} == {gat.nn.GATConv}
    torch.testing.assert_close(results(copied, inputs), expected)


def test_restore_leaves_layers_of_ours_that_were_made_as_such():
    model = torch.nn.ModuleList([gat.nn.GATConv(6, 4), pyg.GATConv(6, 4)])
    gat.accelerate(model)
    assert names(gat.restore(model).changed) == ["1"]
    assert classes(model)[1] is gat.nn.GATConv
    assert gat.restore(model) == AccelerateReport("restored")


def test_a_layer_parametrised_since_is_left_and_restored_once_it_is_not():
    model, _ = network()
    gat.accelerate(model)
    torch.nn.utils.parametrize.register_parametrization(
        model.convs[0], "att_src", torch.nn.Identity()
    )
    report = gat.restore(model)
    assert names(report.changed) == ["convs.1", "convs.2"]
    assert report.left[0].why.startswith("its class was changed after it was accelerated")
    torch.nn.utils.parametrize.remove_parametrizations(model.convs[0], "att_src")
    assert names(gat.restore(model).changed) == ["convs.0"]


def test_weights_can_be_loaded_after_and_sizes_found_after():
    source, inputs = network("GATConv")
    for load in (True, False):
        model = pyg.GATConv(-1, 4, 2, residual=True).double().eval()
        gat.accelerate(model)
        if load:
            model.load_state_dict(source.state_dict())
            torch.testing.assert_close(model(*inputs), source(*inputs))
        else:
            assert model(*inputs).shape == (NODES, 8)
        gat.restore(model)
        assert model(*inputs).shape == (NODES, 8)


def test_a_compiled_model_runs_our_layers_then_pygs_again(monkeypatch):
    model, inputs = network("GATConv")
    calls, forward = [], gat.nn.GATConv.forward
    monkeypatch.setattr(
        gat.nn.GATConv, "forward", lambda self, *a, **k: calls.append(1) or forward(self, *a, **k)
    )
    compiled = torch.compile(model, backend="eager")
    expected = compiled(*inputs)
    report = gat.accelerate(compiled)
    assert names(report.changed) == ["_orig_mod"]
    torch.testing.assert_close(compiled(*inputs), expected)
    assert len(calls) == 1
    gat.restore(compiled)
    torch.testing.assert_close(compiled(*inputs), expected)
    assert len(calls) == 1


def masked(layer, x):
    """What a layer gives under an explainer's edge mask."""
    layer.explain = True
    layer._edge_mask = torch.linspace(-1, 1, EDGES, dtype=torch.float64)
    layer._loop_mask = EDGE_INDEX[0] != EDGE_INDEX[1]
    return layer(x, EDGE_INDEX)


@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv"])
@pytest.mark.parametrize("when", ["never_explained", "explained_before", "being_explained"])
def test_explanation_masks_apply_to_accelerated_and_restored_layers(name, when):
    layer, (x, edge_index) = network(name)
    plain, expected = layer(x, edge_index), masked(copy.deepcopy(layer), x)
    assert not torch.allclose(plain, expected)
    if when != "never_explained":
        masked(layer, x)
    if when == "explained_before":
        layer.explain = False
    for change in (gat.accelerate, gat.restore, gat.accelerate):
        assert len(change(layer).changed) == 1
        torch.testing.assert_close(masked(layer, x), expected)
        if when != "being_explained":
            layer.explain = False
            torch.testing.assert_close(layer(x, edge_index), plain)


@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv"])
def test_message_hooks_run_on_accelerated_and_restored_layers(name):
    layer, inputs = network(name)
    seen = []
    layer.register_message_forward_hook(lambda *args: seen.append(1) or args[-1] * 2)
    expected = layer(*inputs)
    for change in (gat.accelerate, gat.restore):
        change(layer)
        torch.testing.assert_close(layer(*inputs), expected)
    assert seen == [1, 1, 1]


def test_gnn_explainer_says_the_same_of_an_accelerated_model():
    model, (x, edge_index) = network()
    masks = []
    for change in (lambda m: None, gat.accelerate, gat.restore):
        change(model)
        torch.manual_seed(0)
        explainer = Explainer(
            model, GNNExplainer(epochs=3), explanation_type="model", edge_mask_type="object",
            model_config={"mode": "regression", "task_level": "node", "return_type": "raw"},
        )  # fmt: skip
        masks.append(explainer(x, edge_index, index=3).edge_mask)
    assert masks[0].sum() > 0
    torch.testing.assert_close(masks[1], masks[0])
    torch.testing.assert_close(masks[2], masks[0])
