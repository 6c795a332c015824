"""PyG's own explainers on networks of our layers: what they find is what they find on PyG's."""

import pytest
import torch
import torch_geometric.nn as pyg
from torch_geometric.explain import CaptumExplainer, Explainer, GNNExplainer
from torch_geometric.explain.algorithm.utils import clear_masks, set_hetero_masks, set_masks
from torch_geometric.nn import HeteroConv

import gat.nn
from tests.graphs import GRAPHS
from tests.inspection.networks import CONFIG, WIDTH, explainer, network

# Every drop-in with heads; the others come with their own options.
NAMES = ["GATConv", "GATv2Conv"]
GRAPH_NAMES = ["loops_and_duplicates", "isolated_nodes", "hub", "random"]

names = pytest.mark.parametrize("name", NAMES)
graphs = pytest.mark.parametrize("graph_name", GRAPH_NAMES)


def graph(name):
    edge_index, num_nodes, _ = GRAPHS[name]
    return torch.randn(num_nodes, WIDTH, dtype=torch.float64), edge_index


def twins(name, **options):
    return network("pyg", name, **options), network("gat", name, **options)


@names
@graphs
@pytest.mark.parametrize("sigmoid", [True, False], ids=["sigmoid", "plain"])
def test_an_edge_mask_changes_the_output_as_on_pygs_layer(name, graph_name, sigmoid):
    x, edge_index = graph(graph_name)
    results = []
    for model in twins(name):
        before = model(x, edge_index)
        mask = torch.linspace(-2, 2, edge_index.size(1), dtype=torch.float64).requires_grad_()
        set_masks(model, mask, edge_index, apply_sigmoid=sigmoid)
        out = model(x, edge_index)
        (out * torch.linspace(-1, 2, out.numel()).view_as(out)).sum().backward()
        clear_masks(model)
        assert not torch.allclose(out, before)
        results.append((out, mask.grad, [p.grad for p in model.parameters()]))
        torch.testing.assert_close(model(x, edge_index), before)
    torch.testing.assert_close(results[1], results[0])


@names
def test_what_is_left_under_a_mask_of_zeros_are_the_loops_the_layer_adds(name):
    x, edge_index = graph("random")
    layer = network("gat", name).first
    before, (_, weights) = layer(x, edge_index, return_attention_weights=True)
    ones = torch.ones(edge_index.size(1), dtype=torch.float64)
    set_masks(layer, ones, edge_index, apply_sigmoid=False)
    torch.testing.assert_close(layer(x, edge_index), before)
    set_masks(layer, 0 * ones, edge_index, apply_sigmoid=False)
    projected = (layer.lin if name == "GATConv" else layer.lin_l)(x).view(-1, 2, 5)
    loops = weights[-x.size(0) :].unsqueeze(-1)
    expected = (loops * projected).flatten(1) + layer.bias
    torch.testing.assert_close(layer(x, edge_index), expected)
    clear_masks(layer)
    assert torch.equal(layer(x, edge_index), before)


@names
@pytest.mark.parametrize("masks", ["edges", "edges_and_features"])
@pytest.mark.parametrize("index", [None, 3], ids=["all_nodes", "one_node"])
def test_gnn_explainer_finds_the_same_masks(name, masks, index):
    x, edge_index = graph("random")
    results = []
    for model in twins(name):
        before = model(x, edge_index)
        explain = Explainer(
            model,
            GNNExplainer(epochs=8, lr=0.1),
            explanation_type="model",
            node_mask_type="attributes" if masks == "edges_and_features" else None,
            edge_mask_type="object",
            model_config=CONFIG,
        )
        torch.manual_seed(1)
        explanation = explain(x, edge_index, index=index)
        results.append((explanation.edge_mask, explanation.get("node_mask", torch.ones(1))))
        torch.testing.assert_close(model(x, edge_index), before)
    torch.testing.assert_close(results[1], results[0])
    found = results[1][0]
    assert found.max() > found.min() >= 0
    loops = edge_index[0] == edge_index[1]
    left_out = (found == 0) & ~loops
    assert (found[loops] == 0).all(), "PyG does not mask loops where a layer adds its own"
    assert left_out.any() == (index is not None)


@names
@pytest.mark.parametrize("method", ["IntegratedGradients", "Saliency"])
@pytest.mark.parametrize("masks", ["edges", "features", "both"])
@pytest.mark.filterwarnings("ignore:Input Tensor:UserWarning")
def test_captum_attributes_the_same(name, method, masks):
    pytest.importorskip("captum")
    x, edge_index = graph("random")
    results = []
    for model in twins(name):
        options = {"n_steps": 4} if method == "IntegratedGradients" else {}
        explain = Explainer(
            # captum makes its own inputs in float32
            model.float(),
            CaptumExplainer(method, **options),
            explanation_type="model",
            node_mask_type=None if masks == "edges" else "attributes",
            edge_mask_type=None if masks == "features" else "object",
            model_config=CONFIG,
        )
        before = model(x.float(), edge_index)
        explanation = explain(x.float(), edge_index, index=torch.tensor([3, 5]))
        found = [explanation.get(key) for key in ("edge_mask", "node_mask") if key in explanation]
        assert len(found) == (2 if masks == "both" else 1)
        assert all(mask.abs().sum() > 0 for mask in found)
        results.append(found)
        torch.testing.assert_close(model(x.float(), edge_index), before)
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-6)


class Operators:
    """Which operator of ours ran, counted where the layers call it."""

    def __init__(self, monkeypatch):
        self.calls = []
        for name in ("additive_attention", "gatv2_attention"):
            monkeypatch.setattr(gat.nn.forms, name, self.counted(getattr(gat.nn.forms, name)))

    def counted(self, operator):
        def run(*args, **kwargs):
            self.calls.append(operator.__name__)
            return operator(*args, **kwargs)

        return run


@names
@pytest.mark.parametrize("algorithm", ["GNNExplainer", "Saliency"])
def test_our_layers_return_to_their_operator(name, algorithm, monkeypatch):
    x, edge_index = graph("random")
    operators, model = Operators(monkeypatch), network("gat", name).float()
    x = x.float()
    before = model(x, edge_index)
    assert len(operators.calls) == 2
    if algorithm == "Saliency":
        pytest.importorskip("captum")
        explain = explainer(model, CaptumExplainer("Saliency"))
    else:
        explain = explainer(model, GNNExplainer(epochs=2))
    explain(x, edge_index)
    operators.calls.clear()
    assert torch.equal(model(x, edge_index), before)
    assert len(operators.calls) == 2
    set_masks(model, torch.ones(edge_index.size(1)), edge_index)
    model(x, edge_index)
    assert len(operators.calls) == 2, "masked, PyG's own path computes"


@names
@pytest.mark.filterwarnings("ignore:There exist node types:UserWarning")
def test_masks_of_a_heterogeneous_network(name):
    edges = {
        ("a", "to", "a"): torch.tensor([[0, 1, 1, 2, 2], [1, 1, 0, 0, 2]]),
        ("b", "to", "a"): torch.tensor([[1, 0, 0], [0, 2, 0]]),
    }
    x = {name: torch.randn(3, WIDTH, dtype=torch.float64) for name in "ab"}
    masks = {kind: torch.linspace(-1, 1, pair.size(1)).double() for kind, pair in edges.items()}
    results = []
    for source in (pyg, gat.nn):
        torch.manual_seed(3)
        model = HeteroConv(
            {
                kind: getattr(source, name)((WIDTH, WIDTH), 4, add_self_loops=kind[0] == kind[2])
                for kind in edges
            }
        ).double()
        plain = model(x, edges)["a"]
        set_hetero_masks(model, masks, edges)
        results.append(model(x, edges)["a"])
        assert not torch.allclose(results[-1], plain)
        clear_masks(model)
        torch.testing.assert_close(model(x, edges)["a"], plain)
    torch.testing.assert_close(results[1], results[0])
