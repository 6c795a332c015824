"""Dropout on attention weights by a counter: nothing stored, the same mask whatever the edge order.

Entry (e, h) draws number ``e * H + h`` of the SplitMix64 stream that starts at ``seed`` (Steele,
Lea, Flood 2014, "Fast splittable pseudorandom number generators", figure 14). It is kept where the
draw's upper 32 bits reach ``p * 2**32``: integers only, so every device and language agrees.
"""

import torch
from torch import Tensor

from gat.errors import InputError

__all__ = ["check_probability", "draw_seed", "dropout_factor", "keep_mask", "threshold"]

# The stream's constants, as the signed 64-bit integers torch has.
GAMMA = 0x9E3779B97F4A7C15 - (1 << 64)
MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
MIX_2 = 0x94D049BB133111EB - (1 << 64)


def draw_seed(device: torch.device | str | None = None) -> Tensor:
    """A seed from torch's generator, int64 scalar tensor, so that torch.manual_seed rules.

    It stays on ``device``: reading it on the host would make a GPU wait.
    """
    return torch.randint(-(1 << 63), (1 << 63) - 1, (), dtype=torch.int64, device=device)


def check_probability(name: str, p: float) -> None:
    """Refuse a dropout that is no probability, by the name the caller knows it by."""
    if not 0 <= p <= 1:
        raise InputError(f"{name} is {p}; expected a probability between 0 and 1")


def threshold(p: float) -> int:
    """Draws (of 2**32) below this are dropped."""
    return round(p * (1 << 32))


def keep_mask(seed: Tensor, num_edges: int, heads: int, p: float, *, first: int = 0) -> Tensor:
    """Which weights stay, bool [num_edges, H], for the edges from ``first`` on in listed order."""
    start = first * heads + 1
    number = torch.arange(start, start + num_edges * heads, device=seed.device)
    # number * GAMMA + seed. The seed is added first so that torch.compile multiplies a tensor: an
    # index times a constant becomes index arithmetic in C++, where overflow is undefined.
    draw = (number + seed) * GAMMA + (seed - seed * GAMMA)
    draw = (draw ^ _shift_right(draw, 30)) * MIX_1
    draw = (draw ^ _shift_right(draw, 27)) * MIX_2
    draw = draw ^ _shift_right(draw, 31)
    return (_shift_right(draw, 32) >= threshold(p)).view(num_edges, heads)


def dropout_factor(seed: Tensor, weight: Tensor, p: float, *, first: int = 0) -> Tensor:
    """What each weight [E, H] is multiplied by: 0 where dropped, else 1 / (1 - p).

    ``first``: the listed number of the edge in the first row, where ``weight`` is a block.
    """
    num_edges, heads = weight.shape
    scale = 0.0 if p >= 1 else 1 / (1 - p)
    return keep_mask(seed, num_edges, heads, p, first=first).to(weight.dtype) * scale


def _shift_right(value: Tensor, bits: int) -> Tensor:
    """Logical shift: torch's own carries the sign along."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
