"""Losses on attention itself: terms to add to a task's loss, from what a layer returns.

``edges, weights = layer(x, edge_index, return_attention_weights=True)[1]`` gives what they take: a
graph, which is a `gat.Graph` or whatever edges `gat.graph.read_edges` reads (targets in row 1), and
weights [E, H] in its listed order; [E] of one head and [B, E, H] of a batch do as well. A layer
returns the weights it used: after dropout, where it drops some.

All return a number of the weights' dtype, float32 at least, and are differentiable: a weight of 0,
as of a masked edge, gets the gradient 0. All raise InputError or ArgumentTypeError naming the
argument.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gat.errors import ArgumentTypeError, InputError
from gat.graph import Graph, read_edges
from gat.ops.precision import wide

__all__ = ["attention_agreement", "attention_entropy", "attention_sparsity", "edge_agreement"]


def attention_entropy(graph: Any, weights: Tensor, normalize: bool = True) -> Tensor:
    """The mean entropy of attention over targets and heads: 0 where each target sees one edge.

    - sum of a_e log a_e over the edges that enter a target (Shannon 1948), with ``normalize``
    divided by the log of their number: from 0 to 1, for uniform weights. Targets without edges are
    left out; with ``normalize``, which says nothing of one edge, those with one too.

    Meant for weights that sum to 1 per target; those of "sigmoid" may give more than 1, and what is
    not above 0 counts as 0.
    """
    target, degree = _targets(graph)
    weights = _per_edge("weights", weights, target)
    # The log of a weight 0 would have an infinite gradient.
    terms = -weights * weights.where(weights > 0, 1).log()
    entropy = _sum_by_target(terms, target, degree)
    if not normalize:
        return _mean(entropy, degree > 0)
    return _mean(entropy / degree.clamp(min=2).to(entropy.dtype).log().unsqueeze(1), degree > 1)


def attention_sparsity(graph: Any, weights: Tensor) -> Tensor:
    """The mean of the sum of a_e (1 - a_e) over targets with edges and heads: 0 where each weight
    is 0 or 1, and at most 1 - 1/degree.

    For weights that sum to 1 it is 1 - sum of a_e^2, the Gini-Simpson index: twice the Tsallis
    entropy with alpha = 2 that sparsemax maximises (Peters et al. 2019, "Sparse
    Sequence-to-Sequence Models", section 3; Martins & Astudillo 2016). The sum of |a_e|, the usual
    penalty, would be 1 for any of them.
    """
    target, degree = _targets(graph)
    weights = _per_edge("weights", weights, target)
    return _mean(_sum_by_target(weights * (1 - weights), target, degree), degree > 0)


def attention_agreement(graph: Any, weights: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of attention with edges labelled as right, the mean over targets and heads.

    - sum of q_e log a_e over the edges that enter a target, where q spreads 1 over its labelled
    edges (supervised attention: Liu et al. 2016, "Neural Machine Translation with Supervised
    Attention"). Targets without a labelled edge are left out.

    labels [E]: true, or a number above 0 as that edge's share, where an edge is right. A labelled
    edge of weight 0 costs the log of the smallest number, without a gradient.
    """
    target, degree = _targets(graph)
    weights = _per_edge("weights", weights, target)
    share = _labels(labels, target.numel(), weights)
    total = share.new_zeros(degree.numel()).index_add(0, target, share)
    share = share / total.where(total > 0, 1).index_select(0, target)
    logs = weights.clamp(min=torch.finfo(weights.dtype).tiny).log()
    cost = _sum_by_target(-share.unsqueeze(1) * logs, target, degree)
    return _mean(cost, total > 0)


def edge_agreement(scores: Tensor, labels: Tensor) -> Tensor:
    """How well scores tell right edges from wrong ones: binary cross-entropy with logits.

    SuperGAT's self-supervision (Kim & Oh 2021, "How to Find Your Friendly Neighborhood", section 3,
    the loss L_E), where edges of the graph are right and sampled pairs of nodes wrong: the
    probability of an edge is the sigmoid of its heads' mean score.

    scores [E, H], [E] or [B, E, H], before any normaliser; SuperGAT's are q_i . k_j for MX, and
    that over sqrt(C) for SD, not the scores it attends by (`gat.ops.dot_scores` gives them). labels
    [E], true or 1 for the right ones, or probabilities. An edge that a score of -inf masks is left
    out; of a batch the mean of its B losses.
    """
    if scores.dim() not in (1, 2, 3):
        raise InputError(
            f"scores has shape {list(scores.shape)}; expected [E, H], [E] or [B, E, H]"
        )
    if scores.dim() == 3:
        each = [edge_agreement(one, labels) for one in scores]
        return torch.stack(each).mean() if each else scores.sum()
    count = scores.size(0)
    scores = _columns("scores", scores, count)
    labels = _labels(labels, count, scores)
    if bool((labels > 1).any()):
        raise InputError(f"labels has {float(labels.max()):g}; expected numbers from 0 to 1")
    kept = (scores > -torch.inf).all(dim=1)
    logits = scores.masked_fill(~kept.unsqueeze(1), 0).mean(dim=1)
    losses = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return _mean(losses.unsqueeze(1), kept)


def _targets(graph: Any) -> tuple[Tensor, Tensor]:
    """The target of each edge in listed order [E], and each node's in-degree [N]."""
    if isinstance(graph, Graph):
        return graph.edge_index[1], graph.in_degree
    # No Graph of it: what a layer returns is a new tensor each time, and sorting it takes longer.
    edges = read_edges(graph)
    return edges.target, torch.bincount(edges.target, minlength=edges.num_dst)


def _per_edge(name: str, values: Tensor, target: Tensor) -> Tensor:
    values = _columns(name, values, target.numel())
    if values.device != target.device:
        raise InputError(f"{name} is on {values.device}, the graph on {target.device}; move one")
    return values


def _columns(name: str, values: Tensor, num_edges: int) -> Tensor:
    """``values`` [E, H], [E] or [B, E, H] as [E, columns], in float32 or wider."""
    if not values.is_floating_point():
        raise ArgumentTypeError(f"{name} has dtype {values.dtype}; expected a floating dtype")
    edges = 0 if values.dim() < 3 else 1
    if values.dim() not in (1, 2, 3) or values.size(edges) != num_edges:
        raise InputError(
            f"{name} has shape {list(values.shape)}; expected [E, H], [E] or [B, E, H] with "
            f"E = {num_edges} edges. Weights of a layer that adds self-loops belong to the edges "
            f"it returns with them, or to graph.with_self_loops()"
        )
    return wide(values.movedim(edges, 0).reshape(num_edges, -1 if num_edges else 1))


def _labels(labels: Tensor, num_edges: int, like: Tensor) -> Tensor:
    """``labels`` [E] as numbers."""
    if labels.shape != (num_edges,):
        raise InputError(
            f"labels has shape {list(labels.shape)}; expected [{num_edges}], one for each edge"
        )
    if labels.device != like.device:
        raise InputError(f"labels is on {labels.device}, expected {like.device}; move it there")
    if bool((labels < 0).any()):
        raise InputError(f"labels has {float(labels.min()):g}; expected numbers of 0 or more")
    return labels.to(like.dtype)


def _sum_by_target(values: Tensor, target: Tensor, degree: Tensor) -> Tensor:
    """Sums of ``values`` [E, H] over the edges that enter each target: [N, H]."""
    return values.new_zeros(degree.numel(), values.size(1)).index_add(0, target, values)


def _mean(values: Tensor, kept: Tensor) -> Tensor:
    """The mean of the rows ``kept`` of ``values`` [rows, columns]; 0 where none is."""
    count = kept.sum() * values.size(1)
    return values.masked_fill(~kept.unsqueeze(1), 0).sum() / count.clamp(min=1)
