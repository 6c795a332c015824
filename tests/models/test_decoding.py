"""`greedy` and `beam` on a Markov chain, whose best sentences can be found by trying all."""

import itertools
import math

import pytest
import torch

from gat.errors import InputError
from gat.models import beam, greedy, sequence_accuracy

BEGIN, END = 0, 1


class Rows:
    """Memory and state of the chain: what is known of each sentence."""

    def __init__(self, values):
        self.values = values

    def select(self, rows):
        return Rows(self.values[rows])


class Chain:
    """What comes next depends on the two tokens before, and on the sentence's first source token,
    which names the table. The memory holds the table, the state the table and the token before the
    last: a wrong selection of either shows."""

    def __init__(self, tables):
        self.tables = tables
        self.calls = []

    def encode(self, source, lengths):
        starts = torch.as_tensor(lengths).cumsum(0) - torch.as_tensor(lengths)
        return Rows(source[starts])

    def start(self, memory):
        return Rows(torch.stack([memory.values, torch.full_like(memory.values, BEGIN)], dim=1))

    def step(self, tokens, memory, state):
        self.calls.append(tokens.numel())
        assert torch.equal(state.values[:, 0], memory.values)
        assert tokens.shape == memory.values.shape
        seen = torch.stack([memory.values, tokens], dim=1)
        return self.tables[memory.values, state.values[:, 1], tokens], Rows(seen)


def chain(tables=3, tokens=4, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(tables, *[tokens] * 3, generator=generator, dtype=torch.float64)
    return Chain(2 * logits)


SOURCE, LENGTHS = torch.tensor([2, 9, 9, 0, 1, 9, 1]), [3, 1, 2, 1]
FIRST = [2, 0, 1, 1]


def ends_of(max_length, tokens):
    """All sentences of the chain, ending in END or cut at max_length."""
    for length in range(max_length + 1):
        for rest in itertools.product([t for t in range(tokens) if t != END], repeat=length):
            if length < max_length:
                yield (*rest, END)
            else:
                yield rest


def value(logits, sentence, penalty):
    """log P(Y) / lp(Y) of a sentence."""
    steps, written = logits.log_softmax(-1), (BEGIN, BEGIN, *sentence)
    triples = zip(written, written[1:], sentence, strict=False)
    total = sum(float(steps[triple]) for triple in triples)
    return total / ((5 + len(sentence)) / 6) ** penalty


def best_of_all(logits, max_length, penalty):
    sentences = ends_of(max_length, logits.size(0))
    best = max(sentences, key=lambda sentence: value(logits, sentence, penalty))
    return [token for token in best if token != END]


def lists(sentences):
    assert all(one.dtype is torch.int64 and one.dim() == 1 for one in sentences)
    return [one.tolist() for one in sentences]


@pytest.mark.parametrize("penalty", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("max_length", [1, 2, 5])
@pytest.mark.parametrize("seed", range(4))
def test_beam_of_full_width_finds_the_best_of_all(seed, max_length, penalty):
    model = chain(seed=seed)
    options = {"width": 3**max_length, "max_length": max_length, "length_penalty": penalty}
    found = lists(beam(model, SOURCE, LENGTHS, **options))
    assert found == [best_of_all(model.tables[first], max_length, penalty) for first in FIRST]


def test_the_chain_has_sentences_that_greedy_misses_and_lengths_that_differ():
    """Else the comparisons above and below would say little."""
    found, missed = set(), 0
    for seed in range(4):
        model = chain(seed=seed)
        best = [best_of_all(model.tables[first], 5, 0.6) for first in FIRST]
        found |= {len(sentence) for sentence in best}
        missed += lists(greedy(model, SOURCE, LENGTHS, max_length=5)) != best
    assert missed >= 2
    assert len(found) >= 3


@pytest.mark.parametrize("max_length", [1, 3, 8])
@pytest.mark.parametrize("seed", range(6))
def test_beam_of_width_1_is_greedy(seed, max_length):
    model = chain(seed=seed, tokens=7)
    one = beam(model, SOURCE, LENGTHS, width=1, max_length=max_length)
    assert lists(one) == lists(greedy(model, SOURCE, LENGTHS, max_length=max_length))


@pytest.mark.parametrize("width", [2, 3, 6])
@pytest.mark.parametrize("seed", range(4))
def test_beam_is_the_search_told_sentence_by_sentence(seed, width):
    model, max_length, penalty = chain(seed=seed, tokens=6), 6, 0.6
    expected = []
    for first in FIRST:
        logits, alive, done = model.tables[first], [()], []
        for _ in range(max_length):
            longer = [(*one, token) for one in alive for token in range(6)]
            longer.sort(key=lambda one: value(logits, one, 0.0), reverse=True)
            done += [one for one in longer[:width] if one[-1] == END]
            alive = [one for one in longer[:width] if one[-1] != END]
        best = max(done + alive, key=lambda one: value(logits, one, penalty))
        expected.append([token for token in best if token != END])
    options = {"width": width, "max_length": max_length, "length_penalty": penalty}
    assert lists(beam(model, SOURCE, LENGTHS, **options)) == expected


def test_greedy_takes_the_likeliest_token_until_the_end():
    model = chain(seed=1, tokens=9)
    for sentence, first in zip(
        lists(greedy(model, SOURCE, LENGTHS, max_length=20)), FIRST, strict=True
    ):
        before, token, expected = BEGIN, BEGIN, []
        while len(expected) < 20:
            before, token = token, int(model.tables[first, before, token].argmax())
            if token == END:
                break
            expected.append(token)
        assert sentence == expected


def forced(*sentences, tokens=5):
    """A chain in which table k writes sentences[k], whose tokens differ from one another."""
    tables = torch.full((len(sentences), *[tokens] * 3), -20.0)
    for table, sentence in zip(tables, sentences, strict=True):
        for before, after in itertools.pairwise((BEGIN, *sentence, END)):
            table[:, before, after] = 20.0
    return Chain(tables)


@pytest.mark.parametrize("search", [greedy, beam])
def test_sentences_that_have_ended_leave_the_batch(search):
    model = forced([], [2, 3, 4], [4])
    found = search(model, torch.tensor([1, 0, 2]), [1, 1, 1], max_length=9)
    assert lists(found) == [[2, 3, 4], [], [4]]
    width = 1 if search is greedy else 4
    assert model.calls == [count * width for count in (3, 2, 1, 1)]


@pytest.mark.parametrize("search", [greedy, beam])
def test_max_length_cuts(search):
    model = forced([2, 3, 4], [2])
    for most, expected in ((1, [[2], [2]]), (2, [[2, 3], [2]]), (3, [[2, 3, 4], [2]])):
        assert lists(search(model, torch.tensor([0, 1]), [1, 1], max_length=most)) == expected


@pytest.mark.parametrize("search", [greedy, beam])
def test_an_end_at_once_is_an_empty_sentence(search):
    model = forced([])
    assert lists(search(model, torch.tensor([0, 0]), [1, 1], max_length=3)) == [[], []]


@pytest.mark.parametrize("search", [greedy, beam])
def test_no_sentences_have_no_translations(search):
    assert search(chain(), torch.empty(0, dtype=torch.int64), [], max_length=3) == []


@pytest.mark.parametrize("search", [greedy, beam])
def test_other_tokens_may_begin_and_end(search):
    tables = torch.full((1, 5, 5, 5), -20.0)
    for before, after in itertools.pairwise((4, 0, 1, 3)):
        tables[0, :, before, after] = 20.0
    model, call = Chain(tables), (torch.tensor([0]), [1])
    assert lists(search(model, *call, max_length=5, begin=4, end=3)) == [[0, 1]]
    # A model that has been told what begins need not be told again.
    model.begin = 4
    assert lists(search(model, *call, max_length=5, end=3)) == [[0, 1]]
    assert lists(search(model, *call, max_length=5, begin=0, end=3)) == [[1]]


def test_beam_prefers_longer_sentences_with_a_greater_penalty():
    # [] has probability 0.4, [2, 2, 2, 2] 0.6^4; and what follows an end is NaN.
    table = torch.full((1, 3, 3, 3), -torch.inf, dtype=torch.float64)
    table[0, :, [0, 2], END], table[0, :, [0, 2], 2] = math.log(0.4), math.log(0.6)
    model, one = Chain(table), (torch.tensor([0]), [1])
    assert lists(beam(model, *one, max_length=4, length_penalty=0.0)) == [[]]
    assert lists(beam(model, *one, max_length=4, length_penalty=9.0)) == [[2, 2, 2, 2]]


def test_decoding_keeps_no_gradients_and_takes_low_precision():
    model = chain(seed=2)
    model.tables = model.tables.bfloat16().requires_grad_()
    expected = Chain(model.tables.detach().float())
    for search in (greedy, beam):
        found = search(model, SOURCE, LENGTHS, max_length=5)
        assert lists(found) == lists(search(expected, SOURCE, LENGTHS, max_length=5))


def test_sequence_accuracy_counts_sentences_right_to_the_last_token():
    predicted = [torch.tensor(one) for one in ([2, 3], [2, 3], [4], [], [5, 1, 7])]
    expected = [torch.tensor(one) for one in ([2, 3, 1], [2, 3, 4, 1], [3, 1], [1], [5, 1])]
    assert sequence_accuracy(predicted, expected) == 3 / 5
    assert sequence_accuracy(predicted[:1], expected[:1]) == 1
    assert sequence_accuracy(predicted, expected, end=4) == 1 / 5


def test_decoding_refuses_what_means_nothing():
    model, one = chain(), (torch.tensor([0]), [1])
    for search in (greedy, beam):
        with pytest.raises(InputError, match="max_length is 0; expected 1 or more"):
            search(model, *one, max_length=0)
    with pytest.raises(InputError, match="width is 0; expected 1 or more"):
        beam(model, *one, width=0, max_length=3)
    with pytest.raises(InputError, match=r"length_penalty is -0.5; expected 0 or more"):
        beam(model, *one, max_length=3, length_penalty=-0.5)
    with pytest.raises(InputError, match=r"length_penalty is nan; expected 0 or more"):
        beam(model, *one, max_length=3, length_penalty=math.nan)
    with pytest.raises(InputError, match="there are 1 predicted and 0 expected sentences"):
        sequence_accuracy([torch.tensor([2])], [])
    with pytest.raises(InputError, match="at least one"):
        sequence_accuracy([], [])


def test_scores_that_are_no_numbers_are_refused():
    model, one = Chain(torch.full((1, 3, 3, 3), torch.nan)), (torch.tensor([0]), [1])
    for search in (greedy, beam):
        with pytest.raises(InputError, match="scores of the next token hold NaN"):
            search(model, *one, max_length=3)
