"""What is drawn for a node: a function of seed, epoch, hop and node, and of nothing else.

SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators", figure 14):
each of these in turn starts a stream of its own, and draw k is its number k. The compiled sampler
computes the same from the hop's key on.
"""

__all__ = ["below", "draw", "fraction", "hop_key", "stream"]

MASK = (1 << 64) - 1
GAMMA, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def hop_key(seed: int, epoch: int, hop: int, relation: int = 0) -> int:
    """The stream from which the nodes expanded in a hop, counted from 0, split theirs. relation:
    the number of the edge type."""
    state = _mix(seed & MASK)
    for part in (epoch, hop, relation):
        state = draw(state, part)
    return state


def stream(key: int, node: int, tree: int | None = None) -> int:
    """A node's own stream; of each tree another, where each seed has a tree to itself."""
    state = draw(key, node)
    return state if tree is None else draw(state, tree)


def draw(state: int, index: int) -> int:
    """Number ``index`` of a stream, 64 bits."""
    return _mix((state + (index + 1) * GAMMA) & MASK)


def below(number: int, n: int) -> int:
    """A draw as a whole number in [0, n)."""
    return number * n >> 64


def fraction(number: int) -> float:
    """A draw as a number in (0, 1]."""
    return ((number >> 11) + 1) * 2.0**-53


def _mix(z: int) -> int:
    z = (z ^ (z >> 30)) * MIX_1 & MASK
    z = (z ^ (z >> 27)) * MIX_2 & MASK
    return z ^ (z >> 31)
