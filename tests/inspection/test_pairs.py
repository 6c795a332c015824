"""gat.inspection.pairs: each pair of target and source once, in order."""

from dataclasses import replace

import pytest
import torch

from gat.errors import InputError
from gat.inspection.pairs import pairs_of
from tests.graphs import GRAPHS
from tests.inspection.picture_records import record_of


@pytest.mark.parametrize("name", GRAPHS)
def test_pairs_of_sums_copies_and_loops(name):
    edge_index, num_src, num_dst = GRAPHS[name]
    record = record_of(edge_index, num_src, num_dst)
    expected = torch.full((2, num_dst, num_src), float("nan"), dtype=torch.float64)
    entries = list(zip(*edge_index.tolist(), record.weights.tolist(), strict=True))
    entries += [(node, node, record.loops[node].tolist()) for node in range(num_dst)
                if record.loops[node].any()]  # fmt: skip
    for source, target, weights in entries:
        for head, weight in enumerate(weights):
            expected[head, target, source] = expected[head, target, source].nan_to_num(0) + weight
    pairs = pairs_of(record)
    torch.testing.assert_close(pairs.matrix(), expected, equal_nan=True)
    for target in range(num_dst):
        torch.testing.assert_close(pairs.row(target), expected[:, target], equal_nan=True)
    order = pairs.target * max(num_src, 1) + pairs.source
    assert torch.equal(order, order.unique())
    assert pairs.first.tolist() == [int((pairs.target < node).sum()) for node in range(num_dst + 1)]


def test_pairs_of_weights_that_are_no_numbers_are_refused():
    record = record_of(*GRAPHS["random"])
    with pytest.raises(InputError, match="weights of conv1 are not all finite"):
        pairs_of(replace(record, weights=record.weights / 0))
