"""Dropout of features, as ``torch.nn.functional.dropout`` but drawn four entries to a number.

On the CPU torch draws a number of 64 bits for every entry, which is most of a small network's
epoch; 16 of them tell as well whether it is dropped.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["dropout"]

# Draws have 16 bits, as torch's signed integers: -LEVELS/2 .. LEVELS/2 - 1.
LEVELS = 1 << 16
PER_NUMBER = 4


def dropout(x: Tensor, p: float, training: bool = True) -> Tensor:
    """Each entry of x becomes 0 with probability ``p``, else x / (1 - p); x itself if not training.

    Draws come from torch's generator: torch.manual_seed rules, with other numbers than F.dropout's.
    """
    drawn_here = x.device.type == "cpu" and 0 < p < 1 - 1 / LEVELS
    if not training or not drawn_here or torch.compiler.is_compiling():
        return F.dropout(x, p, training)
    return x * _factor(x, p)


def _factor(x: Tensor, p: float) -> Tensor:
    """What x is multiplied by, of its shape and dtype: 0 or 1 / (1 - p)."""
    numbers = torch.empty(-(-x.numel() // PER_NUMBER), dtype=torch.int64)
    numbers.random_(-(1 << 63), None)
    draws = numbers.view(torch.int16)[: x.numel()].view(x.shape)
    # Rounded up or down by chance, p is kept to exactly, not to 16 bits.
    dropped = int(p * LEVELS + float(torch.rand(())))
    # Written as floats at once: a comparison as bools takes torch four times as long.
    factor = torch.empty(x.shape, dtype=x.dtype)
    torch.ge(draws, dropped - LEVELS // 2, out=factor)
    return factor.mul_(1 / (1 - p))
