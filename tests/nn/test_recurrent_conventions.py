"""`gat.nn.recurrent`: what torch's recurrent modules promise, kept by all cells."""

import copy
import inspect
import pickle

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from gat.errors import ArgumentTypeError, InputError
from gat.nn.recurrent import (
    JANET,
    IndRNN,
    SelfAttentiveLSTM,
    SelfAttentiveRNN,
    pack_ragged,
)
from tests.nn.plain_cells import TWINS

CELLS = {
    "janet": JANET,
    "indrnn": IndRNN,
    "attentive-rnn": SelfAttentiveRNN,
    "attentive-lstm": SelfAttentiveLSTM,
}
SHAPES = {
    "plain": {},
    "two-layers": {"num_layers": 2},
    "both-directions": {"bidirectional": True},
    "all-at-once": {"num_layers": 3, "bidirectional": True, "batch_first": True, "bias": False},
    "batch-first-with-dropout": {"num_layers": 2, "batch_first": True, "dropout": 0.5},
}
LENGTHS = [3, 7, 1, 7]


@pytest.fixture(params=SHAPES)
def options(request):
    return SHAPES[request.param]


@pytest.fixture(params=CELLS)
def cell(request):
    return CELLS[request.param]


def make(cell, **options):
    torch.manual_seed(0)
    return cell(5, 6, dtype=torch.float64, **options).eval()


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def as_tuple(state):
    return (state,) if isinstance(state, torch.Tensor) else state


def sequences(rnn, batch=4, steps=7):
    """A batch in the module's layout, and the layers and directions of its states."""
    shape = (batch, steps) if rnn.batch_first else (steps, batch)
    return draw(*shape, 5), rnn.num_layers * (2 if rnn.bidirectional else 1)


def packed(x, batch_first, enforce_sorted=False):
    lengths = sorted(LENGTHS, reverse=True) if enforce_sorted else LENGTHS
    return pack_padded_sequence(x, lengths, batch_first, enforce_sorted)


def assert_same(ours, theirs):
    for one, other in zip(as_tuple(ours), as_tuple(theirs), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("layout", ["batch", "one", "packed", "packed-sorted"])
@pytest.mark.parametrize("begun", [False, True], ids=["from-zero", "from-a-state"])
def test_recurrent_equals_torch_with_its_weights(twin, layout, begun, options):
    ours, theirs = (make(kind, **options) for kind in TWINS[twin])
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x, count = sequences(ours)
    x = x.select(0 if ours.batch_first else 1, 0) if layout == "one" else x
    state = tuple(draw(count, 4, 6)[:, 0] if layout == "one" else draw(count, 4, 6) for _ in "hc")
    state = state[: ours.states] if ours.states > 1 else state[0]
    found = []
    for rnn in (ours, theirs):
        given = x.clone().requires_grad_()
        whole = given
        if layout.startswith("packed"):
            given = packed(given, rnn.batch_first, layout == "packed-sorted")
        out, final = rnn(given, state if begun else None)
        if isinstance(out, PackedSequence):
            assert out.batch_sizes.tolist() == given.batch_sizes.tolist()
            out = pad_packed_sequence(out, rnn.batch_first)[0]
        ends = sum((one * torch.arange(6.0)).sum() for one in as_tuple(final))
        (out.square().sum() + ends).backward()
        grads = [p.grad for p in rnn.parameters()]
        found.append((out, *as_tuple(final), whole.grad, *grads))
    assert_same(*found)


def test_constructor_has_torchs_parameters_in_torchs_order(cell):
    theirs = list(inspect.signature(nn.RNNBase.__init__).parameters)[2:]
    given = inspect.signature(cell).parameters
    ours = [name for name, one in given.items() if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert ours == theirs
    rnn = cell(5, 6, 2, False, True, 0.1, True, 0, "cpu", torch.float64)
    assert (rnn.num_layers, rnn.bias, rnn.batch_first, rnn.dropout) == (2, False, True, 0.1)
    assert rnn.bidirectional
    assert {p.dtype for p in rnn.parameters()} == {torch.float64}


@pytest.mark.parametrize(
    ("cell", "theirs", "gates"),
    [(JANET, nn.LSTM, 2), (SelfAttentiveRNN, nn.RNN, 1), (SelfAttentiveLSTM, nn.LSTM, 4)],
)
def test_parameters_are_named_and_laid_out_as_torchs(cell, theirs, gates, options):
    ours, other = make(cell, **options).state_dict(), make(theirs, **options).state_dict()
    assert list(ours) == list(other)
    rows = 4 if theirs is nn.LSTM else 1
    for name, weight in other.items():
        assert ours[name].shape == (weight.size(0) // rows * gates, *weight.shape[1:]), name


def test_indrnns_recurrent_weights_are_vectors(options):
    ours, theirs = make(IndRNN, **options).state_dict(), make(nn.RNN, **options).state_dict()
    assert list(ours) == list(theirs)
    for name, weight in theirs.items():
        assert ours[name].shape == ((6,) if "weight_hh" in name else weight.shape)


def test_shapes_are_torchs(cell, options):
    rnn = make(cell, **options)
    theirs = make(nn.LSTM if rnn.states == 2 else nn.RNN, **options)
    x, _ = sequences(rnn)
    for given in (x, x[0], packed(x, rnn.batch_first)):
        (out, state), (other, expected) = rnn(given), theirs(given)
        if isinstance(out, PackedSequence):
            assert [t if t is None else t.shape for t in out] == [t.shape for t in other]
        else:
            assert out.shape == other.shape
        assert type(state) is type(expected)
        assert [s.shape for s in as_tuple(state)] == [s.shape for s in as_tuple(expected)]


def test_packed_sequences_are_as_each_by_itself(cell, options):
    rnn = make(cell, **options)
    x, _ = sequences(rnn)
    out, state = rnn(packed(x, rnn.batch_first))
    padded, lengths = pad_packed_sequence(out, rnn.batch_first)
    assert lengths.tolist() == LENGTHS
    for number, length in enumerate(LENGTHS):
        own = x.select(0 if rnn.batch_first else 1, number)[:length]
        alone, final = rnn(own)
        rows = padded.select(0 if rnn.batch_first else 1, number)
        torch.testing.assert_close(rows[:length], alone)
        assert bool((rows[length:] == 0).all())
        assert_same(tuple(s[:, number] for s in as_tuple(state)), final)


def test_one_sequence_is_a_batch_of_one(cell, options):
    rnn = make(cell, **options)
    x = draw(7, 5)
    out, state = rnn(x)
    dim = 0 if rnn.batch_first else 1
    batch, states = rnn(x.unsqueeze(dim))
    torch.testing.assert_close(out, batch.squeeze(dim))
    assert_same(state, tuple(s.squeeze(1) for s in as_tuple(states)))


@pytest.mark.parametrize("cell", [JANET, IndRNN])
@pytest.mark.parametrize("layers", [1, 3])
def test_a_state_passed_on_is_a_longer_sequence(cell, layers):
    rnn = make(cell, num_layers=layers)
    x = draw(7, 4, 5)
    whole, end = rnn(x)
    first, state = rnn(x[:3])
    second, last = rnn(x[3:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    assert_same(last, end)


@pytest.mark.parametrize("cell", [JANET, IndRNN])
def test_code_that_unpacks_nn_lstms_states_runs_on(cell):
    rnn = make(cell, num_layers=2)
    out, (h, c) = rnn(draw(7, 4, 5))
    assert h.shape == (2, 4, 6)
    assert torch.equal(h, c)
    assert torch.equal(h[-1], out[-1])


def test_the_state_of_a_sequence_is_its_last_output(cell):
    rnn = make(cell, num_layers=2)
    out, state = rnn(draw(7, 4, 5))
    torch.testing.assert_close(as_tuple(state)[0][-1], out[-1])
    rnn = make(cell, bidirectional=True)
    out, state = rnn(draw(7, 4, 5))
    torch.testing.assert_close(as_tuple(state)[0][0], out[-1, :, :6])
    torch.testing.assert_close(as_tuple(state)[0][1], out[0, :, 6:])


def test_no_state_is_zeros(cell, options):
    rnn = make(cell, **options)
    x, count = sequences(rnn)
    zeros = (x.new_zeros(count, 4, 6),) * rnn.states
    assert_same(rnn(x)[0], rnn(x, zeros if rnn.states > 1 else zeros[0])[0])
    assert not torch.equal(rnn(x)[0], rnn(x, tuple(z + 1 for z in zeros))[0])


def test_dropout_is_between_layers_in_training_alone(cell):
    rnn = make(cell, num_layers=2, dropout=1.0)
    x = draw(7, 4, 5)
    assert torch.equal(rnn(x)[0], rnn(x)[0])
    out = rnn.train()(x)[0]
    # All that the second layer hears is dropped: its outputs are of no sequence.
    assert torch.equal(out[:, 0], out[:, 1])
    assert not torch.equal(out, rnn.eval()(x)[0])
    with pytest.warns(UserWarning, match=r"dropout=0\.5 is between layers, and num_layers is 1"):
        make(cell, dropout=0.5)


def test_one_step_and_no_sequences(cell):
    rnn = make(cell, num_layers=2, bidirectional=True)
    assert rnn(draw(1, 4, 5))[0].shape == (1, 4, 12)
    out, state = rnn(draw(7, 0, 5))
    assert out.shape == (7, 0, 12)
    assert {s.shape for s in as_tuple(state)} == {(4, 0, 6)}


def test_copies_pickles_and_conversions_compute_the_same(cell):
    rnn = make(cell, num_layers=2, bidirectional=True)
    rnn.flatten_parameters()
    x = draw(7, 4, 5)
    out = rnn(x)[0]
    for other in (copy.deepcopy(rnn), pickle.loads(pickle.dumps(rnn))):
        assert torch.equal(other(x)[0], out)
    torch.testing.assert_close(rnn.float()(x.float())[0], out.float())
    listed = [weight for weights in rnn.all_weights for weight in weights]
    own = [weight for _, weight in rnn.named_parameters(recurse=False)]
    assert [id(weight) for weight in listed] == [id(weight) for weight in own]


@pytest.mark.parametrize("cell", [JANET, SelfAttentiveRNN])
def test_a_network_compiles_in_one_piece(cell):
    rnn = make(cell, bidirectional=True)
    counter = CompileCounterWithBackend("aot_eager")
    run = torch.compile(rnn, fullgraph=True, backend=counter)
    x = draw(3, 2, 5)
    # The graphs of its attention are remembered from an eager call.
    expected, _ = rnn(x)
    out, _ = run(x)
    torch.testing.assert_close(out, expected)
    gradients = [
        torch.autograd.grad(o.square().sum(), list(rnn.parameters())) for o in (out, expected)
    ]
    torch.testing.assert_close(*gradients)
    assert counter.frame_count == 1


def test_reset_parameters_draws_anew_within_torchs_bounds():
    rnn = make(JANET, num_layers=2)
    before = {name: weight.clone() for name, weight in rnn.named_parameters()}
    rnn.reset_parameters()
    for name, weight in rnn.named_parameters():
        assert not torch.equal(weight, before[name])
        assert float(weight.detach().abs().max()) <= 6**-0.5


def test_repr_is_torchs_and_the_cells_options():
    options = {"num_layers": 2, "bias": False, "batch_first": True, "bidirectional": True}
    assert repr(TWINS["lstm"][0](5, 6, **options)) == repr(nn.LSTM(5, 6, **options)).replace(
        "LSTM", "FourGates"
    )
    assert repr(JANET(5, 6, chrono=9)) == "JANET(5, 6, beta=1.0, chrono=9)"
    assert repr(IndRNN(5, 6)) == "IndRNN(5, 6, nonlinearity='relu', form='project')"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_layers": 0}, "num_layers is 0; expected 1 or more"),
        ({"hidden_size": 0}, "hidden_size is 0; expected 1 or more"),
        ({"input_size": -1}, "input_size is -1; expected 1 or more"),
        ({"dropout": 2.0}, "dropout is 2.0; expected a probability"),
        ({"proj_size": 3}, "proj_size is 3; JANET has no projection of its state: leave it 0"),
        ({"bias": "relu"}, "bias is 'relu'; expected one of True, False"),
        ({"batch_first": 1}, "batch_first is 1; expected one of True, False"),
        ({"chrono": 2}, "chrono is 2; expected 3 steps or more, or None"),
        ({"chrono": 9, "bias": False}, "chrono=9 is of biases, and bias is False; leave out one"),
    ],
    ids=str,
)
def test_impossible_options_are_refused_in_words(options, sentence):
    with pytest.raises(InputError, match=sentence):
        JANET(**{"input_size": 5, "hidden_size": 6, **options})


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ([1], ArgumentTypeError, "input is of type list; expected a tensor or a torch.nn.utils"),
        (torch.ones(3, 5), ArgumentTypeError, "input has dtype torch.float32 and the weights"),
        (draw(3, 4), InputError, r"input has shape \[3, 4\]; expected \[T, B, 5\], or \[T, 5\] of"),
        (draw(2, 3, 4, 5), InputError, r"input has shape \[2, 3, 4, 5\]; expected \[T, B, 5\]"),
        (draw(0, 4, 5), InputError, r"input has shape \[0, 4, 5\], no steps; expected one"),
    ],
    ids=["list", "dtype", "width", "dims", "no-steps"],
)
def test_impossible_inputs_are_refused_in_words(given, error, sentence):
    with pytest.raises(error, match=f"JANET: {sentence}"):
        make(JANET)(given)


@pytest.mark.parametrize(
    ("cell", "hx", "sentence"),
    [
        (SelfAttentiveRNN, draw(2, 6), r"hx is a tensor of shape \[2, 6\]; expected one tensor of"),
        (
            SelfAttentiveRNN,
            (draw(1, 4, 6),) * 2,
            "hx is a tuple of shapes .* expected one tensor of",
        ),
        (JANET, draw(1, 4, 6), r"expected a tuple of 2 tensors of shape \[1, 4, 6\]"),
        (IndRNN, 3, "hx is of type int; expected a tuple of 2 tensors of shape"),
    ],
    ids=["shape", "pair", "one-of-two", "number"],
)
def test_impossible_states_are_refused_in_words(cell, hx, sentence):
    with pytest.raises(InputError, match=sentence):
        make(cell)(draw(7, 4, 5), hx)


def test_pack_ragged_is_torchs_packing_without_padding():
    lengths = torch.tensor([3, 0, 7, 1, 7])
    rows = [draw(int(n), 5) for n in lengths]
    ours, place = pack_ragged(torch.cat(rows), lengths)
    theirs = nn.utils.rnn.pack_sequence([r for r in rows if len(r)], enforce_sorted=False)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(ours.data[place], torch.cat(rows))
    rnn = make(nn.LSTM)
    out = rnn(ours)[0].data[place]
    torch.testing.assert_close(out, torch.cat([rnn(r)[0] for r in rows if len(r)]))
    with pytest.raises(InputError, match="lengths sum to 4 and values have 5 rows"):
        pack_ragged(draw(5, 2), torch.tensor([1, 3]))
