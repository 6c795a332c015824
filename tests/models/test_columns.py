"""`gat.models.columns.Columns`: there and back, and a recurrent layer in between."""

import pytest
import torch
from torch import nn

from gat.models.columns import Columns

LENGTHS = {"one": [1], "one_sentence": [5], "equal": [3, 3], "unequal": [3, 1, 7, 2]}
CPU = torch.device("cpu")


@pytest.mark.parametrize("turned", [False, True], ids=["straight", "turned"])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_rows_come_back_as_they_were(lengths, turned):
    columns, rows = Columns(lengths, CPU), torch.randn(sum(lengths), 4)
    laid = columns.of(rows, turned)
    assert laid.shape == (max(lengths), len(lengths), 4)
    assert torch.equal(columns.rows(laid, turned), rows)
    for number, sentence in enumerate(rows.split(lengths)):
        expected = sentence.flip(0) if turned else sentence
        assert torch.equal(laid[: len(sentence), number], expected)
        assert torch.equal(columns.last(laid)[number], expected[-1])


@pytest.mark.parametrize("cell", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_a_recurrent_layer_reads_each_sentence_by_itself(lengths, cell):
    columns, rows, layer = Columns(lengths, CPU), torch.randn(sum(lengths), 4), cell(4, 3)
    both = cell(4, 3, bidirectional=True)
    for name, parameter in layer.named_parameters():
        setattr(both, name, parameter)
        setattr(both, f"{name}_reverse", parameter)
    straight, back = (columns.rows(layer(columns.of(rows, t))[0], t) for t in (False, True))
    expected = torch.cat([both(sentence)[0] for sentence in rows.split(lengths)])
    torch.testing.assert_close(torch.cat([straight, back], 1), expected)
