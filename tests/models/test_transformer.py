"""`gat.models.Transformer`: against torch's, sentence by sentence, and step by step."""

import math

import pytest
import torch
from torch import nn

import gat
from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.models import Transformer, beam, greedy
from gat.nn import Attend

SMALL = {"channels": 6, "heads": 3, "encoder_layers": 2, "decoder_layers": 3, "feedforward": 5}
SOURCES, TARGETS = [3, 1, 5], [2, 4, 1]
END = 1
NORMS = ["post", "pre"]
OPTIONS = [
    {},
    {"norm": "pre"},
    {"tied": True, "activation": "gelu", "heads": 1},
    {"score": "mlp", "normalizer": "sparsemax", "norm": "pre"},
]


def build(**options):
    model = Transformer(7, 5, **{**SMALL, **options}).double().eval()
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return model


def sentences():
    """Source and target with their lengths; each target ends in END."""
    source, target = torch.randint(7, (sum(SOURCES),)), torch.randint(2, 5, (sum(TARGETS),))
    target[torch.tensor(TARGETS).cumsum(0) - 1] = END
    return source, torch.tensor(SOURCES), target, torch.tensor(TARGETS)


def gradients(out, wanted):
    scale = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
    return torch.autograd.grad((out * scale).sum(), wanted)


def embedded(module, tokens):
    """Section 3.4 and 3.5, a token and a channel at a time: [T, F] of one sentence."""
    channels = module.weight.size(1)
    rows = []
    for place, token in enumerate(tokens.tolist()):
        waves = []
        for channel in range(channels):
            angle = place / 10000 ** ((channel - channel % 2) / channels)
            waves.append(math.cos(angle) if channel % 2 else math.sin(angle))
        scaled = module.weight[token] * math.sqrt(channels)
        rows.append(scaled + torch.tensor(waves, dtype=torch.float64))
    return torch.stack(rows)


def twin_of(model, norm):
    """torch's encoder and decoder with the model's weights."""
    options = {"dim_feedforward": 5, "batch_first": True, "norm_first": norm == "pre"}
    layers = (
        nn.TransformerEncoderLayer(6, 3, **options),
        nn.TransformerDecoderLayer(6, 3, **options),
    )
    last = [nn.LayerNorm(6) if norm == "pre" else None for _ in range(2)]
    encoder = nn.TransformerEncoder(layers[0], 2, last[0], enable_nested_tensor=False)
    decoder = nn.TransformerDecoder(layers[1], 3, last[1])
    return encoder.double().eval(), decoder.double().eval()


@pytest.mark.parametrize("norm", NORMS)
def test_transformer_with_torchs_weights_is_torchs_sentence_by_sentence(norm):
    model = build(norm=norm)
    encoder, decoder = twin_of(model, norm)
    for parameter in (*encoder.parameters(), *decoder.parameters()):
        nn.init.normal_(parameter, std=0.5)
    model.encoder.load_state_dict(encoder.state_dict())
    model.decoder.load_state_dict(decoder.state_dict())
    source, source_lengths, target, target_lengths = sentences()
    logits = model(source, source_lengths, target, target_lengths)
    expected = []
    for one, wanted in zip(source.split(SOURCES), target.split(TARGETS), strict=True):
        memory = encoder(embedded(model.source, one).unsqueeze(0))
        read = torch.cat([torch.tensor([0]), wanted[:-1]])
        later = torch.ones(len(read), len(read), dtype=torch.bool).triu(1)
        x = decoder(embedded(model.target, read).unsqueeze(0), memory, tgt_mask=later)
        expected.append(x[0] @ model.generator.weight.t() + model.generator.bias)
    expected = torch.cat(expected)
    torch.testing.assert_close(logits, expected)
    outer = [model.source.weight, model.target.weight, *model.generator.parameters()]
    torch.testing.assert_close(gradients(logits, outer), gradients(expected, outer))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_transformers_of_torch_fit_as_a_whole():
    """`torch.nn.Transformer` has encoder.* and decoder.*, a LayerNorm at the end of each."""
    theirs = nn.Transformer(6, 3, 2, 3, 5, norm_first=True)
    model = Transformer(7, 5, **SMALL, norm="pre")
    missing, unexpected = model.load_state_dict(theirs.state_dict(), strict=False)
    assert not unexpected
    own = {"source.weight", "target.weight", "generator.weight", "generator.bias"}
    assert set(missing) == own
    weight = theirs.decoder.layers[2].multihead_attn.in_proj_weight
    assert torch.equal(model.decoder.layers[2].cross.in_proj_weight, weight)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_transformer_of_many_sentences_is_that_of_each(options):
    model = build(**options)
    source, source_lengths, target, target_lengths = sentences()
    logits = model(source, source_lengths, target, target_lengths)
    pairs = zip(source.split(SOURCES), target.split(TARGETS), strict=True)
    each = [model(one, [len(one)], wanted, [len(wanted)]) for one, wanted in pairs]
    torch.testing.assert_close(logits, torch.cat(each))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_transformer_step_by_step_is_teacher_forcing(options):
    model, lengths = build(**options), [4, 4, 4]
    source, source_lengths, _, _ = sentences()
    target = torch.randint(5, (3, 4))
    expected = model(source, source_lengths, target.flatten(), lengths).unflatten(0, (3, 4))
    memory = model.encode(source, source_lengths)
    state = model.start(memory)
    tokens = torch.zeros(3, dtype=torch.int64)
    for place in range(4):
        logits, state = model.step(tokens, memory, state)
        torch.testing.assert_close(logits, expected[:, place])
        tokens = target[:, place]


def test_transformer_goes_on_from_selected_sentences():
    model, rows = build(), torch.tensor([2, 0, 2, 1])
    source, source_lengths, _, _ = sentences()
    target = torch.randint(5, (4, 3))
    chosen = [source.split(SOURCES)[row] for row in rows]
    lengths = source_lengths[rows]
    expected = model(torch.cat(chosen), lengths, target.flatten(), [3] * 4).unflatten(0, (4, 3))
    memory = model.encode(source, source_lengths)
    # Beginnings of sentences 0, 1, 2 that those of rows go on from.
    first = torch.zeros(3, dtype=torch.int64)
    logits, state = model.step(first, memory, model.start(memory))
    torch.testing.assert_close(logits[rows], expected[:, 0])
    memory, state = memory.select(rows), state.select(rows)
    assert torch.equal(memory.lengths, lengths)
    for place in (1, 2):
        logits, state = model.step(target[:, place - 1], memory, state)
        torch.testing.assert_close(logits, expected[:, place])
    none = torch.empty(0, dtype=torch.int64)
    assert memory.select(none).seen[0].key.shape == (0, 3, 2)
    assert state.select(none).before[0].key.shape == (0, 3, 3, 2)


def test_transformer_sees_the_source_and_the_tokens_before_alone():
    model = build()
    source, source_lengths, target, target_lengths = sentences()
    logits = model(source, source_lengths, target, target_lengths)
    changed = target.clone()
    changed[3] = (target[3] + 1) % 5  # the second of the second sentence's four
    after = model(source, source_lengths, changed, target_lengths)
    differ = (logits - after).abs().amax(1) > 1e-9
    assert differ.tolist() == [False] * 4 + [True] * 2 + [False]
    other = source.clone()
    other[4] = (source[4] + 1) % 7  # the third sentence's first
    differ = (logits - model(other, source_lengths, target, target_lengths)).abs().amax(1) > 1e-9
    assert differ.tolist() == [False] * 6 + [True]


def test_transformer_begins_after_the_token_it_was_told():
    model = build(begin=3)
    same = Transformer(7, 5, **SMALL).double().eval()
    same.load_state_dict(model.state_dict())
    source, lengths = torch.tensor([1, 2]), [2]
    begun = model(source, lengths, torch.tensor([4]), [1])
    assert not torch.allclose(begun, same(source, lengths, torch.tensor([4]), [1]))
    memory = same.encode(source, lengths)
    logits, _ = same.step(torch.tensor([3]), memory, same.start(memory))
    torch.testing.assert_close(begun, logits)


def test_transformer_ties_its_generator_to_the_targets_embedding():
    model, plain = Transformer(7, 5, **SMALL, tied=True), Transformer(7, 5, **SMALL)
    assert model.generator.weight is model.target.weight
    count, untied = (sum(p.numel() for p in m.parameters()) for m in (model, plain))
    assert untied - count == 5 * 6
    for one in (model, plain):
        one.reset_parameters()
    assert model.generator.weight is model.target.weight


def test_transformer_is_made_again_from_its_options_and_drawn_anew():
    model = Transformer(7, 5, **SMALL, norm="pre", score="mlp", tied=True, begin=2)
    again = Transformer(**model.options)
    again.load_state_dict(model.state_dict())
    for parameter in again.parameters():
        nn.init.constant_(parameter, 7.0)
    again.reset_parameters()
    assert not [name for name, p in again.named_parameters() if (p == 7).any()]
    wide = Transformer(1000, 5, **{**SMALL, "channels": 96})
    assert float(wide.source.weight.detach().std()) == pytest.approx(96**-0.5, rel=0.02)


def test_transformers_attentions_are_recorded_under_stable_names():
    model = build()
    with gat.record_attention(model) as attention:
        model(*sentences())
    names = [f"encoder.layers.{k}.self_attn" for k in range(2)]
    names += [f"decoder.layers.{k}.{part}" for k in range(3) for part in ("self_attn", "cross")]
    assert list(attention) == [f"{name}.attention" for name in names]
    cross = attention["decoder.layers.1.cross.attention"]
    assert (cross.num_src, cross.num_dst) == (sum(SOURCES), sum(TARGETS))
    assert cross.weights.shape == (3 * 2 + 1 * 4 + 5 * 1, 3)


class Writer(nn.Module):
    """Two steps, as one forward pass."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, source, lengths):
        memory = self.model.encode(source, lengths)
        tokens, state = torch.zeros(3, dtype=torch.int64), self.model.start(memory)
        for _ in range(2):
            _, state = self.model.step(tokens, memory, state)


def test_transformers_steps_are_recorded_with_a_graph_from_the_source_to_one_token():
    writer = Writer(build())
    with gat.record_attention(writer) as attention:
        writer(*sentences()[:2])
    for name in ("cross.attention", "cross.attention#2"):
        record = attention[f"model.decoder.layers.2.{name}"]
        assert (record.num_src, record.num_dst) == (sum(SOURCES), 3)
        assert record.edge_index[1].tolist() == [0] * 3 + [1] + [2] * 5
    back = attention["model.decoder.layers.0.self_attn.attention#2"]
    assert back.edge_index.tolist() == [[0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 2, 2]]


def test_all_layers_of_a_pass_share_one_graph_of_each_kind():
    model, seen = build(), {}
    for name, module in model.named_modules():
        if isinstance(module, Attend):
            kind = "cross" if "cross" in name else name.split(".")[0]
            kept = seen.setdefault(kind, [])
            module.register_forward_pre_hook(lambda _, args, kept=kept: kept.append(args[3]))
    model(*sentences())
    assert {kind: len(graphs) for kind, graphs in seen.items()} == {
        "encoder": 2,
        "decoder": 3,
        "cross": 3,
    }
    assert all(graph is graphs[0] for graphs in seen.values() for graph in graphs)


def test_transformer_drops_in_training_alone():
    model, given = Transformer(7, 5, **SMALL, dropout=0.3), sentences()
    assert not torch.allclose(model(*given), model(*given))
    model.eval()
    assert torch.equal(model(*given), model(*given))


def test_transformer_of_empty_sentences_and_of_none():
    model = build()
    empty, none = torch.empty(0, dtype=torch.int64), torch.tensor([], dtype=torch.int64)
    assert model(empty, none, empty, none).shape == (0, 5)
    source, target = torch.tensor([1, 2]), torch.tensor([3, 1])
    logits = model(source, [0, 2, 0], target, [0, 2, 0])
    torch.testing.assert_close(logits, model(source, [2], target, [2]))
    assert len(greedy(model, empty, [0, 0], max_length=2)) == 2


@pytest.mark.parametrize("search", [greedy, beam])
def test_transformer_writes_in_a_batch_what_it_writes_alone(search):
    model = build(norm="pre")
    source, lengths = sentences()[:2]
    together = search(model, source, lengths, max_length=6)
    alone = [search(model, one, [len(one)], max_length=6)[0] for one in source.split(SOURCES)]
    assert [one.tolist() for one in together] == [one.tolist() for one in alone]


def test_transformer_learns_to_reverse():
    """A few steps on three sentences, learned by heart and written by both searches."""
    torch.manual_seed(1)
    model = Transformer(7, 7, **{**SMALL, "channels": 16, "heads": 2}, dropout=0.0)
    source = torch.tensor([2, 3, 4, 5, 6, 6])
    target, lengths = torch.tensor([4, 3, 2, END, 6, 5, END, 6, END]), [4, 3, 2]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        loss = nn.functional.cross_entropy(model(source, [3, 2, 1], target, lengths), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    for search in (greedy, beam):
        written = search(model, source, [3, 2, 1], max_length=5)
        assert [one.tolist() for one in written] == [[4, 3, 2], [6, 5], [6]]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (([1, 7], [2], [2], [1]), IndexRangeError, "source has the token 7; .*source_size=7"),
        (([1, 2], [2], [-1, 1], [2]), IndexRangeError, "target has the token -1"),
        (([1, 2], [3], [2], [1]), InputError, r"source has shape \[2\] .* sum to 3"),
        (([1, 2], [2], [2, 1], [1]), InputError, r"target has shape \[2\] .* sum to 1"),
        (([[1, 2]], [2], [2], [1]), InputError, r"source has shape \[1, 2\]"),
        (([1.0, 2], [2], [2], [1]), ArgumentTypeError, "source has dtype torch.float32"),
        (([1, 2], [1, 1], [2], [1]), InputError, "2 sentences in source and 1 in target"),
        (([1, 2], [3, -1], [2, 1], [1, 1]), InputError, "lengths has .* a count of -1"),
    ],
)
def test_transformer_refuses_tokens_that_do_not_fit(given, error, message):
    source, source_lengths, target, target_lengths = given
    with pytest.raises(error, match=message):
        build()(torch.tensor(source), source_lengths, torch.tensor(target), target_lengths)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder_layers": 0}, "encoder_layers is 0; expected 1 or more"),
        ({"heads": 4}, "embed_dim is 6 and num_heads 4"),
        ({"norm": "batch"}, "norm is 'batch'; expected one of 'post', 'pre'"),
        ({"begin": 5}, r"begin is 5; expected a target token in \[0, 5\)"),
        ({"normalizer": "monotonic"}, "normalizer='monotonic' goes on from step to step"),
    ],
)
def test_transformer_refuses_options(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)


def test_transformer_refuses_lengths_of_no_whole_numbers():
    with pytest.raises(ArgumentTypeError, match=r"source_lengths has dtype torch.float32"):
        build().encode(torch.tensor([1, 2]), torch.tensor([2.0]))
