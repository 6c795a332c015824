"""Digits and karate: no network, the same graph on every machine."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gat.data import load
from gat.data.small import nearest_neighbours


def test_digits_are_1797_with_ten_splits_of_five_per_class():
    task = load("digits")
    graph = task.graphs[0]
    assert (task.num_nodes, task.num_features, task.num_classes, task.num_splits) == (
        1797,
        64,
        10,
        10,
    )
    assert float(graph.x.min()) == 0.0
    assert float(graph.x.max()) == 1.0
    for split in range(10):
        assert graph.y[graph.train_mask[:, split]].bincount().tolist() == [5] * 10
        assert graph.y[graph.val_mask[:, split]].bincount().tolist() == [30] * 10
        assert task.part_sizes(split)["test"] == 1797 - 350


def test_digits_splits_differ_and_repeat():
    first, again = load("digits").graphs[0], load("digits").graphs[0]
    assert torch.equal(first.train_mask, again.train_mask)
    assert torch.equal(first.edge_index, again.edge_index)
    assert len(torch.unique(first.train_mask.T, dim=0)) == 10


def test_digits_graph_is_symmetric_and_joins_like_digits():
    graph = load("digits").graphs[0]
    source, target = graph.edge_index
    pairs = set(zip(source.tolist(), target.tolist(), strict=True))
    assert pairs == {(b, a) for a, b in pairs}
    assert int(target.bincount(minlength=1797).min()) >= 8
    assert float((graph.y[source] == graph.y[target]).float().mean()) > 0.95


def test_digits_graph_is_the_nearest_by_scikit_learn():
    from sklearn.datasets import load_digits
    from sklearn.neighbors import NearestNeighbors

    x = load_digits().data[:400]
    found = nearest_neighbours(x, 8)[1].reshape(400, 8)
    theirs, _ = NearestNeighbors(n_neighbors=9).fit(x).kneighbors(x)
    ours = np.sqrt(((x[:, None, :] - x[found]) ** 2).sum(-1))
    np.testing.assert_allclose(ours, theirs[:, 1:])


@settings(max_examples=30, deadline=None)
@given(arrays(np.int64, (9, 2), elements=st.integers(0, 3)), st.integers(1, 8))
def test_nearest_neighbours_break_ties_by_number(points, k):
    x = points.astype(float)
    found = nearest_neighbours(x, k)[1].reshape(9, k)
    for node in range(9):
        others = [other for other in range(9) if other != node]
        others.sort(key=lambda other: (((x[node] - x[other]) ** 2).sum(), other))
        assert found[node].tolist() == others[:k]


def test_karate_trains_on_the_two_leaders():
    task = load("karate")
    graph = task.graphs[0]
    assert (task.num_nodes, task.num_edges, task.num_classes) == (34, 156, 2)
    assert graph.train_mask[:, 0].nonzero()[:, 0].tolist() == [0, 33]
    assert graph.y[[0, 33]].tolist() == [0, 1]
    assert task.class_names == ("Mr. Hi", "Officer")
    assert task.part_sizes() == {"train": 2, "val": 10, "test": 22}
