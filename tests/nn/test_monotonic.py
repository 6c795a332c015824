"""Monotonic attention against the process it describes, run from source to source."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gat.errors import InputError
from gat.graph import Graph
from gat.nn import Attend, Monotonic
from gat.topology import bipartite, causal, window

HEADS = 2
SENTENCES = {
    "one_to_one": ((1,), (1,)),
    "one_source": ((1,), (3,)),
    "one_step": ((5,), (1,)),
    "one_sentence": ((4,), (3,)),
    "more_steps_than_sources": ((2,), (7,)),
    "unequal": ((3, 1, 5, 2), (2, 4, 1, 3)),
    "without_sources_or_steps": ((3, 0, 2, 4), (2, 3, 0, 1)),
}


def made(heads=HEADS, training=True, **options):
    """Without noise, if not told otherwise."""
    normalizer = Monotonic(**{"noise": 0.0, **options})
    normalizer.attach(heads)
    return normalizer.double().train(training)


def by_sentence(graph, sentences, rows):
    """Rows [E, H] of edges as [steps, sources, H] of each sentence."""
    sources, steps = sentences
    sizes = [s * t for s, t in zip(sources, steps, strict=True)]
    assert graph.num_edges == sum(sizes)
    parts = rows.split(sizes)
    return [part.view(t, s, HEADS) for part, s, t in zip(parts, sources, steps, strict=True)]


def stopped(stops, start=0):
    """Where each step stops, None for nowhere: stops[i][j], whether step i does at source j."""
    found = []
    for row in stops:
        at = start
        while at is not None and at < len(row) and not row[at]:
            at += 1
        start = at = None if at is None or at == len(row) else at
        found.append(at)
    return found


def hard(stops, start=0):
    """Weights [steps, sources] of stops [steps, sources]."""
    weights = torch.zeros(stops.shape).double()
    for step, at in enumerate(stopped(stops.tolist(), start)):
        if at is not None:
            weights[step, at] = 1
    return weights


def expected(probability, start=0):
    """The mean of `hard` over every possible outcome of all draws."""
    total = torch.zeros_like(probability)
    for outcome in itertools.product([False, True], repeat=probability.numel()):
        drawn = torch.tensor(outcome).view(probability.shape)
        chance = torch.where(drawn, probability, 1 - probability).prod()
        total += chance * hard(drawn, start)
    return total


def test_expected_weights_are_the_mean_over_all_outcomes():
    graph, normalizer = bipartite(3, 3), made(offset=-0.3)
    scores = torch.randn(9, HEADS).double()
    weights = normalizer(graph, scores).view(3, 3, HEADS)
    for head in range(HEADS):
        mean = expected(torch.sigmoid(scores[:, head] - 0.3).view(3, 3))
        torch.testing.assert_close(weights[..., head], mean)


def test_going_on_is_the_mean_over_where_the_step_before_stopped():
    graph, normalizer = bipartite(4, 2), made(heads=1)
    scores = torch.randn(8, 1).double()
    previous = torch.tensor([[0.2], [0.0], [0.5], [0.1]]).double()
    probability = torch.sigmoid(scores - 1).view(2, 4)
    mean = sum(previous[start] * expected(probability, start) for start in range(4))
    weights = normalizer.following(previous)(graph, scores)
    torch.testing.assert_close(weights.view(2, 4), mean)


@pytest.mark.parametrize("sentences", SENTENCES.values(), ids=SENTENCES)
def test_expected_weights_are_the_papers_recursion(sentences):
    graph, normalizer = bipartite(*sentences), made()
    scores = 2 * torch.randn(graph.num_edges, HEADS).double()
    weights = by_sentence(graph, sentences, normalizer(graph, scores))
    for ours, given_scores in zip(weights, by_sentence(graph, sentences, scores), strict=True):
        stop = torch.sigmoid(given_scores - 1)
        before = torch.zeros(stop.shape[1:]).double()
        before[:1] = 1
        for step in range(stop.size(0)):
            row = torch.zeros_like(before)
            for source in range(stop.size(1)):
                # Eq. 9 of the paper; its quotient is q, 0 before the first source.
                moved = 0.0
                if source:
                    quotient = row[source - 1] / stop[step, source - 1]
                    moved = (1 - stop[step, source - 1]) * quotient
                row[source] = stop[step, source] * (moved + before[source])
            torch.testing.assert_close(ours[step], row)
            before = row


@pytest.mark.parametrize("training", [True, False], ids=["expected", "hard"])
@pytest.mark.parametrize("sentences", SENTENCES.values(), ids=SENTENCES)
def test_step_by_step_is_all_at_once(sentences, training):
    sources = sentences[0]
    graph, normalizer = bipartite(*sentences), made(training=training, offset=0.2)
    scores = torch.randn(graph.num_edges, HEADS).double()
    whole = by_sentence(graph, sentences, normalizer(graph, scores))
    given_scores = by_sentence(graph, sentences, scores)
    for count, ours, own in zip(sources, whole, given_scores, strict=True):
        one, previous = bipartite(count, 1), None
        for step in range(own.size(0)):
            now = normalizer if previous is None else normalizer.following(previous)
            previous = now(one, own[step])
            torch.testing.assert_close(previous, ours[step])


# Which float64 adds exactly, so that the border is the same for all.
QUARTERS = st.integers(-12, 12).map(lambda number: number / 4)


@st.composite
def sentence(draw):
    """Scores [steps, sources] of any size, masked ones and ones on the border among them."""
    steps, sources = draw(st.integers(1, 6)), draw(st.integers(1, 7))
    number = QUARTERS | st.sampled_from([-torch.inf, 1e30, -1e30])
    flat = draw(st.lists(number, min_size=steps * sources, max_size=steps * sources))
    return torch.tensor(flat, dtype=torch.float64).view(steps, sources)


@settings(max_examples=100, deadline=None)
@given(scores=sentence(), offset=QUARTERS)
def test_what_was_passed_is_never_looked_at_again(scores, offset):
    steps, sources = scores.shape
    normalizer = made(heads=1, training=False, offset=offset)
    with torch.no_grad():
        weights = normalizer(bipartite(sources, steps), scores.view(-1, 1)).view(steps, sources)
    assert torch.equal(weights, hard(scores + offset > 0))
    looked = [row.nonzero().flatten().tolist() for row in weights]
    assert all(len(places) <= 1 for places in looked)
    # Once nowhere, then nowhere for good; until then never to the left.
    assert looked == sorted(looked, key=lambda places: places or [sources])


@settings(max_examples=100, deadline=None)
@given(scores=sentence())
def test_expected_weights_of_any_scores(scores):
    """They are shares of 1 or less; where stops are all but certain they are the hard ones."""
    steps, sources = scores.shape
    graph, normalizer = bipartite(sources, steps), made(heads=1, offset=0.0)
    with torch.no_grad():
        weights = normalizer(graph, scores.view(-1, 1)).view(steps, sources)
        assert (weights >= 0).all()
        assert (weights.sum(1) <= 1 + 1e-12).all()
        assert (weights[scores == -torch.inf] == 0).all()
        certain = torch.where(scores > 0.5, 1e5, -1e5).double()
        nearly = normalizer(graph, certain.view(-1, 1)).view(steps, sources)
    torch.testing.assert_close(nearly, hard(certain > 0))


@pytest.mark.parametrize("steps", [(2, 1, 3), 1], ids=["steps", "one_step"])
def test_gradients_of_scores_offset_and_the_step_before(steps):
    graph, normalizer = bipartite((3, 1, 2), steps), made()
    scores = torch.randn(graph.num_edges, HEADS).double().requires_grad_()
    previous = torch.rand(6, HEADS).double().requires_grad_()

    def run(scores, previous, offset):
        following = normalizer.following(previous)
        following._parameters = {"offset": offset}
        return following(graph, scores)

    inputs = (scores, previous, normalizer.offset)
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize("size", [1e4, torch.inf], ids=["large", "infinite"])
def test_certain_stops_leave_gradients_finite(size):
    scores = (size * torch.tensor([-1.0, 1, 1, -1, -1, -1]).view(6, 1)).double().requires_grad_()
    normalizer = made(heads=1)
    normalizer(bipartite(3, 2), scores)[:, 0].dot(torch.randn(6).double()).backward()
    assert scores.grad.isfinite().all()
    assert normalizer.offset.grad.isfinite().all()


def test_noise_is_gaussian_and_for_training_alone():
    graph, scores = bipartite(1, 1), torch.full((1, 20_000), 0.5).double()
    normalizer = made(heads=20_000, offset=-1.0, noise=2.0)
    logits = torch.logit(normalizer(graph, scores)).detach()
    torch.testing.assert_close(logits.mean().item(), -0.5, rtol=0, atol=0.06)
    torch.testing.assert_close(logits.std().item(), 2.0, rtol=0, atol=0.05)
    still = normalizer.eval()(graph, scores)
    assert (still == 0).all()


def test_the_order_of_the_callers_edges_is_no_matter():
    sentences = (3, 1, 2), (2, 4, 1)
    straight, normalizer = bipartite(*sentences), made()
    mixed = torch.randperm(straight.num_edges)
    graph = Graph.from_edge_index(straight.edge_index[:, mixed], (6, 7))
    scores = torch.randn(straight.num_edges, HEADS).double()
    previous = torch.rand(6, HEADS).double()
    expected = normalizer(straight, scores)
    torch.testing.assert_close(normalizer(graph, scores[mixed]), expected[mixed])
    # The weights of one step on a graph so mixed come in its own order.
    one = bipartite((3, 1, 2), 1)
    turned = torch.randperm(6)
    other = Graph.from_edge_index(one.edge_index[:, turned], (6, 3))
    expected = normalizer.following(previous)(one, scores[:6])
    weights = normalizer.following(previous[turned])(other, scores[:6][turned])
    torch.testing.assert_close(weights, expected[turned])


def test_attend_goes_on_from_previous_of_a_batch_too():
    attend = Attend(3, HEADS, normalizer=Monotonic(noise=0.0)).double()
    query, key, value = (torch.randn(2, n, HEADS, 3).double() for n in (2, 4, 4))
    whole, (_, weights) = attend(query, key, value, bipartite(4, 2), return_attention_weights=True)
    outs, previous = [], None
    for step in range(2):
        out, (_, previous) = attend(
            query[:, step : step + 1],
            key,
            value,
            bipartite(4, 1),
            previous=previous,
            return_attention_weights=True,
        )
        outs.append(out)
    torch.testing.assert_close(torch.cat(outs, 1), whole)
    torch.testing.assert_close(previous, weights[:, 4:])
    assert "normalizer.offset" in attend.state_dict()


def test_float16_scores_are_weighed_in_float32():
    normalizer = made().float()
    scores = torch.randn(12, HEADS).half()
    weights = normalizer(bipartite(4, 3), scores)
    assert weights.dtype is torch.float16
    torch.testing.assert_close(weights, normalizer(bipartite(4, 3), scores.float()).half())


@pytest.mark.parametrize(
    "graph",
    [causal(3), window(5, 1), Graph.from_edge_index(torch.tensor([[0, 0], [0, 0]]), (1, 1))],
    ids=["causal", "window", "an_edge_twice"],
)
def test_graphs_without_sentences_are_refused(graph):
    with pytest.raises(InputError, match=r"needs sentences apart.*bipartite has it; source [01] "):
        made()(graph, torch.zeros(graph.num_edges, HEADS).double())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Monotonic(offset=torch.inf), "offset is inf; expected a finite number"),
        (lambda: Monotonic(noise=-1), "noise is -1; expected a deviation of 0 or more"),
        (
            lambda: made().following(torch.rand(6, 2))(bipartite(3, 2), torch.rand(6, 2)),
            r"previous has shape \[6, 2\]; expected the weights of one step, \[3, 2\]",
        ),
    ],
    ids=["offset", "noise", "previous"],
)
def test_what_does_not_fit_is_refused_in_words(make, message):
    with pytest.raises(InputError, match=message):
        make()
