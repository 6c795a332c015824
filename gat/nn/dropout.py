"""Dropout of features, as ``torch.nn.functional.dropout``, by the compiled kernels on the CPU.

There torch draws for one entry at a time in one thread, which is most of a small network's epoch.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gat.ops import cpu
from gat.ops.cpu.kernels import drop_entries
from gat.ops.dropout import draw_seed, numbers, threshold
from gat.ops.walk import DTYPES
from gat.ops.watchers import is_batched, is_plain, is_transformed

__all__ = ["dropout"]


def dropout(x: Tensor, p: float, training: bool = True) -> Tensor:
    """Each entry of x becomes 0 with probability ``p``, else x / (1 - p); x itself if not training.

    torch.manual_seed rules: the compiled kernels draw by counter (`gat.ops.dropout`), two entries
    to a number, started at one from torch's generator. Where they do not serve, torch itself drops,
    and other entries.
    """
    if training and 0 < p < 1 and _serves(x):
        return _Dropout.apply(x, draw_seed(), p)
    return F.dropout(x, p, training)


def _serves(x: Tensor) -> bool:
    if torch.compiler.is_compiling() or x.device.type != "cpu" or x.dtype not in DTYPES:
        return False
    return is_plain((x,)) and not is_transformed() and cpu.status().available


class _Dropout(torch.autograd.Function):
    """Nothing is kept but the seed: the gradient is dropped by the same draws."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, seed: Tensor, p: float) -> Tensor:
        ctx.save_for_backward(seed)
        ctx.p, ctx.shape = p, x.shape
        return drop_entries(x, seed, p)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (seed,) = ctx.saved_tensors
        if is_plain((grad,)) and not is_batched(grad):
            return _Dropout.apply(grad, seed, ctx.p), None, None
        return grad * _factor(seed, ctx.shape, ctx.p).to(grad.dtype), None, None


def _factor(seed: Tensor, shape: torch.Size, p: float) -> Tensor:
    """What the kernel multiplies by, in torch: entries take the halves of the stream's numbers."""
    halves = numbers(seed, 0, (shape.numel() + 1) // 2).view(torch.int32)[: shape.numel()]
    return ((halves.long() & 0xFFFFFFFF) >= threshold(p)).view(shape).double() / (1 - p)
