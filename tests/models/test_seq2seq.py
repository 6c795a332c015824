"""`gat.models.Seq2Seq`: one sentence written out, all at once as step by step, and its records."""

import pytest
import torch
from torch import nn

from gat import record_attention
from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.models import Seq2Seq
from gat.models.seq2seq import ALIGNMENTS, BEFORE

ATTENTIONS = ("none", *ALIGNMENTS)
FEEDING = [name for name in ALIGNMENTS if name not in BEFORE]
VARIANTS = [(name, False) for name in ATTENTIONS] + [(name, True) for name in FEEDING]
IDS = [f"{name}-fed" if feeding else name for name, feeding in VARIANTS]
SOURCES, TARGETS = [3, 1, 7, 4], [2, 5, 1, 3]
PATH = "decoder.alignment.attention"


def made(attention="bahdanau", input_feeding=False, **options):
    """Small, in float64, without dropout's training; a monotonic one that stops here and there."""
    options = {"hidden_channels": 6, "embedding_channels": 5, "window": 2, **options}
    model = Seq2Seq(9, 8, attention=attention, input_feeding=input_feeding, **options)
    if attention == "monotonic":
        # Scores as drawn hardly differ, and no step would stop anywhere.
        alignment = model.decoder.alignment
        with torch.no_grad():
            alignment.attention.score.g.fill_(5)
            alignment.attention.normalizer.offset.fill_(3)
            for linear in (alignment.lin_query, alignment.lin_key):
                linear.weight.mul_(30)
    return model.double().eval()


def softened(model):
    """With the weights that training has, without its noise: none is 0."""
    model.decoder.alignment.attention.normalizer.noise = 0.0
    return model.train()


def tokens(lengths, count):
    return torch.randint(count, (sum(lengths),))


def pairs():
    return tokens(SOURCES, 9), SOURCES, tokens(TARGETS, 8), TARGETS


def gates(rnn, layer, x, hidden):
    parts = (f"weight_ih_l{layer}", f"bias_ih_l{layer}", f"weight_hh_l{layer}", f"bias_hh_l{layer}")
    w, b, u, c = (getattr(rnn, name) for name in parts)
    return w @ x + b, u @ hidden + c


def cell(rnn, layer, x, state):
    """One step of a layer: its state, of one part or two."""
    from_input, from_state = gates(rnn, layer, x, state[0])
    if isinstance(rnn, nn.LSTM):
        i, f, g, o = (from_input + from_state).chunk(4)
        kept = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(kept), kept
    (r, z, n), (hr, hz, hn) = from_input.chunk(3), from_state.chunk(3)
    update = torch.sigmoid(z + hz)
    new = torch.tanh(n + torch.sigmoid(r + hr) * hn)
    return ((1 - update) * new + update * state[0],)


def read(rnn, rows):
    state = (torch.zeros(rnn.hidden_size).double(),) * (2 if isinstance(rnn, nn.LSTM) else 1)
    outputs = []
    for row in rows:
        state = cell(rnn, 0, row, state)
        outputs.append(state[0])
    return outputs


def encoded(encoder, source):
    """The outputs [S, hidden], and the states [parts][layers] a decoder starts with."""
    rows, starts = list(encoder.embedding.weight[source]), []
    for ahead, back in zip(encoder.ahead, encoder.back, strict=True):
        one, other = read(ahead, rows), read(back, rows[::-1])
        starts.append(torch.tanh(encoder.bridge(torch.cat([one[-1], other[-1]]))))
        rows = [torch.cat(both) for both in zip(one, other[::-1], strict=True)]
    parts = (start.chunk(encoder.parts) for start in starts)
    return torch.stack(rows), list(zip(*parts, strict=True))


def translated(model, source, target):
    """Logits [T, V] of one sentence, a step at a time, as the docstrings say."""
    decoder, logits = model.decoder, []
    memory, starts = encoded(model.encoder, source)
    states = [tuple(part[layer] for part in starts) for layer in range(len(starts[0]))]
    prepared = decoder.alignment and decoder.alignment.prepare(memory, [len(source)])
    previous, fed = None, torch.zeros(memory.size(1)).double()

    def look(query, step):
        goes_on = {"previous": previous} if decoder.alignment.goes_on else {}
        context, (_, weights) = decoder.alignment(
            query[None], prepared, first=step, return_attention_weights=True, **goes_on
        )
        return context[0], weights

    for step, token in enumerate([model.begin, *target[:-1].tolist()]):
        x = decoder.embedding.weight[token]
        if decoder.before:
            context, previous = look(states[-1][0], step)
            x = torch.cat([x, context])
        if decoder.feeding:
            x = torch.cat([x, fed])
        for layer, state in enumerate(states):
            states[layer] = cell(decoder.rnn, layer, x, state)
            x = states[layer][0]
        if decoder.alignment is not None:
            if not decoder.before:
                context, previous = look(x, step)
            fed = x = torch.tanh(decoder.combine.weight @ torch.cat([context, x]))
        logits.append(model.output(x))
    return torch.stack(logits)


def stepped(model, source, source_lengths, target, target_lengths):
    """Logits as teacher forcing gives them, by `step`."""
    memory = model.encode(source, source_lengths)
    state, sentences = model.start(memory), target.split(target_lengths)
    given, logits = torch.full((len(sentences),), model.begin), []
    for step in range(max(target_lengths)):
        out, state = model.step(given, memory, state)
        logits.append(out)
        given = torch.stack([sentence[min(step, len(sentence) - 1)] for sentence in sentences])
    every = torch.stack(logits, 1)
    return torch.cat([every[row, :count] for row, count in enumerate(target_lengths)])


@pytest.mark.parametrize(("cell", "layers"), [("lstm", 1), ("gru", 1), ("lstm", 2), ("gru", 2)])
@pytest.mark.parametrize(("attention", "feeding"), VARIANTS, ids=IDS)
def test_logits_are_the_sentences_written_out_and_those_of_steps(attention, feeding, cell, layers):
    model = made(attention, feeding, cell=cell, layers=layers, begin=3)
    source, _, target, _ = given = pairs()
    with torch.no_grad():
        logits = model(*given)
        sentences = zip(source.split(SOURCES), target.split(TARGETS), strict=True)
        expected = torch.cat([translated(model, *pair) for pair in sentences])
        torch.testing.assert_close(logits, expected)
        torch.testing.assert_close(stepped(model, *given), logits)


@pytest.mark.parametrize("rows", [[2, 0, 0, 3, 2], [1]], ids=str)
@pytest.mark.parametrize(("attention", "feeding"), VARIANTS, ids=IDS)
def test_selected_sentences_decode_on_as_they_would_have(attention, feeding, rows):
    check_selected(made(attention, feeding), rows)


@pytest.mark.parametrize("feeding", [False, True], ids=["at_once", "fed"])
def test_selected_sentences_keep_their_soft_weights(feeding):
    check_selected(softened(made("monotonic", feeding)), [2, 0, 0, 3, 2])


def check_selected(model, rows):
    source = tokens(SOURCES, 9)
    rows, first, second = torch.tensor(rows), torch.tensor([1, 2, 3, 4]), torch.tensor([4, 2, 2, 7])
    with torch.no_grad():
        memory = model.encode(source, torch.tensor(SOURCES))
        _, state = model.step(first, memory, model.start(memory))
        kept, chosen = memory.select(rows), state.select(rows)
        logits, state = model.step(second, memory, state)
        ours, chosen = model.step(second[rows], kept, chosen)
        torch.testing.assert_close(ours, logits[rows])
        again, _ = model.step(first, memory, state)
        torch.testing.assert_close(model.step(first[rows], kept, chosen)[0], again[rows])


@pytest.mark.parametrize(("attention", "feeding"), VARIANTS, ids=IDS)
def test_every_parameter_learns(attention, feeding):
    model, given = made(attention, feeding, layers=2, dropout=0.3).train(), pairs()
    nn.functional.cross_entropy(model(*given), given[2]).backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_a_copy_is_learned():
    torch.manual_seed(0)
    model = Seq2Seq(9, 9, hidden_channels=32, embedding_channels=16, attention="luong-general")
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    lengths = [2, 5, 3, 4] * 5
    source = tokens(lengths, 9)
    for _ in range(60):
        loss = nn.functional.cross_entropy(model(source, lengths, source, lengths), source)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


@pytest.mark.parametrize(("attention", "feeding"), VARIANTS[1:], ids=IDS[1:])
def test_attention_is_recorded_under_one_name(attention, feeding):
    model, given = made(attention, feeding), pairs()
    with torch.no_grad(), record_attention(model) as attended:
        model(*given)
    if not (feeding or attention in BEFORE):
        assert list(attended) == [PATH]
        assert attended[PATH].num_edges == sum(s * t for s, t in zip(SOURCES, TARGETS, strict=True))
        return
    names = [PATH, *(f"{PATH}#{number}" for number in range(2, max(TARGETS) + 1))]
    assert list(attended) == names
    assert all(attended[name].num_edges == sum(SOURCES) for name in names)
    assert all(attended[name].num_dst == len(SOURCES) for name in names)


def recorded_steps(model, *given):
    """The weights [steps, sum(S)] of `stepped`, recorded call by call."""
    weights = []
    with torch.no_grad(), record_attention(model) as attended:
        step = model.step

        def heard(*call):
            result = step(*call)
            weights.append(attended[PATH].weights[:, 0])
            return result

        model.step = heard
        stepped(model, *given)
    return torch.stack(weights)


@pytest.mark.parametrize("attention", ["luong-general", "local", "local-m", "monotonic"])
def test_steps_are_recorded_as_teacher_forcing_is(attention):
    model, given = made(attention), pairs()
    check_steps(model, given)


def test_soft_monotonic_steps_are_recorded_as_teacher_forcing_is():
    model, given = softened(made("monotonic")), pairs()
    assert check_steps(model, given).all()


def check_steps(model, given):
    """The weights of both, which are the same."""
    with torch.no_grad(), record_attention(model) as whole:
        model(*given)
    sizes = [s * t for s, t in zip(SOURCES, TARGETS, strict=True)]
    parts = whole[PATH].weights.split(sizes)
    steps = recorded_steps(model, *given).split(SOURCES, dim=1)
    for part, own, count in zip(parts, steps, TARGETS, strict=True):
        torch.testing.assert_close(part.view(count, -1), own[:count])
    assert whole[PATH].weights.any()
    return whole[PATH].weights


@pytest.mark.parametrize("feeding", [False, True], ids=["at_once", "fed"])
def test_monotonic_decoding_never_goes_back(feeding):
    model, lengths = made("monotonic", feeding), [12, 5]
    weights = recorded_steps(model, tokens(lengths, 9), lengths, tokens([8, 8], 8), [8, 8])
    assert weights.shape == (8, 17)
    assert ((weights == 0) | (weights == 1)).all()
    stops = []
    for sentence in weights.split(lengths, dim=1):
        places = [row.nonzero().flatten().tolist() for row in sentence]
        assert all(len(place) <= 1 for place in places)
        assert places == sorted(places, key=lambda place: place or [99])
        stops.append({place[0] for place in places if place})
    # It goes on, too.
    assert max(map(len, stops)) > 1


@pytest.mark.parametrize("normalizer", ["sparsemax", "threshold", "gumbel"])
@pytest.mark.parametrize("attention", ["bahdanau", "luong-general", "local"])
def test_any_normalizer_by_name(attention, normalizer):
    model, given = made(attention, normalizer=normalizer), pairs()
    logits = model(*given)
    torch.testing.assert_close(stepped(model, *given), logits)
    model.train()(*given).sum().backward()
    assert model.encoder.bridge.weight.grad.isfinite().all()


@pytest.mark.parametrize("offset", [-1.0, 0.1, 5.0])
@pytest.mark.parametrize("attention", ["bahdanau", "luong-general", "monotonic"])
def test_a_monotonic_normalizer_goes_on_from_step_to_step(attention, offset):
    options = {} if attention == "monotonic" else {"normalizer": "monotonic"}
    model, given = softened(made(attention, **options)), pairs()
    torch.nn.init.constant_(model.decoder.alignment.attention.normalizer.offset, offset)
    torch.testing.assert_close(stepped(model, *given), model(*given))


def test_options_make_such_a_network_again():
    model = made("local", layers=2, dropout=0.1, cell="gru")
    again = Seq2Seq(**model.options).double().eval()
    again.load_state_dict(model.state_dict())
    given = pairs()
    assert torch.equal(again(*given), model(*given))


def test_dropout_is_for_training_alone():
    model, given = made(layers=2, dropout=0.5), pairs()
    assert torch.equal(model(*given), model(*given))
    model.train()
    assert not torch.equal(model(*given), model(*given))


def test_reset_parameters_draws_anew():
    model = made("monotonic")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7.0)
    model.reset_parameters()
    assert not any((parameter == 7).all() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": "luong"}, "attention is 'luong'; expected one of 'none', 'bahdanau'"),
        ({"cell": "rnn"}, "cell is 'rnn'; expected one of 'gru', 'lstm'"),
        ({"hidden_channels": 7}, "hidden_channels is 7; expected an even number >= 2"),
        ({"layers": 0}, "layers is 0; expected 1 or more"),
        ({"window": 0}, "window is 0; expected 1 or more"),
        ({"begin": 8}, r"begin is 8; expected a target token in \[0, 8\)"),
        (
            {"attention": "local", "normalizer": "monotonic"},
            "use predict=False .attention='local-m' of Seq2Seq., or LuongAttention",
        ),
        ({"input_feeding": True}, "attention='bahdanau' does that by itself; leave input_feeding"),
        ({"attention": "none", "input_feeding": True}, "attention='none' has none"),
        ({"attention": "none", "normalizer": "topk"}, "normalizer='topk' is of the attention's sc"),
        (
            {"attention": "monotonic", "normalizer": "topk"},
            "attention='monotonic' is a normaliser itself; leave out normalizer='topk'",
        ),
    ],
    ids=lambda given: "-".join(given) if isinstance(given, dict) else None,
)
def test_options_are_refused_in_words(options, message):
    with pytest.raises(InputError, match=message):
        made(**options)


TWO = torch.tensor([1, 2])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            (TWO, [3], TWO, [2]),
            InputError,
            r"source has shape \[2\] .* sum to 3",
        ),
        ((TWO, [2, 0], TWO, [1, 1]), InputError, r"source_lengths is \[2, 0\]; expected sent"),
        ((TWO, [2], TWO[None], [2]), InputError, r"target has shape \[1, 2\]"),
        ((TWO, [2], TWO, [1, 1]), InputError, "1 source sentences and 2 target sentences"),
        ((TWO + 7, [2], TWO, [2]), IndexRangeError, "source has the token 9; .* source_size=9"),
        ((TWO[:0], [], TWO[:0], []), InputError, r"source_lengths is \[\]; expected sentences, at"),
        ((TWO.float(), [2], TWO, [2]), ArgumentTypeError, "source has dtype torch.float32"),
        ((TWO, [2], -TWO, [2]), IndexRangeError, "target has the token -2; .* target_size=8"),
    ],
    ids=["lengths", "empty", "shape", "counts", "large_token", "none", "dtype", "negative_token"],
)
def test_sentences_that_do_not_fit_are_refused_in_words(given, error, message):
    with pytest.raises(error, match=message):
        made()(*given)
