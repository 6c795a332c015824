"""Long memory: a symbol, noise for many steps, and the question what the symbol was.

The task of Hochreiter and Schmidhuber 1997 ("Long Short-Term Memory", section 5.2) in its plainest
form: only the first of T + 2 tokens decides, and the noise is of another alphabet, so nothing has
to be told apart; a model must carry the symbol through T steps, or look back.
"""

import numpy as np
import torch

from gat.data.examples import PARTS, Examples, ExampleTask
from gat.data.generated.patterns import check_options, part_generators
from gat.data.vocabulary import UNKNOWN, Vocabulary
from gat.errors import InputError

__all__ = ["recall"]

SYMBOLS, NOISE = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
QUERY = "?"


def recall(
    *, train: int, val: int, test: int, length: int, symbols: int, noise: int, seed: int
) -> ExampleTask:
    """So many sequences of each part, int64 [n, length + 2]: one of ``symbols`` symbols, ``length``
    tokens of noise of ``noise`` kinds, the query. The class is which symbol came first; in each
    part classes are equally frequent, to within one sequence. No sequence occurs twice.

    Raises InputError for options out of range, or for more than half of all sequences.
    """
    check_options(
        "recall",
        seed,
        train=(train, 1),
        val=(val, 1),
        test=(test, 1),
        length=(length, 1),
        symbols=(symbols, 2),
        noise=(noise, 2),
    )
    for option, value, letters in (("symbols", symbols, SYMBOLS), ("noise", noise, NOISE)):
        if value > len(letters):
            raise InputError(f"recall: {option} must be {len(letters)} or less, got {value}")
    sizes = {"train": train, "val": val, "test": test}
    _check_room(sizes, length, symbols, noise)
    vocabulary = Vocabulary(SYMBOLS[:symbols] + NOISE[:noise] + QUERY)
    seen: set[bytes] = set()
    parts = {}
    for part, rng in part_generators(seed).items():
        classes = rng.permutation(np.arange(sizes[part]) % symbols)
        body = np.stack([_new(first, length, noise, rng, seen) for first in classes])
        tokens = np.empty((sizes[part], length + 2), dtype=np.int64)
        tokens[:, 0] = UNKNOWN + 1 + classes
        tokens[:, 1:-1] = UNKNOWN + 1 + symbols + body
        tokens[:, -1] = len(vocabulary) - 1
        targets = torch.from_numpy(classes.astype(np.int64))
        parts[part] = Examples(torch.from_numpy(tokens), targets)
    return ExampleTask(
        "recall",
        "sequence classification",
        {part: parts[part] for part in PARTS},
        num_classes=symbols,
        source_vocabulary=vocabulary,
        class_names=tuple(SYMBOLS[:symbols]),
    )


def _new(
    first: int, length: int, noise: int, rng: np.random.Generator, seen: set[bytes]
) -> np.ndarray:
    """Noise that did not follow this symbol before, [length]."""
    while True:
        body = rng.integers(noise, size=length, dtype=np.int64)
        key = bytes([first]) + body.astype(np.uint8).tobytes()
        if key not in seen:
            seen.add(key)
            return body


def _check_room(sizes: dict[str, int], length: int, symbols: int, noise: int) -> None:
    """Refuse more than half of a symbol's sequences, which would be hard to find by chance."""
    wanted = sum(-(-size // symbols) for size in sizes.values())
    if 2 * wanted > noise**length:
        raise InputError(
            f"recall: up to {wanted} different sequences of a symbol asked for, but of {length} "
            f"tokens of {noise} kinds of noise there are {noise**length}; ask for half of them or "
            "fewer, or for more noise"
        )
