"""The Transformer's blocks against their equations, and torch's layers with copied weights."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import gat
from gat import topology
from gat.errors import InputError
from gat.nn import DecoderBlock, EncoderBlock, FeedForward, SinusoidalPositions
from gat.nn.multihead import Projected
from gat.nn.normalizers import TopK

NORMS = ["post", "pre"]
SOURCES, TARGETS = [3, 1, 5], [2, 4, 1]


def rand(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def drawn(module):
    """In float64 and eval mode, with parameters that are nowhere 0 or 1."""
    for parameter in module.double().eval().parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def gradients(out, wanted):
    scale = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
    return torch.autograd.grad((out * scale).sum(), wanted)


def padded(rows, lengths):
    """Ragged rows as [B, longest, .], and where they are padding."""
    rest = torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]
    return nn.utils.rnn.pad_sequence(rows.split(lengths), batch_first=True), rest


# Transcriptions, a node and a head at a time


def attention(layer, queries, sources, sees):
    """sees[i]: the sources that query i attends to."""
    wq, wk, wv = (w.chunk(layer.num_heads) for w in layer.in_proj_weight.chunk(3))
    bq, bk, bv = (b.chunk(layer.num_heads) for b in layer.in_proj_bias.chunk(3))
    out = []
    for i, query in enumerate(queries):
        heads = []
        for h in range(layer.num_heads):
            q = wq[h] @ query + bq[h]
            keys = [wk[h] @ sources[j] + bk[h] for j in sees[i]]
            weights = torch.stack([q @ k / math.sqrt(len(q)) for k in keys]).softmax(0)
            values = [wv[h] @ sources[j] + bv[h] for j in sees[i]]
            heads.append(sum(w * v for w, v in zip(weights, values, strict=True)))
        out.append(layer.out_proj.weight @ torch.cat(heads) + layer.out_proj.bias)
    return out


def feed_forward(layer, x):
    hidden = layer.linear1.weight @ x + layer.linear1.bias
    return layer.linear2.weight @ hidden.clamp(min=0) + layer.linear2.bias


def layer_norm(norm, x):
    centred = x - x.mean()
    return norm.weight * centred / (centred.square().mean() + 1e-5).sqrt() + norm.bias


def around(kind, norm, rows, sublayer):
    if kind == "pre":
        given = sublayer([layer_norm(norm, x) for x in rows])
        return [x + one for x, one in zip(rows, given, strict=True)]
    given = sublayer(rows)
    return [layer_norm(norm, x + one) for x, one in zip(rows, given, strict=True)]


def encoder_block(block, kind, rows, sees):
    rows = around(kind, block.norm1, rows, lambda x: attention(block.self_attn, x, x, sees))
    return around(
        kind, block.norm2, rows, lambda x: [feed_forward(block.feed_forward, one) for one in x]
    )


def decoder_block(block, kind, rows, memory, sees, looks):
    rows = around(kind, block.norm1, rows, lambda x: attention(block.self_attn, x, x, sees))
    rows = around(kind, block.norm2, rows, lambda x: attention(block.cross, x, memory, looks))
    return around(
        kind, block.norm3, rows, lambda x: [feed_forward(block.feed_forward, one) for one in x]
    )


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("norm", NORMS)
def test_encoder_block_by_the_papers_equations(norm, heads):
    block, x = drawn(EncoderBlock(6, heads, 5, norm=norm)), rand(4, 6)
    out = block(x, topology.complete([3, 1]))
    expected = torch.stack(encoder_block(block, norm, x, [[0, 1, 2]] * 3 + [[3]]))
    torch.testing.assert_close(out, expected)
    wanted = [x, *block.parameters()]
    torch.testing.assert_close(gradients(out, wanted), gradients(expected, wanted))


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("norm", NORMS)
def test_decoder_block_by_the_papers_equations(norm, heads):
    block, x, memory = drawn(DecoderBlock(6, heads, 5, norm=norm)), rand(4, 6), rand(3, 6)
    out = block(x, memory, topology.causal([3, 1]), topology.bipartite([2, 1], [3, 1]))
    sees, looks = [[0], [0, 1], [0, 1, 2], [3]], [[0, 1]] * 3 + [[2]]
    expected = torch.stack(decoder_block(block, norm, x, memory, sees, looks))
    torch.testing.assert_close(out, expected)
    wanted = [x, memory, *block.parameters()]
    torch.testing.assert_close(gradients(out, wanted), gradients(expected, wanted))


def test_feed_forward_by_the_papers_equation():
    layer, x = drawn(FeedForward(4, 7)), rand(5, 4)
    expected = torch.stack([feed_forward(layer, one) for one in x])
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer(x.unsqueeze(0)), expected.unsqueeze(0))
    smooth = drawn(FeedForward(4, 7, activation="gelu"))
    torch.testing.assert_close(smooth(x), smooth.linear2(F.gelu(smooth.linear1(x))))


@pytest.mark.parametrize("norm", NORMS)
def test_block_gradcheck(norm):
    encoder, decoder = (drawn(kind(4, 2, 3, norm=norm)) for kind in (EncoderBlock, DecoderBlock))
    graph, cross = topology.causal([2, 1]), topology.bipartite([1, 2], [2, 1])
    assert torch.autograd.gradcheck(lambda x: encoder(x, graph), rand(3, 4))
    both = rand(3, 4), rand(3, 4)
    assert torch.autograd.gradcheck(lambda x, memory: decoder(x, memory, graph, cross), both)


# torch's layers


def twins(theirs, ours, norm, activation):
    """torch's layer and ours, with the same weights."""
    options = {"dim_feedforward": 5, "activation": activation, "batch_first": True}
    layer = drawn(theirs(6, 3, norm_first=norm == "pre", **options))
    block = ours(6, 3, 5, norm=norm, activation=activation).double().eval()
    block.load_state_dict(layer.state_dict())
    return layer, block


def by_name(grads, layer, names):
    """Gradients of parameters under our names."""
    renamed = {}
    for (name, _), grad in zip(layer.named_parameters(), grads, strict=True):
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        renamed[name] = grad
    return renamed


OURS = {"multihead_attn.": "cross.", "linear": "feed_forward.linear"}


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm", NORMS)
def test_encoder_block_of_ragged_rows_is_torchs_with_padding(norm, activation):
    layer, block = twins(nn.TransformerEncoderLayer, EncoderBlock, norm, activation)
    x = rand(sum(SOURCES), 6)
    out = block(x, topology.complete(SOURCES))
    full, rest = padded(x, SOURCES)
    expected = layer(full, src_key_padding_mask=rest)[~rest]
    torch.testing.assert_close(out, expected)
    (mine, *grads), (theirs, *expected) = (
        gradients(result, [x, *module.parameters()])
        for result, module in ((out, block), (expected, layer))
    )
    torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(by_name(grads, block, {}), by_name(expected, layer, OURS))


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm", NORMS)
def test_decoder_block_of_ragged_rows_is_torchs_with_padding(norm, activation):
    layer, block = twins(nn.TransformerDecoderLayer, DecoderBlock, norm, activation)
    x, memory = rand(sum(TARGETS), 6), rand(sum(SOURCES), 6)
    graphs = topology.causal(TARGETS), topology.bipartite(SOURCES, TARGETS)
    out = block(x, memory, *graphs)
    (full, rest), (seen, outside) = padded(x, TARGETS), padded(memory, SOURCES)
    later = torch.ones(max(TARGETS), max(TARGETS), dtype=torch.bool).triu(1)
    masks = {"tgt_key_padding_mask": rest, "memory_key_padding_mask": outside}
    expected = layer(full, seen, tgt_mask=later, **masks)[~rest]
    torch.testing.assert_close(out, expected)
    (*mine, grads), (*theirs, others) = (
        (*found[:2], found[2:])
        for found in (
            gradients(result, [x, memory, *module.parameters()])
            for result, module in ((out, block), (expected, layer))
        )
    )
    torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(by_name(grads, block, {}), by_name(others, layer, OURS))


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (nn.TransformerEncoderLayer, EncoderBlock),
        (nn.TransformerDecoderLayer, DecoderBlock),
    ],
)
def test_blocks_have_torchs_defaults(theirs, ours):
    layer, block = theirs(8, 2), ours(8, 2)
    shapes = {name: p.shape for name, p in block.named_parameters()}
    renamed = by_name([p.shape for p in layer.parameters()], layer, OURS)
    assert shapes == renamed
    assert not block.norm_first
    assert block.dropout == block.feed_forward.dropout == layer.dropout.p == 0.1
    assert block.self_attn.attention.dropout == layer.self_attn.dropout
    assert block.norm1.eps == layer.norm1.eps


def test_a_block_within_a_model_takes_torchs_names_and_its_own():
    stack = nn.TransformerDecoder(nn.TransformerDecoderLayer(6, 2, 5), 2)
    ours = nn.ModuleDict({"layers": nn.ModuleList(DecoderBlock(6, 2, 5) for _ in range(2))})
    ours.load_state_dict(stack.state_dict())
    torch.testing.assert_close(
        ours["layers"][1].cross.in_proj_weight, stack.layers[1].multihead_attn.in_proj_weight
    )
    again = copy.deepcopy(ours)
    for state_dict in (stack.state_dict(), ours.state_dict()):
        for parameter in again.parameters():
            nn.init.zeros_(parameter)
        again.load_state_dict(state_dict)
        torch.testing.assert_close(dict(again.state_dict()), dict(ours.state_dict()))
    with pytest.raises(RuntimeError, match=r"cross\.in_proj_weight"):
        DecoderBlock(6, 2, 5).load_state_dict(EncoderBlock(6, 2, 5).state_dict())


# Batches, steps, records


@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("norm", NORMS)
def test_blocks_of_a_batch_are_those_of_ragged_rows(norm, length):
    encoder, decoder = (drawn(kind(6, 2, 5, norm=norm)) for kind in (EncoderBlock, DecoderBlock))
    x, memory = rand(3, length, 6), rand(3, 5, 6)
    ragged = encoder(x.flatten(0, 1), topology.complete([length] * 3))
    torch.testing.assert_close(encoder(x, topology.complete(length)).flatten(0, 1), ragged)
    out = decoder(x, memory, topology.causal(length), topology.bipartite(5, length))
    graphs = topology.causal([length] * 3), topology.bipartite([5] * 3, length)
    ragged = decoder(x.flatten(0, 1), memory.flatten(0, 1), *graphs)
    torch.testing.assert_close(out.flatten(0, 1), ragged)


@pytest.mark.parametrize("norm", NORMS)
def test_decoder_block_step_by_step_is_the_whole(norm):
    block, count, length = drawn(DecoderBlock(6, 2, 5, norm=norm)), 3, 4
    x, memory = rand(count, length, 6), rand(sum(SOURCES), 6)
    graphs = topology.causal([length] * count), topology.bipartite(SOURCES, length)
    expected = block(x.flatten(0, 1), memory, *graphs).unflatten(0, (count, length))
    seen = block.project_memory(memory)
    torch.testing.assert_close(block(x.flatten(0, 1), seen, *graphs), expected.flatten(0, 1))
    kept = Projected(*torch.empty(2, count, 0, 2, 3, dtype=torch.float64))
    for step in range(length):
        edges = topology.bipartite([step + 1] * count, 1)
        cross = topology.bipartite(SOURCES, 1)
        out, kept = block.step(x[:, step], kept, seen, edges, cross)
        torch.testing.assert_close(out, expected[:, step])
        assert kept.key.shape == (count, step + 1, 2, 3)


def test_blocks_are_recorded_by_their_attentions():
    model = nn.ModuleDict({"encoder": EncoderBlock(4, 2, 3), "decoder": DecoderBlock(4, 1, 3)})
    graphs = topology.complete(SOURCES), topology.causal(TARGETS)
    cross = topology.bipartite(SOURCES, TARGETS)
    with gat.record_attention(model) as attention:
        memory = model["encoder"](torch.randn(sum(SOURCES), 4), graphs[0])
        model["decoder"](torch.randn(sum(TARGETS), 4), memory, graphs[1], cross)
    names = ["encoder.self_attn", "decoder.self_attn", "decoder.cross"]
    assert list(attention) == [f"{name}.attention" for name in names]
    for record, graph in zip(attention.values(), (*graphs, cross), strict=True):
        assert torch.equal(record.edge_index, graph.edge_index)
        assert (record.num_src, record.num_dst) == (graph.num_src, graph.num_dst)


@pytest.mark.parametrize("kind", [EncoderBlock, DecoderBlock])
def test_blocks_drop_in_training_alone(kind):
    block, x = kind(6, 2, 5, dropout=0.5), torch.randn(9, 6)
    square = topology.complete(9)
    given = (x, square) if kind is EncoderBlock else (x, x, square, square)
    assert not torch.allclose(block(*given), block(*given))
    block.eval()
    assert torch.equal(block(*given), block(*given))
    plain = kind(6, 2, 5, dropout=0.0)
    plain.load_state_dict(block.state_dict())
    torch.testing.assert_close(plain(*given), block(*given))


def test_blocks_give_each_attention_a_copy_of_an_object():
    normalizer = TopK(1)
    first, second = (DecoderBlock(4, 2, 3, normalizer=normalizer, score="mlp") for _ in range(2))
    parts = [b.attention for m in (first, second) for b in (m.self_attn, m.cross)]
    assert len({id(part.normalizer) for part in parts}) == 4
    assert all(isinstance(part.normalizer, TopK) for part in parts)
    assert normalizer.heads == 0


def test_blocks_are_drawn_anew():
    block = DecoderBlock(4, 2, 3, score="mlp")
    for parameter in block.parameters():
        nn.init.constant_(parameter, 7.0)
    block.reset_parameters()
    assert not [name for name, p in block.named_parameters() if (p == 7).any()]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EncoderBlock(6, 4), "embed_dim is 6 and num_heads 4"),
        (lambda: EncoderBlock(6, 2, norm="none"), "norm is 'none'; expected one of 'post', 'pre'"),
        (lambda: DecoderBlock(6, 2, activation="tanh"), "activation is 'tanh'; expected one of"),
        (lambda: DecoderBlock(6, 2, 0), "hidden is 0; expected 1 or more"),
        (lambda: FeedForward(6, dropout=-1), "dropout is -1"),
        (lambda: SinusoidalPositions(0), "channels is 0; expected 1 or more"),
    ],
)
def test_blocks_refuse_options(make, message):
    with pytest.raises(InputError, match=message):
        make()


# Positions


def sinusoid(place, channel, channels):
    angle = place / 10000 ** ((channel - channel % 2) / channels)
    return math.cos(angle) if channel % 2 else math.sin(angle)


def encoding(places, channels):
    rows = [[sinusoid(place, c, channels) for c in range(channels)] for place in places]
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, channels)


@pytest.mark.parametrize("channels", [1, 5, 8])
def test_positions_count_from_the_beginning_of_each_sentence(channels):
    positions, lengths = SinusoidalPositions(channels), [3, 0, 1, 4]
    x = rand(8, channels)
    expected = x + encoding([0, 1, 2, 0, 0, 1, 2, 3], channels)
    torch.testing.assert_close(positions(x, lengths), expected)
    torch.testing.assert_close(positions(x, torch.tensor(lengths)), expected)
    later = x + encoding([6, 7, 8, 6, 6, 7, 8, 9], channels)
    torch.testing.assert_close(positions(x, lengths, first=6), later)


def test_positions_of_one_sentence_and_of_sentences_of_one_length():
    positions, x = SinusoidalPositions(6), rand(2, 5, 6)
    expected = x + encoding(range(5), 6)
    torch.testing.assert_close(positions(x), expected)
    torch.testing.assert_close(positions(x[0]), expected[0])
    torch.testing.assert_close(positions(x[:, 3:4], first=3), expected[:, 3:4])
    assert positions(x[:, :0]).shape == (2, 0, 6)
    assert positions(x[0, :0], []).shape == (0, 6)


def test_positions_are_as_exact_as_the_tokens_and_outlive_inference_mode():
    positions, lengths = SinusoidalPositions(4), [3]
    with torch.inference_mode():
        positions(torch.zeros(3, 4), lengths)
    exact = positions(torch.zeros(3, 4, dtype=torch.float64), lengths)
    torch.testing.assert_close(exact, encoding(range(3), 4), rtol=0, atol=1e-15)
    half = positions(torch.zeros(3, 4, dtype=torch.bfloat16), lengths)
    assert half.dtype is torch.bfloat16
    x = torch.zeros(3, 4, requires_grad=True)
    (positions(x, lengths) ** 2).sum().backward()
    torch.testing.assert_close(x.grad.double(), 2 * exact)


def test_positions_drop_in_training_alone():
    positions, x = SinusoidalPositions(8, dropout=0.5), torch.ones(50, 8)
    dropped = positions(x)
    assert 0.3 < (dropped == 0).float().mean() < 0.7
    kept = dropped != 0
    positions.eval()
    torch.testing.assert_close(dropped[kept], 2 * positions(x)[kept])


def test_positions_refuse_lengths_that_do_not_fit():
    positions = SinusoidalPositions(4)
    with pytest.raises(InputError, match=r"x has shape \[3, 4\] and lengths sum to 5"):
        positions(torch.zeros(3, 4), [2, 3])
    with pytest.raises(InputError, match=r"x has shape \[1, 3, 4\] and lengths sum to 3"):
        positions(torch.zeros(1, 3, 4), [3])
    with pytest.raises(InputError, match=r"x has shape \[3, 5\]; expected \[tokens, 4\]"):
        positions(torch.zeros(3, 5))


def test_places_below_0_are_refused():
    positions = SinusoidalPositions(4)
    positions(torch.zeros(9, 4))
    with pytest.raises(InputError, match="first is -3; expected a place, 0 or more"):
        positions(torch.zeros(2, 4), first=-3)
