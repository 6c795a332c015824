"""Our layers against PyTorch Geometric's: output, weights and every gradient, option by option."""

import pytest
import torch

from tests.graphs import SQUARE
from tests.nn.twins import (
    EDGE_DIM,
    GATS,
    LOOPED,
    NAMES,
    PAIRED,
    compare,
    features,
    options_of,
    ours,
    twins,
)

SHAPES = [
    {"heads": 1, "concat": True, "residual": False, "bias": True},
    {"heads": 3, "concat": True, "residual": True, "bias": False},
    {"heads": 3, "concat": False, "residual": True, "bias": True},
    {"heads": 2, "concat": False, "residual": False, "bias": False},
]
FILLS = [0.5, torch.tensor([1.0, -2.0, 0.5]), "mean", "add", "min", "max", "mul"]
TABLE = {
    "GATConv": [{"edge_dim": None}, {"edge_dim": EDGE_DIM}],
    "GATv2Conv": [{"edge_dim": None}, {"edge_dim": EDGE_DIM}, {"share_weights": True}],
    "TransformerConv": [
        {"beta": False, "edge_dim": None},
        {"beta": True, "edge_dim": EDGE_DIM},
        {"root_weight": False, "edge_dim": EDGE_DIM},
    ],
    "SuperGATConv": [{"attention_type": "MX"}, {"attention_type": "SD"}],
    "AGNNConv": [{"requires_grad": True}, {"requires_grad": False}],
}
CASES = [
    pytest.param(name, {**own, **shape, "add_self_loops": loops}, id=f"{name}-{k}-{n}-{loops}")
    for name, rows in TABLE.items()
    for loops in ([True, False] if name in LOOPED else [False])
    for k, own in enumerate(rows)
    for n, shape in enumerate(SHAPES if name != "AGNNConv" else [{}])
]


@pytest.mark.parametrize("graph", ["no_edges", "loops_and_duplicates", "random"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_equals_pyg_over_the_options(name, options, graph):
    edge_index, x, edge_attr, _ = features(graph)
    theirs, mine = twins(name, 6, 5, negative_slope=0.1, **options)
    compare(theirs, mine, x, edge_index, *([edge_attr] if options.get("edge_dim") else []))


@pytest.mark.parametrize("graph", SQUARE)
@pytest.mark.parametrize("name", NAMES)
def test_equals_pyg_on_every_graph(name, graph):
    edge_index, x, _, _ = features(graph)
    compare(*twins(name, 6, 5, heads=2), x, edge_index)


@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
@pytest.mark.parametrize("fill", FILLS, ids=str)
@pytest.mark.parametrize("name", GATS)
def test_equals_pyg_for_every_fill_value_and_flow(name, fill, flow):
    edge_index, x, edge_attr, _ = features("random")
    theirs, mine = twins(name, 6, 5, heads=2, edge_dim=EDGE_DIM, fill_value=fill, flow=flow)
    compare(theirs, mine, x, edge_index, edge_attr)


@pytest.mark.parametrize("name", ["TransformerConv", "SuperGATConv", "AGNNConv"])
def test_equals_pyg_for_the_other_flow(name):
    edge_index, x, edge_attr, _ = features("random")
    has_edges = "edge_dim" in options_of(name)
    theirs, mine = twins(name, 6, 5, heads=2, edge_dim=EDGE_DIM, flow="target_to_source")
    compare(theirs, mine, x, edge_index, *([edge_attr] if has_edges else []))


@pytest.mark.parametrize("name", GATS)
def test_one_dimensional_edge_attr(name):
    edge_index, x, edge_attr, _ = features("random")
    theirs, mine = twins(name, 6, 5, heads=2, edge_dim=1)
    compare(theirs, mine, x, edge_index, edge_attr[:, 0])


@pytest.mark.parametrize("self_loops", [True, False], ids=["loops", "no_loops"])
@pytest.mark.parametrize("in_channels", [6, (6, 6)], ids=str)
@pytest.mark.parametrize("graph", ["bipartite_wide", "bipartite_tall"])
@pytest.mark.parametrize("name", PAIRED)
@pytest.mark.filterwarnings("ignore:.*bipartite")
def test_bipartite_equals_pyg(name, graph, in_channels, self_loops):
    edge_index, x_src, _, num_dst = features(graph)
    x_dst = torch.randn(num_dst, 6, dtype=torch.float64)
    options = {"heads": 2, "add_self_loops": self_loops, "residual": True, "beta": True}
    compare(*twins(name, in_channels, 5, **options), (x_src, x_dst), edge_index)


@pytest.mark.parametrize("in_channels", [6, (6, 6)], ids=str)
@pytest.mark.parametrize("graph", ["bipartite_wide", "bipartite_tall"])
def test_gatconv_without_target_features_equals_pyg(graph, in_channels):
    edge_index, x, _, num_dst = features(graph)
    theirs, mine = twins("GATConv", in_channels, 5, heads=2, add_self_loops=False)
    compare(theirs, mine, (x, None), edge_index, size=(x.size(0), num_dst))


@pytest.mark.parametrize("name", PAIRED)
@pytest.mark.filterwarnings("ignore:.*bipartite")
def test_pairs_share_no_projection_they_should_not(name):
    """A pair under share_weights, and a layer for pairs given one tensor."""
    edge_index, x, _, num_dst = features("bipartite_wide")
    theirs, mine = twins(name, 6, 5, heads=2, share_weights=True)
    compare(theirs, mine, (x, torch.randn(num_dst, 6, dtype=torch.float64)), edge_index)
    theirs, mine = twins(name, (6, 6), 5, heads=2)
    compare(theirs, mine, features("random")[1], features("random")[0])


@pytest.mark.parametrize("name", PAIRED)
def test_edge_features_that_more_than_a_linear_layer_projects(name):
    """A hook sees the projected features, [E, H*C], and changes them."""
    edge_index, x, edge_attr, _ = features("random")
    layers = twins(name, 6, 5, heads=2, edge_dim=EDGE_DIM)
    seen = []
    for layer in layers:
        layer.lin_edge.register_forward_hook(lambda m, i, out: seen.append(out.shape) or 2 * out)
    compare(*layers, x, edge_index, edge_attr)
    assert [shape[1] for shape in seen] == [10, 10]


def test_gatconv_projects_no_edge_feature_whole(monkeypatch):
    """Scores of edges come of [E, D] and one folded matrix, so no [E, H, C] is made."""
    edge_index, x, edge_attr, _ = features("random")
    layer = ours("GATConv", 6, 5, heads=2, edge_dim=EDGE_DIM)
    monkeypatch.setattr(
        type(layer.lin_edge), "forward", lambda self, given: pytest.fail("projected")
        if given.size(1) == EDGE_DIM else torch.nn.functional.linear(given, self.weight, self.bias),
    )  # fmt: skip
    assert layer(x, edge_index, edge_attr).shape == (31, 10)
