"""gat.inspection.joined: the calls of a step-wise layer as one record."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import gat
from gat import topology
from gat.errors import InputError
from gat.inspection import Attention, AttentionRecord, joined, measure
from gat.nn import Attend

HEADS, CHANNELS = 2, 3


class Decoder(nn.Module):
    """Asks its attention once a step; of sentences that ended, nothing with ``shrinks``."""

    def __init__(self, heads=HEADS):
        super().__init__()
        self.attention = Attend(CHANNELS, heads)

    def forward(self, queries, memory, lengths, target_lengths=None, shrinks=False):
        """queries [T, B, H, C], memory [sum(lengths), H, C]."""
        lengths = torch.as_tensor(lengths)
        for step, query in enumerate(queries):
            going = torch.ones_like(lengths, dtype=torch.bool)
            if shrinks:
                going = torch.as_tensor(target_lengths) > step
            keys = memory[going.repeat_interleave(lengths)]
            self.attention(query[going], keys, keys, topology.bipartite(lengths[going], 1))


def decoded(lengths, steps, **options):
    """The record of each step, and the queries and memory they came from."""
    generator = torch.Generator().manual_seed(steps)
    queries = torch.randn(steps, len(lengths), HEADS, CHANNELS, generator=generator)
    memory = torch.randn(sum(lengths), HEADS, CHANNELS, generator=generator)
    model = Decoder()
    with torch.no_grad(), gat.record_attention(model) as attention:
        model(queries, memory, lengths, **options)
    return attention, queries, memory


def at_once(queries, memory, lengths, target_lengths):
    """The same attention in one call: queries sentence by sentence, all steps of each."""
    rows = [queries[:count, sentence] for sentence, count in enumerate(target_lengths)]
    model, graph = Decoder(), topology.bipartite(lengths, target_lengths)
    with torch.no_grad(), gat.record_attention(model.attention) as attention:
        model.attention(torch.cat(rows), memory, memory, graph)
    return attention["Attend"]


def assert_same(found, expected):
    assert (found.num_src, found.num_dst) == (expected.num_src, expected.num_dst)
    assert torch.equal(found.edge_index, expected.edge_index)
    torch.testing.assert_close(found.weights, expected.weights)
    assert torch.equal(found.loops, torch.zeros(expected.num_dst, HEADS))


@pytest.mark.parametrize("lengths", [[4, 2, 3], [5], [1, 1], [3, 0, 2]], ids=str)
@pytest.mark.parametrize("steps", [2, 7])
def test_joined_is_the_record_of_all_steps_at_once(lengths, steps):
    attention, *inputs = decoded(lengths, steps)
    found = joined(attention, "attention")
    assert len(attention) == steps
    assert_same(found, at_once(*inputs, lengths, [steps] * len(lengths)))
    assert found.layer == "attention"
    assert found.layer_type == "Attend"
    assert found.edge_id is found.seen is found.complete is None


def test_joined_edges_go_by_sentence_step_and_source():
    found = joined(decoded([2, 1], 2)[0], "attention")
    assert found.edge_index.tolist() == [[0, 1, 0, 1, 2, 2], [0, 0, 1, 1, 2, 3]]


@pytest.mark.parametrize(
    ("target_lengths", "shrinks"),
    [
        ([3, 5, 1], False),
        ([3, 5, 1], True),
        ([5, 5, 5], True),
        ([1, 1, 5], True),
        ([5, 0, 2], False),
    ],
    ids=str,
)
def test_joined_leaves_out_the_steps_after_a_sentence_ended(target_lengths, shrinks):
    lengths = [4, 2, 3]
    attention, *inputs = decoded(lengths, 5, target_lengths=target_lengths, shrinks=shrinks)
    found = joined(attention, "attention", target_lengths)
    assert_same(found, at_once(*inputs, lengths, target_lengths))


def test_joined_takes_one_number_of_steps_and_a_tensor():
    attention, *inputs = decoded([4, 2], 4)
    expected = at_once(*inputs, [4, 2], [3, 3])
    assert_same(joined(attention, "attention", 3), expected)
    assert_same(joined(attention, "attention", torch.tensor([3, 3])), expected)


def grown(sentences, steps, batch=False):
    """A recurrent network whose step t looks at its t states so far: the record of each step."""
    states = torch.randn(steps + 1, sentences, HEADS, CHANNELS)
    model = Decoder()

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = model.attention

        def forward(self):
            for step in range(1, steps + 1):
                so_far, now = states[:step].transpose(0, 1), states[step].unsqueeze(1)
                if batch:
                    graph = topology.bipartite(step, 1)
                else:
                    graph = topology.bipartite([step] * sentences, 1)
                    so_far, now = so_far.flatten(0, 1), now.flatten(0, 1)
                self.attention(now, so_far, so_far, graph)

    network = Recurrent()
    with torch.no_grad(), gat.record_attention(network) as attention:
        network()
    return attention


@pytest.mark.parametrize("sentences", [1, 3])
def test_joined_numbers_growing_sources_from_the_first(sentences):
    steps = 4
    attention = grown(sentences, steps)
    found = joined(attention, "attention")
    assert (found.num_src, found.num_dst) == (sentences * steps, sentences * steps)
    assert torch.equal(found.edge_index, topology.causal([steps] * sentences).edge_index)
    calls = list(attention.values())
    for edge, (source, target) in enumerate(found.edge_index.t().tolist()):
        sentence, step = divmod(target, steps)
        row = sentence * (step + 1) + source - sentence * steps
        assert torch.equal(found.weights[edge], calls[step].weights[row])


def test_joined_takes_a_batch_of_one_and_the_recorder_refuses_more():
    found = joined(grown(1, 3, batch=True), "attention")
    assert torch.equal(found.edge_index, topology.causal(3).edge_index)
    with pytest.raises(InputError, match="Of a batch of feature matrices, explain one at a time"):
        grown(2, 3, batch=True)


def test_joined_returns_a_layer_that_ran_once_as_it_is():
    attention, *_ = decoded([4, 2], 1)
    assert joined(attention, "attention") is attention["attention"]
    assert joined(attention, "attention", [1, 1]) is attention["attention"]
    with pytest.raises(InputError, match="target_lengths sum to 3; expected 2, the targets of"):
        joined(attention, "attention", [1, 2])


def test_joined_can_be_measured_and_has_the_heads_recorded():
    attention, *_ = decoded([4, 2, 3], 5)
    assert measure(joined(attention, "attention"))["attention"].heads == (0, 1)
    one = Attention([replace(record.head(1), layer=name) for name, record in attention.items()])
    found = joined(one, "attention")
    assert found.heads == (1,)
    assert torch.equal(found.weights, joined(attention, "attention").head(1).weights)


def step(number, edges, num_src, num_dst, **parts):
    edge_index = torch.tensor(edges, dtype=torch.int64).reshape(2, -1)
    layer = "attention" if number == 1 else f"attention#{number}"
    count = edge_index.size(1)
    return AttentionRecord(
        layer, "Attend", "before_dropout", edge_index, torch.rand(count, 1),
        torch.rand(num_dst, 1), num_src, num_dst, **parts,
    )  # fmt: skip


def test_joined_keeps_loops_and_what_was_seen_with_their_targets():
    seen = torch.tensor([True, False])
    first = step(1, [[0], [0]], 2, 2, seen=seen, complete=seen)
    second = step(2, [[1], [1]], 2, 2, seen=~seen, complete=~seen)
    found = joined(Attention([first, second]), "attention")
    assert found.seen.tolist() == found.complete.tolist() == [True, False, False, True]
    expected = torch.stack([first.loops, second.loops], 1).flatten(0, 1)
    assert torch.equal(found.loops, expected)
    assert found.coverage.unseen == 2


def test_joined_of_a_masked_step_keeps_the_edges_there_are():
    steps = [step(1, [[1, 0], [0, 0]], 3, 1), step(2, [[2], [0]], 3, 1)]
    found = joined(Attention(steps), "attention")
    assert found.edge_index.tolist() == [[0, 1, 2], [0, 0, 1]]
    assert torch.equal(found.weights[:2], steps[0].weights.flip(0))


def test_joined_reads_edges_by_their_flow():
    steps = [step(number, [[0], [1]], 2, 1, flow="target_to_source") for number in (1, 2)]
    found = joined(Attention(steps), "attention")
    assert torch.stack([found.source, found.target]).tolist() == [[1, 1], [0, 1]]


TWO = [step(1, [[0, 1], [0, 1]], 2, 2), step(2, [[0, 1], [0, 1]], 2, 2)]


@pytest.mark.parametrize(
    ("steps", "target_lengths", "words"),
    [
        pytest.param(
            [*TWO, step(3, [[0], [0]], 2, 1)],
            None,
            "attention#3 has 1 targets; expected the 2 of the first step, or the 2 that "
            "target_lengths gives more than 2 steps",
            id="a_sentence_left_and_nobody_said_so",
        ),
        pytest.param(
            [TWO[0], step(2, [[0, 2], [0, 1]], 3, 2)],
            None,
            r"attention#2 has 3 sources and attention 2; where their number changes",
            id="sources_that_nothing_tells_apart",
        ),
        pytest.param(TWO, [1, 3], "target_lengths has 3; expected 0 to 2", id="too_many_steps"),
        pytest.param(TWO, [1, -1], "target_lengths has -1; expected 0 to 2", id="negative"),
        pytest.param(
            TWO, [1], r"expected how many steps each of the 2 targets of attention", id="too_few"
        ),
        pytest.param(TWO, torch.rand(2), "expected how many steps each of the 2", id="floats"),
    ],
)
def test_joined_refuses(steps, target_lengths, words):
    with pytest.raises(InputError, match=words):
        joined(Attention(steps), "attention", target_lengths)


def test_joined_of_a_layer_that_was_not_recorded_names_the_others():
    with pytest.raises(InputError, match="no record of 'decoder'; recorded: 'attention'"):
        joined(Attention(TWO), "decoder")
