"""Attention rollout: the product of the layers' weight matrices, and what of it passes each edge.

Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers" (arXiv 2005.00928), there for
dense attention among tokens.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from gat.inspection.attribution.layers import Heads, Layers, Recorded, read_layers, read_nodes
from gat.inspection.attribution.paths import edge_scores, walk
from gat.inspection.attribution.scores import EdgeScores, NodeAttribution

__all__ = ["rollout", "rollout_edges"]


def rollout(
    attention: Recorded,
    nodes: int | Iterable[int] | Tensor | None = None,
    residual: float = 0.0,
    heads: Heads = "mean",
) -> NodeAttribution:
    """How much of each input node's weight arrives at each of ``nodes`` (None: all).

    The product A_L ... A_1 of the layers' matrices, of each of which row i holds the weights of
    node i's edges and of its loop, copies of an edge added up (eq. (1)), where A_l is
    (1 - residual) W_l + residual I (section 3). In the paper residual is 0.5, for the transformer's
    skip connections. It is 0 here, since a GAT layer has none unless it was built with one; what it
    keeps of a node goes by the loop.

    heads: "mean", as in the paper, "max", or a head's number in the layer; or a list of these, one
    for each layer, first layer first. ["mean", ..., k] is one head of the last layer over the mean
    of those below (the paper's appendix A.1).

    Each row sums to 1 where the weights of every node reached do (softmax, any residual, not
    "max"); a node without edges or loop passes nothing on. The result holds a number for each pair
    of a target and an input node that reaches it: on large graphs pass some ``nodes`` at a time.

    Raises InputError for heterogeneous or bipartite layers, layers over different edges, and
    records that lack edges of a node that is reached; IndexRangeError for a node or head that is
    not there.
    """
    layers = read_layers(attention, heads)
    targets = read_nodes(nodes, layers.num_nodes)
    paths = walk(layers, targets, residual).paths[-1]
    return NodeAttribution(layers.to_torch(targets), _to_coo(layers, paths))


def rollout_edges(
    attention: Recorded, node: int, residual: float = 0.0, heads: Heads = "mean"
) -> EdgeScores:
    """How much of node ``node``'s rollout passes each edge: the weight of the paths over it, from
    the node down to the input.

    Arguments and errors are `rollout`'s. In each layer the scores of edges and loops sum to the
    node's row in `rollout`; with a residual, to 1 - residual where every node's weights sum to 1.
    Without residual and where they do, what comes to an edge also arrives at the input: then these
    are the scores of `gatt`.
    """
    layers = read_layers(attention, heads)
    targets = read_nodes([node], layers.num_nodes)
    return next(edge_scores(layers, targets, residual=residual, arriving=True))


def _to_coo(layers: Layers, matrix: Any) -> Tensor:
    matrix.sort_indices()
    coo = matrix.tocoo()
    indices = torch.stack([layers.to_torch(part.astype("int64")) for part in coo.coords])
    values = layers.to_torch(coo.data)
    return torch.sparse_coo_tensor(
        indices, values, coo.shape, check_invariants=False, is_coalesced=True
    )
