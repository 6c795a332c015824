"""Bahdanau's, Luong's and local attention against their equations, sentence by sentence."""

import pytest
import torch
from torch import nn

from gat.errors import InputError
from gat.nn import BahdanauAttention, LocalAttention, LuongAttention, Monotonic
from gat.topology import bipartite

QUERY, KEY, CHANNELS = 4, 3, 5
LENGTHS = {
    "one_to_one": ([1], [1]),
    "one_sentence": ([7], [3]),
    "unequal": ([3, 1, 5, 2], [2, 4, 1, 3]),
    "one_step_each": ([2, 6, 1], [1, 1, 1]),
}


def weight(layer):
    return layer.weight.detach()


# The score of one query q and one key k by the equation, of the layer's own parameters.
def bahdanau(a, q, k):
    v = a.attention.score.v[0]
    return v @ torch.tanh(weight(a.lin_query) @ q + weight(a.lin_key) @ k)


def normed(a, q, k):
    score = a.attention.score
    hidden = torch.tanh(weight(a.lin_query) @ q + weight(a.lin_key) @ k + score.b[0])
    return score.g[0, 0] * score.v[0] @ hidden / score.v[0].norm()


def dot(a, q, k):
    return q @ k


def general(a, q, k):
    return q @ weight(a.lin_key) @ k


def concat(a, q, k):
    joined = torch.cat([weight(a.lin_query), weight(a.lin_key)], dim=1)
    return a.attention.score.v[0] @ torch.tanh(joined @ torch.cat([q, k]))


def scaled(score):
    return lambda a, q, k: a.attention.score.g[0, 0] * score(a, q, k)


KINDS = {
    "bahdanau": (lambda: BahdanauAttention(QUERY, KEY, channels=CHANNELS), bahdanau),
    "normed_bahdanau": (
        lambda: BahdanauAttention(QUERY, KEY, channels=CHANNELS, normalize=True),
        normed,
    ),
    "luong_dot": (lambda: LuongAttention(QUERY, QUERY, score="dot"), dot),
    "luong_general": (lambda: LuongAttention(QUERY, KEY, score="general"), general),
    "luong_concat": (lambda: LuongAttention(QUERY, KEY, score="concat"), concat),
    "luong_concat_wide": (lambda: LuongAttention(QUERY, KEY, score="concat", channels=7), concat),
    "scaled_dot": (lambda: LuongAttention(QUERY, QUERY, score="dot", scale=True), scaled(dot)),
    "scaled_general": (lambda: LuongAttention(QUERY, KEY, scale=True), scaled(general)),
}


def drawn(make):
    """In float64, with parameters that stand at nothing special."""
    attention = make().double()
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return attention


def inputs(attention, lengths, steps):
    memory = torch.randn(sum(lengths), attention.key_dim).double()
    return memory, torch.randn(sum(steps), attention.query_dim).double()


def looking(memory, query, lengths, steps):
    """Each step's query, the outputs it looks at, and its number in its sentence."""
    for outputs, states in zip(memory.split(lengths), query.split(steps), strict=True):
        for number, state in enumerate(states):
            yield state, outputs, number


@pytest.mark.parametrize(("lengths", "steps"), LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize(("make", "score"), KINDS.values(), ids=KINDS)
def test_contexts_and_weights_are_the_equations(make, score, lengths, steps):
    attention = drawn(make)
    memory, query = inputs(attention, lengths, steps)
    prepared = attention.prepare(memory, torch.tensor(lengths))
    context, (edges, weights) = attention(query, prepared, steps, return_attention_weights=True)
    contexts, rows = [], []
    for state, outputs, _ in looking(memory, query, lengths, steps):
        rows.append(torch.stack([score(attention, state, output) for output in outputs]).softmax(0))
        contexts.append(rows[-1] @ outputs)
    torch.testing.assert_close(context, torch.stack(contexts))
    torch.testing.assert_close(weights[:, 0], torch.cat(rows))
    assert torch.equal(edges, bipartite(lengths, steps).edge_index)


LOCAL = {
    "predicted": {"predict": True},
    "predicted_dot": {"predict": True, "score": "dot"},
    "predicted_concat": {"predict": True, "score": "concat"},
    "fixed": {"predict": False},
    "fixed_scaled": {"predict": False, "scale": True},
}
SCORES = {"general": general, "dot": dot, "concat": concat}


def local(window, score="general", **options):
    width = QUERY if score == "dot" else KEY
    return drawn(lambda: LocalAttention(QUERY, width, window=window, score=score, **options))


def window_of(attention, state, outputs, number):
    """Where a step looks, and the factors of all places, 0 outside the window."""
    places = torch.arange(len(outputs)).double()
    if attention.predict:
        likely = weight(attention.place)[0] @ torch.tanh(weight(attention.lin_place) @ state)
        center = len(outputs) * torch.sigmoid(likely)
        factor = torch.exp(-((places - center) ** 2) / (2 * (attention.window / 2) ** 2))
    else:
        center = torch.tensor(min(number, len(outputs) - 1)).double()
        factor = torch.ones_like(places)
    return center, factor * ((places - center).abs() <= attention.window)


@pytest.mark.parametrize("window", [1, 2, 100])
@pytest.mark.parametrize(("lengths", "steps"), LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("options", LOCAL.values(), ids=LOCAL)
def test_local_attention_is_its_equation(options, lengths, steps, window):
    attention = local(window, **options)
    memory, query = inputs(attention, lengths, steps)
    score = SCORES[options.get("score", "general")]
    if options.get("scale"):
        score = scaled(score)
    prepared = attention.prepare(memory, lengths)
    context, (_, weights) = attention(query, prepared, steps, return_attention_weights=True)
    contexts, rows, centers = [], [], []
    for state, outputs, number in looking(memory, query, lengths, steps):
        scores = torch.stack([score(attention, state, output) for output in outputs])
        center, factor = window_of(attention, state, outputs, number)
        rows.append(scores.masked_fill(factor == 0, -torch.inf).softmax(0) * factor)
        contexts.append(rows[-1] @ outputs)
        centers.append(center)
    torch.testing.assert_close(context, torch.stack(contexts))
    torch.testing.assert_close(weights[:, 0], torch.cat(rows))
    torch.testing.assert_close(attention.centers(query, prepared, steps), torch.stack(centers))


class Whole(nn.Module):
    """Prepared and looked at, in one call."""

    def __init__(self, attention, lengths, steps):
        super().__init__()
        self.attention, self.lengths, self.steps = attention, lengths, steps

    def forward(self, memory, query):
        return self.attention(query, self.attention.prepare(memory, self.lengths), self.steps)


ALL = {
    **{name: make for name, (make, _) in KINDS.items()},
    "local_predicted": lambda: LocalAttention(QUERY, KEY, window=2),
    "local_fixed": lambda: LocalAttention(QUERY, KEY, window=2, predict=False),
    "monotonic": lambda: BahdanauAttention(QUERY, KEY, normalizer=Monotonic(noise=0.0)),
    "monotonic_local": lambda: LocalAttention(
        QUERY, KEY, window=2, predict=False, normalizer=Monotonic(noise=0.0)
    ),
}


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_gradients_of_outputs_queries_and_parameters(make):
    lengths, steps = LENGTHS["unequal"]
    whole = Whole(drawn(make), lengths, steps)
    names = [name for name, _ in whole.named_parameters()]

    def run(memory, query, *parameters):
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(whole, given, (memory, query))

    given = [*inputs(whole.attention, lengths, steps), *whole.parameters()]
    given = [tensor.detach().requires_grad_() for tensor in given]
    assert torch.autograd.gradcheck(run, given, fast_mode=True)


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_step_by_step_is_all_at_once(make):
    lengths, count = [3, 1, 5, 2], 4
    attention = drawn(make)
    memory, query = inputs(attention, lengths, [count] * 4)
    prepared = attention.prepare(memory, lengths)
    whole = attention(query, prepared, count).view(4, count, -1)
    previous = None
    for step, states in enumerate(query.view(4, count, -1).unbind(1)):
        goes_on = {"previous": previous} if attention.goes_on else {}
        context, (_, previous) = attention(
            states, prepared, first=step, return_attention_weights=True, **goes_on
        )
        torch.testing.assert_close(context, whole[:, step])


@pytest.mark.parametrize("rows", [[2, 0, 2, 2], [1], [3, 2, 1, 0]], ids=str)
def test_select_is_preparing_these_sentences(rows):
    lengths, attention = [3, 1, 5, 2], drawn(KINDS["bahdanau"][0])
    memory, query = inputs(attention, lengths, [2] * len(rows))
    chosen = torch.cat([memory.split(lengths)[row] for row in rows])
    expected = attention.prepare(chosen, [lengths[row] for row in rows])
    selected = attention.prepare(memory, lengths).select(torch.tensor(rows))
    assert selected.lengths == expected.lengths
    torch.testing.assert_close(selected.keys, expected.keys)
    torch.testing.assert_close(selected.places, expected.places)
    torch.testing.assert_close(attention(query, selected, 2), attention(query, expected, 2))


def test_keys_are_projected_once_and_values_not_at_all():
    attention = drawn(KINDS["luong_general"][0])
    memory = torch.randn(4, KEY).double()
    prepared = attention.prepare(memory, [4])
    assert prepared.memory is memory
    torch.testing.assert_close(prepared.keys.squeeze(1), memory @ attention.lin_key.weight.t())
    called = []
    attention.lin_key.register_forward_hook(lambda *call: called.append(call))
    attention(torch.randn(2, QUERY).double(), prepared, 2)
    assert called == []


def test_any_normalizer_serves():
    attention = BahdanauAttention(QUERY, KEY, channels=CHANNELS, normalizer="sparsemax")
    context, (_, weights) = attention(
        20 * torch.randn(2, QUERY),
        attention.prepare(20 * torch.randn(8, KEY), [8]),
        2,
        return_attention_weights=True,
    )
    assert (weights == 0).any()
    assert context.shape == (2, KEY)


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_reset_parameters_draws_anew(make):
    attention = make()
    before = [parameter.clone() for parameter in attention.parameters()]
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.fill_(7.0)
    attention.reset_parameters()
    assert all((parameter != 7).all() for parameter in attention.parameters())
    assert [p.shape for p in attention.parameters()] == [p.shape for p in before]


def calls_with(lengths=(3,), memory=(3, KEY), query=(2, QUERY), steps=2):
    attention = BahdanauAttention(QUERY, KEY, channels=CHANNELS)
    prepared = attention.prepare(torch.randn(*memory), lengths)
    return attention(torch.randn(*query), prepared, steps)


@pytest.mark.parametrize("predict", [False, True])
def test_windows_of_long_sentences_do_not_depend_on_the_precision(predict):
    # From 256 on bfloat16 has no odd numbers.
    torch.manual_seed(0)
    layer = LocalAttention(4, 4, window=2, predict=predict).bfloat16()
    query, memory = torch.randn(400, 4).bfloat16(), torch.randn(400, 4).bfloat16()
    seen = layer(query, layer.prepare(memory, [400]), [400], return_attention_weights=True)[1]
    center = layer.centers(query, layer.prepare(memory, [400]), [400])
    assert center.dtype is torch.float32
    source, target = seen[0]
    kept = (source - center[target]).abs() <= 2
    assert not seen[1][~kept].any()
    if not predict:
        assert torch.equal(center, torch.arange(400.0))
        assert seen[1][kept].all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: calls_with(memory=(4, KEY)),
            r"memory has shape \[4, 3\]; expected \[sum\(lengths\), key_dim\] = \[3, 3\]",
        ),
        (
            lambda: calls_with(query=(3, QUERY)),
            r"query has shape \[3, 4\]; expected \[sum\(steps\), query_dim\] = \[2, 4\]",
        ),
        (lambda: calls_with(steps=[1, 1]), "steps has 2 numbers; .* one for each of the 1 sent"),
        (
            lambda: LuongAttention(4, 3, score="dot"),
            "score='dot' multiplies queries by keys, of 4 and 3 channels",
        ),
        (
            lambda: LuongAttention(4, 3, score="concat", scale=True),
            "scale=True is for score='dot' and",
        ),
        (lambda: LuongAttention(4, 3, channels=5), "channels=5 is for score='concat'"),
        (
            lambda: LuongAttention(4, 3, score="add"),
            "score is 'add'; expected one of 'dot', 'general'",
        ),
        (lambda: LocalAttention(4, 3, window=0), "window is 0; expected 1 or more"),
        (
            lambda: LocalAttention(4, 3, normalizer="monotonic"),
            "Monotonic goes on from the weights of the step before, which predict=True multiplies",
        ),
        (lambda: BahdanauAttention(4, 0), "key_dim is 0; expected 1 or more"),
    ],
    ids=[
        "memory",
        "query",
        "steps",
        "dot",
        "scale",
        "channels",
        "score",
        "window",
        "local_monotonic",
        "key_dim",
    ],
)
def test_what_does_not_fit_is_refused_in_words(call, message):
    with pytest.raises(InputError, match=message):
        call()
