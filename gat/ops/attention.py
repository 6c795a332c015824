"""The public operators: check meaning once, settle defaults once, hand over to a backend.

Shapes: N nodes, E edges of the graph in listed order (`gat.graph`), H heads, C channels per head.
"""

from torch import Tensor

from gat.graph import Graph
from gat.ops import dense
from gat.ops.backend import implementation, is_automatic
from gat.ops.checks import Fit, check_activation, settle_scale, settle_seed

__all__ = ["additive_attention", "dot_attention", "gatv2_attention", "out_and_weights"]

Result = Tensor | tuple[Tensor, Tensor]


def out_and_weights(result: Result) -> tuple[Tensor, Tensor | None]:
    """What an operator returned, the weights None where they were not asked for."""
    return (result, None) if isinstance(result, Tensor) else result


def additive_attention(
    graph: Graph,
    value: Tensor,
    score_src: Tensor,
    score_dst: Tensor | None = None,
    score_edge: Tensor | None = None,
    *,
    negative_slope: float = 0.2,
    dropout: float = 0.0,
    seed: Tensor | int | None = None,
    return_weights: bool = False,
    backend: str | None = None,
) -> Result:
    """GAT's attention: softmax over the edges entering i of
    LeakyReLU(score_src_j + score_dst_i + score_edge_e), then the weighted sum of value_j
    (Velickovic et al. 2018, "Graph Attention Networks", eq. 3-4).

    value [num_src, H, C]; score_src [num_src, H]; score_dst [num_dst, H] or None; score_edge
    [E, H] or None; an edge with a term of -inf is masked. Floating dtypes, of which the common one
    is returned; sums are kept in float32 or wider.
    dropout: probability of dropping a weight, by a counter started at ``seed`` (an int64 number or
    scalar tensor; by default drawn from torch's generator). backend: see `gat.use_backend`.

    Returns [num_dst, H, C], a node without edges (or with all of them masked) being zero; with
    ``return_weights`` also the weights that were used, after dropout, [E, H] in listed order.

    Raises InputError or ArgumentTypeError naming the argument; BackendError if the backend asked
    for cannot run.
    """
    fit = Fit(graph, "value", value, "num_src, H, C")
    heads, _ = fit.sizes
    fit.check("score_src", score_src, (graph.num_src, heads))
    fit.check("score_dst", score_dst, (graph.num_dst, heads))
    fit.check("score_edge", score_edge, (graph.num_edges, heads))
    seed = settle_seed(dropout, seed, value.device)
    run = implementation("additive", backend, value.device)
    result = run(
        graph,
        value,
        score_src,
        score_dst,
        score_edge,
        negative_slope=negative_slope,
        dropout=dropout,
        seed=seed,
        return_weights=return_weights,
    )
    return result if return_weights else result[0]


def gatv2_attention(
    graph: Graph,
    key: Tensor,
    query: Tensor,
    att: Tensor,
    edge: Tensor | None = None,
    *,
    value: Tensor | None = None,
    activation: str = "leaky_relu",
    negative_slope: float = 0.2,
    dropout: float = 0.0,
    seed: Tensor | int | None = None,
    return_weights: bool = False,
    backend: str | None = None,
) -> Result:
    """GATv2's attention: softmax over the edges entering i of
    att . activation(query_i + key_j + edge_e), then the weighted sum of value_j
    (Brody et al. 2022, "How Attentive are Graph Attention Networks?", eq. 7).

    key [num_src, H, C]; query [num_dst, H, C]; att [H, C]; edge [E, H, C] or None; value
    [num_src, H, Cv], by default the key; activation "leaky_relu" or "tanh". The rest as in
    `additive_attention`.
    """
    value = key if value is None else value
    fit = Fit(graph, "value", value, "num_src, H, C")
    heads, _ = fit.sizes
    channels = key.size(-1)
    fit.check("key", key, (graph.num_src, heads, channels))
    fit.check("query", query, (graph.num_dst, heads, channels))
    fit.check("att", att, (heads, channels))
    fit.check("edge", edge, (graph.num_edges, heads, channels))
    check_activation(activation)
    seed = settle_seed(dropout, seed, value.device)
    run = implementation("gatv2", backend, value.device)
    result = run(
        graph,
        key,
        query,
        att,
        edge,
        value,
        activation=activation,
        negative_slope=negative_slope,
        dropout=dropout,
        seed=seed,
        return_weights=return_weights,
    )
    return result if return_weights else result[0]


def dot_attention(
    graph: Graph,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    edge_key: Tensor | None = None,
    edge_value: Tensor | None = None,
    *,
    scale: float | None = None,
    dropout: float = 0.0,
    seed: Tensor | int | None = None,
    return_weights: bool = False,
    backend: str | None = None,
) -> Result:
    """Scaled dot-product attention: softmax over the edges entering i of
    scale * query_i . (key_j + edge_key_e), then the weighted sum of value_j + edge_value_e
    (Vaswani et al. 2017, "Attention Is All You Need", eq. 1; edge terms: Shi et al. 2021,
    "Masked Label Prediction", eq. 3-4).

    query [num_dst, H, C]; key [num_src, H, C]; value [num_src, H, Cv]; edge_key [E, H, C] and
    edge_value [E, H, Cv] or None; scale, by default 1 / sqrt(C). The rest as in
    `additive_attention`.
    """
    fit = Fit(graph, "value", value, "num_src, H, C")
    heads, value_channels = fit.sizes
    channels = key.size(-1)
    fit.check("query", query, (graph.num_dst, heads, channels))
    fit.check("key", key, (graph.num_src, heads, channels))
    fit.check("edge_key", edge_key, (graph.num_edges, heads, channels))
    fit.check("edge_value", edge_value, (graph.num_edges, heads, value_channels))
    scale = settle_scale(scale, channels)
    seed = settle_seed(dropout, seed, value.device)
    run = implementation("dot", backend, value.device)
    call = (graph, edge_key, edge_value, dropout, return_weights)
    if is_automatic(backend) and not dense.why_not(*call) and dense.is_faster(graph, query):
        run = dense.dot
    result = run(
        graph,
        query,
        key,
        value,
        edge_key,
        edge_value,
        scale=scale,
        dropout=dropout,
        seed=seed,
        return_weights=return_weights,
    )
    return result if return_weights else result[0]
