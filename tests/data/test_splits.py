"""Seeded splits: disjoint, complete, stratified, the same every time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gat.data.splits import fraction_splits, per_class_splits
from gat.errors import InputError

LABELS = st.lists(st.integers(-1, 4), min_size=3, max_size=60).map(np.array)


@settings(deadline=None)
@given(y=LABELS, seed=st.integers(0, 5), train=st.floats(0.1, 0.8), val=st.floats(0.05, 0.15))
def test_fraction_splits_cover_the_labelled_nodes_once(y, seed, train, val):
    if (y >= 0).sum() < 3:
        with pytest.raises(InputError, match="labelled nodes; a split needs at least 3"):
            fraction_splits(y, train=train, val=val, seed=seed)
        return
    masks = fraction_splits(y, train=train, val=val, splits=2, seed=seed)
    times = torch.stack(masks).sum(dim=0)
    assert torch.equal(times, torch.from_numpy((y >= 0).astype(int))[:, None].repeat(1, 2))
    assert all(bool(mask.any(dim=0).all()) for mask in masks)
    classes = set(y[y >= 0].tolist())
    if (y >= 0).sum() >= len(classes) + 2:
        for split in range(2):
            assert set(y[masks[0][:, split]].tolist()) == classes


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("y", [[0, 0, 1, 1, 2, 2, 3, 3], [0, 0, 0, 1], [0, 0, 0, 0, 1, 2, 3]])
def test_fraction_splits_give_each_tiny_class_a_training_node(y, seed):
    train, val, test = fraction_splits(np.array(y), seed=seed)
    assert set(np.array(y)[train[:, 0]]) == set(y)
    assert val.any()
    assert test.any()


def test_fraction_splits_fill_every_part_where_nodes_are_too_few_for_the_classes():
    assert [int(mask.sum()) for mask in fraction_splits(np.arange(3))] == [1, 1, 1]


def test_fraction_splits_are_the_same_in_every_version():
    train, val, test = fraction_splits(np.arange(12) % 3, seed=1)
    found = [mask[:, 0].nonzero()[:, 0].tolist() for mask in (train, val, test)]
    assert found == [[0, 1, 2, 3, 10, 11], [5, 6, 7], [4, 8, 9]]


def test_fraction_splits_keep_the_shares_of_classes():
    y = np.repeat([0, 1], [100, 50])
    for mask, share in zip(fraction_splits(y), (0.6, 0.2, 0.2), strict=True):
        assert np.bincount(y[mask[:, 0]]).tolist() == [round(share * 100), round(share * 50)]


def test_splits_do_not_depend_on_their_number():
    y = np.arange(60) % 3
    one, five = (per_class_splits(y, train=5, val=5, splits=splits) for splits in (1, 5))
    assert torch.equal(one[0], five[0][:, :1])
    assert not torch.equal(five[0][:, 0], five[0][:, 1])
    assert not torch.equal(one[0], per_class_splits(y, train=5, val=5, seed=1)[0])


def test_per_class_splits_refuse_a_class_too_small():
    with pytest.raises(InputError, match=r"class 1 has 10 nodes; .* leaves none for test"):
        per_class_splits(np.repeat([0, 1], [30, 10]), train=5, val=5)
