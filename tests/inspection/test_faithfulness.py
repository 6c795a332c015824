"""faithfulness: against numbers worked out by hand, and by brute force on the whole graph."""

import random

import pytest
import torch
from torch import nn

from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.inspection.fidelity import METHODS, faithfulness
from tests.graphs import GRAPHS, SQUARE
from tests.inspection.faithful_networks import (
    Sum,
    by_features,
    by_value,
    measures,
    sigmoid,
    star,
    within,
)
from tests.inspection.networks import WIDTH, network

FRACTIONS = (0.0, 0.25, 0.5, 1.0)
MEASURES = ("fidelity_plus", "fidelity_minus", "accuracy_plus", "accuracy_minus")


def measure(model, x, edge_index, nodes=(0,), methods=("random",), scorer=by_value, **options):
    options = {"draws": 2, "resamples": 50, **options}
    return faithfulness(model, x, edge_index, nodes, methods, scorers={"own": scorer}, **options)


def values(result, name="own"):
    """A method's values, [n, K] and [n, k], by measure."""
    method = result[name]
    found = {measure: getattr(method, measure).values() for measure in MEASURES}
    stacked = {name: torch.stack([one.values for one in each], 1) for name, each in found.items()}
    return {"deletion": method.deletion.values, "insertion": method.insertion.values, **stacked}


def assert_same(one, other):
    for name, method in one.items():
        for measured, rows in values(one, name).items():
            torch.testing.assert_close(
                rows, values(other, name)[measured], msg=f"{name} {measured}"
            )
        assert method.tied == other[name].tied


def test_one_edge_matters_and_a_perfect_scorer_finds_it():
    x, edge_index = star(0, 3, 0, 0)
    own = measure(Sum(), x, edge_index, fractions=(0, 0.5, 1), top_k=(1, 2))["own"]
    falls = sigmoid(3.0) - 0.5
    assert own.fidelity_plus[1].mean == pytest.approx(falls)
    assert own.fidelity_plus[2].mean == pytest.approx(falls)
    assert own.fidelity_minus[1].mean == pytest.approx(0)
    assert own.deletion.mean.tolist() == pytest.approx([sigmoid(3.0), 0.5, 0.5])
    assert own.insertion.mean.tolist() == pytest.approx([0.5, sigmoid(3.0), sigmoid(3.0)])
    assert own.deletion.area == pytest.approx(0.25 * (sigmoid(3.0) + 0.5) + 0.5 * 0.5)
    assert own.insertion.area == pytest.approx(0.25 * (sigmoid(3.0) + 0.5) + 0.5 * sigmoid(3.0))


def test_accuracy_counts_whether_the_class_is_still_the_predicted_one():
    x, edge_index = star(2, -1)
    own = measure(Sum(), x, edge_index, top_k=(1,))["own"]
    assert own.accuracy_plus[1].mean == 1
    assert own.accuracy_minus[1].mean == 0
    worst = measure(Sum(), x, edge_index, scorer=lambda *a: -by_value(*a), top_k=(1,))["own"]
    assert worst.accuracy_plus[1].mean == 0
    assert worst.accuracy_minus[1].mean == 1


def test_a_node_with_fewer_than_k_edges_loses_them_all():
    x, edge_index = star(1, 1)
    own = measure(Sum(), x, edge_index, top_k=(2, 50))["own"]
    assert own.fidelity_plus[50].mean == own.fidelity_plus[2].mean == sigmoid(2.0) - 0.5
    assert own.fidelity_minus[50].mean == 0


def test_the_probabilities_with_all_edges_and_with_none_are_told():
    x, edge_index = star(1, 1, loops=1)
    result = measure(Sum(), x, edge_index)
    assert result.all_edges.mean == pytest.approx(sigmoid(2.0))
    assert result.no_edges.mean == 0.5
    assert result.change.mean == pytest.approx(sigmoid(2.0) - 0.5)
    followed = measure(Sum(), x, edge_index, target=torch.zeros(3, dtype=torch.int64))
    assert followed.all_edges.mean < followed.no_edges.mean
    assert followed.change.mean == pytest.approx(sigmoid(2.0) - 0.5)
    assert result.edges.tolist() == [2]


def ranked(x, edge_index, node, undirected=False):
    """Groups of the edges within two hops, self-loops apart, by the sum of `by_features`."""
    scores = by_features(None, x, edge_index, node)
    groups = {}
    for edge in within(edge_index, node, hops=2):
        source, target = edge_index[:, edge].tolist()
        if source != target:
            ends = (min(source, target), max(source, target))
            groups.setdefault(ends if undirected else edge, []).append(edge)
    return sorted(groups.values(), key=lambda group: -float(scores[group].sum()))


@pytest.mark.parametrize("undirected", [False, True], ids=["each_way", "both_ways"])
@pytest.mark.parametrize("source", ["gat", "pyg"])
@pytest.mark.parametrize("graph_name", [n for n in SQUARE if GRAPHS[n][0].numel()])
def test_equals_removing_edges_from_the_whole_graph(graph_name, source, undirected):
    edge_index, count, _ = GRAPHS[graph_name]
    x = torch.randn(count, WIDTH, dtype=torch.float64)
    model = network(source, "GATConv")
    groups = {node: ranked(x, edge_index, node, undirected) for node in range(min(count, 6))}
    wanted = [node for node, found in groups.items() if found]
    if not wanted:
        with pytest.raises(InputError, match="none of the"):
            measure(model, x, edge_index, list(groups), undirected=undirected)
        return
    result = measure(
        model,
        x,
        edge_index,
        list(groups),
        scorer=by_features,
        fractions=FRACTIONS,
        undirected=undirected,
    )
    assert result.nodes.tolist() == wanted
    assert list(result.left_out) == [node for node in groups if node not in wanted]
    found = values(result)
    for at, node in enumerate(wanted):
        expected = measures(model, x, edge_index, node, groups[node], FRACTIONS, (1, 2, 5))
        for name, rows in expected.items():
            torch.testing.assert_close(found[name][at], rows, msg=f"{name} at node {node}")


def test_the_memory_bound_changes_nothing():
    edge_index, count, _ = GRAPHS["random"]
    x = torch.randn(count, WIDTH, dtype=torch.float64)
    results = [
        measure(network("gat", "GATv2Conv"), x, edge_index, range(5), scorer=by_features, memory=m)
        for m in (1, 3000, 2**26)
    ]
    assert_same(results[0], results[2])
    assert_same(results[1], results[2])


def test_equal_scores_are_put_in_a_random_order_that_the_seed_gives():
    x, edge_index = star(1, 2, 3, 4, 5)

    def same(model, x, edge_index, node):
        return torch.ones(edge_index.size(1))

    results = [measure(Sum(), x, edge_index, scorer=same, seed=seed) for seed in (0, 0, 1, 2, 3)]
    assert results[0]["own"].tied == 1
    assert_same(results[0], results[1])
    curves = {tuple(result["own"].deletion.mean.tolist()) for result in results}
    assert len(curves) == 4
    assert measure(Sum(), x, edge_index)["own"].tied == 0


def test_random_is_the_mean_over_all_orders_of_many_draws():
    x, edge_index = star(0, 3, 0, 0)
    found = measure(Sum(), x, edge_index, draws=4000, top_k=(1, 2))["random"]
    falls = sigmoid(3.0) - 0.5
    assert found.fidelity_plus[1].mean == pytest.approx(falls / 4, abs=0.02)
    assert found.fidelity_plus[2].mean == pytest.approx(falls / 2, abs=0.02)


def test_a_nodes_numbers_do_not_depend_on_what_else_is_asked():
    edge_index, count, _ = GRAPHS["random"]
    x = torch.randn(count, WIDTH, dtype=torch.float64)
    model = network("gat", "GATConv")
    methods = ("gnn_explainer", "random", "attention")
    all_of_them = measure(model, x, edge_index, [7, 3, 9], methods, epochs=3)
    alone = measure(model, x, edge_index, [3], ["gnn_explainer"], epochs=3)
    for name in ("gnn_explainer", "random"):
        torch.testing.assert_close(
            all_of_them[name].deletion.values[1:2], alone[name].deletion.values
        )


def test_random_is_always_measured_and_the_others_in_the_order_asked_for():
    x, edge_index = star(1, 2)
    assert list(measure(Sum(), x, edge_index, methods=["gradient_x_input"])) == [
        "gradient_x_input",
        "own",
        "random",
    ]
    assert list(measure(Sum(), x, edge_index, methods=[])) == ["own", "random"]


def test_self_loops_stay():
    x, edge_index = star(1, 2, loops=2)
    x[0] = 4
    own = measure(Sum(), x, edge_index)["own"]
    assert own.deletion.mean[-1] == pytest.approx(sigmoid(8.0))


def test_nodes_without_an_edge_to_remove_are_left_out_and_told():
    x, edge_index = star(1, 2, loops=1)
    result = measure(Sum(), x, edge_index, [2, 0, 1])
    assert result.nodes.tolist() == [0]
    assert result.left_out == (2, 1)
    with pytest.raises(InputError, match="none of the 2 nodes has an edge to remove"):
        measure(Sum(), x, edge_index, [1, 2])


def test_flow_from_target_to_source():
    x, edge_index = star(0, 3, 0)
    own = measure(
        Sum("target_to_source"), x, edge_index.flip(0), scorer=lambda m, x, e, n: x[e[1], 0]
    )["own"]
    assert own.fidelity_plus[1].mean == pytest.approx(sigmoid(3.0) - 0.5)


def test_the_class_to_follow_may_be_given():
    x, edge_index = star(2)
    target = torch.zeros(2, dtype=torch.int64)
    result = measure(Sum(), x, edge_index, target=target, top_k=(1,))
    assert result.classes.tolist() == [0]
    assert result["own"].fidelity_plus[1].mean == pytest.approx(sigmoid(-2.0) - 0.5)
    assert result["own"].accuracy_plus[1].mean == -1


class Ending(nn.Module):
    def __init__(self, model, end):
        super().__init__()
        self.model, self.end = model, end

    def forward(self, x, edge_index):
        return self.end(self.model(x, edge_index))


def test_models_that_return_logits_log_probabilities_or_probabilities():
    edge_index, count, _ = GRAPHS["random"]
    x = torch.randn(count, WIDTH, dtype=torch.float64)
    model = network("gat", "GATConv")
    methods = ("gradient_x_input", "gnn_explainer")
    options = {"methods": methods, "epochs": 3, "scorer": by_features}
    logits = measure(model, x, edge_index, range(4), **options)
    log_probs = Ending(model, nn.LogSoftmax(-1))
    probs = Ending(model, nn.Softmax(-1))
    assert_same(logits, measure(log_probs, x, edge_index, range(4), output="log_probs", **options))
    assert_same(logits, measure(probs, x, edge_index, range(4), output="probs", **options))


def test_rows_for_edges_and_nodes_go_along():
    edge_index, count, _ = GRAPHS["random"]
    x = torch.randn(count, WIDTH, dtype=torch.float64)
    edge_attr = torch.randn(edge_index.size(1), 3, dtype=torch.float64)
    shift = torch.randn(count, 1, dtype=torch.float64)

    class WithRows(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network("gat", "GATConv", edge_dim=3)

        def forward(self, x, edge_index, scale, edge_attr, shift):
            hidden = self.inner.first(x * scale + shift, edge_index, edge_attr).relu()
            return self.inner.second(hidden, edge_index, edge_attr)

    model, seen = WithRows(), {}

    def scorer(local, sub_x, sub_edges, node):
        rows = local.arguments["edge_attr"]
        seen["edges"] = {tuple(row) for row in rows.tolist()}
        return rows[:, 0]

    result = measure(
        model,
        x,
        edge_index,
        [3],
        methods=METHODS,
        scorer=scorer,
        epochs=2,
        edge_args={"edge_attr": edge_attr},
        node_args={"shift": shift},
        model_args={"scale": 2.0},
        top_k=(1,),
    )
    edges = within(edge_index, 3, hops=2)
    assert seen["edges"] == {tuple(edge_attr[edge].tolist()) for edge in edges}
    real = [edge for edge in edges if edge_index[0, edge] != edge_index[1, edge]]
    best = max(real, key=lambda edge: edge_attr[edge, 0])
    keep = torch.tensor([edge for edge in range(edge_index.size(1)) if edge != best])
    whole = model(x, edge_index, 2.0, edge_attr, shift)[3].softmax(-1)
    without = model(x, edge_index[:, keep], 2.0, edge_attr[keep], shift)[3].softmax(-1)
    expected = (whole - without)[whole.argmax()]
    assert result["own"].fidelity_plus[1].mean == pytest.approx(expected.item())


def state(model):
    """All that is to be as before."""
    return {
        "attributes": [dict(vars(module)) for module in model.modules()],
        "parameters": [
            (name, parameter, parameter.clone(), parameter.requires_grad, parameter.grad)
            for name, parameter in model.named_parameters()
        ],
        "keys": [sorted(module._parameters) for module in model.modules()],
        "hooks": [len(module._forward_hooks) for module in model.modules()],
    }


def assert_as_before(model, before):
    after = state(model)
    for (name, one, copy, wanted, grad), (_, other, _, still, left) in zip(
        before["parameters"], after["parameters"], strict=True
    ):
        assert one is other, name
        assert torch.equal(copy, other), name
        assert wanted == still, name
        assert grad is left, name
    assert before["keys"] == after["keys"]
    assert before["hooks"] == after["hooks"]
    for one, other in zip(before["attributes"], after["attributes"], strict=True):
        assert one.keys() == other.keys()
        assert [key for key in one if one[key] is not other[key]] == []


def careless(model, x, edge_index, node):
    """Leaves the model otherwise than it was."""
    model.train()
    model.zero_grad()
    torch.rand(5)
    return by_features(model, x, edge_index, node)


def fail(*asked):
    careless(*asked)
    raise RuntimeError("a scorer that fails")


@pytest.mark.parametrize("fails", [False, True], ids=["to_its_end", "with_an_error"])
@pytest.mark.parametrize("source", ["gat", "pyg"])
def test_the_model_is_as_before(source, fails):
    edge_index, count, _ = GRAPHS["random"]
    x = torch.randn(count, WIDTH, dtype=torch.float64)
    model = network(source, "GATConv", dropout=0.5).train()
    model.second.eval()
    model.second.bias.requires_grad_(False)
    model(x, edge_index).sum().backward()
    before, generator = state(model), torch.get_rng_state()
    numbers = [parameter.grad.clone() for parameter in model.first.parameters()]
    if fails:
        with pytest.raises(RuntimeError, match="a scorer that fails"):
            measure(model, x, edge_index, [0, 1], METHODS, fail, epochs=2)
    else:
        measure(model, x, edge_index, [0, 1], METHODS, careless, epochs=2)
    assert_as_before(model, before)
    assert torch.equal(torch.get_rng_state(), generator)
    for parameter, number in zip(model.first.parameters(), numbers, strict=True):
        assert torch.equal(parameter.grad, number)


def test_a_model_in_training_is_asked_in_eval_mode():
    edge_index, count, _ = GRAPHS["random"]
    x = torch.randn(count, WIDTH, dtype=torch.float64)
    model = network("gat", "GATConv", dropout=0.5)
    asked = {"methods": METHODS, "epochs": 2}
    resting = measure(model, x, edge_index, range(3), scorer=by_features, **asked)
    training = measure(model.train(), x, edge_index, range(3), scorer=careless, **asked)
    assert_same(resting, training)


def test_nodes_as_a_mask_a_number_or_numbers():
    x, edge_index = star(1, 2)
    mask = torch.tensor([True, False, False])
    for nodes in (mask, 0, [0], torch.tensor([0], dtype=torch.int32)):
        assert measure(Sum(), x, edge_index, nodes).nodes.tolist() == [0]


X, EDGES = star(1, 2)
REFUSED = {
    "unknown_method": (
        {"methods": ["captum"]},
        InputError,
        "methods has 'captum'; expected some of 'attention', 'gatt'",
    ),
    "methods_in_one_word": ({"methods": "random"}, ArgumentTypeError, "expected a list of names"),
    "a_taken_name": (
        {"scorers": {"gatt": by_value}},
        InputError,
        "scorers has 'gatt', the name of a built-in method",
    ),
    "node_out_of_range": ({"nodes": [5]}, IndexRangeError, r"nodes has 5; expected .* \[0, 3\)"),
    "node_twice": ({"nodes": [0, 0]}, InputError, "nodes has 0 more than once"),
    "short_mask": (
        {"nodes": torch.tensor([True])},
        InputError,
        "nodes is a mask of 1; expected one of 3 nodes",
    ),
    "floating_nodes": ({"nodes": torch.tensor([0.5])}, ArgumentTypeError, "torch.float32"),
    "falling_fractions": ({"fractions": (1, 0.5)}, InputError, "ascending numbers"),
    "one_fraction": ({"fractions": (1,)}, InputError, "two or more"),
    "fractions_beyond_1": ({"fractions": (0, 2)}, InputError, r"in \[0, 1\]"),
    "k_of_0": ({"top_k": (0, 1)}, InputError, r"top_k is \[0, 1\]; expected .* 1 or more"),
    "no_draws": ({"draws": 0}, InputError, "draws is 0; expected 1 or more"),
    "confidence_of_95": ({"confidence": 95}, InputError, "confidence is 95; expected a share"),
    "hops_of_0": ({"hops": 0}, InputError, "hops is 0; expected 1 or more"),
    "output": ({"output": "raw"}, InputError, "output is 'raw'; expected 'logits', 'log_probs'"),
    "target_of_some_nodes": (
        {"target": torch.tensor([0])},
        InputError,
        r"target is \[1\]; expected \[3\], a class for each node",
    ),
    "floating_target": ({"target": torch.zeros(3)}, ArgumentTypeError, "target is a torch.float32"),
    "class_out_of_range": (
        {"target": torch.full((3,), 7)},
        IndexRangeError,
        r"target has class 7; expected classes in \[0, 2\)",
    ),
    "short_edge_rows": (
        {"edge_args": {"edge_attr": torch.zeros(1)}},
        InputError,
        r"edge_args\['edge_attr'\] is \[1\]; expected a tensor with 2 rows",
    ),
    "sparse_features": ({"x": X.to_sparse()}, ArgumentTypeError, r"x is a .*sparse.*to_dense\(\)"),
    "dict_of_features": ({"x": {"paper": X}}, ArgumentTypeError, "several node types"),
    "sparse_edges": ({"edge_index": X.to_sparse()}, ArgumentTypeError, "expected a tensor"),
    "scores_of_a_wrong_shape": (
        {"scorers": {"own": lambda *_: torch.zeros(9)}},
        InputError,
        r"own gave \[9\] at node 0; expected a tensor \[2\]",
    ),
    "scores_of_nan": (
        {"scorers": {"own": lambda *_: torch.tensor([1.0, torch.nan])}},
        InputError,
        r"own gave scores at node 0 that are no numbers",
    ),
    "no_attention": ({"methods": ["attention"]}, InputError, "Sum has no attention layer"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name):
    changed, error, sentence = REFUSED[name]
    given = {"x": X, "edge_index": EDGES, "nodes": [0], "methods": ["random"], **changed}
    with pytest.raises(error, match=sentence):
        faithfulness(Sum(), **given)


def test_pythons_own_generator_is_not_used():
    x, edge_index = star(1, 2)
    before = random.getstate()
    measure(Sum(), x, edge_index)
    assert random.getstate() == before


def test_a_compiled_model_is_run_as_written():
    edge_index, count, _ = GRAPHS["random"]
    x = torch.randn(count, WIDTH, dtype=torch.float64)
    model = network("gat", "GATConv")
    compilations = []

    def backend(module, _):
        compilations.append(module)
        return module

    compiled = torch.compile(model, backend=backend)
    asked = {"methods": METHODS, "scorer": by_features, "epochs": 2}
    assert_same(
        measure(model, x, edge_index, range(3), **asked),
        measure(compiled, x, edge_index, range(3), **asked),
    )
    assert not compilations
    compiled(x, edge_index)
    assert compilations
