"""`gat.models.GAT` on one graph per layer, and stage by stage: as on the whole graph."""

import pytest
import torch
from torch import nn

import gat
from gat.errors import ArgumentTypeError, InputError
from gat.graph import Graph
from gat.models import GAT
from tests.graphs import GRAPHS
from tests.layer_graphs import all_neighbours

EDGE_INDEX = GRAPHS["random"][0]
SEEDS = [30, 4, 11]
EDGE_DIM = 3
# Each of three attention layers.
OPTIONS = [
    {},
    {"concat": False},
    {"attention": "gatv2", "heads": [2, 3]},
    {"residual": "linear", "norm": "layer", "residual_output": True},
    {"residual": "identity", "hidden_channels": 6, "heads": 1, "activation": "relu"},
    {"linear_input": True, "linear_output": True},
    {"jumping_knowledge": "cat", "heads": [3, 2, 1]},
    {"jumping_knowledge": "max", "residual": "identity"},
    {"jumping_knowledge": "lstm", "linear_input": True},
    {"jumping_knowledge": "janet"},
    {"jumping_knowledge": "attention"},
    {"add_self_loops": False, "bias": False, "output_bias": True, "output_heads": 2},
    {"target_score": False, "norm": "batch"},
    {"edge_dim": EDGE_DIM},
    {"edge_dim": EDGE_DIM, "attention": "gatv2", "add_self_loops": False},
    {"edge_dim": EDGE_DIM, "edge_embedding": 5, "linear_output": True},
]


def build(**options):
    sizes = {"num_layers": 3, "hidden_channels": 4, "heads": 2, "output_heads": 1}
    return GAT(6, 4, **{**sizes, **options}).double().eval()


def whole():
    x = torch.randn(31, 6, dtype=torch.float64)
    return x, torch.randn(EDGE_INDEX.size(1), EDGE_DIM, dtype=torch.float64)


def gradients(model, scores):
    model.zero_grad()
    scale = torch.linspace(-1, 2, scores.numel(), dtype=scores.dtype).view_as(scores)
    (scores * scale).sum().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_graphs_of_all_neighbours_give_what_the_whole_graph_gives(options):
    model, (x, edge_attr) = build(**options), whole()
    hops = all_neighbours(EDGE_INDEX, SEEDS, 3)
    attr, part = (edge_attr, edge_attr[hops.edges]) if "edge_dim" in options else (None, None)
    with gat.record_attention(model) as expected:
        scores = model(x, EDGE_INDEX, attr)[SEEDS]
    with gat.record_attention(model) as attention:
        ours = model(x[hops.nodes], hops.graphs, part)
    torch.testing.assert_close(ours, scores)
    torch.testing.assert_close(gradients(model, ours), gradients(model, scores))
    assert len(attention) == 3
    for record, full, graph in zip(attention.values(), expected.values(), hops.graphs, strict=True):
        edges = hops.edges[: graph.num_caller_edges]
        torch.testing.assert_close(record.weights, full.weights[edges])
        assert (record.num_src, record.num_dst) == (graph.num_src, graph.num_dst)
        torch.testing.assert_close(record.loops, full.loops[hops.nodes[: graph.num_dst]])


def test_batches_of_seeds_are_recorded_under_the_whole_graphs_numbers():
    model, (x, _) = build(), whole()
    with gat.record_attention(model) as expected:
        model(x, EDGE_INDEX)
    with gat.record_attention(model, full=EDGE_INDEX) as attention:
        for start in range(0, 31, 10):
            hops = all_neighbours(EDGE_INDEX, list(range(start, min(start + 10, 31))), 3)
            attention.batch(n_id=hops.nodes, e_id=hops.edges)
            model(x[hops.nodes], hops.graphs)
    for name, record in attention.items():
        torch.testing.assert_close(record.weights, expected[name].weights)
        torch.testing.assert_close(record.loops, expected[name].loops)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_stages_over_parts_of_the_nodes_give_what_forward_gives(options):
    """Layer-wise inference: each layer over all nodes, seven targets at a time."""
    model, (x, edge_attr) = build(**options), whole()
    attr = edge_attr if "edge_dim" in options else None
    parts = [all_neighbours(EDGE_INDEX, list(range(k, min(k + 7, 31))), 1) for k in range(0, 31, 7)]
    state, states = x, []
    for stage in model.stages():
        state = torch.cat(
            [
                stage.forward(state[p.nodes], p.graphs[0], None if attr is None else attr[p.edges])
                for p in parts
            ]
        )
        assert state.size(1) == stage.width
        states = [*states, state] if model.keeps_states else [state]
    assert len(model.stages()) == 3
    assert model.keeps_states == ("jumping_knowledge" in options)
    torch.testing.assert_close(model.finish(states), model(x, EDGE_INDEX, attr))


def test_prepare_and_attend_are_a_stage():
    model, (x, _) = build(linear_input=True), whole()
    graph = Graph.from_edge_index(EDGE_INDEX, 31)
    for stage in model.stages():
        entered = stage.prepare(x)
        torch.testing.assert_close(stage.attend(entered, graph), stage(x, graph))
        x = stage(x, graph)
    assert [stage.width for stage in model.stages()] == [8, 8, 4]


def test_training_learns_from_layer_graphs_as_from_the_whole_graph_of_no_dropout():
    model, (x, _) = build(feature_dropout=0, attention_dropout=0, value_dropout=0), whole()
    hops = all_neighbours(EDGE_INDEX, SEEDS, 3)
    ours = gradients(model.train(), model(x[hops.nodes], tuple(hops.graphs)))
    torch.testing.assert_close(ours, gradients(model, model(x, EDGE_INDEX)[SEEDS]))


def test_degrees_of_symmetric_norm_are_those_of_each_layers_graph():
    model, (x, _) = build(symmetric_norm=True, num_layers=1), whole()
    hops = all_neighbours(EDGE_INDEX, SEEDS, 1)
    (graph,) = hops.graphs
    as_square = Graph.from_edge_index(graph.edge_index, graph.num_src)
    model.output.add_self_loops = False
    # The same edges between all of the nodes: those that are no targets get none.
    expected = model(x[hops.nodes], as_square)[: len(SEEDS)]
    torch.testing.assert_close(model(x[hops.nodes], [graph]), expected)
    assert not torch.allclose(expected, model(x, EDGE_INDEX)[SEEDS])


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("residual", ["linear", "identity"])
def test_sparse_features(residual):
    model, (x, _) = build(residual=residual, hidden_channels=6, heads=1), whole()
    hops = all_neighbours(EDGE_INDEX, SEEDS, 3)
    rows = x[hops.nodes] * (torch.rand(len(hops.nodes), 6) < 0.4)
    ours = model(rows.to_sparse_csr(), hops.graphs)
    torch.testing.assert_close(ours, model(rows, hops.graphs))


def test_a_batch_of_features():
    model, _ = build(jumping_knowledge="cat"), whole()
    hops = all_neighbours(EDGE_INDEX, SEEDS, 3)
    x = torch.randn(2, len(hops.nodes), 6, dtype=torch.float64)
    expected = torch.stack([model(each, hops.graphs) for each in x])
    torch.testing.assert_close(model(x, hops.graphs), expected)


@pytest.mark.parametrize("seeds", [[], [0], [2, 0, 1]], ids=["none", "one", "all"])
def test_few_nodes_with_loops_and_duplicates(seeds):
    edge_index = GRAPHS["loops_and_duplicates"][0]
    model, x = build(), torch.randn(3, 6, dtype=torch.float64)
    hops = all_neighbours(edge_index, seeds, 3)
    torch.testing.assert_close(model(x[hops.nodes], hops.graphs), model(x, edge_index)[seeds])


def test_compiled_models_take_a_list():
    model, (x, _) = build(num_layers=2), whole()
    hops = all_neighbours(EDGE_INDEX, SEEDS, 2)
    compiled = torch.compile(model, backend="eager")
    expected = model(x[hops.nodes], hops.graphs)
    torch.testing.assert_close(compiled(x[hops.nodes], hops.graphs), expected)


def test_one_graph_is_traced_whole():
    model, (x, _) = build(), whole()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, EDGE_INDEX), model(x, EDGE_INDEX))


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (lambda g: g[1:], InputError, "edges is a list of 2; expected 3, the gat.Graph of each"),
        (lambda g: g[::-1], InputError, "layer 1 has a graph with 3 targets and layer 2 one with"),
        (lambda g: [*g[:2], EDGE_INDEX], ArgumentTypeError, "edges of layer 3 are of type Tensor"),
    ],
    ids=["too few", "in reverse", "no graph"],
)
def test_lists_that_do_not_fit_are_refused_in_words(change, error, sentence):
    model, (x, _) = build(), whole()
    hops = all_neighbours(EDGE_INDEX, SEEDS, 3)
    with pytest.raises(error, match=sentence):
        model(x[hops.nodes], change(hops.graphs))


def test_features_and_edge_features_that_do_not_fit_are_refused_in_words():
    model, (x, edge_attr) = build(edge_dim=EDGE_DIM), whole()
    hops = all_neighbours(EDGE_INDEX, SEEDS, 3)
    rows, count = x[hops.nodes], len(hops.edges)
    with pytest.raises(InputError, match="source nodes, but the features have 5 rows"):
        model(rows[:5], hops.graphs, edge_attr[hops.edges])
    with pytest.raises(InputError, match=f"edge_attr has {count - 1} rows; expected {count}, one"):
        model(rows, hops.graphs, edge_attr[hops.edges[1:]])
    first, *others = hops.graphs
    fewer = Graph.from_edge_index(first.edge_index[:, :2], (first.num_src, first.num_dst))
    with pytest.raises(InputError, match="edges, more than the 2 of the first layer's"):
        model(rows, [fewer, *others], edge_attr[:2])


def test_edge_embeddings_are_projected_before_the_score():
    model, (x, edge_attr) = build(edge_dim=EDGE_DIM, edge_embedding=5), whole()
    assert [type(e[0]).__name__ for e in model.edge_encoders] == ["Linear"] * 3
    assert model.output.edge_dim == 5
    bare = build(edge_dim=5)
    weights = {k: v for k, v in model.state_dict().items() if not k.startswith("edge_encoders")}
    bare.load_state_dict(weights)
    first = model.edge_encoders[0]
    for encoder in model.edge_encoders[1:]:
        encoder.load_state_dict(first.state_dict())
    embedded = nn.functional.linear(edge_attr, first[0].weight, first[0].bias).relu()
    torch.testing.assert_close(model(x, EDGE_INDEX, edge_attr), bare(x, EDGE_INDEX, embedded))


def test_a_skip_over_the_output_layer_is_its_own_projection():
    x, _ = whole()
    plain, skipping = build(output_heads=2), build(output_heads=2, residual_output=True)
    assert set(skipping.state_dict()) - set(plain.state_dict()) == {"output.res.weight"}
    weight = skipping.state_dict()["output.res.weight"]
    assert weight.shape == (4, 8)
    skipping.load_state_dict({**plain.state_dict(), "output.res.weight": weight})
    entered = []
    plain.output.register_forward_pre_hook(lambda layer, given: entered.append(given[0]))
    expected = plain(x, EDGE_INDEX) + entered[0] @ weight.t()
    torch.testing.assert_close(skipping(x, EDGE_INDEX), expected)
