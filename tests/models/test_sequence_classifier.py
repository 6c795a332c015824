"""`gat.models.SequenceClassifier`: every cell, tokens and numbers, equal and unequal lengths."""

import importlib.util

import pytest
import torch
from torch import nn

import gat
from gat import topology
from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.models import SequenceClassifier
from gat.nn.recurrent import CELLS

LENGTHS = [3, 1, 7, 7]


class Last(nn.Module):
    """The last part of each whole; zeros of one without parts."""

    def forward(self, x, graph):
        ends = graph.in_degree.cumsum(0) - 1
        out = x[ends.clamp(min=0)] if len(x) else x.new_zeros(len(ends), x.size(1))
        return out * (graph.in_degree > 0).unsqueeze(1)


def make(**options):
    torch.manual_seed(0)
    given = {"hidden_channels": 6, "readout": Last(), **options}
    return SequenceClassifier(None if "features" in given else 9, 4, **given).eval()


def tokens(*shape):
    return torch.randint(9, shape)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("options", [{}, {"layers": 2, "bidirectional": True}], ids=str)
def test_unequal_lengths_are_as_each_sequence_by_itself(cell, options):
    model = make(cell=cell, **options)
    rows = [tokens(n) for n in LENGTHS]
    for lengths in (LENGTHS, torch.tensor(LENGTHS)):
        out = model(torch.cat(rows), lengths)
        alone = torch.cat([model(row.unsqueeze(0)) for row in rows])
        torch.testing.assert_close(out, alone)


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_trains(cell):
    model = make(cell=cell, layers=2, dropout=0.2, embedding=5).train()
    model(tokens(3, 8)).sum().backward()
    missing = {n for n, p in model.named_parameters() if p.grad is None}
    assert missing == set()


def test_it_is_embedding_cell_readout_and_linear():
    model, x = make(cell="janet", layers=2), tokens(3, 8)
    steps, _ = model.rnn(model.embedding(x))
    torch.testing.assert_close(model(x), model.output(steps[:, -1]))


@pytest.mark.parametrize("ragged", [False, True])
def test_steps_of_numbers_need_no_embedding(ragged):
    model, x = make(features=3, cell="indrnn"), torch.randn(2, 5, 3)
    assert model.embedding is None
    steps, _ = model.rnn(x)
    given = (x.flatten(0, 1), [5, 5]) if ragged else (x,)
    torch.testing.assert_close(model(*given), model.output(steps[:, -1]))


def test_sequences_without_steps_and_no_sequences():
    model, x = make(), tokens(4)
    out = model(x, [0, 4, 0])
    torch.testing.assert_close(out[1:2], model(x.unsqueeze(0)))
    torch.testing.assert_close(out[[0, 2]], model.output.bias.expand(2, 4))
    assert model(tokens(0), [0, 0]).shape == (2, 4)
    assert model(tokens(0, 5)).shape == (0, 4)


def test_the_readout_gets_each_sequence_as_a_whole_of_its_steps():
    class Listening(Last):
        def forward(self, x, graph):
            self.heard = x.shape, graph
            return super().forward(x, graph)

    readout = Listening()
    make(readout=readout, bidirectional=True)(tokens(11), [3, 1, 7])
    assert readout.heard == ((11, 12), topology.hierarchy([3, 1, 7])[0])


def test_options_reach_the_cell():
    options = {"form": "both", "score": "bilinear", "normalizer": "sparsemax"}
    rnn = make(cell="attentive-lstm", heads=2, projections="all", **options).rnn
    assert (rnn.form, rnn.projections, rnn.heads) == ("both", "all", 2)
    assert type(rnn.attention.score).__name__ == "BilinearScore"
    assert type(rnn.attention.normalizer).__name__ == "Sparsemax"
    assert make(cell="janet", memory=50).rnn.chrono == 50
    assert make(cell="indrnn", memory=50).rnn.long_memory == 50


def test_dropout_is_of_training_alone():
    model, x = make(dropout=1.0, layers=2), tokens(3, 8)
    assert torch.equal(model(x), model(x))
    assert torch.equal(model.train()(x), model.output.bias.expand(3, 4))
    assert model.rnn.dropout == 1.0


def test_its_options_make_it_again():
    model = make(cell="attentive-rnn", form="input", layers=2, bidirectional=True)
    again = SequenceClassifier(**model.options)
    again.load_state_dict(model.state_dict())
    x = tokens(3, 8)
    assert torch.equal(again.eval()(x), model(x))


def test_reset_parameters_draws_anew():
    model = make(cell="attentive-rnn", score="mlp")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.reset_parameters()
    assert [k for k, v in model.state_dict().items() if torch.equal(v, before[k])] == []


def test_attention_of_one_sequence_is_recorded_step_by_step():
    model = make(cell="attentive-rnn")
    with gat.record_attention(model) as attention:
        model(tokens(1, 4))
    assert list(attention) == ["rnn.attention", "rnn.attention#2", "rnn.attention#3"]


@pytest.mark.skipif(importlib.util.find_spec("gat.nn.readout") is None, reason="no read-outs")
@pytest.mark.parametrize("name", ["last", "mean", "attention"])
def test_readouts_by_name(name):
    model = make(readout=name)
    rows = [tokens(n) for n in LENGTHS]
    alone = torch.cat([model(row.unsqueeze(0)) for row in rows])
    torch.testing.assert_close(model(torch.cat(rows), LENGTHS), alone)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cell": "mamba"}, "cell is 'mamba'; expected one of 'rnn', 'lstm', 'gru', 'janet'"),
        ({"inputs": None}, "inputs is None and features is None; expected one of the two"),
        ({"features": 3}, "inputs is 9 and features is 3; expected one of the two"),
        ({"layers": 0}, "layers is 0; expected 1 or more"),
        ({"inputs": 0}, "inputs is 0; expected 1 or more"),
        ({"embedding": 0}, "embedding is 0; expected 1 or more"),
        ({"dropout": 1.5}, "dropout is 1.5; expected a probability"),
        ({"form": "both"}, "form is 'both', an option of cell 'attentive-rnn' and 'attentive-ls"),
        ({"memory": 9}, "memory is 9, an option of cell 'janet' and 'indrnn'; 'lstm' has none"),
        ({"cell": "attentive-rnn", "form": "x"}, "form is 'x'; expected one of 'replace'"),
    ],
    ids=str,
)
def test_impossible_options_are_refused_in_words(options, sentence):
    with pytest.raises(InputError, match=sentence):
        SequenceClassifier(**{"inputs": 9, "num_classes": 4, "readout": Last(), **options})


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        (([1, 2],), ArgumentTypeError, "x is of type list; expected a tensor"),
        ((torch.ones(2, 3),), ArgumentTypeError, "x has dtype torch.float32; expected tokens of"),
        ((tokens(5),), InputError, r"x has shape \[5\]; expected \[n, T\] without lengths"),
        ((tokens(2, 5), [5, 5]), InputError, r"expected \[sum\(lengths\)\] with lengths"),
        ((tokens(5), [2, 2]), InputError, "lengths sum to 4 and x has 5 steps"),
        ((torch.tensor([[3, 9]]),), IndexRangeError, "x has the token 9; .* inputs=9"),
    ],
    ids=["list", "dtype", "one-dim", "padded", "lengths", "token"],
)
def test_impossible_inputs_are_refused_in_words(given, error, sentence):
    with pytest.raises(error, match=sentence):
        make()(*given)


def test_numbers_of_another_width_are_refused():
    with pytest.raises(InputError, match=r"x has shape \[2, 5, 4\]; expected \[n, T, 3\] without"):
        make(features=3)(torch.randn(2, 5, 4))
