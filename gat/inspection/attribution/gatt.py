"""GAtt: an edge's score for a node, by every place it has in the node's computation tree.

Shin, Li, Cao & Shin 2025, "Faithful and Accurate Self-Attention Attribution for Message Passing
Neural Networks via the Computation Tree Viewpoint" (arXiv 2406.04612), and the plain average they
compare it with.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from torch import Tensor

from gat.inspection.attribution.layers import Heads, Recorded, read_layers, read_nodes
from gat.inspection.attribution.paths import edge_scores
from gat.inspection.attribution.scores import EdgeScores

__all__ = ["attention_average", "gatt", "gatt_each"]


def gatt(attention: Recorded, node: int, heads: Heads = "mean") -> EdgeScores:
    """The GAtt score of every edge for node ``node``.

    The node's computation tree has the node at its root, below it the links that enter it in the
    last layer, below each of those the links that enter its source in the layer before, and so on.
    An edge has a place in it for every way in which its message takes part, and its score is the
    sum over these places of its weight there times the weights on the way up to the root. For edge
    j -> i and node v, with A_l the weights of layer l:

        score = sum over l = 1..L of  (A_L A_L-1 ... A_l+1)[v, i] * A_l[i, j]

    Near the root edges have more places, and everywhere they count by what of them comes through
    (the paper's proximity effect and contribution adjustment). Heads are averaged first, as the
    authors do; ``heads`` may be "max" or a head's number instead, or a list, one for each layer.

    Copies of an edge are edges of their own, with a score each. Loops that a layer adds are links
    of the tree too; their scores stand in ``loops``. The authors' code replaces the caller's
    self-loops by added ones; here they keep their own rows.

    In each layer the scores of edges and loops sum to 1 where every node's weights do (softmax,
    a link into every node, not "max"). Errors are `rollout`'s.
    """
    return next(gatt_each(attention, [node], heads))


def gatt_each(
    attention: Recorded,
    nodes: int | Iterable[int] | Tensor | None = None,
    heads: Heads = "mean",
) -> Iterator[EdgeScores]:
    """`gatt` for each of ``nodes`` in turn (None: all), worked out some at a time.

    The records and the node numbers are checked at the call.
    """
    layers = read_layers(attention, heads)
    return edge_scores(layers, read_nodes(nodes, layers.num_nodes))


def attention_average(attention: Recorded, heads: Heads = "mean") -> Tensor:
    """Each edge's weight, averaged over heads, then over layers: [E], the same for every node.

    The paper's AvgAtt, which it restricts to the edges of the node's neighbourhood afterwards.
    """
    layers = read_layers(attention, heads)
    weights = [layers.edge_weights(layer) for layer in range(len(layers.records))]
    return layers.to_torch(np.mean(weights, axis=0))
