"""Where only PyG's own code gives what was asked for, our layers run it; explainers among them."""

import functools
import inspect
import itertools
import random

import pytest
import torch
import torch_geometric.nn as pyg
from torch_geometric.explain import CaptumExplainer, Explainer, GNNExplainer

import gat.nn
from gat.errors import InputError
from gat.graph import Graph
from tests.nn.twins import GATS, NAMES, SILENT, SIZED, build, features, ours, twins

MODEL = {"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"}


def overriding(method, layer, seen):
    """A class whose ``method`` takes note of its calls."""

    def noted(self, *args, **kwargs):
        seen.append(1)
        return getattr(super(kind, self), method)(*args, **kwargs)

    # PyG reads from name and signature what to hand over, and keeps generated code by class name.
    noted.__name__ = method
    noted.__signature__ = inspect.signature(getattr(layer, method))
    kind = type(f"{layer.__name__}{method}", (layer,), {method: noted})
    return kind


def layer_that(way, name, edge_index, seen):
    """PyG's layer, and ours made to go its way."""
    theirs, mine = twins(name, 6, 5, heads=2, **({"aggr": "max"} if way == "aggr" else {}))
    if way == "hook":
        mine.register_message_forward_hook(lambda *args: seen.append(1))
    elif way in ("message", "update", "aggregate", "get_attention"):
        kind = overriding(way, getattr(gat.nn, name), seen)
        mine = kind(6, 5, 2) if name in SIZED else kind()
        mine.double().load_state_dict(theirs.state_dict())
        mine.train(theirs.training)
    elif way == "instance":
        original = mine.message

        @functools.wraps(original)
        def message(*args, **kwargs):
            seen.append(1)
            return original(*args, **kwargs)

        mine.message = message
    elif way == "explain":
        mine.explain = theirs.explain = True
        for layer in (mine, theirs):
            layer._edge_mask = torch.linspace(-1, 1, edge_index.size(1), dtype=torch.float64)
            layer._loop_mask = edge_index[0] != edge_index[1]
    return theirs, mine


WAYS = ["hook", "aggr", "message", "update", "aggregate", "instance", "explain"]


@pytest.mark.parametrize(
    ("name", "way"), [*itertools.product(NAMES, WAYS), ("SuperGATConv", "get_attention")]
)
def test_goes_pygs_way_where_only_that_gives_what_was_asked(name, way):
    edge_index, x, _, _ = features("random")
    seen = []
    theirs, mine = layer_that(way, name, edge_index, seen)
    torch.testing.assert_close(mine(x, edge_index), theirs(x, edge_index))
    assert bool(seen) is (way not in ("aggr", "explain"))
    with pytest.raises(InputError, match=r"runs through PyG's code, and a gat\.Graph cannot"):
        mine(x, Graph.from_edge_index(edge_index, 31))
    with pytest.raises(InputError, match=r"runs through PyG's code, and a batch of features can"):
        mine(x[None], edge_index)


@pytest.mark.parametrize("name", GATS)
def test_options_of_ours_are_refused_on_pygs_way(name):
    edge_index, x, _, _ = features("random")
    layer = ours(name, 6, 5)
    layer.symmetric_norm, layer.aggr = True, "max"
    with pytest.raises(InputError, match=r"aggregates by 'max'.*and symmetric_norm cannot"):
        layer(x, edge_index)
    layer = ours(name, 6, 5)
    layer.value_dropout = 0.5
    layer.register_message_forward_hook(lambda *args: None)
    with pytest.raises(InputError, match=r"has hooks inside.*and value_dropout in training cannot"):
        layer(x, edge_index)
    assert layer.eval()(x, edge_index).shape == (31, 5)


@pytest.mark.parametrize("name", SILENT)
def test_weights_pyg_does_not_return_are_refused_on_its_way(name):
    edge_index, x, _, _ = features("random")
    layer = ours(name, 6, 5, aggr="max")
    with pytest.raises(InputError, match=r"aggregates by 'max'.*and return_attention_weights ca"):
        layer(x, edge_index, return_attention_weights=True)


def test_supergats_loss_on_pygs_way_is_its_own():
    edge_index, x, _, _ = features("random")
    losses = []
    for layer in twins("SuperGATConv", 6, 5, heads=2, aggr="max"):
        random.seed(4)
        layer.train()(x, edge_index)
        losses.append(layer.get_attention_loss())
    torch.testing.assert_close(losses[1], losses[0], rtol=0, atol=0)


def explained(library, name, algorithm):
    """The masks an explainer finds for a layer of that library."""
    torch.manual_seed(6)
    edge_index, x, _, _ = features("random")
    layer = build(library, name, 6, 4)
    return Explainer(
        layer, algorithm, explanation_type="model", node_mask_type="attributes",
        edge_mask_type="object", model_config=MODEL,
    )(x, edge_index, index=3)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_gnn_explainer_finds_for_our_layers_what_it_finds_for_pygs(name):
    theirs, mine = (explained(library, name, GNNExplainer(epochs=3)) for library in (pyg, gat.nn))
    torch.testing.assert_close(mine.edge_mask, theirs.edge_mask)
    torch.testing.assert_close(mine.node_mask, theirs.node_mask)
    assert mine.edge_mask.sum() > 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients")
def test_captum_explainer_finds_for_our_layers_what_it_finds_for_pygs(name):
    pytest.importorskip("captum")
    theirs, mine = (
        explained(library, name, CaptumExplainer("InputXGradient")) for library in (pyg, gat.nn)
    )
    torch.testing.assert_close(mine.edge_mask, theirs.edge_mask)
    torch.testing.assert_close(mine.node_mask, theirs.node_mask)
    assert mine.edge_mask.abs().sum() > 0
