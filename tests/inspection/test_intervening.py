"""Interventions come and go: nested, after errors, in whole models of every kind, compiled."""

import copy
import pickle

import pytest
import torch
import torch_geometric.nn as pyg
from torch_geometric.explain import GNNExplainer

import gat
import gat.nn
from gat.errors import ArgumentTypeError, InputError
from gat.inspection.interventions.contexts import (
    bias_edges,
    change_attention,
    freeze_attention,
    mask_edges,
    switch_off_heads,
    uniform_attention,
)
from gat.inspection.record import Attention, AttentionRecord
from tests.graphs import GRAPHS
from tests.inspection.networks import explainer

EDGES = GRAPHS["random"][0]
NODES, COUNT, WIDTH = 31, EDGES.size(1), 6


class Network(torch.nn.Module):
    def __init__(self, library=gat.nn, **options):
        super().__init__()
        self.conv1 = library.GATConv(WIDTH, 4, heads=3, **options)
        self.norm = torch.nn.LayerNorm(12)
        self.conv2 = library.GATv2Conv(12, 5, heads=2, concat=False, **options)

    def forward(self, x, edge_index):
        return self.conv2(torch.relu(self.norm(self.conv1(x, edge_index))), edge_index)


class OneLayer(torch.nn.Module):
    def __init__(self, library):
        super().__init__()
        self.conv = library.GATConv(WIDTH, 4, add_self_loops=False)

    def forward(self, x, edge_index):
        return self.conv(x, edge_index)


def features(width=WIDTH):
    return torch.randn(NODES, width, generator=torch.Generator().manual_seed(5))


def weights_of(layer, x=None, edge_index=EDGES):
    return layer(features() if x is None else x, edge_index, return_attention_weights=True)[1][
        1
    ].detach()


def state(model):
    """All there is to see of a model."""
    return (
        [
            (name, type(module), {k: _kept(v) for k, v in vars(module).items()})
            for name, module in model.named_modules()
        ],
        repr(model),
        {k: v.clone() for k, v in model.state_dict().items()},
    )


def same_state(model, before):
    modules, shown, tensors = state(model)
    torch.testing.assert_close(tensors, before[2], rtol=0, atol=0)
    plain = [(name, kind, _without_tensors(own)) for name, kind, own in modules]
    return shown == before[1] and plain == [(n, k, _without_tensors(o)) for n, k, o in before[0]]


def _kept(value):
    return copy.copy(value) if isinstance(value, dict | list | set) else value


def _without_tensors(own):
    parameters = {name: id(one) for name, one in own["_parameters"].items()}
    return {**own, "_parameters": parameters}


INTERVENTIONS = {
    "uniform": lambda model: uniform_attention(model),
    "mask": lambda model: mask_edges(model, torch.arange(COUNT) % 3 > 0),
    "bias": lambda model: bias_edges(model, torch.linspace(-1, 1, COUNT)),
    "off": lambda model: switch_off_heads(model, {"conv1": [0], "conv2": [1]}),
    "function": lambda model: change_attention(model, lambda record: record.weights / 2),
    "frozen": lambda model: freeze_attention(model, Attention([record("conv1", 3)])),
}


def record(layer, heads, **options):
    generator = torch.Generator().manual_seed(heads)
    fields = {
        "weights": torch.rand(COUNT, heads, generator=generator),
        "loops": torch.rand(NODES, heads, generator=generator),
        "edge_index": EDGES,
        "when": "before_dropout",
        **options,
    }
    return AttentionRecord(layer, "GATConv", num_src=NODES, num_dst=NODES, **fields)


@pytest.mark.parametrize("library", [gat.nn, pyg], ids=["gat", "pyg"])
@pytest.mark.parametrize("name", INTERVENTIONS)
def test_the_model_is_as_it_was_after_use_and_after_an_error(name, library):
    model = Network(library)
    before, plain = state(model), model(features(), EDGES)
    with INTERVENTIONS[name](model):
        assert not torch.allclose(model(features(), EDGES), plain)
    assert same_state(model, before)
    handle = model.conv2.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), INTERVENTIONS[name](model):
        model(features(), EDGES)
    handle.remove()
    with (
        pytest.raises(InputError),
        INTERVENTIONS[name](model),
        mask_edges(model, torch.ones(3) > 0),
    ):
        model(features(), EDGES)
    assert same_state(model, before)
    assert torch.equal(model(features(), EDGES), plain)
    assert torch.equal(pickle.loads(pickle.dumps(model))(features(), EDGES), plain)


@pytest.mark.parametrize("library", [gat.nn, pyg], ids=["gat", "pyg"])
def test_contexts_may_end_in_another_order(library):
    model = Network(library)
    before = state(model)
    first, second = uniform_attention(model), mask_edges(model, torch.arange(COUNT) % 3 > 0)
    with second:
        expected = model(features(), EDGES)
    first.__enter__()
    other = mask_edges(model, torch.arange(COUNT) % 3 > 0)
    other.__enter__()
    first.__exit__(None, None, None)
    torch.testing.assert_close(model(features(), EDGES), expected)
    other.__exit__(None, None, None)
    assert same_state(model, before)
    compiled = torch.compile(lambda x: x + 1, backend=_refuses_to_compile)
    with pytest.raises(Exception, match="is compiled"):
        compiled(torch.ones(1))


def _refuses_to_compile(module, inputs):
    raise RuntimeError("is compiled")


def test_nothing_is_left_of_an_intervention_that_could_not_begin():
    model = torch.nn.ModuleDict(
        {"a": pyg.GATConv(6, 4), "b": pyg.GeneralConv(6, 6, attention=True)}
    )
    before = state(model)
    with pytest.raises(
        InputError, match=r"b \(GeneralConv\) cannot be changed: gat has no layer like it. It can"
    ):
        uniform_attention(model).__enter__()
    assert same_state(model, before)
    with uniform_attention(model, layers="a"):
        assert isinstance(model["a"], gat.nn.GATConv)


def test_changes_follow_one_another_in_the_order_of_entry():
    layer = gat.nn.GATConv(WIDTH, 4, heads=2, add_self_loops=False)
    target = EDGES[1]
    kept = torch.rand(COUNT) < 0.7
    fixed = record("", 2)

    def share(weights):
        return weights / torch.zeros(NODES, 2).index_add(0, target, weights)[target]

    def close(weights):
        torch.testing.assert_close(weights_of(layer), weights.nan_to_num(0.0))

    plain = weights_of(layer)
    mask = kept.view(-1, 1).float().expand(-1, 2)
    with uniform_attention(layer), mask_edges(layer, kept):
        close(share(mask))
    with mask_edges(layer, kept), uniform_attention(layer):
        close(share(mask))
    with freeze_attention(layer, fixed), mask_edges(layer, kept):
        sums = torch.zeros(NODES, 2).index_add(0, target, fixed.weights)[target]
        close(share(fixed.weights * mask) * sums)
    with mask_edges(layer, kept), freeze_attention(layer, fixed):
        close(fixed.weights)
    with freeze_attention(layer, fixed), uniform_attention(layer, heads=[1]):
        close(torch.stack([fixed.weights[:, 0], share(torch.ones(COUNT, 2))[:, 1]], dim=1))
    with bias_edges(layer, kept.float()), bias_edges(layer, -kept.float()):
        close(plain)
    with (
        change_attention(layer, lambda r: r.weights + 1),
        change_attention(layer, lambda r: r.weights * 2),
    ):
        doubled = weights_of(layer)
    close((doubled - 2) / 2)
    with switch_off_heads(layer, {"": [0]}), uniform_attention(layer):
        close(share(torch.ones(COUNT, 2)) * torch.tensor([0.0, 1.0]))


def test_layers_by_name_string_or_list_and_heads():
    model = Network()
    first, second = weights_of(model.conv1), weights_of(model.conv2, features(12))
    for chosen in ("conv1", ["conv1"], iter(["conv1"])):
        with uniform_attention(model, layers=chosen):
            assert not torch.allclose(weights_of(model.conv1), first)
            assert torch.equal(weights_of(model.conv2, features(12)), second)
    with uniform_attention(model, heads=[1]):
        changed = weights_of(model.conv1)
    same = (changed == first).all(0)
    assert same.tolist() == [True, False, True]


def test_a_layer_at_two_names_is_changed_at_either():
    layer = gat.nn.GATConv(WIDTH, WIDTH)
    model = torch.nn.ModuleDict({"a": layer, "b": layer})
    with uniform_attention(model, layers="b"):
        degree = weights_of(layer)[-1]
    assert 1 / degree == (EDGES[1] == NODES - 1).sum() + 1 - ((EDGES == NODES - 1).all(0)).sum()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda m: uniform_attention(m, layers="conv3"),
            r"no layer at 'conv3'; its attention layers: conv1 \(GATConv\), conv2 \(GATv2Conv\)",
        ),
        (
            lambda m: uniform_attention(m, layers=["norm"]),
            "has LayerNorm, no attention layer, at 'norm'",
        ),
        (
            lambda m: uniform_attention(m, heads=[2]),
            r"conv2 \(GATv2Conv\) has no head 2; expected numbers from 0 to 1",
        ),
        (lambda m: switch_off_heads(m, {"conv1": [-1]}), r"conv1 \(GATConv\) has no head -1"),
        (lambda m: uniform_attention(m.norm), "LayerNorm has no attention layer to change"),
        (
            lambda m: mask_edges(m, {("a", "to", "b"): torch.ones(3) > 0}),
            r"mask names edge type \('a', 'to', 'b'\), over which none",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(build, message):
    with pytest.raises(InputError, match=message):
        build(Network()).__enter__()


def test_arguments_of_another_type_are_refused():
    with pytest.raises(ArgumentTypeError, match="model is a int"):
        uniform_attention(3).__enter__()
    with pytest.raises(ArgumentTypeError, match="layers holds a int; expected names"):
        uniform_attention(Network(), layers=[1]).__enter__()


def test_subclasses_of_pygs_layers_are_refused_and_of_ours_are_not():
    class Theirs(pyg.GATConv):
        pass

    class Ours(gat.nn.GATConv):
        def forward(self, x, edge_index, **kwargs):
            return super().forward(x, edge_index, **kwargs)

    with pytest.raises(InputError, match=r"Theirs cannot be changed: a subclass of GATConv, which"):
        uniform_attention(Theirs(6, 4)).__enter__()
    with uniform_attention(Ours(6, 4)) as nothing:
        assert nothing is None


@pytest.mark.parametrize("library", [gat.nn, pyg], ids=["gat", "pyg"])
def test_layers_that_run_pygs_code_refuse_rather_than_ignore(library):
    model = Network(library)
    handle = model.conv1.register_message_forward_hook(lambda *_: None)
    told = "GATConv has hooks inside message passing, which runs through PyG's code, and an interv"
    with pytest.raises(InputError, match=told), uniform_attention(model):
        model(features(), EDGES)
    handle.remove()
    told = "is being explained, which runs through PyG's code, and an intervention on its attention"
    with pytest.raises(InputError, match=told), uniform_attention(model):
        explainer(model, GNNExplainer(epochs=1))(features(), EDGES)
    model(features(), EDGES)


@pytest.mark.parametrize("way", ["whole", "in_place", "layer", "function"])
def test_compiled_models_are_changed_and_compiled_again_after(way):
    model = OneLayer(gat.nn)
    compiles = []

    def backend(module, inputs):
        compiles.append(module)
        return module

    x = features()
    plain = model(x, EDGES).detach()
    with uniform_attention(model):
        changed = model(x, EDGES).detach()
    run = model
    if way == "whole":
        model = run = torch.compile(model, backend=backend)
    elif way == "in_place":
        model.compile(backend=backend)
    elif way == "layer":
        model.conv = torch.compile(model.conv, backend=backend)
    else:
        run = torch.compile(lambda x, e: model(x, e), backend=backend)
    torch.testing.assert_close(run(x, EDGES), plain)
    count = len(compiles)
    assert count
    with uniform_attention(model, layers=["conv"]):
        torch.testing.assert_close(run(x, EDGES), changed)
        with switch_off_heads(model, {"conv": [0]}):
            assert not torch.allclose(run(x, EDGES), changed)
        torch.testing.assert_close(run(x, EDGES), changed)
    torch.testing.assert_close(run(x, EDGES), plain)
    assert len(compiles) == count


def test_models_that_accelerate_changed_before_stay_so():
    model = Network(pyg)
    gat.accelerate(model)
    before = state(model)
    with uniform_attention(model):
        model(features(), EDGES)
    assert same_state(model, before)
    assert isinstance(model.conv1, gat.nn.GATConv)
    gat.restore(model)
    assert type(model.conv1) is pyg.GATConv


KINDS = [("a", "to", "b"), ("b", "to", "a"), ("a", "near", "a")]


def hetero():
    x = {"a": features()[:20], "b": features()[:15]}
    edges = {
        (src, name, dst): torch.stack(
            [torch.arange(40) * 7 % x[src].size(0), torch.arange(40) * 3 % x[dst].size(0)]
        )
        for src, name, dst in KINDS
    }
    return x, edges


@pytest.mark.parametrize("library", [gat.nn, pyg], ids=["gat", "pyg"])
@pytest.mark.parametrize("wrapped", ["HANConv", "HeteroConv", "to_hetero"])
def test_edges_of_one_type_are_masked(wrapped, library):
    x, edges = hetero()
    torch.manual_seed(1)
    if wrapped == "HANConv":
        model = library.HANConv(WIDTH, 4, (["a", "b"], KINDS), heads=2)
    elif wrapped == "HeteroConv":
        convs = {kind: library.GATv2Conv(WIDTH, 4, add_self_loops=False) for kind in KINDS}
        model = pyg.HeteroConv(convs)
    else:
        model = pyg.to_hetero(OneLayer(library), (["a", "b"], KINDS))
    kept = torch.arange(40) % 3 > 0
    fewer = {**edges, KINDS[1]: edges[KINDS[1]][:, kept]}
    expected = model(x, fewer)
    with mask_edges(model, {KINDS[1]: kept}):
        torch.testing.assert_close(model(x, edges), expected)
    with mask_edges(model, {KINDS[1]: ~kept}), pytest.raises(AssertionError):
        torch.testing.assert_close(model(x, edges), expected)
    if wrapped == "HANConv":
        told = "over edges of several types; expected mask to be a dict"
        with pytest.raises(InputError, match=told), mask_edges(model, kept):
            model(x, edges)


def test_han_uniform_and_records_by_edge_type():
    x, edges = hetero()
    model = gat.nn.HANConv(WIDTH, 4, (["a", "b"], KINDS), heads=2)
    seen = []
    with uniform_attention(model), change_attention(model, lambda r: seen.append(r) or r.weights):
        _, weights = model(x, edges, return_attention_weights=True)
    assert [one.edge_type for one in seen] == KINDS
    for pair, own in weights.values():
        degree = pair[1].bincount(minlength=20)[pair[1]]
        torch.testing.assert_close(own, (1 / degree).view(-1, 1).expand(-1, 2))
    frozen = [
        AttentionRecord(
            "", "HANConv", "before_dropout", edges[kind], torch.rand(40, 2),
            torch.zeros(n, 2), m, n, edge_type=kind,
        )
        for kind, m, n in zip(KINDS, (20, 15, 20), (15, 20, 20), strict=True)
    ]  # fmt: skip
    with freeze_attention(model, frozen[:2]):
        _, weights = model(x, edges, return_attention_weights=True)
    plain = model(x, edges, return_attention_weights=True)[1]
    for k, kind in enumerate(KINDS):
        expected = frozen[k].weights if k < 2 else plain[kind][1]
        torch.testing.assert_close(weights[kind][1], expected)
