"""The operators against the papers' equations evaluated edge by edge, and what a caller may do."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gat.errors import ArgumentTypeError, InputError
from gat.graph import Graph
from gat.ops import additive_attention, dot_attention, gatv2_attention, use_backend
from tests.graphs import GRAPHS
from tests.ops.inputs import FAST, OPERATORS, graph, inputs


@pytest.fixture(autouse=True, scope="module", params=["reference", *FAST])
def _by_each_backend(request):
    """Everything here holds of every implementation that can run."""
    with use_backend(request.param):
        yield


def score_by_hand(operator, t, j, i, e, h):
    """The papers' score of edge e = (j -> i) under head h, before the softmax."""
    if operator == "additive":
        raw = t["score_src"][j, h] + t["score_dst"][i, h] + t["score_edge"][e, h]
        return raw if raw > 0 else 0.2 * raw
    if operator == "gatv2":
        hidden = t["key"][j, h] + t["query"][i, h] + t["edge"][e, h]
        return t["att"][h] @ torch.where(hidden > 0, hidden, 0.2 * hidden)
    return t["query"][i, h] @ (t["key"][j, h] + t["edge_key"][e, h]) / math.sqrt(t["key"].size(-1))


def attention_by_hand(operator, on: Graph, t):
    """Softmax and sum, target by target, in Python: (out [num_dst, H, C], weights [E, H])."""
    value = t["key"] if operator == "gatv2" else t["value"]
    heads, channels = value.shape[1:]
    out = torch.zeros(on.num_dst, heads, channels, dtype=value.dtype)
    weights = torch.zeros(on.num_edges, heads, dtype=value.dtype)
    edges = list(enumerate(zip(*on.edge_index.tolist(), strict=True)))
    for i in range(on.num_dst):
        for h in range(heads):
            mine = [(e, j) for e, (j, target) in edges if target == i]
            score = {e: float(score_by_hand(operator, t, j, i, e, h)) for e, j in mine}
            total = sum(math.exp(s) for s in score.values())
            for e, j in mine:
                weights[e, h] = math.exp(score[e]) / total
                message = value[j, h] + (t["edge_value"][e, h] if operator == "dot" else 0)
                out[i, h] += weights[e, h] * message
    return out, weights


@pytest.mark.parametrize("name", [n for n in GRAPHS if n != "random"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_output_and_weights_are_the_papers_equations(operator, name):
    on = graph(name)
    t = inputs(operator, on, heads=2, channels=3)
    out, weights = OPERATORS[operator](on, **t, return_weights=True)
    by_hand = attention_by_hand(operator, on, t)
    torch.testing.assert_close(out, by_hand[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(weights, by_hand[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", ["leaky_relu", "tanh"])
def test_gatv2_with_another_value_and_activation(activation):
    on = graph("random")
    t = inputs("gatv2", on, 2, 3)
    value = torch.randn(on.num_src, 2, 5, dtype=torch.float64)
    out, weights = gatv2_attention(on, **t, value=value, activation=activation, return_weights=True)
    j, i = on.edge_index
    hidden = t["key"][j] + t["query"][i] + t["edge"]
    hidden = hidden.tanh() if activation == "tanh" else hidden.where(hidden > 0, 0.2 * hidden)
    score = (hidden * t["att"]).sum(-1)
    total = torch.zeros(on.num_dst, 2, dtype=torch.float64).index_add(0, i, score.exp())
    torch.testing.assert_close(weights, score.exp() / total[i])
    expected = torch.zeros_like(out).index_add(0, i, weights[:, :, None] * value[j])
    torch.testing.assert_close(out, expected)


def test_dot_equals_torchs_attention_on_a_complete_graph():
    n, heads, channels = 7, 3, 4
    source, target = torch.cartesian_prod(torch.arange(n), torch.arange(n)).t()
    on = Graph.from_edge_index(torch.stack([source, target]), n)
    q, k, v = torch.randn(3, n, heads, channels, dtype=torch.float64)
    swap = (t.transpose(0, 1) for t in (q, k, v))
    theirs = torch.nn.functional.scaled_dot_product_attention(*swap).transpose(0, 1)
    torch.testing.assert_close(dot_attention(on, q, k, v), theirs)


@pytest.mark.parametrize(
    "name", ["no_edges", "one_edge", "loops_and_duplicates", "hub", "bipartite_wide"]
)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("operator", OPERATORS)
def test_gradients_and_second_gradients(operator, dropout, name):
    on = graph(name)
    t = inputs(operator, on, 2, 3)
    seed = torch.tensor(7)

    def run(*tensors):
        named = dict(zip(t, tensors, strict=True))
        return OPERATORS[operator](on, **named, dropout=dropout, seed=seed, return_weights=True)

    leaves = tuple(tensor.requires_grad_() for tensor in t.values())
    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradgradcheck(run, leaves, fast_mode=True)


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_properties_on_drawn_graphs(data):
    """Weights sum to 1 per target; renaming nodes renames the output; edge order is irrelevant."""
    num_nodes = data.draw(st.integers(1, 7))
    node = st.integers(0, num_nodes - 1)
    edges = data.draw(st.lists(st.tuples(node, node), max_size=25))
    operator = data.draw(st.sampled_from(sorted(OPERATORS)))
    rename = torch.tensor(data.draw(st.permutations(range(num_nodes))))
    order = torch.tensor(data.draw(st.permutations(range(len(edges)))), dtype=torch.int64)
    edge_index = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).t()
    on = Graph.from_edge_index(edge_index, num_nodes)
    t = inputs(operator, on, 2, 3)
    run = OPERATORS[operator]
    out, weights = run(on, **t, return_weights=True)

    sums = torch.zeros(num_nodes, 2, dtype=torch.float64).index_add(0, edge_index[1], weights)
    torch.testing.assert_close(sums, (on.in_degree > 0).double()[:, None].expand(-1, 2))

    per_edge = ("score_edge", "edge", "edge_key", "edge_value")
    shuffled = {k: v[order] if k in per_edge else v for k, v in t.items()}
    again = Graph.from_edge_index(edge_index[:, order], num_nodes)
    out_shuffled, weights_shuffled = run(again, **shuffled, return_weights=True)
    torch.testing.assert_close(out_shuffled, out)
    torch.testing.assert_close(weights_shuffled, weights[order])

    back = rename.argsort()
    renamed = {k: v if k in (*per_edge, "att") else v[back] for k, v in t.items()}
    out_renamed = run(Graph.from_edge_index(rename[edge_index], num_nodes), **renamed)
    torch.testing.assert_close(out_renamed[rename], out)


@pytest.mark.parametrize("operator", OPERATORS)
def test_node_without_edges_gets_zero_and_zero_gradient(operator):
    on = graph("isolated_nodes")
    t = {k: v.requires_grad_() for k, v in inputs(operator, on, 2, 3).items()}
    out = OPERATORS[operator](on, **t)
    assert torch.equal(out[[1, 2, 4, 5, 6]], torch.zeros(5, 2, 3, dtype=torch.float64))
    out.sum().backward()
    assert all(torch.isfinite(v.grad).all() for v in t.values())


@pytest.mark.parametrize("slope", [0.2, 0.0])
def test_target_with_all_edges_masked_gets_zero_and_zero_gradient(slope):
    on = graph("loops_and_duplicates")
    t = inputs("additive", on, 2, 3)
    t["score_edge"][on.edge_index[1] == 1] = -torch.inf
    t = {k: v.requires_grad_() for k, v in t.items()}
    out, weights = additive_attention(on, **t, negative_slope=slope, return_weights=True)
    assert torch.equal(out[1], torch.zeros(2, 3, dtype=torch.float64))
    assert (weights[on.edge_index[1] == 1] == 0).all()
    (out.sum() + weights.square().sum()).backward()
    assert all(torch.isfinite(v.grad).all() for v in t.values())
    assert (t["score_dst"].grad[1] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    "scores", [(3e38, 0.0), (3e38, 3e38), (-3e38, 0.0), (-3e38, -3e38)], ids=str
)
def test_enormous_scores_stay_finite_and_sum_to_one(scores, dtype):
    on = graph("random")
    t = {k: v.to(dtype) for k, v in inputs("additive", on, 2, 3).items()}
    wide = torch.promote_types(dtype, torch.float32)
    for name, size in zip(("score_src", "score_dst"), scores, strict=True):
        t[name] = torch.full((31, 2), size, dtype=wide)
    t = {k: v.requires_grad_() for k, v in t.items()}
    out, weights = additive_attention(on, **t, return_weights=True)
    assert out.dtype == weights.dtype == wide
    assert torch.isfinite(out).all()
    sums = torch.zeros(31, 2, dtype=torch.float64)
    sums = sums.index_add(0, on.edge_index[1], weights.detach().double())[on.in_degree > 0]
    eps = torch.finfo(wide).eps
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=8 * eps, rtol=0)
    out.sum().backward()
    assert all(torch.isfinite(v.grad).all() for v in t.values())


def test_masked_edge_beside_scores_that_overflow():
    on = Graph.from_edge_index(torch.tensor([[0, 1], [2, 2]]), 3)
    huge, mask = torch.full((3, 1), 3e38), torch.tensor([[0.0], [-torch.inf]])
    for scores in (huge, -huge):
        scores = scores.clone().requires_grad_()
        out, weights = additive_attention(
            on, torch.ones(3, 1, 1), scores, scores, mask, return_weights=True
        )
        assert weights.flatten().tolist() == [1, 0]
        out.sum().backward()
        assert torch.isfinite(scores.grad).all()


@pytest.mark.parametrize("operator", OPERATORS)
def test_scores_that_overflow_are_no_mask(operator):
    on = Graph.from_edge_index(torch.tensor([[0, 1], [2, 2]]), 3)
    t = {k: torch.full_like(v, 1e30) for k, v in inputs(operator, on, 1, 2, torch.float32).items()}
    for sign in (1, -1):
        t |= {k: sign * v for k, v in t.items() if k in ("score_src", "score_dst", "att", "query")}
        _, weights = OPERATORS[operator](on, **t, return_weights=True)
        assert weights.flatten().tolist() == [0.5, 0.5]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_result_has_the_inputs_common_dtype(dtype):
    on = graph("random")
    t = inputs("additive", on, 2, 3, dtype)
    out, weights = additive_attention(on, **t, return_weights=True)
    assert (out.dtype, weights.dtype) == (dtype, dtype)
    t["score_src"] = t["score_src"].float()
    out, weights = additive_attention(on, **t, return_weights=True)
    assert (out.dtype, weights.dtype) == (torch.float32, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("operator", OPERATORS)
def test_half_precision_loses_only_the_rounding_of_its_input_and_output(operator, dtype):
    on = graph("hub")
    t = inputs(operator, on, 2, 8, dtype)
    out = OPERATORS[operator](on, **t)
    exact = OPERATORS[operator](on, **{k: v.double() for k, v in t.items()})
    assert out.dtype == dtype
    # Sums are kept in float32, so the error is that of rounding the result once.
    torch.testing.assert_close(out.double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-6)


def test_hub_of_a_million_edges_averages():
    num_edges = 1_000_000
    source = torch.arange(1, num_edges + 1)
    on = Graph.from_edge_index(torch.stack([source, torch.zeros_like(source)]), num_edges + 1)
    value = torch.randn(num_edges + 1, 1, 1, dtype=torch.float64)
    out = additive_attention(on, value, torch.zeros(num_edges + 1, 1, dtype=torch.float64))
    torch.testing.assert_close(out[0, 0, 0], value[1:].mean())


# Calls --------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", OPERATORS)
def test_non_contiguous_inputs_give_the_same(operator):
    on = graph("random")
    t = inputs(operator, on, 2, 3)
    strided = {k: torch.stack([v, v], dim=-1)[..., 0] for k, v in t.items()}
    assert not any(v.is_contiguous() for v in strided.values())
    assert torch.equal(OPERATORS[operator](on, **strided), OPERATORS[operator](on, **t))


@pytest.mark.parametrize("operator", OPERATORS)
def test_compiled_in_one_piece(operator):
    on = graph("random")
    _ = on.edge_index
    t = {k: v.float().requires_grad_() for k, v in inputs(operator, on, 2, 3).items()}
    run = torch.compile(OPERATORS[operator], fullgraph=True, backend="aot_eager")
    seed = torch.tensor(3)
    out = run(on, **t, dropout=0.5, seed=seed)
    torch.testing.assert_close(out, OPERATORS[operator](on, **t, dropout=0.5, seed=seed))
    out.sum().backward()
    assert all(torch.isfinite(v.grad).all() for v in t.values())


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (
            {"value": torch.zeros(31, 6)},
            InputError,
            r"value has shape \[31, 6\]; expected \[num_src, H, C\]",
        ),
        (
            {"value": torch.zeros(30, 2, 3)},
            InputError,
            r"value has shape \[30, 2, 3\]; expected \[31, 2, 3\]",
        ),
        (
            {"value": torch.zeros(31, 2, 3, dtype=torch.int64)},
            ArgumentTypeError,
            "value has dtype torch.int64; expected a floating dtype",
        ),
        (
            {"score_src": torch.zeros(31, 3)},
            InputError,
            r"score_src has shape \[31, 3\]; expected \[31, 2\]",
        ),
        ({"score_dst": torch.zeros(2, 31)}, InputError, r"score_dst has shape \[2, 31\]"),
        (
            {"score_edge": torch.zeros(210, 2)},
            InputError,
            r"score_edge has shape \[210, 2\]; expected \[211, 2\]",
        ),
        (
            {"score_edge": torch.zeros(211, 2, device="meta")},
            InputError,
            "score_edge is on meta, value on cpu",
        ),
        (
            {"value": torch.zeros(31, 2, 3, device="meta")},
            InputError,
            "the graph is on cpu, value on meta",
        ),
        ({"dropout": 1.5}, InputError, "dropout is 1.5; expected a probability"),
        (
            {"backend": "cuda"},
            InputError,
            "backend is 'cuda'; expected one of 'auto', 'reference', 'blockwise', 'cpu', 'triton', "
            "'dense'",
        ),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_bad_arguments_are_refused_in_words(change, error, sentence):
    on = graph("random")
    t = {k: v.float() for k, v in inputs("additive", on, 2, 3).items()}
    with pytest.raises(error, match=sentence):
        additive_attention(on, **{**t, **change})


def test_unknown_activation_is_refused():
    on = graph("random")
    with pytest.raises(InputError, match="activation is 'relu'; expected 'leaky_relu' or 'tanh'"):
        gatv2_attention(on, **inputs("gatv2", on, 2, 3), activation="relu")
