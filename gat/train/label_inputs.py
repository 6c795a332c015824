"""Labels as inputs, and predictions in their place: the label usage of Wang et al. 2021.

Y. Wang, J. Jin, W. Zhang, Y. Yu, Z. Zhang, D. Wipf: "Bag of Tricks for Node Classification with
Graph Neural Networks", arXiv 2103.13355, "label as input" and "label reuse"; hyperparameters as in
the authors' code (DGL, examples/pytorch/ogb/ogbn-arxiv/gat.py). The features [N, F] get K columns,
the one-hot label (several labels: the vector of 0 and 1) of each node whose label is *given*, 0 for
all the others. In evaluation the labels of all training nodes are given. In a training step each is
given with probability ``rate``, and the loss is on the training nodes whose labels are not. Labels
of validation and test nodes are never given. Scores of the training part say little, then: the
model has seen these labels.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gat.errors import ConfigError

if TYPE_CHECKING:
    from gat.train.batches import Batch

__all__ = ["GivenLabels", "hide_labels", "step_seed", "with_labels"]


@dataclass(frozen=True)
class GivenLabels:
    """Which labels stand in the last ``classes`` columns of a batch's x.

    given: bool [N]. multilabel: whether a node may have several. reuse: how often predictions are
    fed back for the nodes that are not given.
    """

    given: Tensor
    classes: int
    multilabel: bool
    reuse: int = 0

    def of(self, nodes: Tensor) -> "GivenLabels":
        """Of some of the nodes, int64 [M]."""
        return replace(self, given=self.given[nodes])

    def only(self, x: Tensor, given: Tensor) -> Tensor:
        """x with zeros for the labels of nodes that are not in ``given``, bool [N]."""
        return self._filled(x, given, x.new_zeros(()))

    def fed_back(self, x: Tensor, logits: Tensor) -> Tensor:
        """x with the predicted probabilities of all nodes whose labels are not given.

        logits: [N, K]. ConfigError where they are not of every row of x.
        """
        if len(logits) != len(x):
            raise ConfigError(
                "labels.reuse feeds the predictions of all nodes of a batch back as inputs, but "
                f"this batch of {len(x)} nodes predicts {len(logits)}; set labels.reuse = 0, or "
                'sampling.name to "none", "cluster", "random-node" or "random-walk"'
            )
        logits = logits.detach().float()
        soft = logits.sigmoid() if self.multilabel else logits.softmax(dim=-1)
        return self._filled(x, self.given, soft.to(x.dtype))

    def _filled(self, x: Tensor, given: Tensor, others: Tensor) -> Tensor:
        features, labels = x[:, : -self.classes], x[:, -self.classes :]
        return torch.cat([features, torch.where(given[:, None], labels, others)], dim=1)


def with_labels(batch: "Batch", classes: int, multilabel: bool, reuse: int = 0) -> "Batch":
    """The batch as it is fed in evaluation: with K more columns, all training labels given."""
    given = torch.zeros(batch.num_nodes, dtype=torch.bool, device=batch.x.device)
    labels = batch.x.new_zeros(batch.num_nodes, classes)
    if "train" in batch.parts:
        part = batch.parts["train"]
        known = part.y.nan_to_num() if multilabel else F.one_hot(part.y, classes)
        rows = slice(None) if part.rows is None else part.rows
        labels[rows] = known.to(labels.dtype)
        given[rows] = True
    x = torch.cat([batch.x, labels], dim=1)
    return replace(batch, x=x, labels=GivenLabels(given, classes, multilabel, reuse))


def hide_labels(batch: "Batch", rate: float, seed: int) -> "Batch":
    """The batch as one training step is fed it: no label that the loss is on is an input.

    Each given label is kept with probability ``rate``, drawn from ``seed`` alone; the training rows
    are those whose label was not kept (all of them, none kept, should the draw keep every one). In
    a batch sampled around seeds all seeds stay training rows, and other nodes' labels are drawn.
    """
    assert batch.labels is not None
    part = batch.parts["train"]
    generator = torch.Generator().manual_seed(seed)
    kept = torch.rand(batch.num_nodes, generator=generator) < rate
    given = batch.labels.given & kept.to(batch.x.device)
    # None: all outputs, which in a sampled batch are the first rows of x.
    rows = torch.arange(len(part.y), device=given.device) if part.rows is None else part.rows
    targets = ~given[rows]
    if isinstance(batch.edges, list | tuple) or not bool(targets.any()):
        given = given.index_fill(0, rows, False)
        targets = torch.ones_like(targets)
    if not bool(targets.all()):
        weight = part.weight
        if weight is not None:
            # A weighted loss is a sum: fewer terms, each the heavier.
            weight = weight[targets] * (targets.numel() / targets.sum())
        part = replace(part, rows=rows[targets], y=part.y[targets], weight=weight)
    return replace(
        batch,
        x=batch.labels.only(batch.x, given),
        parts={**batch.parts, "train": part},
        labels=replace(batch.labels, given=given),
    )


def step_seed(seed: int, epoch: int, step: int) -> int:
    """A seed for the draws of one training step, unlike those of other steps, epochs and seeds."""
    # Mixed well, so that no mask repeats the stream that initial weights were drawn from.
    words = np.random.SeedSequence([seed, epoch, step]).generate_state(1, np.uint64)
    return int(words[0]) % 2**63
