"""`gat.nn.recurrent.JANET` and `IndRNN`: their equations, and what their weights start at."""

import math

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from gat.errors import InputError
from gat.nn.recurrent import JANET, IndRNN


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def make(cell, inputs=3, hidden=5, **options):
    torch.manual_seed(0)
    return cell(inputs, hidden, dtype=torch.float64, **options)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def slow_janet(rnn, x, h, c):
    """Unit by unit: the forget gate's rows come first, then the candidate's."""
    size = rnn.hidden_size
    weights = (rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.bias_ih_l0, rnn.bias_hh_l0)
    w, u, b, d = (one.tolist() for one in weights)
    outputs = []
    for step in x.tolist():
        sums = [
            sum(p * q for p, q in zip(w[r], step, strict=True))
            + sum(p * q for p, q in zip(u[r], h, strict=True))
            + b[r]
            + d[r]
            for r in range(2 * size)
        ]
        c = [
            sigmoid(sums[k]) * c[k] + (1 - sigmoid(sums[k] - rnn.beta)) * math.tanh(sums[size + k])
            for k in range(size)
        ]
        h = c
        outputs.append(h)
    return torch.tensor(outputs, dtype=torch.float64)


def slow_indrnn(rnn, x, act):
    w, u = rnn.weight_ih_l0.tolist(), rnn.weight_hh_l0.tolist()
    b = (rnn.bias_ih_l0 + rnn.bias_hh_l0).tolist()
    h, outputs = [0.0] * rnn.hidden_size, []
    for step in x.tolist():
        h = [
            act(sum(p * q for p, q in zip(w[k], step, strict=True)) + u[k] * h[k] + b[k])
            for k in range(rnn.hidden_size)
        ]
        outputs.append(h)
    return torch.tensor(outputs, dtype=torch.float64)


@pytest.mark.parametrize("beta", [1.0, 0.0, 0.3])
@pytest.mark.parametrize("steps", [1, 11])
def test_janet_is_its_equations(beta, steps):
    rnn, x = make(JANET, beta=beta), draw(steps, 3)
    begun = draw(1, rnn.hidden_size), draw(1, rnn.hidden_size)
    out, state = rnn(x, begun)
    torch.testing.assert_close(out, slow_janet(rnn, x, *(one[0].tolist() for one in begun)))
    for part in state:
        torch.testing.assert_close(part[0], out[-1])


@pytest.mark.parametrize("nonlinearity", ["relu", "tanh"])
@pytest.mark.parametrize("form", ["project", "step"])
def test_indrnn_is_its_equation(nonlinearity, form):
    rnn, x = make(IndRNN, nonlinearity=nonlinearity, form=form), draw(11, 3)
    act = math.tanh if nonlinearity == "tanh" else (lambda value: max(value, 0.0))
    out, state = rnn(x)
    torch.testing.assert_close(out, slow_indrnn(rnn, x, act))
    for part in state:
        torch.testing.assert_close(part[0], out[-1])


def test_indrnns_forms_are_equal_in_results_and_gradients():
    rnns = [
        make(IndRNN, num_layers=2, bidirectional=True, form=form) for form in ("project", "step")
    ]
    packed = pack_sequence([draw(6, 3), draw(2, 3)])
    outs = [rnn(packed)[0].data for rnn in rnns]
    torch.testing.assert_close(*outs)
    grads = [
        torch.autograd.grad(out.square().sum(), list(rnn.parameters()))
        for out, rnn in zip(outs, rnns, strict=True)
    ]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("form", "rows"), [("project", [200]), ("step", [4] * 50)])
def test_indrnns_form_says_when_inputs_are_projected(form, rows, monkeypatch):
    rnn, seen = make(IndRNN, form=form), []
    project = rnn.project
    monkeypatch.setattr(rnn, "project", lambda x, part: seen.append(len(x)) or project(x, part))
    rnn(draw(50, 4, 3))
    assert seen == rows


@pytest.mark.parametrize(("cell", "options"), [(JANET, {}), (IndRNN, {"nonlinearity": "tanh"})])
def test_gradients_are_those_of_differences(cell, options):
    rnn = make(cell, 2, 2, num_layers=2, **options)
    names = [name for name, _ in rnn.named_parameters()]

    def run(x, h, c, *weights):
        given = dict(zip(names, weights, strict=True))
        out, state = torch.func.functional_call(rnn, given, (x, (h, c)))
        return out, *state

    inputs = [
        draw(3, 2, 2),
        draw(2, 2, 2),
        draw(2, 2, 2),
        *(p.detach().clone() for p in rnn.parameters()),
    ]
    assert torch.autograd.gradcheck(run, [one.requires_grad_() for one in inputs])


def test_chrono_draws_the_forget_gates_biases_for_its_steps():
    torch.manual_seed(0)
    rnn = JANET(3, 400, bidirectional=True, chrono=101)
    for end in ("", "_reverse"):
        bias = getattr(rnn, f"bias_ih_l0{end}").detach()
        drawn = bias[:400].exp()
        assert 1 <= float(drawn.min()) < 2.5
        assert 98.5 < float(drawn.max()) <= 100.001
        # Of uniform draws, whose deviation is 28.6.
        assert abs(float(drawn.mean()) - 50.5) < 5
        assert not bias[400:].any()
        assert not getattr(rnn, f"bias_hh_l0{end}").any()
    before = rnn.bias_ih_l0.detach().clone()
    rnn.reset_parameters()
    assert not torch.equal(rnn.bias_ih_l0, before)
    assert float(rnn.bias_ih_l0.detach()[400:].abs().max()) == 0


def test_indrnns_recurrent_weights_start_where_the_paper_has_them():
    torch.manual_seed(0)
    plain = IndRNN(3, 500, num_layers=2)
    for layer in (0, 1):
        u = getattr(plain, f"weight_hh_l{layer}").detach()
        assert 0 <= float(u.min()) < 0.02
        assert 0.98 < float(u.max()) <= 1
    rnn = IndRNN(3, 500, num_layers=2, long_memory=10)
    first, last = rnn.weight_hh_l0.detach(), rnn.weight_hh_l1.detach()
    assert 0 <= float(first.min()) < 0.02
    assert 1.06 < float(first.max()) <= 2**0.1
    assert 2**-0.1 <= float(last.min()) < 0.94
    assert 1.06 < float(last.max()) <= 2**0.1


def test_indrnn_with_long_memory_never_grows_beyond_its_bound():
    rnn = make(IndRNN, long_memory=4)
    with torch.no_grad():
        rnn.weight_hh_l0.copy_(torch.tensor([-9.0, -1, 0.5, 1.1, 9]))
    x = draw(6, 3)
    out = rnn(x)[0]
    with torch.no_grad():
        rnn.weight_hh_l0.copy_(torch.tensor([-(2**0.25), -1, 0.5, 1.1, 2**0.25]))
    torch.testing.assert_close(out, rnn(x)[0])
    free = make(IndRNN)
    free.load_state_dict(rnn.state_dict())
    torch.testing.assert_close(out, free(x)[0])


def test_a_recurrent_weight_beyond_its_bound_stays_there():
    rnn = make(IndRNN, long_memory=4)
    with torch.no_grad():
        rnn.weight_hh_l0.copy_(torch.tensor([9.0, 1, -9, 1, 9]))
    rnn(draw(6, 3) + 3)[0].square().sum().backward()
    assert not rnn.weight_hh_l0.grad[[0, 2, 4]].any()
    assert rnn.weight_hh_l0.grad[[1, 3]].any()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"form": "both"}, "form is 'both'; expected one of 'project', 'step'"),
        ({"nonlinearity": "elu"}, "nonlinearity is 'elu'; expected one of 'relu', 'tanh'"),
        ({"long_memory": 0}, "long_memory is 0; expected 1 steps or more, or None"),
    ],
    ids=str,
)
def test_impossible_options_are_refused_in_words(options, sentence):
    with pytest.raises(InputError, match=sentence):
        IndRNN(3, 5, **options)
