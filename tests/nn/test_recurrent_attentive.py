"""`gat.nn.recurrent.SelfAttentiveRNN` and `SelfAttentiveLSTM`: their equations, step by step."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import gat
from gat.errors import InputError
from gat.inspection import switch_off_heads
from gat.nn.normalizers import TopK
from gat.nn.recurrent import SelfAttentiveLSTM, SelfAttentiveRNN
from gat.nn.scores import DotScore

KINDS = {"rnn": SelfAttentiveRNN, "lstm": SelfAttentiveLSTM}
FORMS = ["replace", "input", "both"]


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def make(kind, inputs=3, hidden=6, **options):
    torch.manual_seed(0)
    return KINDS[kind](inputs, hidden, dtype=torch.float64, **options)


def slow_score(attend, query, key):
    """One head's score of query and key [C] by the score's own equation."""
    score = attend.score
    match type(score).__name__:
        case "DotScore":
            scale = query.numel() ** -0.5 if score.scale == "inverse_root" else score.scale
            return scale * (query @ key)
        case "MLPScore":
            return score.v[0] @ torch.tanh(query + key)
        case "BilinearScore":
            return query @ score.weight[0] @ key


def slow(rnn, x, initial=None):
    """The outputs [T, hidden] of one sequence x [T, inputs], by the equations."""
    size = rnn.hidden_size
    a = rnn.weight_ih_l0
    bias = rnn.bias_ih_l0 + rnn.bias_hh_l0
    h = c = initial if initial is not None else x.new_zeros(size)
    cell, states, contexts = x.new_zeros(size), [], []
    for step in x:
        gates = bias + a[:, : x.size(1)] @ step
        if rnn.form == "replace":
            gates = gates + rnn.weight_hh_l0 @ c
        else:
            gates = gates + a[:, x.size(1) :] @ c
        if rnn.form == "both":
            gates = gates + rnn.weight_hh_l0 @ h
        if isinstance(rnn, SelfAttentiveLSTM):
            i, f, g, o = gates.view(4, size)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(cell)
        else:
            h = torch.tanh(gates)
        states.append(h)
        c = slow_context(rnn, states)
        contexts.append(c)
    return torch.stack(states)


def slow_context(rnn, states):
    size, turn = rnn.hidden_size, torch.eye(rnn.hidden_size, dtype=torch.float64)
    weight = getattr(rnn, "weight_att_l0", torch.cat([turn, turn]))
    blocks = [*weight.split(size), turn][:3]
    queries, keys, values = ([block @ h for h in states] for block in blocks)
    scores = torch.stack([slow_score(rnn.attention, queries[-1], key) for key in keys])
    return torch.softmax(scores, 0) @ torch.stack(values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("score", ["dot", "scaled_dot", "mlp", "bilinear"])
def test_each_form_is_its_equation(kind, form, score):
    rnn, x, initial = make(kind, form=form, score=score), draw(7, 2, 3), draw(1, 2, 6)
    out, _ = rnn(x)
    torch.testing.assert_close(out, torch.stack([slow(rnn, x[:, k]) for k in (0, 1)], 1))
    begun = rnn(x, initial if kind == "rnn" else (initial, torch.zeros_like(initial)))[0]
    expected = [slow(rnn, x[:, k], initial[0, k]) for k in (0, 1)]
    torch.testing.assert_close(begun, torch.stack(expected, 1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("projections", ["query_key", "all"])
@pytest.mark.parametrize("score", ["dot", "mlp", "bilinear"])
def test_projections_are_of_each_state(kind, projections, score):
    rnn, x = make(kind, score=score, projections=projections), draw(6, 3)
    assert rnn.weight_att_l0.shape == (12 if projections == "query_key" else 18, 6)
    torch.testing.assert_close(rnn(x)[0], slow(rnn, x))


def test_heads_split_the_state():
    rnn, x = make("rnn", score="dot", heads=3), draw(6, 3)
    out = rnn(x)[0]
    h = x.new_zeros(6)
    for t, step in enumerate(x):
        c = h
        if t:
            parts = out[:t].view(t, 3, 2)
            scores = torch.einsum("thc,hc->th", parts, out[t - 1].view(3, 2))
            c = torch.einsum("th,thc->hc", torch.softmax(scores, 0), parts).flatten()
        pre = rnn.weight_ih_l0 @ step + rnn.bias_ih_l0 + rnn.bias_hh_l0
        h = torch.tanh(pre + rnn.weight_hh_l0 @ c)
        torch.testing.assert_close(out[t], h)


@pytest.mark.parametrize("kind", KINDS)
def test_replace_and_input_are_one_network_under_two_names(kind):
    replace, joined, x = make(kind), make(kind, form="input"), draw(6, 4, 3)
    weights = replace.state_dict()
    weights["weight_ih_l0"] = torch.cat([weights["weight_ih_l0"], weights.pop("weight_hh_l0")], 1)
    joined.load_state_dict(weights)
    torch.testing.assert_close(joined(x)[0], replace(x)[0])


@pytest.mark.parametrize(("kind", "theirs"), [("rnn", nn.RNN), ("lstm", nn.LSTM)])
def test_looking_at_the_last_state_alone_is_torchs_network(kind, theirs):
    """Scores that grow with time, made hard: the context is the state before."""

    class Latest(DotScore):
        def forward(self, graph, query, key, edge):
            return torch.arange(key.size(0), dtype=key.dtype)[:, None].expand(-1, key.size(1))

    options = {"num_layers": 2, "bidirectional": True}
    rnn = make(kind, score=Latest(), normalizer=TopK(1), **options)
    plain = theirs(3, 6, dtype=torch.float64, **options)
    rnn.load_state_dict(plain.state_dict())
    x = draw(7, 4, 3)
    torch.testing.assert_close(rnn(x)[0], plain(x)[0])
    packed = pack_sequence([x[:5, 0], x[:2, 1]])
    torch.testing.assert_close(rnn(packed)[0].data, plain(packed)[0].data)


@pytest.mark.parametrize("kind", KINDS)
def test_no_step_sees_what_comes_after(kind):
    rnn, x = make(kind, form="both"), draw(7, 2, 3)
    later = torch.cat([x[:4], draw(3, 2, 3)])
    torch.testing.assert_close(rnn(x)[0][:4], rnn(later)[0][:4])
    assert not torch.allclose(rnn(x)[0][4:], rnn(later)[0][4:])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_those_of_differences(kind, form):
    rnn = make(kind, 2, 2, form=form, score="mlp", projections="all")
    names = [name for name, _ in rnn.named_parameters()]

    def run(x, *weights):
        given = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(rnn, given, (x,))[0]

    inputs = [draw(4, 2, 2), *(p.detach().clone() for p in rnn.parameters())]
    assert torch.autograd.gradcheck(run, [one.requires_grad_() for one in inputs])


@pytest.mark.parametrize("normalizer", ["sparsemax", "entmax", "topk", "sigmoid", "uniform"])
def test_any_normalizer_serves(normalizer):
    rnn, x = make("lstm", normalizer=normalizer, bidirectional=True), draw(12, 2, 3)
    rnn(x)[0].sum().backward()
    used = [name for name, p in rnn.named_parameters() if p.grad is not None]
    assert used == [name for name, _ in rnn.named_parameters()]


def test_recorded_attention_is_of_each_step_from_the_second():
    rnn, x = make("rnn", score="dot"), draw(5, 3)
    with gat.record_attention(rnn) as attention:
        out = rnn(x)[0]
    assert list(attention) == ["attention", "attention#2", "attention#3", "attention#4"]
    for step, record in enumerate(attention.values(), start=1):
        assert (record.num_src, record.num_dst) == (step, 1)
        expected = torch.softmax(out[:step] @ out[step - 1], 0)
        torch.testing.assert_close(record.weights[:, 0], expected)


def test_layers_and_directions_have_attention_of_their_own():
    rnn = make("rnn", num_layers=2, bidirectional=True, score="bilinear")
    names = ["attention", "attention_l0_reverse", "attention_l1", "attention_l1_reverse"]
    assert [name for name, _ in rnn.named_children()] == names
    with gat.record_attention(rnn) as attention:
        rnn(draw(2, 3))
    assert list(attention) == names
    assert len({id(p) for p in rnn.parameters()}) == len(list(rnn.parameters()))


def test_a_batch_is_recorded_one_sequence_at_a_time():
    rnn = make("rnn")
    with pytest.raises(InputError, match="explain one at a time"), gat.record_attention(rnn):
        rnn(draw(5, 2, 3))


def test_heads_switched_off_leave_no_context():
    rnn, x = make("rnn", heads=2), draw(5, 3)
    with switch_off_heads(rnn, {"attention": [0, 1]}):
        out = rnn(x)[0]
    bias = rnn.bias_ih_l0 + rnn.bias_hh_l0
    torch.testing.assert_close(out, torch.tanh(x @ rnn.weight_ih_l0.t() + bias))


def test_attention_dropout_is_of_training_alone():
    rnn, x = make("rnn", attention_dropout=0.5), draw(9, 2, 3)
    assert torch.equal(rnn.eval()(x)[0], rnn(x)[0])
    assert not torch.equal(rnn.train()(x)[0], rnn(x)[0])


def test_reset_parameters_draws_scores_anew_too():
    rnn = make("lstm", score="mlp", projections="all", num_layers=2)
    before = {name: weight.clone() for name, weight in rnn.named_parameters()}
    rnn.reset_parameters()
    assert [n for n, weight in rnn.named_parameters() if torch.equal(weight, before[n])] == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"form": "gate"}, "form is 'gate'; expected one of 'replace', 'input', 'both'"),
        (
            {"projections": "key"},
            "projections is 'key'; expected one of 'none', 'query_key', 'all'",
        ),
        ({"heads": 4}, "hidden_size is 6 and heads is 4; expected a size that heads divide"),
        ({"heads": 0}, "heads is 0; expected 1 or more"),
        ({"score": "euclid"}, "score is 'euclid'; expected one of"),
        (
            {"normalizer": "monotonic"},
            "Monotonic goes on from the weights of the step before",
        ),
        ({"attention_dropout": 2}, "dropout is 2; expected a probability"),
    ],
    ids=str,
)
def test_impossible_options_are_refused_in_words(options, sentence):
    with pytest.raises(InputError, match=sentence):
        make("rnn", **options)
