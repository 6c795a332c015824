"""scikit-learn's handwritten digits as images, and as sequences of rows."""

import numpy as np
import torch

from gat.data.catalog import TaskKind
from gat.data.examples import PARTS, Examples, ExampleTask
from gat.data.generated.patterns import check_options
from gat.errors import InputError, MissingDependencyError

__all__ = ["digit_images", "digit_rows"]

DIGITS = 1797


def digit_images(*, train: int, val: int, test: int, seed: int) -> ExampleTask:
    """The digits as images float32 [n, 1, 8, 8] of 0 to 1; parts stratified by class.

    Raises InputError where the sizes exceed the 1797 digits, MissingDependencyError without
    scikit-learn.
    """
    return _digits("digit-images", "image classification", (1, 8, 8), (train, val, test), seed)


def digit_rows(*, train: int, val: int, test: int, seed: int) -> ExampleTask:
    """The same digits in the same parts as sequences of 8 rows, float32 [n, 8, 8] of 0 to 1."""
    return _digits("digit-rows", "sequence classification", (8, 8), (train, val, test), seed)


def _digits(
    name: str, kind: TaskKind, shape: tuple[int, ...], sizes: tuple[int, int, int], seed: int
) -> ExampleTask:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingDependencyError(
            f"the data set {name!r} comes with scikit-learn: pip install scikit-learn"
        ) from None
    train, val, test = sizes
    check_options(name, seed, train=(train, 1), val=(val, 1), test=(test, 1))
    if sum(sizes) > DIGITS:
        raise InputError(
            f"{name}: there are {DIGITS} digits, train, val and test ask for {sum(sizes)}"
        )
    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy((pixels / 16.0).astype(np.float32)).view(-1, *shape)
    classes = torch.from_numpy(labels.astype(np.int64))
    order = torch.from_numpy(_spread(labels, seed))
    rows = order[: sum(sizes)].split(list(sizes))
    parts = {part: Examples(images[at], classes[at]) for part, at in zip(PARTS, rows, strict=True)}
    names = tuple(map(str, range(10)))
    return ExampleTask(name, kind, parts, num_classes=10, class_names=names)


def _spread(labels: np.ndarray, seed: int) -> np.ndarray:
    """All rows [n] in random order, but so that every stretch has its share of each class."""
    rng = np.random.default_rng(seed)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        # Members of a class stand at equal distances, from a random first place.
        place[rows] = (np.arange(len(rows)) + rng.random()) / len(rows)
    return np.argsort(place, kind="stable")
