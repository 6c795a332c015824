"""`largest_scores`: the cut of hard attention."""

import pytest
import torch

from gat.errors import InputError
from gat.ops import largest_scores
from tests.graphs import GRAPHS
from tests.ops.inputs import graph


@pytest.mark.parametrize("k", [1, 2, 5, 1000])
@pytest.mark.parametrize("on", GRAPHS)
def test_the_k_largest_of_each_target_and_head(on, k):
    on = graph(on)
    scores = torch.randn(on.num_edges, 3).round(decimals=1)  # some are equal
    kept = largest_scores(on, scores, k)
    target = on.edge_index[1].tolist()
    for h in range(3):
        for i in set(target):
            edges = [e for e, t in enumerate(target) if t == i]
            ranked = sorted(edges, key=lambda e, h=h: (-float(scores[e, h]), e))
            assert kept[edges, h].tolist() == [e in ranked[:k] for e in edges]


def test_what_cannot_be_is_refused():
    on = graph("random")
    with pytest.raises(InputError, match=r"scores has shape \[210, 2\]; expected \[211, 2\]"):
        largest_scores(on, torch.randn(210, 2), 1)
    with pytest.raises(InputError, match="k is 0; expected 1 or more edges per target"):
        largest_scores(on, torch.randn(211, 2), 0)
