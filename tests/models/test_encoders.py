"""Encoders of ragged sequences: each sequence as if it were alone, and by its equations."""

import pytest
import torch

from gat.errors import InputError
from gat.models.encoders import ENCODERS, GRUEncoder, SelfAttentionEncoder, make_encoder
from gat.nn import sinusoidal_encoding

CHANNELS = 6
LENGTHS = {
    "one_word": [1],
    "unequal": [3, 1, 7, 3],
    "an_empty_sentence": [2, 0, 3],
    "empty_at_the_ends": [0, 4, 0],
    "only_empty": [0, 0],
    "none": [],
}
of_lengths = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)


def words(count):
    return torch.randn(count, CHANNELS, dtype=torch.float64)


def read(encoder, x, lengths):
    return encoder(x, torch.tensor(lengths, dtype=torch.int64))


@of_lengths
def test_gru_encoder_is_torchs_gru_of_each_sequence(lengths):
    encoder = GRUEncoder(CHANNELS).double()
    x = words(sum(lengths))
    out = read(encoder, x, lengths)
    assert out.shape == x.shape
    for got, given in zip(out.split(lengths), x.split(lengths), strict=True):
        if len(given):
            torch.testing.assert_close(got, encoder.gru(given)[0])


def of_one_sequence(encoder, x):
    """A layer of self-attention of x [n, C], head by head."""
    x = x + sinusoidal_encoding(torch.arange(len(x), dtype=torch.float64), CHANNELS)
    attention, heads = encoder.attention, encoder.attention.heads
    parts = (attention.lin_query, attention.lin_key, attention.lin_value)
    query, key, value = (part(x).chunk(heads, dim=1) for part in parts)
    out = []
    for q, k, v in zip(query, key, value, strict=True):
        weights = (q @ k.t() / (CHANNELS // heads) ** 0.5).softmax(1)
        out.append(weights @ v)
    return encoder.norm(torch.cat(out, dim=1) + attention.ending.bias + x)


@of_lengths
@pytest.mark.parametrize("heads", [1, 3])
def test_self_attention_encoder_is_attention_of_each_sequence(heads, lengths):
    encoder = SelfAttentionEncoder(CHANNELS, heads).double()
    x = words(sum(lengths))
    out = read(encoder, x, lengths)
    assert out.shape == x.shape
    for got, given in zip(out.split(lengths), x.split(lengths), strict=True):
        torch.testing.assert_close(got, of_one_sequence(encoder, given))


@pytest.mark.parametrize("name", sorted(set(ENCODERS) - {"none"}))
def test_encoder_has_the_gradients_of_its_output(name):
    encoder = make_encoder(name, CHANNELS, 2).double()
    lengths = torch.tensor([2, 0, 3])
    x = words(5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: encoder(x, lengths), [x])


def test_make_encoder_refuses_what_does_not_fit():
    assert make_encoder("none", 5) is None
    with pytest.raises(InputError, match="encoder is 'lstm'; expected one of 'gru'"):
        make_encoder("lstm", 6)
    with pytest.raises(InputError, match="channels is 5; expected an even number"):
        make_encoder("gru", 5)
    with pytest.raises(InputError, match="channels is 5 and heads 2; expected a multiple"):
        make_encoder("self-attention", 5, 2)
