"""Read-outs against their equations, written out part by part."""

import pytest
import torch
from torch import nn

import gat
from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.graph import Graph
from gat.nn.normalizers import Entmax
from gat.nn.readout import (
    READOUTS,
    AttentionPooling,
    HierarchicalAttention,
    LastReadout,
    MeanReadout,
    graph_of_batch,
    make_readout,
)
from gat.topology import hierarchy

CHANNELS = 6
LENGTHS = {
    "one_word": [1],
    "one_sentence": [5],
    "unequal": [3, 1, 7],
    "an_empty_sentence": [2, 0, 3],
    "empty_at_the_ends": [0, 4, 0],
    "only_empty": [0, 0],
    "none": [],
}
of_lengths = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)


def words(count, channels=CHANNELS):
    return torch.randn(count, channels, dtype=torch.float64)


def pooled(pooling, parts):
    """Yang et al. 2016, eq. 5-7, of the parts [n, C] of one whole, head by head."""
    heads, width = pooling.query.shape
    out = torch.zeros(heads * width, dtype=torch.float64)
    for h in range(heads if len(parts) else 0):
        slice_ = slice(h * width, (h + 1) * width)
        scores = []
        for part in parts:
            u = torch.tanh(pooling.hidden.weight @ part + pooling.hidden.bias)
            scores.append(u[slice_] @ pooling.query[h])
        top = max(scores)
        powers = [torch.exp(score - top) for score in scores]
        for power, part in zip(powers, parts, strict=True):
            out[slice_] += power / sum(powers) * part[slice_]
    return out


def expected(name, readout, parts):
    if name == "attention":
        return pooled(readout, parts)
    if not len(parts):
        return torch.zeros(CHANNELS, dtype=torch.float64)
    return parts[-1] if name == "last" else sum(parts) / len(parts)


@of_lengths
@pytest.mark.parametrize("name", READOUTS)
def test_readout_is_its_definition(name, lengths):
    readout = make_readout(name, CHANNELS).double()
    x = words(sum(lengths))
    out = readout(x, hierarchy(lengths)[0])
    assert out.shape == (len(lengths), CHANNELS)
    for row, parts in zip(out, x.split(lengths), strict=True):
        torch.testing.assert_close(row, expected(name, readout, parts))


@pytest.mark.parametrize("heads", [1, 2, 3, 6])
def test_attention_pooling_of_many_heads(heads):
    pooling = AttentionPooling(CHANNELS, heads).double()
    x = words(11)
    out = pooling(x, hierarchy([3, 1, 7])[0])
    torch.testing.assert_close(out, torch.stack([pooled(pooling, p) for p in x.split([3, 1, 7])]))


@pytest.mark.parametrize("name", READOUTS)
def test_readout_of_pygs_batch_in_any_order(name):
    readout = make_readout(name, CHANNELS).double()
    batch = torch.tensor([2, 0, 2, 4, 0, 0, 2])
    x = words(7)
    out = readout(x, graph_of_batch(batch, 6))
    assert out.shape == (6, CHANNELS)
    for number, row in enumerate(out):
        torch.testing.assert_close(row, expected(name, readout, x[batch == number]))


@pytest.mark.parametrize("name", READOUTS)
def test_readout_of_parts_that_belong_to_several_wholes(name):
    readout = make_readout(name, CHANNELS).double()
    members = [[0, 3], [3, 1, 2], [2]]
    edges = torch.tensor([[part, k] for k, parts in enumerate(members) for part in parts]).t()
    x = words(4)
    out = readout(x, Graph.from_edge_index(edges.flip(1), (4, 3)))
    for row, parts in zip(out, members, strict=True):
        torch.testing.assert_close(row, expected(name, readout, x[sorted(parts)]))


@pytest.mark.parametrize("name", READOUTS)
def test_readout_of_a_batch_is_each_alone(name):
    readout = make_readout(name, CHANNELS).double()
    graph = hierarchy([2, 3])[0]
    x = torch.randn(4, 5, CHANNELS, dtype=torch.float64)
    out = readout(x, graph)
    torch.testing.assert_close(out, torch.stack([readout(one, graph) for one in x]))


@pytest.mark.parametrize("name", READOUTS)
def test_readout_has_the_gradients_of_its_output(name):
    readout = make_readout(name, 4).double()
    graph = graph_of_batch(torch.tensor([1, 0, 1, 1, 3]))
    names = [name for name, _ in readout.named_parameters()]

    def run(x, *parameters):
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(readout, given, (x, graph))

    inputs = [words(5, 4), *readout.parameters()]
    assert torch.autograd.gradcheck(run, [one.detach().requires_grad_() for one in inputs])


@pytest.mark.parametrize("readout", [MeanReadout(), AttentionPooling(CHANNELS, 2)], ids=repr)
def test_record_attention_hears_a_readout(readout):
    lengths = [3, 0, 2]
    with gat.record_attention(readout.double()) as attention:
        readout(words(5), hierarchy(lengths)[0])
    record = attention["attention"]
    assert record.edge_index.tolist() == [[0, 1, 2, 3, 4], [0, 0, 0, 2, 2]]
    sums = torch.zeros(3, record.num_heads, dtype=torch.float64)
    sums.index_add_(0, record.edge_index[1], record.weights)
    torch.testing.assert_close(sums[:, 0], torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64))
    if isinstance(readout, MeanReadout):
        torch.testing.assert_close(record.weights[:3], torch.full_like(record.weights[:3], 1 / 3))


@pytest.mark.parametrize("score", ["additive", "mlp", "cosine"])
@pytest.mark.parametrize("normalizer", ["sparsemax", "topk"])
def test_attention_pooling_takes_other_scores_and_normalizers(score, normalizer):
    pooling = AttentionPooling(CHANNELS, 2, score=score, normalizer=normalizer).double()
    x = words(5)
    # Of one value the mean is that value, whatever the weights.
    out = pooling(x[:1].expand(5, -1), hierarchy([2, 3])[0])
    torch.testing.assert_close(out, x[:1].expand(2, -1))


def test_attention_pooling_reset_draws_anew():
    pooling = AttentionPooling(CHANNELS)
    before = [one.clone() for one in pooling.parameters()]
    pooling.reset_parameters()
    assert not any(torch.equal(*pair) for pair in zip(before, pooling.parameters(), strict=True))


class Scaled(nn.Module):
    """An encoder that shows it was told the lengths of its own level."""

    def forward(self, x, lengths):
        return x * lengths.repeat_interleave(lengths).unsqueeze(1)


def hierarchical(model, x, levels):
    """Level by level, whole by whole."""
    for encoder, pooling, lengths in zip(model.encoders, model.poolings, levels, strict=True):
        wholes = []
        for parts in x.split(lengths):
            read = encoder(parts, torch.tensor([len(parts)]))
            wholes.append(pooled(pooling, read))
        x = torch.stack(wholes)
    return x


LEVELS = {
    "one_word": ([1], [1]),
    "documents": ([3, 1, 4, 2, 5], [2, 3]),
    "an_empty_sentence": ([3, 0, 4], [1, 2]),
    "an_empty_document": ([3, 2], [2, 0]),
    "one_level": ([3, 4],),
    "three_levels": ([2, 1, 3, 1, 2], [2, 1, 2], [1, 2]),
}


@pytest.mark.parametrize("levels", LEVELS.values(), ids=LEVELS)
@pytest.mark.parametrize("encoded", [False, True], ids=["words_as_they_are", "encoded"])
def test_hierarchical_attention_is_its_definition(levels, encoded):
    encoders = [Scaled() for _ in levels] if encoded else None
    model = HierarchicalAttention(CHANNELS, len(levels), encoders, heads=2).double()
    x = words(sum(levels[0]))
    out = model(x, *levels)
    torch.testing.assert_close(out, hierarchical(model, x, levels))
    torch.testing.assert_close(model(x, *map(torch.tensor, levels)), out)


def test_hierarchical_attention_without_an_encoder_at_one_level():
    model = HierarchicalAttention(CHANNELS, 2, [None, Scaled()]).double()
    x = words(6)
    torch.testing.assert_close(model(x, [4, 2], [2]), hierarchical(model, x, ([4, 2], [2])))


def test_hierarchical_attention_gives_each_level_a_copy_of_an_object():
    model = HierarchicalAttention(CHANNELS, normalizer=Entmax(1.3)).double()
    first, second = (pooling.attention.normalizer for pooling in model.poolings)
    assert first is not second
    assert first.raw is not second.raw
    assert first.start == second.start == 1.3
    assert model(words(6), [3, 1, 2], [2, 1]).shape == (2, CHANNELS)


def test_hierarchical_attention_has_as_many_levels_as_encoders():
    model = HierarchicalAttention(CHANNELS, encoders=[None, Scaled(), None]).double()
    levels = ([2, 1, 3], [2, 1], [2])
    x = words(6)
    torch.testing.assert_close(model(x, *levels), hierarchical(model, x, levels))
    assert len(HierarchicalAttention(CHANNELS).poolings) == 2


def test_hierarchical_attention_has_the_gradients_of_its_output():
    model = HierarchicalAttention(2).double()
    x = words(5, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: model(x, [2, 0, 3], [1, 2]), [x])


def test_record_attention_hears_every_level():
    model = HierarchicalAttention(CHANNELS)
    with gat.record_attention(model) as attention:
        model(words(6).float(), [3, 1, 2], [2, 1])
    assert list(attention) == ["poolings.0.attention", "poolings.1.attention"]
    assert attention["poolings.1.attention"].weights.shape == (3, 1)


def test_readout_refuses_what_does_not_fit():
    graph = hierarchy([2, 1])[0]
    with pytest.raises(InputError, match=r"x has shape \[4, 6\]; expected \[3, channels\]"):
        MeanReadout()(torch.randn(4, 6), graph)
    with pytest.raises(InputError, match=r"x has shape \[3\]; expected \[3, channels\]"):
        LastReadout()(torch.randn(3), graph)
    with pytest.raises(ArgumentTypeError, match=r"graph is of type Tensor; .* gat.topology"):
        LastReadout()(torch.randn(3, 6), graph.edge_index)
    with pytest.raises(InputError, match="readout is 'max'; expected one of 'last'"):
        make_readout("max", 6)
    with pytest.raises(InputError, match="channels is 6 and heads 4; expected a multiple"):
        AttentionPooling(6, 4)


def test_graph_of_batch_refuses_what_is_no_batch():
    with pytest.raises(IndexRangeError, match=r"position 1, names graph 3, outside \[0, 3\)"):
        graph_of_batch(torch.tensor([0, 3]), 3)
    with pytest.raises(IndexRangeError, match="position 0, names graph -1"):
        graph_of_batch(torch.tensor([-1, 0]))
    with pytest.raises(ArgumentTypeError, match=r"dtype torch.float32; expected torch.int64"):
        graph_of_batch(torch.zeros(3))
    with pytest.raises(InputError, match=r"batch has shape \[1, 2\]; expected \[N\]"):
        graph_of_batch(torch.zeros(1, 2, dtype=torch.int64))
    empty = graph_of_batch(torch.zeros(0, dtype=torch.int64))
    assert (empty.num_src, empty.num_dst, empty.num_edges) == (0, 0, 0)


def test_hierarchical_attention_refuses_levels_that_do_not_fit():
    with pytest.raises(InputError, match="there are 1 encoders for 2 levels"):
        HierarchicalAttention(4, 2, [None])
    with pytest.raises(InputError, match="there are 0 encoders"):
        HierarchicalAttention(4, encoders=[])
    model = HierarchicalAttention(4)
    with pytest.raises(InputError, match="lengths of 1 levels; expected 2"):
        model(torch.randn(3, 4), [3])
    with pytest.raises(InputError, match=r"lengths\[1\] sum to 1; expected 2"):
        model(torch.randn(3, 4), [2, 1], [1])
