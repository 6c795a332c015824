"""Where only PyG's own code gives what was asked for, our layers run it; explainers among them."""

import pytest
import torch
import torch_geometric.nn as pyg
from torch_geometric.explain import AttentionExplainer, Explainer, GNNExplainer

import gat.nn
from gat.errors import InputError
from gat.graph import Graph, graph_of
from tests.nn.twins import NAMES, features, twins

MODEL = {"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"}


def layer_that(way, name, edge_index, seen):
    """PyG's layer, and ours made to go its way."""
    theirs, ours = twins(name, 6, 5, 2, **({"aggr": "max"} if way == "aggr" else {}))
    if way == "hook":
        ours.register_message_forward_hook(lambda *args: seen.append(1))
    elif way in ("message", "update", "aggregate"):

        class Seen(type(ours)):
            if way == "message":

                def message(self, x_j, alpha):
                    seen.append(1)
                    return super().message(x_j, alpha)

            elif way == "update":

                def update(self, inputs):
                    seen.append(1)
                    return inputs

            else:

                def aggregate(self, inputs, index, ptr=None, dim_size=None):
                    seen.append(1)
                    return super().aggregate(inputs, index, ptr, dim_size)

        # PyG keeps generated code by class name.
        Seen.__name__ += way + name
        ours = Seen(6, 5, 2).double()
        ours.load_state_dict(theirs.state_dict())
    elif way == "instance":
        original = ours.message
        ours.message = lambda x_j, alpha: seen.append(1) or original(x_j, alpha)
    elif way == "explain":
        ours.explain = theirs.explain = True
        for layer in (ours, theirs):
            layer._edge_mask = torch.linspace(-1, 1, edge_index.size(1), dtype=torch.float64)
            layer._loop_mask = edge_index[0] != edge_index[1]
    return theirs, ours


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "way", ["hook", "aggr", "message", "update", "aggregate", "instance", "explain"]
)
def test_goes_pygs_way_where_only_that_gives_what_was_asked(name, way):
    edge_index, x, _, _ = features("random")
    seen = []
    theirs, ours = layer_that(way, name, edge_index, seen)
    torch.testing.assert_close(ours(x, edge_index), theirs(x, edge_index))
    assert bool(seen) is (way not in ("aggr", "explain"))
    with pytest.raises(InputError, match=r"runs through PyG's code, and a gat\.Graph cannot"):
        ours(x, Graph.from_edge_index(edge_index, 31))


@pytest.mark.parametrize("name", NAMES)
def test_options_of_ours_are_refused_on_pygs_way(name):
    edge_index, x, _, _ = features("random")
    layer = getattr(gat.nn, name)(6, 5, symmetric_norm=True, aggr="max").double()
    with pytest.raises(InputError, match=r"aggregates by 'max'.*and symmetric_norm cannot"):
        layer(x, edge_index)
    layer = getattr(gat.nn, name)(6, 5, value_dropout=0.5).double()
    layer.register_message_forward_hook(lambda *args: None)
    with pytest.raises(InputError, match=r"has hooks inside.*and value_dropout in training cannot"):
        layer(x, edge_index)
    assert layer.eval()(x, edge_index).shape == (31, 5)


def test_gnn_explainer_runs_on_our_layers():
    edge_index, x, _, _ = features("random")
    explainer = Explainer(
        gat.nn.GATConv(6, 4).double(), GNNExplainer(epochs=3), explanation_type="model",
        node_mask_type="attributes", edge_mask_type="object", model_config=MODEL,
    )  # fmt: skip
    explanation = explainer(x, edge_index, index=3)
    assert explanation.edge_mask.shape == (edge_index.size(1),)
    assert explanation.edge_mask.sum() > 0


@pytest.mark.parametrize("layers", [pyg, gat.nn], ids=["pygs_layer", "our_layer"])
def test_pygs_attention_explainer_shifts_weights_where_a_graph_has_loops(layers):
    """Fault 11, kept: PyG takes the first E weights of a list its layer has rearranged. What
    `Graph.to_caller` gives is each edge's own weight."""
    edge_index = torch.tensor([[0, 1, 1, 2, 0], [0, 1, 0, 1, 2]])
    conv, x = gat.nn.GATConv(6, 4).double().eval(), torch.randn(3, 6).double()
    layer = layers.GATConv(6, 4).double().eval()
    layer.load_state_dict(conv.state_dict())
    graph = graph_of(edge_index, 3, self_loops=True)
    _, (listed, weights) = conv(x, graph, return_attention_weights=True)
    own = graph.to_caller(weights).flatten()
    pairs = map(tuple, listed.t().tolist())
    by_pair = dict(zip(pairs, weights.flatten(), strict=True))
    assert own.tolist() == [by_pair[pair] for pair in map(tuple, edge_index.t().tolist())]

    explainer = Explainer(
        layer, AttentionExplainer(), explanation_type="model", edge_mask_type="object",
        model_config=MODEL,
    )  # fmt: skip
    shifted = explainer(x, edge_index).edge_mask
    assert torch.allclose(shifted, weights.flatten()[:5])
    assert not torch.allclose(shifted, own)
