"""Seeded splits: which nodes are for training, validation and test. Masks are bool [N, S]."""

import numpy as np
import torch
from torch import Tensor

from gat.errors import InputError

__all__ = ["Masks", "fraction_splits", "per_class_splits"]

Masks = tuple[Tensor, Tensor, Tensor]


def _empty(num_nodes: int, splits: int) -> Masks:
    train, val, test = (torch.zeros(num_nodes, splits, dtype=torch.bool) for _ in range(3))
    return train, val, test


def per_class_splits(
    y: np.ndarray, *, train: int, val: int, splits: int = 1, seed: int = 0
) -> Masks:
    """``train`` and then ``val`` nodes of each class at random, the rest for test.

    y: integer [N], -1 unlabelled (in no part). Split s draws from generator (seed, s), so a
    split does not depend on how many there are.
    """
    masks = _empty(len(y), splits)
    for split in range(splits):
        rng = np.random.default_rng([seed, split])
        for label in np.unique(y[y >= 0]):
            nodes = rng.permutation(np.flatnonzero(y == label))
            if len(nodes) <= train + val:
                raise InputError(
                    f"class {label} has {len(nodes)} nodes; a split of {train} for training and "
                    f"{val} for validation per class leaves none for test"
                )
            for mask, part in zip(masks, np.split(nodes, [train, train + val]), strict=True):
                mask[torch.from_numpy(part), split] = True
    return masks


def fraction_splits(
    y: np.ndarray, *, train: float = 0.6, val: float = 0.2, splits: int = 1, seed: int = 0
) -> Masks:
    """Stratified: of each class about ``train`` for training, ``val`` for validation, rest test.

    No part is empty, and every class has a training node wherever both can be had: where there
    are at least two labelled nodes more than classes. Classes of one or two nodes go to training
    (and validation), so validation and test can miss a rare class.
    """
    if not (0 < train < 1 and 0 < val < 1 and train + val < 1):
        raise InputError(
            f"split fractions train={train}, val={val} must be above 0 and sum to less than 1"
        )
    if int((y >= 0).sum()) < 3:
        raise InputError(
            f"only {int((y >= 0).sum())} labelled nodes; a split needs at least 3 (one a part)"
        )
    masks = _empty(len(y), splits)
    for split in range(splits):
        parts = _stratify(y, train, val, np.random.default_rng([seed, split]))
        for mask, part in zip(masks, parts, strict=True):
            mask[torch.from_numpy(part), split] = True
    return masks


def _stratify(y: np.ndarray, train: float, val: float, rng: np.random.Generator) -> list:
    """Shuffle within classes, then cut: the training share first, then validation, then test."""
    parts: list[list[int]] = [[], [], []]
    for label in np.unique(y[y >= 0]):
        nodes = rng.permutation(np.flatnonzero(y == label)).tolist()
        first = max(1, round(train * len(nodes)))
        second = max(first + 1, round((train + val) * len(nodes)))
        for part, chosen in zip(
            parts, (nodes[:first], nodes[first:second], nodes[second:]), strict=True
        ):
            part.extend(chosen)
    # Tiny classes may leave validation or test empty: take from the largest part that can spare.
    for needy in (2, 1):
        if not parts[needy]:
            spare = [_spare(y, part, teaches=part is parts[0]) for part in parts]
            donor = max(range(3), key=lambda part: (spare[part] is not None, len(parts[part])))
            parts[needy].append(parts[donor].pop(-1 if (at := spare[donor]) is None else at))
    return [np.asarray(part, dtype=np.int64) for part in parts]


def _spare(y: np.ndarray, part: list[int], *, teaches: bool) -> int | None:
    """The place of the last node that ``part`` can give without being empty after it.

    teaches: the part is for training, and must keep a node of every class it has.
    """
    if len(part) < 2:
        return None
    if not teaches:
        return len(part) - 1
    classes, counts = np.unique(y[part], return_counts=True)
    enough = set(classes[counts > 1].tolist())
    return next((i for i in reversed(range(len(part))) if int(y[part[i]]) in enough), None)
