"""Dropout on attention weights by a counter: nothing stored, the same mask whatever the edge order.

Entry (e, h) draws number ``e * H + h`` of the SplitMix64 stream that starts at ``seed`` (Steele,
Lea, Flood 2014, "Fast splittable pseudorandom number generators", figure 14). It is kept where the
draw's upper 32 bits reach ``p * 2**32``: integers only, so every device and language agrees.
"""

import torch
from torch import Tensor

from gat.errors import InputError

__all__ = [
    "check_probability",
    "draw_seed",
    "drop_weights",
    "dropout_factor",
    "keep_mask",
    "numbers",
    "threshold",
]

# The stream's constants, as the signed 64-bit integers torch has.
GAMMA = 0x9E3779B97F4A7C15 - (1 << 64)
MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
MIX_2 = 0x94D049BB133111EB - (1 << 64)

# Numbers drawn at a time.
PART = 1 << 18


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


def keep_mask(seed: Tensor, num_edges: int, heads: int, p: float) -> Tensor:
    """Which weights stay, bool [E, H] in listed order."""
    draw = _operator if torch.compiler.is_compiling() else _draw
    return draw(seed, num_edges, heads, p)


def _draw(seed: Tensor, num_edges: int, heads: int, p: float) -> Tensor:
    kept = torch.empty(num_edges * heads, dtype=torch.bool, device=seed.device)
    # A part at a time: the draws are 64 bits wide, the mask is 8.
    for start in range(0, kept.numel(), PART):
        part = kept[start : start + PART]
        torch.ge(_shift_right(numbers(seed, start, part.numel()), 32), threshold(p), out=part)
    return kept.view(num_edges, heads)


def numbers(seed: Tensor, start: int, count: int) -> Tensor:
    """The stream's numbers from ``start`` on, int64 [count]."""
    drawn = torch.arange(start + 1, start + 1 + count, device=seed.device) * GAMMA + seed
    drawn = (drawn ^ _shift_right(drawn, 30)) * MIX_1
    drawn = (drawn ^ _shift_right(drawn, 27)) * MIX_2
    return drawn ^ _shift_right(drawn, 31)


# One node to torch.compile, which would make index arithmetic of the draws: there overflow, which
# they live by, is undefined in C++ or refused.
_operator = torch.library.custom_op("gat::keep_mask", _draw, mutates_args=())


@_operator.register_fake
def _(seed: Tensor, num_edges: int, heads: int, p: float) -> Tensor:
    return torch.empty((num_edges, heads), dtype=torch.bool, device=seed.device)


def dropout_factor(seed: Tensor, weight: Tensor, p: float) -> Tensor:
    """What each weight [E, H] is multiplied by: 0 where dropped, else 1 / (1 - p)."""
    num_edges, heads = weight.shape
    scale = 0.0 if p >= 1 else 1 / (1 - p)
    return keep_mask(seed, num_edges, heads, p).to(weight.dtype) * scale


def drop_weights(weights: Tensor, p: float) -> Tensor:
    """Weights [E, H] in listed order dropped as an operator drops them after the same draws of
    torch's generator."""
    return weights * dropout_factor(draw_seed(weights.device), weights, p)


def _shift_right(value: Tensor, bits: int) -> Tensor:
    """Logical shift: torch's own carries the sign along."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
