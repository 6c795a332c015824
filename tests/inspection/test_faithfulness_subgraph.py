"""A node's computational subgraph: the same output as on the whole graph, and no edge too many."""

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn

import gat.nn
from gat.errors import InputError
from gat.inspection.fidelity import faithfulness
from gat.inspection.fidelity.copies import predictions
from gat.inspection.fidelity.inputs import Inputs
from gat.inspection.fidelity.probe import steps_back
from gat.inspection.fidelity.subgraph import distances, neighbourhood, run_counting
from tests.graphs import GRAPHS, SQUARE
from tests.inspection.faithful_networks import within
from tests.inspection.networks import WIDTH

GRAPH_NAMES = [name for name in SQUARE if name != "no_nodes"]

# name -> (layer, from width to width; rounds of messages)
LAYERS = {
    "gat-GATConv": (lambda a, b: gat.nn.GATConv(a, b), 1),
    "gat-GATv2Conv": (lambda a, b: gat.nn.GATv2Conv(a, b), 1),
    "gat-TransformerConv": (lambda a, b: gat.nn.TransformerConv(a, b), 1),
    "gat-SuperGATConv": (lambda a, b: gat.nn.SuperGATConv(a, b), 1),
    "gat-AttentionConv": (lambda a, b: gat.nn.AttentionConv(a, b), 1),
    "pyg-GATConv": (lambda a, b: pyg.GATConv(a, b), 1),
    "pyg-SAGEConv": (lambda a, b: pyg.SAGEConv(a, b), 1),
    "pyg-GINConv": (lambda a, b: pyg.GINConv(nn.Linear(a, b)), 1),
    "pyg-GCNConv": (lambda a, b: pyg.GCNConv(a, b), 1),
    "pyg-TAGConv": (lambda a, b: pyg.TAGConv(a, b, K=2), 2),
}
# Those that scale by the degrees of the sources too.
DEGREES = {"pyg-GCNConv", "pyg-TAGConv"}


class Two(nn.Module):
    """Two layers to 3 classes."""

    def __init__(self, layer):
        super().__init__()
        self.first, self.second = layer(WIDTH, 5), layer(5, 3)

    def forward(self, x, edge_index):
        return self.second(torch.tanh(self.first(x, edge_index)), edge_index)


def two(name):
    torch.manual_seed(1)
    return Two(LAYERS[name][0]).double().eval()


def inputs(graph_name):
    edge_index, count, _ = GRAPHS[graph_name]
    return Inputs(torch.randn(count, WIDTH, dtype=torch.float64), edge_index)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("graph_name", GRAPH_NAMES)
def test_the_output_is_that_on_the_whole_graph(name, graph_name):
    given, model = inputs(graph_name), two(name)
    with torch.no_grad():
        whole, rounds = run_counting(model, given)
        steps = steps_back(model, given, rounds)
        for node in range(min(given.num_nodes, 5)):
            part = neighbourhood(model, given, whole, node, steps)
            out = part.inputs.run(model)[part.centre]
            torch.testing.assert_close(out, whole[node])
            assert part.difference == float((out - whole[node]).abs().max())
            assert int(part.nodes[part.centre]) == node
            assert sorted(part.edges.tolist()) == within(given.edge_index, node, steps)


@pytest.mark.parametrize("graph_name", GRAPH_NAMES)
def test_edges_are_those_of_the_whole_graph_counted_anew_with_loops_last(graph_name):
    given, model = inputs(graph_name), two("gat-GATConv")
    with torch.no_grad():
        whole, rounds = run_counting(model, given)
        for node in range(min(given.num_nodes, 5)):
            part = neighbourhood(model, given, whole, node, rounds)
            assert torch.equal(part.nodes[part.inputs.edge_index], given.edge_index[:, part.edges])
            assert torch.equal(part.inputs.x, given.x[part.nodes])
            loop = (part.inputs.source == part.inputs.target).tolist()
            assert loop == sorted(loop)


@pytest.mark.parametrize("name", LAYERS)
def test_copies_answer_as_the_whole_graph_without_these_edges(name):
    given, model = inputs("random"), two(name)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        whole, rounds = run_counting(model, given)
        part = neighbourhood(model, given, whole, 4, steps_back(model, given, rounds))
        keep = torch.rand(20, part.inputs.num_edges, generator=generator) < 0.7
        found = predictions(model, part, keep, memory=4000)
        for row, out in zip(keep, found, strict=True):
            left = torch.ones(given.num_edges, dtype=torch.bool)
            left[part.edges[~row]] = False
            expected = model(given.x, given.edge_index[:, left])[4]
            torch.testing.assert_close(out, expected)


def test_distances_are_steps_from_an_edges_target_to_the_centre():
    # 3 -> 2 -> 1 -> 0, and 3 -> 1; a loop at 2.
    edge_index = torch.tensor([[3, 2, 1, 3, 2], [2, 1, 0, 1, 2]])
    given = Inputs(torch.randn(4, WIDTH, dtype=torch.float64), edge_index)
    model = two("gat-GATConv")
    with torch.no_grad():
        whole, _ = run_counting(model, given)
        part = neighbourhood(model, given, whole, 0, 3)
    assert dict(zip(part.edges.tolist(), distances(part).tolist(), strict=True)) == {
        0: 2,
        1: 1,
        2: 0,
        3: 1,
        4: 2,
    }


def test_pairs_of_nodes_are_as_near_as_their_nearest_edge():
    """1 <-> 0 <- 2 <- 3: the pair at the centre is nearer than 3 -> 2, whose other edge is out."""
    edge_index = torch.tensor([[1, 0, 2, 3], [0, 1, 0, 2]])
    x = torch.randn(4, WIDTH, dtype=torch.float64)
    model = two("gat-GATConv")
    found = faithfulness(model, x, edge_index, [0], ["nearest"], undirected=True, top_k=(2,))
    whole, left = (model(x, edges)[0].softmax(-1) for edges in (edge_index, edge_index[:, 3:]))
    expected = (whole - left)[whole.argmax()].item()
    assert found["nearest"].fidelity_plus[2].mean == pytest.approx(expected)


def test_equal_copies_are_run_once():
    given, model = inputs("random"), two("gat-GATConv")
    rows = []
    with torch.no_grad():
        whole, rounds = run_counting(model, given)
        part = neighbourhood(model, given, whole, 4, rounds)
        keep = torch.ones(50, part.inputs.num_edges, dtype=torch.bool)
        keep[::2] = False
        model.register_forward_pre_hook(lambda _, args: rows.append(args[0].size(0)))
        predictions(model, part, keep, memory=2**30)
    # One with all nodes, one with the centre alone.
    assert rows == [part.inputs.num_nodes + 1]


@pytest.mark.parametrize("name", LAYERS)
def test_rounds_are_counted_and_one_more_step_is_taken_where_degrees_matter(name):
    given, model = inputs("one_edge"), two(name)
    with torch.no_grad():
        rounds = run_counting(model, given)[1]
        assert rounds == 2 * LAYERS[name][1]
        assert steps_back(model, given, rounds) == rounds + (name in DEGREES)


def test_a_layer_called_twice_counts_twice():
    class Again(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = gat.nn.GATConv(WIDTH, WIDTH).double()

        def forward(self, x, edge_index):
            return self.layer(self.layer(x, edge_index), edge_index)

    with torch.no_grad():
        assert run_counting(Again().eval(), inputs("random"))[1] == 2


class OverAllNodes(nn.Module):
    """Takes the mean over all nodes off."""

    def __init__(self):
        super().__init__()
        self.layer = gat.nn.GATConv(WIDTH, 3).double()

    def forward(self, x, edge_index):
        return self.layer(x - x.mean(0), edge_index)


class NoLayers(nn.Module):
    def forward(self, x, edge_index):
        return x.index_add(0, edge_index[1], x[edge_index[0]])


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (OverAllNodes(), r"node 3: the model's output on the node's 1-hop neighbourhood differs"),
        (
            Two(lambda a, b: gat.nn.GATConv(a, b, symmetric_norm=True)).double(),
            "changes with edges that leave the nodes it looks at",
        ),
        (
            nn.Sequential(pyg.GCNConv(WIDTH, 3, cached=True).double()),
            r"0 keeps the first graph it sees \(cached=True\)",
        ),
        (NoLayers(), "called no message passing layer of PyG's kind; pass hops="),
        (gat.nn.GATConv(WIDTH, 1).double(), r"output is \[13, 1\]; expected two classes or more"),
    ],
    ids=["all_nodes", "out_degrees", "cached", "no_layers", "one_class"],
)
def test_refuses_models_that_a_subgraph_does_not_tell(model, sentence):
    given = inputs("sixty_three_edges")
    with pytest.raises(InputError, match=sentence):
        faithfulness(model, given.x, given.edge_index, [3], ["random"])


def test_a_model_without_layers_is_measured_with_hops_given():
    given = inputs("random")
    found = faithfulness(NoLayers(), given.x, given.edge_index, [3], ["random"], hops=1)
    assert found.settings["steps"] == 1
    assert found.edges.tolist() == [len(within(given.edge_index, 3, 1))]


def test_too_few_hops_are_refused_unless_one_step_more_is_enough():
    given = inputs("random")
    model = two("gat-GATConv")
    assert (
        faithfulness(model, given.x, given.edge_index, [3], ["random"], hops=1).settings["steps"]
        == 2
    )
    with pytest.raises(InputError, match="looks further back than 1 rounds of messages"):
        faithfulness(two("pyg-TAGConv"), given.x, given.edge_index, [3], ["random"], hops=1)


def test_layers_of_both_flows_are_refused():
    model = Two(lambda a, b: gat.nn.GATConv(a, b))
    model.second.flow = "target_to_source"
    given = inputs("random")
    with pytest.raises(InputError, match="pass messages in both directions"):
        faithfulness(model.double(), given.x, given.edge_index, [3], ["random"])
