"""gat.inspection.block: one example out of a ragged batch."""

from dataclasses import replace

import pytest
import torch

from gat import topology
from gat.errors import IndexRangeError, InputError
from gat.inspection import block
from tests.inspection.picture_records import record_of
from tests.inspection.sequence_records import dense, record_on

LENGTHS, TARGETS = [4, 1, 0, 3], [2, 5, 1, 0]
WIDE = [2, 5, 5, 0]


@pytest.mark.parametrize("number", range(4))
def test_block_of_a_pair_has_the_weights_of_its_corner(number):
    record = record_on(topology.bipartite(LENGTHS, TARGETS))
    found = block(record, number, LENGTHS, TARGETS)
    assert (found.num_src, found.num_dst) == (LENGTHS[number], TARGETS[number])
    row, column = sum(TARGETS[:number]), sum(LENGTHS[:number])
    corner = dense(record)[row : row + found.num_dst, column : column + found.num_src]
    assert torch.equal(dense(found), corner)
    assert torch.equal(
        found.edge_index, topology.bipartite(LENGTHS[number], TARGETS[number]).edge_index
    )
    assert found.loops.shape == (TARGETS[number], 2)


@pytest.mark.parametrize("kind", [topology.complete, topology.causal], ids=["complete", "causal"])
def test_block_of_a_sentence_needs_its_lengths_once(kind):
    record = record_on(kind(LENGTHS))
    found = block(record, 3, torch.tensor(LENGTHS))
    assert torch.equal(found.edge_index, kind(3).edge_index)
    assert torch.equal(dense(found), dense(record)[5:, 5:])


def test_block_takes_one_length_for_all():
    record = record_on(topology.grid([2, 2, 2], 3))
    assert torch.equal(dense(block(record, 1, 6)), dense(record)[6:12, 6:12])
    pooled = record_on(topology.bipartite([6, 6], 1))
    assert torch.equal(dense(block(pooled, 1, 6, 1)), dense(pooled)[1:, 6:])


def test_block_keeps_what_is_told_of_its_targets():
    edges = topology.complete([2, 3]).edge_index
    told = torch.tensor([1, 0, 0, 1, 1]).bool()
    record = record_of(edges, 5, 5, seen=told, complete=~told, edge_id=torch.arange(13) + 7)
    found = block(record, 1, [2, 3])
    assert found.seen.tolist() == [False, True, True]
    assert found.complete.tolist() == [True, False, False]
    assert found.edge_id.tolist() == list(range(11, 20))
    assert torch.equal(found.loops, record.loops[2:])


def test_block_reads_edges_by_their_flow():
    record = replace(record_on(topology.bipartite([2, 1], [1, 2])), flow="target_to_source")
    turned = replace(record, edge_index=record.edge_index.flip(0))
    found = block(turned, 1, [2, 1], [1, 2])
    assert (found.source.tolist(), found.target.tolist()) == ([0, 0], [0, 1])


@pytest.mark.parametrize(
    ("number", "lengths", "target_lengths", "error", "words"),
    [
        (0, [4, 3], WIDE, InputError, "lengths sum to 7; expected 8, the sources of attention"),
        (0, LENGTHS, None, InputError, "sum to 8; expected 12, the targets of attention"),
        (0, LENGTHS, [8, 4], InputError, "of 4 blocks and target_lengths of 2; expected as many"),
        (0, 3, WIDE, InputError, "lengths is 3; expected a divisor of 8"),
        (0, [5, 4, -1, 0], WIDE, InputError, "as lengths of 0 or more"),
        (0, [8.0], WIDE, InputError, "expected whole numbers, one for each block"),
        (4, LENGTHS, WIDE, IndexRangeError, r"number is 4; expected a block in \[0, 4\)"),
        (-1, LENGTHS, WIDE, IndexRangeError, r"number is -1; expected a block in \[0, 4\)"),
        (0, [1, 4, 0, 3], WIDE, InputError, "enters block 0 from another block"),
    ],
)  # fmt: skip
def test_block_refuses(number, lengths, target_lengths, error, words):
    record = record_on(topology.bipartite(LENGTHS, WIDE))
    with pytest.raises(error, match=words):
        block(record, number, lengths, target_lengths)
