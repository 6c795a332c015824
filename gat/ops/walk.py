"""What compiled kernels are passed, on any device: a graph's arrays, a call's numbers, and what a
backward is given of its forward."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["DTYPES", "Incoming", "Options", "Walk", "stats_dtype"]

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


class Walk(NamedTuple):
    """A graph's arrays for a kernel: `Graph.by_target`, and for the backward `Graph.by_source`.

    A GPU's kernels want the schedule of each as well (`gat.graph.schedule`): its units, on the GPU,
    and their counts, on the CPU.
    """

    rowptr: Tensor
    col: Tensor
    number: Tensor | None
    source_rowptr: Tensor | None
    source_col: Tensor | None
    source_number: Tensor | None
    transposed: Tensor | None
    units: Tensor | None = None
    counts: Tensor | None = None
    source_units: Tensor | None = None
    source_counts: Tensor | None = None


class Incoming(NamedTuple):
    """What a backward pass is given: of the forward, and the gradients of its results."""

    out: Tensor
    stats: Tensor
    grad_out: Tensor
    grad_weights: Tensor | None


class Options(NamedTuple):
    """The numbers of a call; those an operator does not have are ignored.

    rated: whether additive attention keeps, with its statistics, what the gradient of score_dst is
    worked out from (`gat.ops.triton.forward`); the CPU's never does.
    """

    dropout: float = 0.0
    negative_slope: float = 0.0
    activation: str = "leaky_relu"
    scale: float = 1.0
    rated: bool = False


def stats_dtype(dtype: torch.dtype) -> torch.dtype:
    """What statistics are kept in."""
    return torch.float64 if dtype is torch.float64 else torch.float32
