"""The steps of attention alone, for other scores and normalisers: the public functions.

    scores  [E, H] = additive_scores | gatv2_scores | dot_scores
    weights [E, H] = segment_softmax(scores) | segment_entmax(scores, alpha)
    out [num_dst, H, C] = aggregate(weights, value)

Per-edge tensors are in listed order (`gat.graph`); E edges, H heads, C channels per head. Floating
dtypes, of which the common one is returned; sums are kept in float32 or wider. All differentiable,
twice too. ``backend`` as in `gat.use_backend`. All raise InputError or ArgumentTypeError naming the
argument, and BackendError if the backend asked for cannot run.
"""

from torch import Tensor

from gat.graph import Graph
from gat.ops.backend import implementation
from gat.ops.checks import Fit, check_activation, settle_alpha, settle_scale

__all__ = [
    "additive_scores",
    "aggregate",
    "dot_scores",
    "gatv2_scores",
    "segment_entmax",
    "segment_softmax",
]


def additive_scores(
    graph: Graph,
    score_src: Tensor,
    score_dst: Tensor | None = None,
    score_edge: Tensor | None = None,
    *,
    negative_slope: float = 0.2,
    backend: str | None = None,
) -> Tensor:
    """GAT's scores [E, H]: LeakyReLU(score_src_j + score_dst_i + score_edge_e)
    (Velickovic et al. 2018, "Graph Attention Networks", eq. 3).

    score_src [num_src, H]; score_dst [num_dst, H] or None; score_edge [E, H] or None. A term of
    -inf makes the score -inf, a mask; a sum that overflows becomes the largest of its sign.
    """
    fit = Fit(graph, "score_src", score_src, "num_src, H")
    (heads,) = fit.sizes
    fit.check("score_dst", score_dst, (graph.num_dst, heads))
    fit.check("score_edge", score_edge, (graph.num_edges, heads))
    run = implementation("additive_scores", backend, score_src.device)
    return run(graph, score_src, score_dst, score_edge, negative_slope=negative_slope)


def gatv2_scores(
    graph: Graph,
    key: Tensor,
    query: Tensor,
    att: Tensor,
    edge: Tensor | None = None,
    *,
    activation: str = "leaky_relu",
    negative_slope: float = 0.2,
    backend: str | None = None,
) -> Tensor:
    """GATv2's scores [E, H]: att . activation(query_i + key_j + edge_e)
    (Brody et al. 2022, "How Attentive are Graph Attention Networks?", eq. 7).

    key [num_src, H, C]; query [num_dst, H, C]; att [H, C]; edge [E, H, C] or None; activation
    "leaky_relu" or "tanh".
    """
    fit = Fit(graph, "key", key, "num_src, H, C")
    fit.check("query", query, (graph.num_dst, *fit.sizes))
    fit.check("att", att, fit.sizes)
    fit.check("edge", edge, (graph.num_edges, *fit.sizes))
    check_activation(activation)
    run = implementation("gatv2_scores", backend, key.device)
    options = {"activation": activation, "negative_slope": negative_slope}
    return run(graph, key, query, att, edge, **options)


def dot_scores(
    graph: Graph,
    query: Tensor,
    key: Tensor,
    edge_key: Tensor | None = None,
    *,
    scale: float | None = None,
    backend: str | None = None,
) -> Tensor:
    """Scaled dot products [E, H]: scale * query_i . (key_j + edge_key_e)
    (Vaswani et al. 2017, "Attention Is All You Need", eq. 1).

    query [num_dst, H, C]; key [num_src, H, C]; edge_key [E, H, C] or None; scale, by default
    1 / sqrt(C).
    """
    fit = Fit(graph, "key", key, "num_src, H, C")
    fit.check("query", query, (graph.num_dst, *fit.sizes))
    fit.check("edge_key", edge_key, (graph.num_edges, *fit.sizes))
    run = implementation("dot_scores", backend, key.device)
    return run(graph, query, key, edge_key, scale=settle_scale(scale, key.size(-1)))


def segment_softmax(graph: Graph, scores: Tensor, *, backend: str | None = None) -> Tensor:
    """Weights [E, H]: softmax of ``scores`` [E, H] over the edges that enter each target.

    A score of -inf is a mask: weight 0 and no gradient; a target whose edges are all masked gets
    zeros. A score of +inf counts as the largest number.
    """
    Fit(graph, "scores", scores, "E, H")
    return implementation("segment_softmax", backend, scores.device)(graph, scores)


def segment_entmax(
    graph: Graph, scores: Tensor, alpha: float | Tensor, *, backend: str | None = None
) -> Tensor:
    """Weights [E, H]: alpha-entmax of ``scores`` [E, H] over the edges that enter each target.

    Weights of low scores are exactly 0, of the more the larger alpha is: 2 gives sparsemax (Martins
    and Astudillo 2016, "From Softmax to Sparsemax", eq. 1), 1.5 entmax-1.5 (Peters et al. 2019,
    "Sparse Sequence-to-Sequence Models", eq. 10); the limit 1 is softmax. alpha: a number above 1,
    or a tensor of one or of [H], which may require grad (Correia et al. 2019, "Adaptively Sparse
    Transformers", prop. 1) and widens nothing: the result has the scores' dtype. Masks and +inf as
    in `segment_softmax`. Raises InputError too where a number of alpha is not above 1; one that is
    traced, or not on the CPU, is not looked at.
    """
    fit = Fit(graph, "scores", scores, "E, H")
    alpha = settle_alpha(alpha, fit)
    return implementation("segment_entmax", backend, scores.device)(graph, scores, alpha)


def aggregate(
    graph: Graph,
    weights: Tensor,
    value: Tensor,
    edge_value: Tensor | None = None,
    *,
    backend: str | None = None,
) -> Tensor:
    """The weighted sum of value_j + edge_value_e over the edges that enter i: [num_dst, H, C].

    weights [E, H], of any sign; value [num_src, H, C]; edge_value [E, H, C] or None.
    """
    fit = Fit(graph, "value", value, "num_src, H, C")
    fit.check("weights", weights, (graph.num_edges, fit.sizes[0]))
    fit.check("edge_value", edge_value, (graph.num_edges, *fit.sizes))
    return implementation("aggregate", backend, value.device)(graph, weights, value, edge_value)
