"""The random generators a run draws from: seeded, saved, restored, and left as they were found."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["borrowed", "restore", "seed_all", "states"]


@contextlib.contextmanager
def borrowed() -> Iterator[None]:
    """Give the caller's generators back in the state they had, whatever happens in between."""
    tensors, values = states()
    try:
        yield
    finally:
        restore(tensors, values)


def seed_all(seed: int) -> None:
    """Seed torch (all devices), Python and numpy, whose seeds have 32 bits."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def states() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The states as tensors and as JSON values."""
    tensors = {"torch": torch.get_rng_state()}
    # Asking an idle GPU for its state would wake it.
    if torch.cuda.is_initialized():
        for number, state in enumerate(torch.cuda.get_rng_state_all()):
            tensors[f"cuda{number}"] = state
    name, keys, *rest = np.random.get_state(legacy=True)
    tensors["numpy"] = torch.from_numpy(np.asarray(keys).astype(np.int64))
    version, words, gauss = random.getstate()
    values = {"numpy": [name, *rest], "python": [version, list(words), gauss]}
    return tensors, values


def restore(tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Set all generators to what ``states`` returned."""
    torch.set_rng_state(tensors["torch"])
    for number in range(torch.cuda.device_count()):
        if f"cuda{number}" in tensors:
            torch.cuda.set_rng_state(tensors[f"cuda{number}"], number)
    name, *rest = values["numpy"]
    np.random.set_state((name, tensors["numpy"].numpy().astype(np.uint32), *rest))
    version, words, gauss = values["python"]
    random.setstate((version, tuple(words), gauss))
