"""What every implementation keeps to: sums in float32 or wider, and what an overflow counts as."""

import functools
from typing import overload

import torch
from torch import Tensor

__all__ = ["finite", "result_dtype", "wide"]


@overload
def wide(tensor: Tensor, dtype: torch.dtype = ...) -> Tensor: ...
@overload
def wide(tensor: None, dtype: torch.dtype = ...) -> None: ...
def wide(tensor: Tensor | None, dtype: torch.dtype = torch.float32) -> Tensor | None:
    """At least float32, in which statistics and sums are kept; as wide as ``dtype`` if wider."""
    if tensor is None or tensor.dtype is torch.float64:
        return tensor
    return tensor.double() if dtype is torch.float64 else tensor.float()


def finite(score: Tensor, dtype: torch.dtype) -> Tensor:
    """The score as ``dtype``: one that overflows, here or before, counts as the largest of its
    sign, so that weights stay finite and nothing but a mask masks."""
    largest = torch.finfo(dtype).max
    return score.clamp(-largest, largest).to(dtype)


def result_dtype(*tensors: Tensor | None) -> torch.dtype:
    """The inputs' common dtype, as if each step were torch's own."""
    given = [tensor.dtype for tensor in tensors if tensor is not None]
    return functools.reduce(torch.promote_types, given)
