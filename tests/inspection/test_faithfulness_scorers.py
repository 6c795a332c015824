"""The methods by name: what each says of edges whose part in the answer is known."""

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn

import gat.nn
from gat.errors import InputError
from gat.inspection.attribution import attention_average, gatt, rollout_edges
from gat.inspection.fidelity import faithfulness, scorers
from gat.inspection.fidelity.inputs import Inputs
from gat.inspection.fidelity.subgraph import neighbourhood, run_counting
from gat.inspection.recording.recorder import record_attention
from tests.graphs import GRAPHS
from tests.inspection.faithful_networks import Sum, sigmoid, star
from tests.inspection.networks import WIDTH, network


def test_gradient_x_input_is_the_slope_of_the_log_probability():
    x, edge_index = star(0, 3, -1)
    found = scorers.gradient_x_input(Sum(), x, edge_index, 0)
    # d log sigmoid(s) / d mask = sigmoid(-s) * x of the source.
    expected = sigmoid(-2.0) * x[edge_index[0], 0]
    torch.testing.assert_close(found, expected)
    other = scorers.gradient_x_input(Sum(), x, edge_index, 0, target=0)
    torch.testing.assert_close(other, -sigmoid(2.0) * x[edge_index[0], 0])


@pytest.mark.parametrize("source", ["gat", "pyg"])
def test_gradient_x_input_is_a_finite_difference(source):
    edge_index, count, _ = GRAPHS["random"]
    x = torch.randn(count, WIDTH, dtype=torch.float64)

    class Faded(nn.Module):
        """One layer without scores, whose messages are faded by hand: the same as x faded."""

        def __init__(self):
            super().__init__()
            self.layer = {"gat": gat.nn, "pyg": pyg}[source].GATConv(WIDTH, 3).double().eval()

        def forward(self, x, edge_index):
            return self.layer(x, edge_index)

    model = Faded()
    with torch.no_grad():
        _, (listed, weights) = model.layer(x, edge_index, return_attention_weights=True)
    found = scorers.gradient_x_input(model, x, edge_index, 5)
    log_probs = model(x, edge_index)[5].log_softmax(-1)
    chosen = int(log_probs.argmax())
    message = weights * model.layer.lin(x)[listed[0]]
    slope = -log_probs.exp()
    slope[chosen] += 1
    expected = (message @ slope) * (listed[1] == 5)
    # Edges of the caller that are no loops stand first, in order, in the layer's list.
    real = edge_index[0] != edge_index[1]
    torch.testing.assert_close(found[real], expected[: int(real.sum())].detach())


def test_gradient_x_input_after_gnn_explainer_left_its_mask_behind():
    x, edge_index = star(0, 3, -1)
    model = Sum()
    before = scorers.gradient_x_input(model, x, edge_index, 0)
    scorers.gnn_explainer(model, x, edge_index, 0, epochs=1)
    assert torch.equal(scorers.gradient_x_input(model, x, edge_index, 0), before)


class Still(nn.Module):
    def forward(self, x, edge_index):
        return x


@pytest.mark.parametrize("explain", [None, False], ids=["no_layers", "none_explained"])
def test_gradient_x_input_needs_messages(explain):
    x, edge_index = star(0, 3)
    model = Still() if explain is None else Sum()
    model.explain = explain
    with pytest.raises(InputError, match="does not depend on the messages of any of PyG's layers"):
        scorers.gradient_x_input(model, x, edge_index, 0)


def test_gnn_explainer_finds_the_edge_that_matters():
    torch.manual_seed(0)
    x, edge_index = star(0, 3, 0, 0)
    found = scorers.gnn_explainer(Sum(), x, edge_index, 0, epochs=30)
    assert found.shape == (4,)
    assert int(found.argmax()) == 1
    against = scorers.gnn_explainer(Sum(), *star(-1, 3), 0, target=0, epochs=60)
    assert int(against.argmax()) == 0


@pytest.mark.parametrize("graph_name", ["random", "loops_and_duplicates", "hub"])
@pytest.mark.parametrize("source", ["gat", "pyg"])
@torch.no_grad()
def test_gatt_and_rollout_on_a_neighbourhood_are_those_on_the_whole_graph(source, graph_name):
    edge_index, count, _ = GRAPHS[graph_name]
    given = Inputs(torch.randn(count, WIDTH, dtype=torch.float64), edge_index)
    model = network(source, "GATConv")
    with record_attention(model) as records:
        whole, rounds = run_counting(model, given)
    for node in range(min(count, 4)):
        part = neighbourhood(model, given, whole, node, rounds)
        asked = (model, part.inputs.x, part.inputs.edge_index, part.centre)
        for scorer, expected in (
            (scorers.gatt_edges, gatt(records, node).edges),
            (scorers.rollout_by_edge, rollout_edges(records, node, residual=0.5).edges),
        ):
            torch.testing.assert_close(scorer(*asked), expected[part.edges])


@pytest.mark.parametrize("source", ["gat", "pyg"])
def test_attention_is_the_mean_weight_on_the_whole_graph(source):
    edge_index, count, _ = GRAPHS["random"]
    # Copies of an edge would have equal weights, put in random order.
    edge_index = torch.unique(edge_index, dim=1).flip(1)
    x = torch.randn(count, WIDTH, dtype=torch.float64)
    model = network(source, "GATConv")
    with torch.no_grad(), record_attention(model) as records:
        model(x, edge_index)
    expected = attention_average(records)
    by_ends = {tuple(pair): w for pair, w in zip(edge_index.t().tolist(), expected, strict=True)}
    # Rows of x tell the nodes of a subgraph.
    number = {tuple(row): node for node, row in enumerate(x.tolist())}

    def by_hand(model, x, edge_index, node):
        names = [number[tuple(row)] for row in x.tolist()]
        pairs = [(names[source], names[target]) for source, target in edge_index.t().tolist()]
        return torch.stack([by_ends[pair] for pair in pairs])

    found = faithfulness(
        model, x, edge_index, range(6), ["attention"], scorers={"by_hand": by_hand}, draws=1
    )
    assert found["attention"].tied == found["by_hand"].tied == 0
    torch.testing.assert_close(found["attention"].deletion.values, found["by_hand"].deletion.values)


@pytest.mark.parametrize("method", ["gradient_x_input", "gnn_explainer"])
def test_masks_follow_edges_where_every_node_has_a_loop_of_the_callers(method):
    """As many loops as the layer adds, listed first: PyG's masks would be those of other edges."""
    x, star_edges = star(0.5, 3, 0.1, 0.2)
    loops = torch.arange(5).repeat(2, 1)
    torch.manual_seed(0)
    model = gat.nn.GATConv(1, 2, bias=False).double().eval()
    plain, mixed = (
        faithfulness(model, x, edges, [0], [method], top_k=(1, 2), epochs=40, draws=1)[method]
        for edges in (star_edges, torch.cat([loops, star_edges], 1))
    )
    for k in (1, 2):
        assert mixed.fidelity_plus[k].mean == pytest.approx(plain.fidelity_plus[k].mean)


def test_all_methods_on_all_layers_at_once():
    edge_index, count, _ = GRAPHS["loops_and_duplicates"]
    x = torch.randn(count, WIDTH, dtype=torch.float64)
    for name in ("GATv2Conv", "TransformerConv"):
        found = faithfulness(network("gat", name), x, edge_index, [0, 1, 2], epochs=2, draws=2)
        assert list(found) == [
            "attention",
            "gatt",
            "rollout",
            "nearest",
            "gradient_x_input",
            "gnn_explainer",
            "random",
        ]
