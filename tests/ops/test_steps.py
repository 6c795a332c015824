"""The steps on their own: together they are the operators; each is differentiable and checked."""

import pytest
import torch

from gat.errors import ArgumentTypeError, InputError
from gat.ops import (
    additive_attention,
    additive_scores,
    aggregate,
    dot_attention,
    dot_scores,
    gatv2_attention,
    gatv2_scores,
    segment_softmax,
)
from tests.graphs import GRAPHS
from tests.ops.accuracy import assert_as_accurate_as_the_reference
from tests.ops.inputs import FAST, STEPS, graph, inputs

BACKENDS = ["reference", *FAST]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", GRAPHS)
def test_steps_in_sequence_are_the_operators(name, backend):
    on = graph(name)
    by = {"backend": backend}

    t = inputs("additive", on, 2, 3)
    value = t.pop("value")
    weights = segment_softmax(on, additive_scores(on, **t, **by), **by)
    expected = additive_attention(on, value, **t, **by, return_weights=True)
    torch.testing.assert_close((aggregate(on, weights, value, **by), weights), expected)

    t = inputs("gatv2", on, 2, 3)
    weights = segment_softmax(on, gatv2_scores(on, **t, **by), **by)
    expected = gatv2_attention(on, **t, **by, return_weights=True)
    torch.testing.assert_close((aggregate(on, weights, t["key"], **by), weights), expected)

    t = inputs("dot", on, 2, 3)
    scores = dot_scores(on, t["query"], t["key"], t["edge_key"], **by)
    weights = segment_softmax(on, scores, **by)
    out = aggregate(on, weights, t["value"], t["edge_value"], **by)
    expected = dot_attention(on, **t, **by, return_weights=True)
    torch.testing.assert_close((out, weights), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("backend", FAST)
def test_fast_paths_are_as_accurate_as_the_reference(backend, step, dtype):
    for name in GRAPHS:
        on = graph(name)
        for heads, channels in ((1, 1), (3, 7), (2, 32)):
            t = inputs(step, on, heads, channels, dtype)
            assert_as_accurate_as_the_reference(STEPS[step], on, t, backend)


@pytest.mark.parametrize("name", ["no_edges", "loops_and_duplicates", "bipartite_wide"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_and_second_gradients(backend, step, name):
    on = graph(name)
    t = inputs(step, on, 2, 3)

    def run(*tensors):
        return STEPS[step](on, **dict(zip(t, tensors, strict=True)), backend=backend)

    leaves = tuple(tensor.requires_grad_() for tensor in t.values())
    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradgradcheck(run, leaves, fast_mode=True)


@pytest.mark.parametrize("activation", ["leaky_relu", "tanh"])
@pytest.mark.parametrize("backend", FAST)
def test_gatv2_scores_with_each_activation_and_slope(backend, activation):
    on = graph("random")
    t = inputs("gatv2_scores", on, 2, 3)
    options = {"activation": activation, "negative_slope": 0.01}
    assert_as_accurate_as_the_reference(gatv2_scores, on, t, backend, **options)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_non_contiguous_inputs_give_the_same(backend, step):
    on = graph("random")
    t = inputs(step, on, 2, 3)
    strided = {k: torch.stack([v, v], dim=-1)[..., 0] for k, v in t.items()}
    result = STEPS[step](on, **strided, backend=backend)
    torch.testing.assert_close(result, STEPS[step](on, **t, backend=backend))


# Masks and overflows --------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_score_of_minus_infinity_is_a_mask_and_gets_no_gradient(backend):
    on = graph("loops_and_duplicates")
    scores = torch.randn(7, 2, dtype=torch.float64)
    scores[on.edge_index[1] == 1] = -torch.inf
    scores[0, 0] = -torch.inf
    scores.requires_grad_()
    weights = segment_softmax(on, scores, backend=backend)
    masked = scores == -torch.inf
    assert (weights[masked] == 0).all()
    sums = torch.zeros(3, 2, dtype=torch.float64).index_add(0, on.edge_index[1], weights)
    torch.testing.assert_close(sums[[0, 2]], torch.ones(2, 2, dtype=torch.float64))
    weights.square().sum().backward()
    assert torch.isfinite(scores.grad).all()
    assert (scores.grad[masked] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("backend", BACKENDS)
def test_scores_that_overflow_their_dtype_are_the_largest_and_no_mask(backend, dtype):
    on = graph("random")
    largest = torch.finfo(dtype).max
    huge = {k: torch.full_like(v, largest) for k, v in inputs("dot", on, 1, 2, dtype).items()}
    for sign in (1, -1):
        query, key = sign * huge["query"], huge["key"]
        scores = [
            dot_scores(on, query, key, backend=backend),
            gatv2_scores(on, key, key, sign * torch.full_like(key[0], 4), backend=backend),
            additive_scores(on, *[sign * key[..., 0]] * 2, negative_slope=1.0, backend=backend),
        ]
        for score in scores:
            assert (score == sign * largest).all()
            sums = torch.zeros(31, 1, dtype=dtype)
            weights = segment_softmax(on, score, backend=backend)
            sums = sums.index_add(0, on.edge_index[1], weights)[on.in_degree > 0]
            torch.testing.assert_close(sums, torch.ones_like(sums))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_score_of_plus_infinity_counts_as_the_largest_number(backend):
    on = graph("hub")
    scores = torch.zeros(97, 1)
    scores[[3, 5]] = torch.inf
    weights = segment_softmax(on, scores, backend=backend)
    assert weights.flatten().nonzero().flatten().tolist() == [3, 5]
    assert weights[3, 0] == 0.5


@pytest.mark.parametrize("name", ["score_src", "score_dst", "score_edge"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_additive_scores_are_masked_by_any_term(backend, name):
    on = graph("random")
    t = inputs("additive_scores", on, 2, 3)
    t[name][4] = -torch.inf
    scores = additive_scores(on, **t, backend=backend)
    source, target = on.edge_index
    here = {"score_src": source, "score_dst": target, "score_edge": torch.arange(211)}[name]
    assert torch.equal(scores == -torch.inf, (here == 4)[:, None].expand(-1, 2))


@pytest.mark.parametrize("backend", BACKENDS)
def test_aggregate_takes_weights_of_any_sign(backend):
    on = graph("random")
    weights, value = torch.randn(211, 2).double(), torch.randn(31, 2, 3).double()
    expected = torch.zeros_like(value).index_add(
        0, on.edge_index[1], weights[:, :, None] * value[on.edge_index[0]]
    )
    torch.testing.assert_close(aggregate(on, weights, value, backend=backend), expected)


# Calls --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "change", "error", "sentence"),
    [
        ("segment_softmax", {"scores": torch.zeros(211)}, InputError,
         r"scores has shape \[211\]; expected \[E, H\] = \[211, heads\]"),
        ("segment_softmax", {"scores": torch.zeros(210, 2)}, InputError,
         r"scores has shape \[210, 2\]; expected \[211, 2\]"),
        ("segment_softmax", {"scores": torch.zeros(211, 2).long()}, ArgumentTypeError,
         "scores has dtype torch.int64; expected a floating dtype"),
        ("segment_softmax", {"scores": torch.zeros(211, 2, device="meta")}, InputError,
         "the graph is on cpu, scores on meta; move one: graph.to"),
        ("additive_scores", {"score_src": torch.zeros(31, 2, 1)}, InputError,
         r"score_src has shape \[31, 2, 1\]; expected \[num_src, H\] = \[31, heads\]"),
        ("additive_scores", {"score_edge": torch.zeros(211, 3)}, InputError,
         r"score_edge has shape \[211, 3\]; expected \[211, 2\] for this graph and score_src of"),
        ("gatv2_scores", {"att": torch.zeros(2, 4)}, InputError,
         r"att has shape \[2, 4\]; expected \[2, 3\] for this graph and key of shape \[31, 2, 3\]"),
        ("gatv2_scores", {"activation": "relu"}, InputError, "activation is 'relu'; expected"),
        ("dot_scores", {"query": torch.zeros(31, 2, 4)}, InputError, "query has shape"),
        ("dot_scores", {"edge_key": torch.zeros(211, 2, 3).int()}, ArgumentTypeError,
         "edge_key has dtype torch.int32"),
        ("aggregate", {"weights": torch.zeros(211, 3)}, InputError,
         r"weights has shape \[211, 3\]; expected \[211, 2\] for this graph and value of shape"),
        ("aggregate", {"edge_value": torch.zeros(211, 2, 3, device="meta")}, InputError,
         "edge_value is on meta, value on cpu; move one of them"),
        ("aggregate", {"backend": "fast"}, InputError, "backend is 'fast'; expected one of 'auto'"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_in_words(step, change, error, sentence):
    on = graph("random")
    with pytest.raises(error, match=sentence):
        STEPS[step](on, **{**inputs(step, on, 2, 3, torch.float32), **change})
