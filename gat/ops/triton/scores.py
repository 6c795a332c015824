"""What an edge's score is (`gat.ops.reference` has the equations): by target, where a row is a
target and its edges gather keys; and by source, where a row is a source and they gather queries.

Each gives the scores [BE, BH] and what their gradient needs: additive attention the sum before
LeakyReLU, GATv2 the hidden layer before its activation, a dot product the other side's tile.
"""

import triton
import triton.language as tl

from gat.ops.triton.arithmetic import (
    activate,
    finite,
    finite_as,
    leaky_relu,
    load_head,
    load_heads,
    load_row,
    load_rows,
)


@triton.jit
def span(edges, unit, chunk):
    """A unit's row, its first edge, and one past its last; int64, for sums beyond int32."""
    row = tl.load(edges.units + 2 * unit).to(tl.int64)
    begin = tl.load(edges.units + 2 * unit + 1).to(tl.int64)
    return row, begin, tl.minimum(begin + chunk, tl.load(edges.rowptr + row + 1).to(tl.int64))


@triton.jit
def block(edges, at, end, S):
    """Edges from ``at`` on: positions, which of them live, their other ends and listed numbers."""
    position = at + tl.arange(0, S.BE)
    live = position < end
    other = tl.load(edges.col + position, mask=live, other=0).to(tl.int64)
    if edges.number is not None:
        listed = tl.load(edges.number + position, mask=live, other=0).to(tl.int64)
    else:
        listed = position
    return position, live, other, listed


@triton.jit
def sum_of_terms(own, other, edge, S):
    """Finite, or -inf, a mask, where any term is."""
    masked = (own == float("-inf")) | (other == float("-inf")) | (edge == float("-inf"))
    return tl.where(masked, float("-inf"), finite(own + other + edge, S))


@triton.jit
def edge_terms(given, n, live, h, S):
    if given.edge is not None:
        return load_heads(given.edge, n, live, h, S)
    else:
        return tl.zeros([S.BE, S.BH], S.ACC)


@triton.jit
def additive_score(own, other, edge, slope, S):
    z = sum_of_terms(own, other, edge, S)
    # A mask stays one with slope 0 too.
    return tl.where(z == float("-inf"), z, finite(leaky_relu(z, slope), S)), z


@triton.jit
def hidden_layer(own, other, given, n, live, h, k, S):
    hidden = own[None, :, :] + other
    if given.edge is not None:
        hidden += load_rows(given.edge, n, live, h, k, S.H, S.K, S)
    return hidden


@triton.jit
def own_of_target(given, row, h, k, S):
    """What a target brings to its edges' scores: a number per head, or a query."""
    if S.KIND == "additive":
        if given.query is not None:
            return load_head(given.query, row, h, S)
        else:
            return tl.zeros([S.BH], S.ACC)
    elif (S.KIND == "gatv2") or (S.KIND == "dot"):
        return load_row(given.query, row, h, k, S.H, S.K, S)
    else:
        return tl.zeros([S.BH], S.ACC)


@triton.jit
def att_of(given, h, k, S):
    """GATv2's att [BH, BK]."""
    if given.att is not None:
        return load_row(given.att, 0, h, k, S.H, S.K, S)
    else:
        return tl.zeros([S.BH], S.ACC)


@triton.jit
def score_by_target(own, att, given, slope, scale, j, n, live, h, k, S):
    if S.KIND == "additive":
        other = load_heads(given.key, j, live, h, S)
        edge = edge_terms(given, n, live, h, S)
        return additive_score(own[None, :], other, edge, slope, S)
    elif S.KIND == "gatv2":
        other = load_rows(given.key, j, live, h, k, S.H, S.K, S)
        hidden = hidden_layer(own, other, given, n, live, h, k, S)
        s = tl.sum(att[None, :, :] * activate(hidden, slope, S), axis=2)
        # The hidden layer is worked out again where it is wanted; the keys may be the values.
        return finite(s, S), other
    elif S.KIND == "dot":
        other = load_rows(given.key, j, live, h, k, S.H, S.K, S)
        if given.edge is not None:
            other += load_rows(given.edge, n, live, h, k, S.H, S.K, S)
        s = tl.sum(own[None, :, :] * other, axis=2) * scale
        return finite(s, S), other
    else:
        s = load_heads(given.edge, n, live, h, S)
        # Of +inf the largest number; -inf is a mask.
        s = tl.where(s > S.STORED, S.STORED, s)
        return s, s


@triton.jit
def score_by_source(own, att, term, given, slope, scale, i, n, live, h, k, S):
    """``own``: the source's number or key; ``term`` [BE, BH]: the targets' own numbers."""
    if S.KIND == "additive":
        edge = edge_terms(given, n, live, h, S)
        return additive_score(own[None, :], term, edge, slope, S)
    elif S.KIND == "gatv2":
        other = load_rows(given.query, i, live, h, k, S.H, S.K, S)
        hidden = hidden_layer(own, other, given, n, live, h, k, S)
        s = tl.sum(att[None, :, :] * activate(hidden, slope, S), axis=2)
        return finite(s, S), hidden
    else:
        other = load_rows(given.query, i, live, h, k, S.H, S.K, S)
        keys = own[None, :, :] + tl.zeros_like(other)
        if given.edge is not None:
            keys += load_rows(given.edge, n, live, h, k, S.H, S.K, S)
        s = tl.sum(other * keys, axis=2) * scale
        return finite(s, S), other


@triton.jit
def cut_scores(s, S):
    """As they are stored, in what may have a smaller largest number; a mask stays one."""
    return tl.where(s == float("-inf"), s, finite_as(s, S.STORED))
