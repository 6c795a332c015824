"""The walks that give gradients: by target, and by source in the transposed graph.

With a_e the weights, f_e what dropout multiplies them by, and D_i = <grad_out_i, out_i>, which is
also the sum of a_e f_e <grad_out_i, v_e> over the edges that enter i:

    grad s_e = a_e (f_e <grad_out_i, v_e> - D_i),   grad v_j = sum of a_e f_e grad_out_i

The weights are worked out again from the scores and the statistics. Additive attention needs one
walk, by source; the gradient of score_dst comes from what the forward kept (`describe`), or from
the scores' gradients, handed over by the edge (`sum_numbers`). Keys and queries need both walks.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from gat.ops.triton.arithmetic import (
    activate,
    base_of,
    exp_below,
    is_cut,
    kept,
    load_head,
    load_heads,
    load_row,
    load_rows,
    rate,
    rate_of,
    store_head,
    store_heads,
    store_row,
    store_rows,
    stream_of,
    summed,
)
from gat.ops.triton.forward import values
from gat.ops.triton.scores import (
    att_of,
    block,
    edge_terms,
    hidden_layer,
    own_of_target,
    score_by_source,
    score_by_target,
    span,
    sum_of_terms,
)


class Gradients(NamedTuple):
    """Where the inputs' gradients go, None where none is wanted. ``att`` [programs, H, K] and
    ``passed`` [E, H], additive attention's by position in the walk, are in S.ACC; the others as
    the inputs. ``weights`` [E, H]: of a weighted sum."""

    value: Any = None
    key: Any = None
    query: Any = None
    att: Any = None
    edge: Any = None
    edge_value: Any = None
    passed: Any = None
    weights: Any = None


@triton.jit(do_not_specialize=["count"])
def describe(out, stats, incoming, query, grad_query, count: tl.int64, S):
    """Fills incoming.targets [num_dst, H, 4]; if S.RATED, and where wanted, grad_query too."""
    h = tl.program_id(1) * S.BH + tl.arange(0, S.BH)
    c = tl.arange(0, S.BC)
    node = tl.program_id(0).to(tl.int64) * S.BE + tl.arange(0, S.BE)
    live = node < count
    mask = live[:, None] & (h < S.H)[None, :]
    upstream = load_rows(incoming.grad_out, node, live, h, c, S.H, S.C, S)
    delta = tl.sum(upstream * load_rows(out, node, live, h, c, S.H, S.C, S), axis=2)
    at = node[:, None] * S.H + h[None, :]
    of = stats + at * S.STATS
    top = tl.load(of, mask=mask, other=0.0)
    inverse = tl.load(of + 1, mask=mask, other=0.0)
    if query is not None:
        term = load_heads(query, node, live, h, S)
    else:
        term = tl.zeros([S.BE, S.BH], S.ACC)
    to = incoming.targets + at * 4
    tl.store(to, term, mask=mask)
    tl.store(to + 1, base_of(top), mask=mask)
    tl.store(to + 2, inverse, mask=mask)
    tl.store(to + 3, delta, mask=mask)
    if S.RATED and grad_query is not None:
        mean = tl.load(of + 2, mask=mask, other=0.0)
        whole = mask[:, :, None] & (c < S.C)[None, None, :]
        rated = tl.load(of[:, :, None] + (4 + c)[None, None, :], mask=whole, other=0.0)
        moved = tl.sum(upstream * rated, axis=2)
        store_heads(grad_query, node, live, h, moved - delta * mean, S)


@triton.jit
def score_gradient(
    s, top, inverse, delta, upstream, v, stream, threshold, factor, incoming, n, live, h, S
):
    """The scores' gradient and the weights after dropout, [BE, BH]; 0 where nothing lives."""
    weight = exp_below(s, top) * inverse
    keep = kept(stream, threshold, factor, n, h, S)
    pull = tl.sum(upstream * v, axis=2)
    if incoming.grad_weights is not None:
        pull += load_heads(incoming.grad_weights, n, live, h, S)
    gradient = weight * (keep * pull - delta)
    # A masked edge has weight 0, and its score may be infinite.
    still = (weight == 0) | is_cut(s, S.LARGEST) | (live[:, None] == 0)
    return tl.where(still, 0.0, gradient), tl.where(live[:, None], weight * keep, 0.0)


@triton.jit
def given_gradient(incoming, n, live, h, S):
    """Of scores asked for by themselves: none where a score was cut when it was stored."""
    s = load_heads(incoming.scores, n, live, h, S)
    return tl.where(is_cut(s, S.STORED), 0.0, load_heads(incoming.grad_scores, n, live, h, S))


@triton.jit(do_not_specialize=["threshold", "chunk", "first", "count"])
def pull_by_target(
    edges,
    given,
    incoming,
    seed,
    threshold: tl.int64,
    factor: tl.float64,
    slope: tl.float64,
    scale: tl.float64,
    grads,
    parts,
    chunk: tl.int64,
    first: tl.int64,
    count: tl.int64,
    S,
):
    """Gradients of queries, att and what edges bring, of GATv2 and dot products."""
    slope, scale, factor = summed(slope, S), summed(scale, S), summed(factor, S)
    h = tl.program_id(1) * S.BH + tl.arange(0, S.BH)
    c, k = tl.arange(0, S.BC), tl.arange(0, S.BK)
    stream, att = stream_of(seed), att_of(given, h, k, S)
    att_sum = tl.zeros([S.BH, S.BK], S.ACC)
    for turn in range(tl.program_id(0).to(tl.int64), count, tl.num_programs(0)):
        unit = first + turn
        row, begin, end = span(edges, unit, chunk)
        own = own_of_target(given, row, h, k, S)
        grad = tl.zeros([S.BH, S.BK], S.ACC)
        if incoming.grad_out is not None:
            upstream = load_row(incoming.grad_out, row, h, c, S.H, S.C, S)[None, :, :]
            of = incoming.targets + (row * S.H + h) * 4
            top = tl.load(of + 1, mask=h < S.H, other=0.0)[None, :]
            inverse = tl.load(of + 2, mask=h < S.H, other=0.0)[None, :]
            delta = tl.load(of + 3, mask=h < S.H, other=0.0)[None, :]
        for at in range(begin, end, S.BE):
            _, live, j, n = block(edges, at, end, S)
            s, other = score_by_target(own, att, given, slope, scale, j, n, live, h, k, S)
            if incoming.grad_out is not None:
                v = values(given, other, j, n, live, h, c, S)
                gradient, weight = score_gradient(
                    s, top, inverse, delta, upstream, v,
                    stream, threshold, factor, incoming, n, live, h, S,
                )  # fmt: skip
                if grads.edge_value is not None:
                    moved = weight[:, :, None] * upstream
                    store_rows(grads.edge_value, n, live, h, c, moved, S.H, S.C)
            else:
                gradient = given_gradient(incoming, n, live, h, S)
            if S.KIND == "gatv2":
                hidden = hidden_layer(own, other, given, n, live, h, k, S)
                active = activate(hidden, slope, S)
                moved = gradient[:, :, None] * rate(hidden, active, slope, S)
                grad += tl.sum(moved, axis=0)
                att_sum += tl.sum(gradient[:, :, None] * active, axis=0)
                if grads.edge is not None:
                    store_rows(grads.edge, n, live, h, k, moved * att[None, :, :], S.H, S.K)
            else:
                gradient *= scale
                grad += tl.sum(gradient[:, :, None] * other, axis=0)
                if grads.edge is not None:
                    moved = gradient[:, :, None] * own[None, :, :]
                    store_rows(grads.edge, n, live, h, k, moved, S.H, S.K)
        if S.KIND == "gatv2":
            # The factor att is common to all of a row's edges.
            grad *= att
        if grads.query is not None:
            if S.PART:
                store_row(parts, unit, h, k, grad, S.H, S.K)
            else:
                store_row(grads.query, row, h, k, grad, S.H, S.K)
    if grads.att is not None:
        store_row(grads.att, tl.program_id(0).to(tl.int64), h, k, att_sum, S.H, S.K)


@triton.jit(do_not_specialize=["threshold", "chunk", "first", "count"])
def pull_by_source(
    edges,
    given,
    incoming,
    seed,
    threshold: tl.int64,
    factor: tl.float64,
    slope: tl.float64,
    scale: tl.float64,
    grads,
    parts,
    chunk: tl.int64,
    first: tl.int64,
    count: tl.int64,
    S,
):
    """Gradients of values and keys, and of additive attention's terms of sources and edges."""
    slope, scale, factor = summed(slope, S), summed(scale, S), summed(factor, S)
    h = tl.program_id(1) * S.BH + tl.arange(0, S.BH)
    c, k = tl.arange(0, S.BC), tl.arange(0, S.BK)
    stream, att = stream_of(seed), att_of(given, h, k, S)
    for turn in range(tl.program_id(0).to(tl.int64), count, tl.num_programs(0)):
        unit = first + turn
        row, begin, end = span(edges, unit, chunk)
        if S.KIND == "additive":
            own = load_head(given.key, row, h, S)
            grad = tl.zeros([S.BH], S.ACC)
        else:
            own = load_row(given.key, row, h, k, S.H, S.K, S)
            grad = tl.zeros([S.BH, S.BK], S.ACC)
        if S.SHARED:
            own_value = own
        elif given.value is not None:
            own_value = load_row(given.value, row, h, c, S.H, S.C, S)
        grad_value = tl.zeros([S.BH, S.BC], S.ACC)
        for at in range(begin, end, S.BE):
            position, live, i, n = block(edges, at, end, S)
            if incoming.grad_out is not None:
                mask = live[:, None] & (h < S.H)[None, :]
                of = incoming.targets + (i[:, None] * S.H + h[None, :]) * 4
                term = tl.load(of, mask=mask, other=0.0)
                top = tl.load(of + 1, mask=mask, other=0.0)
                inverse = tl.load(of + 2, mask=mask, other=0.0)
                delta = tl.load(of + 3, mask=mask, other=0.0)
                upstream = load_rows(incoming.grad_out, i, live, h, c, S.H, S.C, S)
                s, other = score_by_source(own, att, term, given, slope, scale, i, n, live, h, k, S)
                v = own_value[None, :, :] + tl.zeros_like(upstream)
                if given.edge_value is not None:
                    v += load_rows(given.edge_value, n, live, h, c, S.H, S.C, S)
                gradient, weight = score_gradient(
                    s, top, inverse, delta, upstream, v,
                    stream, threshold, factor, incoming, n, live, h, S,
                )  # fmt: skip
                grad_value += tl.sum(weight[:, :, None] * upstream, axis=0)
            else:
                term = tl.zeros([S.BE, S.BH], S.ACC)
                s, other = score_by_source(own, att, term, given, slope, scale, i, n, live, h, k, S)
                gradient = given_gradient(incoming, n, live, h, S)
            if S.KIND == "additive":
                gradient *= rate_of(other, slope)
                gradient = tl.where(is_cut(other, S.LARGEST), 0.0, gradient)
                grad += tl.sum(gradient, axis=0)
                if grads.passed is not None:
                    store_heads(grads.passed, position, live, h, gradient, S)
                if grads.edge is not None:
                    store_heads(grads.edge, n, live, h, gradient, S)
            elif S.KIND == "gatv2":
                active = activate(other, slope, S)
                moved = gradient[:, :, None] * rate(other, active, slope, S)
                grad += tl.sum(moved, axis=0)
            else:
                grad += tl.sum((gradient * scale)[:, :, None] * other, axis=0)
        if S.KIND == "gatv2":
            grad *= att
        if S.SHARED:
            grad_value += grad
        if S.PART:
            if parts.value is not None:
                store_row(parts.value, unit, h, c, grad_value, S.H, S.C)
            if parts.key is not None:
                if S.KIND == "additive":
                    store_head(parts.key, unit, h, grad, S)
                else:
                    store_row(parts.key, unit, h, k, grad, S.H, S.K)
        else:
            if grads.value is not None:
                store_row(grads.value, row, h, c, grad_value, S.H, S.C)
            if grads.key is not None:
                if S.KIND == "additive":
                    store_head(grads.key, row, h, grad, S)
                else:
                    store_row(grads.key, row, h, k, grad, S.H, S.K)


@triton.jit(do_not_specialize=["chunk", "first", "count"])
def pull_weights(
    edges, given, incoming, grads, chunk: tl.int64, first: tl.int64, count: tl.int64, S
):
    """Of a weighted sum: the gradient of its weights, <grad_out_i, v_e>, and of edge_value."""
    h = tl.program_id(1) * S.BH + tl.arange(0, S.BH)
    c = tl.arange(0, S.BC)
    for turn in range(tl.program_id(0).to(tl.int64), count, tl.num_programs(0)):
        row, begin, end = span(edges, first + turn, chunk)
        upstream = load_row(incoming.grad_out, row, h, c, S.H, S.C, S)[None, :, :]
        for at in range(begin, end, S.BE):
            _, live, j, n = block(edges, at, end, S)
            weight = load_heads(given.edge, n, live, h, S)
            if grads.weights is not None:
                v = values(given, weight, j, n, live, h, c, S)
                store_heads(grads.weights, n, live, h, tl.sum(upstream * v, axis=2), S)
            if grads.edge_value is not None:
                moved = weight[:, :, None] * upstream
                store_rows(grads.edge_value, n, live, h, c, moved, S.H, S.C)


@triton.jit(do_not_specialize=["chunk", "first", "count"])
def pull_softmax(
    edges, weights, grad_weights, sums, grad, chunk: tl.int64, first: tl.int64, count: tl.int64, S
):
    """Of a softmax: a_e (grad a_e - sums_i), with sums [num_dst, H] of a * grad a."""
    h = tl.program_id(1) * S.BH + tl.arange(0, S.BH)
    for turn in range(tl.program_id(0).to(tl.int64), count, tl.num_programs(0)):
        row, begin, end = span(edges, first + turn, chunk)
        sum_of_row = load_head(sums, row, h, S)
        for at in range(begin, end, S.BE):
            _, live, _, n = block(edges, at, end, S)
            pull = load_heads(grad_weights, n, live, h, S) - sum_of_row[None, :]
            store_heads(grad, n, live, h, load_heads(weights, n, live, h, S) * pull, S)


@triton.jit(do_not_specialize=["chunk", "first", "count"])
def pull_terms(
    edges,
    given,
    incoming,
    slope: tl.float64,
    grad,
    chunk: tl.int64,
    first: tl.int64,
    count: tl.int64,
    S,
):
    """The gradient of additive scores' sums of terms, [E, H] in S.ACC and listed order."""
    slope = summed(slope, S)
    h = tl.program_id(1) * S.BH + tl.arange(0, S.BH)
    k = tl.arange(0, S.BK)
    for turn in range(tl.program_id(0).to(tl.int64), count, tl.num_programs(0)):
        row, begin, end = span(edges, first + turn, chunk)
        own = own_of_target(given, row, h, k, S)
        for at in range(begin, end, S.BE):
            _, live, j, n = block(edges, at, end, S)
            other = load_heads(given.key, j, live, h, S)
            z = sum_of_terms(own[None, :], other, edge_terms(given, n, live, h, S), S)
            moved = given_gradient(incoming, n, live, h, S) * rate_of(z, slope)
            store_heads(grad, n, live, h, tl.where(is_cut(z, S.LARGEST), 0.0, moved), S)


@triton.jit(do_not_specialize=["chunk", "first", "count"])
def sum_numbers(edges, x, y, out, parts, chunk: tl.int64, first: tl.int64, count: tl.int64, S):
    """Sums over each row's edges of numbers x [E, H], or of x * y where y is given: [rows, H]."""
    h = tl.program_id(1) * S.BH + tl.arange(0, S.BH)
    for turn in range(tl.program_id(0).to(tl.int64), count, tl.num_programs(0)):
        unit = first + turn
        row, begin, end = span(edges, unit, chunk)
        total = tl.zeros([S.BH], S.ACC)
        for at in range(begin, end, S.BE):
            _, live, _, n = block(edges, at, end, S)
            term = load_heads(x, n, live, h, S)
            if y is not None:
                term *= load_heads(y, n, live, h, S)
            total += tl.sum(term, axis=0)
        if S.PART:
            store_head(parts, unit, h, total, S)
        else:
            store_head(out, row, h, total, S)


@triton.jit(do_not_specialize=["chunk"])
def sum_parts(
    edges, parts, out, chunk: tl.int64, WIDTH: tl.constexpr, BLOCK: tl.constexpr, BE: tl.constexpr
):
    """A hub's sums [rows, WIDTH] from its chunks', by the first one's program."""
    unit = tl.program_id(0).to(tl.int64)
    w = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row, begin, _ = span(edges, unit, chunk)
    start = tl.load(edges.rowptr + row).to(tl.int64)
    if begin == start:
        chunks = tl.cdiv(tl.load(edges.rowptr + row + 1).to(tl.int64) - start, chunk)
        total = tl.zeros([BLOCK], parts.dtype.element_ty)
        for at in range(0, chunks, BE):
            number = at + tl.arange(0, BE)
            mask = (number < chunks)[:, None] & (w < WIDTH)[None, :]
            found = parts + (unit + number)[:, None] * WIDTH + w[None, :]
            total += tl.sum(tl.load(found, mask=mask, other=0.0), axis=0)
        tl.store(out + row * WIDTH + w, total.to(out.dtype.element_ty), mask=w < WIDTH)
