"""Draws from the degree-corrected stochastic block model, in blocks of pairs and without tables.

Karrer and Newman 2011 (Stochastic blockmodels and community structure in networks, section II.B):
an edge falls between two blocks with a probability of theirs, and on node i of its block with
probability theta_i. Here theta follows one truncated power law of the node's rank in its block, so
a rank is drawn by the inverse of its distribution function. Where they put no bound on an edge's
multiplicity, pairs drawn twice and loops are dropped, and others drawn instead.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

__all__ = ["Blocks", "DegreeLaw", "Ends", "degree_law", "rank_shares", "unique_pairs"]

# Pairs drawn at once: some 300 MB of temporary arrays.
BATCH = 4_000_000
ROUNDS = 60
Ends = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class DegreeLaw:
    """theta at relative rank s in [0, 1) is proportional to (s + offset) ** -power."""

    power: float
    offset: float

    def ranks(self, uniform: np.ndarray) -> np.ndarray:
        """Relative ranks [n] of nodes drawn by theta, from uniform numbers [n] in [0, 1)."""
        rest = 1.0 - self.power
        low, high = self.offset**rest, (1.0 + self.offset) ** rest
        s = (low + uniform * (high - low)) ** (1.0 / rest) - self.offset
        return np.clip(s, 0.0, 1.0, out=s)


def degree_law(exponent: float, mean: float, largest: float, size: int) -> DegreeLaw:
    """Degrees d of tail d ** -exponent (above 2), of that mean, whose greatest among ``size`` nodes
    is expected to be ``largest``, or as near to it as so heavy a tail gets with so few nodes."""
    power = 1.0 / (exponent - 1.0)
    rest = 1.0 - power
    low, high = -20.0, 3.0
    # Bisection over the decimal logarithm of the offset: the hub's share falls with it.
    for _ in range(60):
        middle = (low + high) / 2
        first, second, last = (at**rest for at in 10.0**middle + np.array([0.0, 1.0 / size, 1.0]))
        hub = mean * size * (second - first) / (last - first)
        low, high = (middle, high) if hub > largest else (low, middle)
    return DegreeLaw(power, 10.0**high)


def rank_shares(count: int, shift: float = 3.0) -> np.ndarray:
    """Unequal shares [count] of classes, largest first, that sum to 1: 1 / (k + shift)."""
    shares = 1.0 / (np.arange(count) + shift)
    return shares / shares.sum()


class Blocks:
    """Nodes in blocks. A slot is a node's place when all are sorted by block, then by rank.

    sizes: nodes of each block, [B]. The nodes' own numbers are a random permutation of the slots.
    """

    def __init__(self, sizes: np.ndarray, law: DegreeLaw, rng: Generator) -> None:
        self.law = law
        self.sizes = sizes.astype(np.int64)
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)])
        self.nodes = int(self.starts[-1])
        self.block_of_slot = np.repeat(np.arange(len(sizes), dtype=np.int32), self.sizes)
        self.node_of_slot = rng.permutation(self.nodes).astype(np.int32)

    def by_node(self, values: np.ndarray) -> np.ndarray:
        """Values [N] of slots, in the order of nodes."""
        result = np.empty_like(values)
        result[self.node_of_slot] = values
        return result

    def block_of_node(self) -> np.ndarray:
        """int32 [N]."""
        return self.by_node(self.block_of_slot)

    def rank_of_node(self) -> np.ndarray:
        """float32 [N] in [0, 1): 0 is a block's hub."""
        place = np.arange(self.nodes) - self.starts[self.block_of_slot]
        return self.by_node((place / self.sizes[self.block_of_slot]).astype(np.float32))

    def any_block(
        self, rng: Generator, count: int, first: int = 0, last: int | None = None
    ) -> np.ndarray:
        """Blocks [count], each by its number of nodes, of those in slots first to last."""
        slots = rng.integers(first, self.nodes if last is None else last, count, dtype=np.int32)
        return self.block_of_slot[slots]

    def pick(self, rng: Generator, blocks: np.ndarray) -> np.ndarray:
        """One node of each block in ``blocks`` [n], drawn by theta: int32 [n]."""
        sizes = self.sizes[blocks]
        rank = (self.law.ranks(rng.random(len(blocks))) * sizes).astype(np.int64)
        np.minimum(rank, sizes - 1, out=rank)
        return self.node_of_slot[self.starts[blocks] + rank]


def unique_pairs(
    draw: Callable[[int], Ends],
    wanted: int,
    sources: int,
    targets: int | None,
    rng: Generator,
) -> np.ndarray:
    """int32 [2, wanted] distinct pairs, sorted; fewer where ``draw`` hardly finds new ones.

    draw: gives the two ends of so many pairs. sources, targets: numbers of nodes at either end;
    targets None: both ends are of one kind, a pair has no direction (the smaller node stands first)
    and there are no loops.
    """
    width = sources if targets is None else targets
    keys = np.empty(0, dtype=np.int64)
    for _ in range(ROUNDS):
        missing = wanted - len(keys)
        if missing <= 0:
            break
        parts = [keys]
        # A few more than are missing, since some will be found twice.
        missing += missing // 50 + 16
        for start in range(0, missing, BATCH):
            one, two = draw(min(BATCH, missing - start))
            if targets is None:
                one, two = np.minimum(one, two), np.maximum(one, two)
                one, two = one[one != two], two[one != two]
            parts.append(one.astype(np.int64) * width + two)
        keys = np.concatenate(parts)
        del parts
        keys = _distinct(keys)
    excess = len(keys) - wanted
    if excess > 0:
        keys = np.delete(keys, rng.choice(len(keys), excess, replace=False, shuffle=False))
    pairs = np.empty((2, len(keys)), dtype=np.int32)
    np.floor_divide(keys, width, out=pairs[0], casting="unsafe")
    np.remainder(keys, width, out=pairs[1], casting="unsafe")
    return pairs


def _distinct(keys: np.ndarray) -> np.ndarray:
    """Sorted in place, without repetitions."""
    keys.sort()
    fresh = np.ones(len(keys), dtype=bool)
    np.not_equal(keys[1:], keys[:-1], out=fresh[1:])
    return keys[fresh]
