"""Every normaliser against its definition, and what must hold of its weights on any graph."""

import entmax
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gat.errors import InputError
from gat.graph import Graph
from gat.nn.forms import Dot, Edgewise
from gat.nn.normalizers import (
    NORMALIZERS,
    Entmax,
    Gumbel,
    Sigmoid,
    Softmax,
    Tanh,
    Threshold,
    TopK,
    Uniform,
)
from gat.ops import aggregate, segment_softmax
from tests.ops.inputs import graph

HEADS = 2
# What the weights of the edges that enter one target are, by their scores [n] alone.
DEFINITIONS = {
    "softmax": lambda s: s.softmax(0),
    "sparsemax": lambda s: entmax.sparsemax(s, dim=0),
    "entmax15": lambda s: entmax.entmax15(s, dim=0),
    "entmax": lambda s: entmax.entmax_bisect(s, alpha=1.5, dim=0, n_iter=100),
    "topk": lambda s: s.masked_fill(s < s.topk(min(8, len(s))).values[-1], -torch.inf).softmax(0),
    "threshold": lambda s: kept(s.softmax(0), 0.05),
    "gumbel": lambda s: s.softmax(0),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "uniform": lambda s: torch.full_like(s, 1 / len(s)),
}


def kept(weights, cut):
    weights = weights * (weights >= min(cut, weights.max()))
    return weights / weights.sum()


def made(name_or_object, heads=HEADS):
    normalizer = NORMALIZERS.make(name_or_object)
    normalizer.attach(heads)
    return normalizer.double().eval()


def by_target(on, scores, definition):
    expected = torch.zeros_like(scores)
    target = on.edge_index[1]
    for i in target.unique():
        for h in range(scores.size(1)):
            expected[target == i, h] = definition(scores[target == i, h])
    return expected


def test_every_normalizer_has_its_definition_here():
    # Its weights depend on the sentences of a graph: tests/nn/test_monotonic.py.
    assert sorted([*DEFINITIONS, "monotonic"]) == NORMALIZERS.names()


@pytest.mark.parametrize("on", ["hub", "random", "isolated_nodes", "loops_and_duplicates"])
@pytest.mark.parametrize("name", DEFINITIONS)
def test_weights_are_the_definition(name, on):
    on = graph(on)
    scores = torch.randn(on.num_edges, HEADS).double()
    expected = by_target(on, scores, DEFINITIONS[name])
    torch.testing.assert_close(made(name)(on, scores), expected)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_attend_is_the_sum_by_these_weights(name):
    on = graph("random")
    scores, value = torch.randn(on.num_edges, HEADS).double(), torch.randn(31, HEADS, 3).double()
    normalizer = made(name)
    weights = normalizer(on, scores)
    for asked in (True, False):
        out, used = normalizer.attend(on, Edgewise(scores), value, 0.0, asked)
        torch.testing.assert_close(out, aggregate(on, weights, value))
        assert (used is not None) is asked
    torch.testing.assert_close(
        normalizer.attend(on, Edgewise(scores), value, 0.0, True)[1], weights
    )


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_form_that_is_not_worked_out_gives_the_same(name):
    on = graph("random")
    query, key = torch.randn(2, 31, HEADS, 3).double()
    form, normalizer = Dot(query, key), made(name)
    worked_out = Edgewise(form.scores(on))
    expected = normalizer.attend(on, worked_out, key, 0.0, True)
    torch.testing.assert_close(normalizer.attend(on, form, key, 0.0, True), expected)


@pytest.mark.parametrize("name", DEFINITIONS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_weights_on_any_graph(name, data):
    """Bounds, sums, masks, and no say of one target's scores in another's weights."""
    nodes, edges = data.draw(st.integers(1, 6)), data.draw(st.integers(0, 25))
    end = st.lists(st.integers(0, nodes - 1), min_size=edges, max_size=edges)
    edge_index = torch.tensor([data.draw(end), data.draw(end)], dtype=torch.int64)
    on = Graph.from_edge_index(edge_index, nodes)
    number = st.floats(-30, 30) | st.just(-torch.inf)
    flat = data.draw(st.lists(number, min_size=edges * HEADS, max_size=edges * HEADS))
    scores = torch.tensor(flat, dtype=torch.float64).view(edges, HEADS)
    weights = made(name)(on, scores).detach()
    masked = scores == -torch.inf
    assert (weights[masked] == 0).all()
    assert (weights.abs() <= 1 + 1e-12).all()
    assert name == "tanh" or (weights >= 0).all()
    sums, free = torch.zeros(2, nodes, HEADS).double()
    sums.index_add_(0, edge_index[1], weights)
    free.index_add_(0, edge_index[1], (~masked).double())
    if name not in ("sigmoid", "tanh"):
        torch.testing.assert_close(sums, (free > 0).double(), rtol=1e-9, atol=1e-9)
    moved = scores + (edge_index[1] == 0).unsqueeze(1)
    other = edge_index[1] != 0
    assert torch.equal(made(name)(on, moved)[other], weights[other])


def test_temperature_and_clip():
    on = graph("random")
    scores = 5 * torch.randn(on.num_edges, HEADS).double()
    scores[::7] = -torch.inf
    clipped = (2 * torch.tanh(scores / 2)).masked_fill(scores == -torch.inf, -torch.inf)
    expected = by_target(on, clipped / 0.5, lambda s: s.softmax(0).nan_to_num(0))
    weights = made(Softmax(temperature=0.5, clip=2.0))(on, scores)
    torch.testing.assert_close(weights, expected)


def test_topk_keeps_so_many_and_the_first_of_equals():
    on = graph("hub")
    weights = made(TopK(3))(on, torch.randn(97, HEADS).double())
    assert (weights > 0).sum(0).tolist() == [3, 3]
    torch.testing.assert_close(weights.sum(0), torch.ones(2).double())
    level = made(TopK(2))(on, torch.zeros(97, HEADS).double())
    assert level[:2].eq(0.5).all()
    assert level[2:].eq(0).all()


def test_threshold_leaves_no_weight_below_its_cut():
    on = graph("hub")
    scores = (2 * torch.randn(97, HEADS)).double().requires_grad_()
    weights = made(Threshold(0.02))(on, scores)
    soft = scores.softmax(0)
    assert torch.equal(weights == 0, soft < 0.02)
    assert (weights[weights > 0] >= 0.02).all()
    assert 1 < (weights[:, 0] > 0).sum() < 97
    torch.testing.assert_close(weights.sum(0), torch.ones(2).double())
    weights[:, 0].square().sum().backward()
    assert torch.equal(scores.grad != 0, torch.stack([weights[:, 0] > 0, torch.zeros(97)], 1) > 0)
    cold = made(Threshold(0.02, temperature=0.5))(on, scores)
    torch.testing.assert_close(cold, made(Threshold(0.02))(on, 2 * scores))


def test_threshold_keeps_the_largest_where_none_reaches_the_cut():
    on = graph("hub")
    scores = torch.zeros(97, HEADS).double()
    scores[5, 1] = 1
    weights = made(Threshold(0.5))(on, scores)
    assert weights.nonzero().tolist() == [[0, 0], [5, 1]]
    assert made(Threshold(0.0))(on, scores).gt(0).all()


def test_threshold_has_the_gradients_of_its_weights():
    on = graph("random")
    scores = torch.randn(on.num_edges, HEADS).double().requires_grad_()
    normalizer = made(Threshold(0.1))
    assert (normalizer(on, scores) == 0).any()
    assert torch.autograd.gradcheck(lambda scores: normalizer(on, scores), scores, fast_mode=True)


def test_a_learned_alpha_starts_where_it_was_told_and_moves():
    on, normalizer = graph("random"), made(Entmax(1.25), heads=3)
    torch.testing.assert_close(normalizer.alpha(), torch.full((3,), 1.25).double())
    scores = torch.randn(on.num_edges, 3).double()
    fixed = made(Entmax(1.25, learned=False), heads=3)
    torch.testing.assert_close(normalizer(on, scores), fixed(on, scores))
    normalizer(on, scores).square().sum().backward()
    assert (normalizer.raw.grad != 0).all()
    assert list(fixed.parameters()) == []
    with torch.no_grad():
        normalizer.raw.fill_(-1000)
    near = segment_softmax(on, scores)
    torch.testing.assert_close(normalizer(on, scores), near, rtol=0.01, atol=0.01)


def test_gumbel_draws_edges_as_often_as_their_softmax_says():
    edge_index = torch.stack([torch.arange(4), torch.zeros(4, dtype=torch.int64)])
    on = Graph.from_edge_index(edge_index, 4)
    scores = torch.tensor([0.0, 1.0, 2.0, -torch.inf]).double()
    many = scores.unsqueeze(1).expand(4, 20_000)
    gumbel = made(Gumbel(hard=True)).train()
    drawn = gumbel(on, many)
    assert set(drawn.detach().round(decimals=9).unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(drawn.mean(1), scores.softmax(0), rtol=0, atol=0.015)
    soft = made(Gumbel(temperature=0.5)).train()(on, many)
    torch.testing.assert_close(soft.sum(0), torch.ones(20_000).double())
    assert soft.std(1)[:3].min() > 0.1


def test_hard_gumbel_has_the_soft_ones_gradient():
    on = graph("random")
    scores = torch.randn(on.num_edges, HEADS).double().requires_grad_()
    scale = torch.randn_like(scores)
    grads = []
    for hard in (True, False):
        torch.manual_seed(5)
        weights = made(Gumbel(hard=hard)).train()(on, scores)
        grads.append(torch.autograd.grad((weights * scale).sum(), scores)[0])
    torch.testing.assert_close(*grads)


def test_tanh_with_fagcns_degrees():
    on = graph("random")
    scores = torch.randn(on.num_edges, HEADS).double()
    source, target = on.edge_index
    degrees = (on.out_degree[source] * on.in_degree[target]).double().sqrt()
    expected = scores.tanh() / degrees.unsqueeze(1)
    normalizer = made(Tanh(symmetric_norm=True))
    torch.testing.assert_close(normalizer(on, scores), expected)
    kept = torch.arange(on.num_edges) % 3 > 0
    rest = Graph.from_edge_index(on.edge_index[:, kept], 31)
    masked = scores.masked_fill(~kept.unsqueeze(1), -torch.inf)
    torch.testing.assert_close(normalizer(on, masked)[kept], normalizer(rest, scores[kept]))


def test_uniform_and_sigmoid_leave_masked_edges_out():
    on = graph("hub")
    scores = torch.randn(97, HEADS).double()
    scores[10:] = -torch.inf
    assert made(Uniform())(on, scores)[:10].eq(0.1).all()
    assert made(Uniform())(on, scores)[10:].eq(0).all()
    assert made(Sigmoid())(on, scores)[10:].eq(0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Softmax(temperature=0), "temperature is 0; expected a number above 0"),
        (lambda: Softmax(clip=-1), "clip is -1; expected a number above 0"),
        (lambda: Entmax(1.0), "alpha is 1.0; expected a number between 1.001 and 2 where it"),
        (lambda: Entmax(0.5, learned=False), "alpha is 0.5; expected a number above 1"),
        (lambda: TopK(0), "k is 0; expected 1 or more edges per target"),
        (lambda: TopK(2.5), "k is 2.5; expected 1 or more edges per target"),
        (lambda: Threshold(1.0), "cut is 1.0; expected a weight of 0 or more, below 1"),
        (lambda: Threshold(-0.1), "cut is -0.1; expected a weight of 0 or more, below 1"),
        (lambda: Softmax(float("inf")), "temperature is inf; expected a number above 0"),
        (lambda: Gumbel(rate=float("nan")), "rate is nan; expected 0 or more"),
        (lambda: Gumbel(rate=-1), "rate is -1; expected 0 or more"),
    ],
)
def test_options_are_refused_in_words(make, message):
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        make()
