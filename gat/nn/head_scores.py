"""GAT's scores of nodes: for each head the product of its channels with a learned vector."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gat.ops import cpu
from gat.ops.cpu.kernels import head_scores_backward, head_scores_forward
from gat.ops.precision import result_dtype
from gat.ops.second_order import gradients
from gat.ops.walk import DTYPES
from gat.ops.watchers import is_batched, is_plain, is_transformed

__all__ = ["end_scores", "head_scores"]


def end_scores(
    src: Tensor, dst: Tensor | None, att_src: Tensor, att_dst: Tensor
) -> tuple[Tensor, Tensor | None]:
    """What source and target add to an edge's score: src and dst [., H, C] times vectors
    [1, H, C], [., H] each. None for a dst of None; one visit where dst is src."""
    if dst is src:
        score_src, score_dst = head_scores(src, att_src, att_dst)
        return score_src, score_dst
    (score_src,) = head_scores(src, att_src)
    return score_src, None if dst is None else head_scores(dst, att_dst)[0]


def head_scores(projected: Tensor, *vectors: Tensor) -> list[Tensor]:
    """projected [N, H, C] times each vector [1, H, C], summed over the channels: [N, H] each.

    In the common dtype, also under autocast, as elementwise products would be.
    """
    dtype = result_dtype(projected, *vectors)
    inputs = [tensor.to(dtype) for tensor in (projected, *vectors)]
    if _serves(*inputs):
        return list(_HeadScores.apply(*inputs))
    return _by_product(*inputs)


def _by_product(projected: Tensor, *vectors: Tensor) -> list[Tensor]:
    """As one matrix product, of a matrix that is zero between heads.

    Products head by head would write [N, H, C] once a vector, and again in the backward.
    """
    _, heads, channels = projected.shape
    flat = projected.flatten(1)
    each = [vector.view(heads, channels, 1) for vector in vectors]
    with torch.autocast(projected.device.type, enabled=False):
        if heads == 1:
            return [flat @ vector[0] for vector in each]
        same = torch.eye(heads, dtype=flat.dtype, device=flat.device).unsqueeze(1)
        matrix = torch.cat([vector * same for vector in each], dim=2).flatten(0, 1)
        return list((flat @ matrix).split(heads, dim=1))


def _serves(projected: Tensor, *vectors: Tensor) -> bool:
    """Whether the kernels do: they take one or two vectors, and look at no shape themselves."""
    if torch.compiler.is_compiling() or len(vectors) > 2 or projected.dtype not in DTYPES:
        return False
    shape = (1, *projected.shape[1:])
    return (
        projected.is_cpu
        and all(vector.is_cpu and vector.shape == shape for vector in vectors)
        and is_plain((projected, *vectors))
        and not is_transformed()
        and cpu.status().available
    )


class _HeadScores(torch.autograd.Function):
    """One visit to each node, forward and backward."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs)
        return tuple(head_scores_forward(*inputs))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        inputs = ctx.saved_tensors
        if torch.is_grad_enabled() or is_batched(*grads) or not is_plain(grads):
            return tuple(gradients(_by_product, inputs, grads))
        return _pull(inputs, grads, ctx.needs_input_grad)


def _pull(
    inputs: Sequence[Tensor], grads: Sequence[Tensor | None], needed: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """The kernel's gradients of the inputs, given only the vectors whose scores were used."""
    incoming = [grad for grad in grads if grad is not None]
    if not incoming:
        return (None,) * len(inputs)
    used = [0, *(k for k, grad in enumerate(grads, 1) if grad is not None)]
    wanted, given = [needed[k] for k in used], [inputs[k] for k in used]
    found = dict(zip(used, head_scores_backward(incoming, wanted, *given), strict=True))
    return tuple(found[k] if k in found and wants else None for k, wants in enumerate(needed))
