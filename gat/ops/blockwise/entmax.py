"""alpha-entmax over a target's edges: Newton's steps, then gradients out of the weights alone.

Meaning as in `gat.ops.reference.segment_entmax`, and the same unknown: the weight q of a target's
highest score. With z = (alpha - 1) (score - highest) the others are
q (1 + z / q^(alpha - 1))^(1 / (alpha - 1)).
"""

from typing import Any

import torch
from torch import Tensor

from gat.graph import Graph
from gat.ops.precision import wide

__all__ = ["segment_entmax"]

# Newton's steps come from above for alpha <= 2; one halving in so many bounds them for any alpha.
HALVING, MOST_STEPS = 8, 480


def segment_entmax(graph: Graph, scores: Tensor, alpha: Tensor) -> Tensor:
    score = wide(scores).clamp(max=torch.finfo(scores.dtype).max)
    return _entmax(score, alpha, graph.edge_index[1], graph.num_dst).to(scores.dtype)


@torch.library.custom_op("gat_blockwise::entmax", mutates_args=())
def _entmax(score: Tensor, alpha: Tensor, index: Tensor, segments: int) -> Tensor:
    """Entmax of ``score`` [E, H] over the entries with the same ``index`` [E]; alpha [H]."""
    power = alpha - 1
    lanes = index.unsqueeze(1).expand_as(score)
    top = score.new_full((segments, score.size(1)), -torch.inf)
    top = top.scatter_reduce_(0, lanes, score, "amax").masked_fill_(top == -torch.inf, 0)
    z = (score - top.index_select(0, index)).mul_(power)
    ratio, _ = _terms(z, power, _solve(z, power, index, segments), index)
    total = _sum(ratio, index, segments)
    return ratio.div_(total.masked_fill_(total == 0, 1).index_select(0, index))


def _solve(z: Tensor, power: Tensor, index: Tensor, segments: int) -> Tensor:
    """q [segments, H]."""
    high = z.new_ones((segments, z.size(1)))
    low = 0.5 / _sum(torch.ones_like(z), index, segments).clamp_(min=1)
    tolerance = 8 * torch.finfo(z.dtype).eps
    q = high
    for step in range(1, MOST_STEPS + 1):
        ratio, slope = _terms(z, power, q, index)
        total = _sum(ratio, index, segments)
        excess = q * total - 1
        high, low = torch.where(excess > 0, q, high), torch.where(excess > 0, low, q)
        following = q - excess / _sum(slope, index, segments)
        halve = ~((following > low) & (following < high))
        following = torch.where(halve, (low + high) / 2, following)
        if step % HALVING == 0:
            following = (low + high) / 2
        # Nothing to sum, solved, or no number left between the ends of the bracket.
        done = (
            (total == 0) | (excess.abs() <= tolerance) | ~((following > low) & (following < high))
        )
        if done.all():
            break
        q = torch.where(done, q, following)
    return q


def _terms(z: Tensor, power: Tensor, q: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """The weights over q, and the weights' derivative by q: [E, H] each."""
    scale = (q**-power).clamp_(max=torch.finfo(z.dtype).max)
    change = z * scale.index_select(0, index)
    # Not "above -1": a NaN stays.
    off = 1 + change <= 0
    change.masked_fill_(off, 0)
    ratio = torch.log1p(change).div_(power).exp_().masked_fill_(off, 0)
    return ratio, ratio / change.add_(1)


def _sum(numbers: Tensor, index: Tensor, segments: int) -> Tensor:
    return numbers.new_zeros((segments, numbers.size(1))).index_add_(0, index, numbers)


@_entmax.register_fake
def _(score: Tensor, alpha: Tensor, index: Tensor, segments: int) -> Tensor:
    return torch.empty_like(score)


def _keep(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(output, *inputs[1:3])
    ctx.segments = inputs[3]


def _entmax_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Scores: Peters et al. 2019, eq. 14. alpha: Correia et al. 2019, "Adaptively Sparse
    Transformers", prop. 1, with the gradient less its mean. Differentiable, as weights are.

    That gradient's sum with ``share`` is 0, so that any multiple of it may be taken from the
    weights; a good one keeps the terms by alpha from canceling near alpha = 1.
    """
    weight, alpha, index = ctx.saved_tensors
    power = alpha - 1
    off = weight <= 0
    log = torch.log(weight.masked_fill(off, 1))
    share = torch.exp((1 - power) * log).masked_fill(off, 0)
    flow = share.new_zeros((ctx.segments, share.size(1)))
    total = flow.index_add(0, index, share)
    mean = flow.index_add(0, index, share * grad) / total.masked_fill(total == 0, 1)
    centered = grad - mean.index_select(0, index)
    most = flow.scatter_reduce(0, index.unsqueeze(1).expand_as(weight), weight.detach(), "amax")
    most = most.masked_fill(most == 0, 1).index_select(0, index)
    log = (log - most.log()).masked_fill(off, 0)
    apart = share * most**power * torch.expm1(power * log) * (1 / power - most.log())
    d_alpha = (centered * (apart - weight * log)).sum(0) / power
    return share * centered, d_alpha, None, None


_entmax.register_autograd(_entmax_backward, setup_context=_keep)
