"""The walks over targets that give an output: attention, weighted sums, the weights, the scores.

One program works a unit: a target's edges, block after block, with a running highest score and sum
(Milakov and Gimelshein 2018, "Online normalizer calculation for softmax", alg. 3). The chunks of a
hub leave theirs to `merge`. A program stores what no other does, so results have the same bits
whenever they are worked out.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl

from gat.ops.triton.arithmetic import (
    base_of,
    exp_below,
    is_cut,
    kept,
    load_heads,
    load_rows,
    rate_of,
    store_head,
    store_heads,
    store_row,
    stream_of,
    summed,
)
from gat.ops.triton.scores import att_of, block, cut_scores, own_of_target, score_by_target, span


class Results(NamedTuple):
    """out [num_dst, H, C] and stats [num_dst, H, S.STATS]: highest score, 1 / sum of
    exp(score - highest).

    If S.RATED, additive attention's stats hold more: the weighted mean of LeakyReLU's derivative,
    a number that stands for nothing, and [C] the sum of derivative * weight * value. From these the
    backward has the gradient of score_dst without a number per edge.
    """

    out: Any = None
    stats: Any = None


class Parts(NamedTuple):
    """What a hub's chunk found, [units, H] or [units, H, C] of each, before it is normalised."""

    top: Any = None
    total: Any = None
    sum: Any = None
    rate: Any = None
    rated: Any = None


@triton.jit
def store_result(results, row, h, c, top, total, acc, rate_sum, rated, S):
    inverse = tl.where(total == 0, 0.0, 1.0 / tl.where(total == 0, 1.0, total))
    if results.out is not None:
        store_row(results.out, row, h, c, acc * inverse[:, None], S.H, S.C)
    stats = results.stats + (row * S.H + h) * S.STATS
    tl.store(stats, top, mask=h < S.H)
    tl.store(stats + 1, inverse, mask=h < S.H)
    if S.RATED:
        tl.store(stats + 2, rate_sum * inverse, mask=h < S.H)
        mask = (h < S.H)[:, None] & (c < S.C)[None, :]
        tl.store(stats[:, None] + (4 + c)[None, :], rated * inverse[:, None], mask=mask)


@triton.jit
def store_part(parts, unit, h, c, top, total, acc, rate_sum, rated, S):
    store_head(parts.top, unit, h, top, S)
    store_head(parts.total, unit, h, total, S)
    if parts.sum is not None:
        store_row(parts.sum, unit, h, c, acc, S.H, S.C)
    if S.RATED:
        store_head(parts.rate, unit, h, rate_sum, S)
        store_row(parts.rated, unit, h, c, rated, S.H, S.C)


@triton.jit
def values(given, other, j, n, live, h, c, S):
    """What an edge brings to the sum, value_j + edge_value_e."""
    v = other if S.SHARED else load_rows(given.value, j, live, h, c, S.H, S.C, S)
    if given.edge_value is not None:
        v += load_rows(given.edge_value, n, live, h, c, S.H, S.C, S)
    return v


@triton.jit(do_not_specialize=["threshold", "chunk", "first", "count"])
def attend(
    edges,
    given,
    seed,
    threshold: tl.int64,
    factor: tl.float64,
    slope: tl.float64,
    scale: tl.float64,
    results,
    parts,
    chunk: tl.int64,
    first: tl.int64,
    count: tl.int64,
    S,
):
    """Softmax of scores and the weighted sum, for units ``first`` to ``first + count``."""
    slope, scale, factor = summed(slope, S), summed(scale, S), summed(factor, S)
    h = tl.program_id(1) * S.BH + tl.arange(0, S.BH)
    c, k = tl.arange(0, S.BC), tl.arange(0, S.BK)
    stream, att = stream_of(seed), att_of(given, h, k, S)
    for turn in range(tl.program_id(0).to(tl.int64), count, tl.num_programs(0)):
        unit = first + turn
        row, begin, end = span(edges, unit, chunk)
        own = own_of_target(given, row, h, k, S)
        top = tl.full([S.BH], float("-inf"), S.ACC)
        total = tl.zeros([S.BH], S.ACC)
        rate_sum = tl.zeros([S.BH], S.ACC)
        acc = tl.zeros([S.BH, S.BC], S.ACC)
        rated = tl.zeros([S.BH, S.BC], S.ACC)
        for at in range(begin, end, S.BE):
            _, live, j, n = block(edges, at, end, S)
            s, other = score_by_target(own, att, given, slope, scale, j, n, live, h, k, S)
            s = tl.where(live[:, None], s, float("-inf"))
            higher = tl.maximum(top, tl.max(s, axis=0))
            base = base_of(higher)
            weight = tl.exp(s - base[None, :])
            shrink = tl.exp(top - base)
            top = higher
            total = total * shrink + tl.sum(weight, axis=0)
            if results.out is not None:
                used = weight * kept(stream, threshold, factor, n, h, S)
                v = values(given, other, j, n, live, h, c, S)
                acc = acc * shrink[:, None] + tl.sum(used[:, :, None] * v, axis=0)
                if S.RATED:
                    cut = is_cut(other, S.LARGEST) | is_cut(s, S.LARGEST)
                    moves = tl.where(cut, 0.0, rate_of(other, slope))
                    rate_sum = rate_sum * shrink + tl.sum(weight * moves, axis=0)
                    moved = tl.sum((used * moves)[:, :, None] * v, axis=0)
                    rated = rated * shrink[:, None] + moved
        if S.PART:
            store_part(parts, unit, h, c, top, total, acc, rate_sum, rated, S)
        else:
            store_result(results, row, h, c, top, total, acc, rate_sum, rated, S)


@triton.jit(do_not_specialize=["chunk"])
def merge(edges, results, parts, chunk: tl.int64, S):
    """A hub's result from its chunks, which stand side by side; by the first one's program."""
    h = tl.program_id(1) * S.BH + tl.arange(0, S.BH)
    c = tl.arange(0, S.BC)
    unit = tl.program_id(0).to(tl.int64)
    row, begin, _ = span(edges, unit, chunk)
    start = tl.load(edges.rowptr + row).to(tl.int64)
    if begin == start:
        chunks = tl.cdiv(tl.load(edges.rowptr + row + 1).to(tl.int64) - start, chunk)
        top = tl.full([S.BH], float("-inf"), S.ACC)
        total = tl.zeros([S.BH], S.ACC)
        rate_sum = tl.zeros([S.BH], S.ACC)
        acc = tl.zeros([S.BH, S.BC], S.ACC)
        rated = tl.zeros([S.BH, S.BC], S.ACC)
        for at in range(0, chunks, S.BE):
            number = at + tl.arange(0, S.BE)
            live, part = number < chunks, unit + number
            tops = load_heads(parts.top, part, live, h, S)
            tops = tl.where(live[:, None], tops, float("-inf"))
            higher = tl.maximum(top, tl.max(tops, axis=0))
            base = base_of(higher)
            shrink, grow = tl.exp(top - base), tl.exp(tops - base[None, :])
            top = higher
            found = load_heads(parts.total, part, live, h, S)
            total = total * shrink + tl.sum(found * grow, axis=0)
            if parts.sum is not None:
                sums = load_rows(parts.sum, part, live, h, c, S.H, S.C, S)
                acc = acc * shrink[:, None] + tl.sum(sums * grow[:, :, None], axis=0)
            if S.RATED:
                found = load_heads(parts.rate, part, live, h, S)
                rate_sum = rate_sum * shrink + tl.sum(found * grow, axis=0)
                sums = load_rows(parts.rated, part, live, h, c, S.H, S.C, S)
                rated = rated * shrink[:, None] + tl.sum(sums * grow[:, :, None], axis=0)
        store_result(results, row, h, c, top, total, acc, rate_sum, rated, S)


@triton.jit(do_not_specialize=["chunk", "first", "count"])
def sum_rows(edges, given, out, parts, chunk: tl.int64, first: tl.int64, count: tl.int64, S):
    """The sum of weight_e * (value_j + edge_value_e) over a row's edges, [rows, H, C]."""
    h = tl.program_id(1) * S.BH + tl.arange(0, S.BH)
    c = tl.arange(0, S.BC)
    for turn in range(tl.program_id(0).to(tl.int64), count, tl.num_programs(0)):
        unit = first + turn
        row, begin, end = span(edges, unit, chunk)
        acc = tl.zeros([S.BH, S.BC], S.ACC)
        for at in range(begin, end, S.BE):
            _, live, j, n = block(edges, at, end, S)
            weight = load_heads(given.edge, n, live, h, S)
            v = values(given, weight, j, n, live, h, c, S)
            acc += tl.sum(weight[:, :, None] * v, axis=0)
        if S.PART:
            store_row(parts, unit, h, c, acc, S.H, S.C)
        else:
            store_row(out, row, h, c, acc, S.H, S.C)


@triton.jit(do_not_specialize=["threshold", "chunk", "first", "count"])
def write_weights(
    edges,
    given,
    seed,
    threshold: tl.int64,
    factor: tl.float64,
    slope: tl.float64,
    scale: tl.float64,
    stats,
    weights,
    chunk: tl.int64,
    first: tl.int64,
    count: tl.int64,
    S,
):
    """The weights that were used [E, H], in listed order."""
    slope, scale, factor = summed(slope, S), summed(scale, S), summed(factor, S)
    h = tl.program_id(1) * S.BH + tl.arange(0, S.BH)
    k = tl.arange(0, S.BK)
    stream, att = stream_of(seed), att_of(given, h, k, S)
    for turn in range(tl.program_id(0).to(tl.int64), count, tl.num_programs(0)):
        row, begin, end = span(edges, first + turn, chunk)
        own = own_of_target(given, row, h, k, S)
        of = stats + (row * S.H + h) * S.STATS
        top = base_of(tl.load(of, mask=h < S.H, other=0.0))
        inverse = tl.load(of + 1, mask=h < S.H, other=0.0)
        for at in range(begin, end, S.BE):
            _, live, j, n = block(edges, at, end, S)
            s, _ = score_by_target(own, att, given, slope, scale, j, n, live, h, k, S)
            weight = exp_below(s, top[None, :]) * inverse[None, :]
            weight *= kept(stream, threshold, factor, n, h, S)
            store_heads(weights, n, live, h, weight, S)


@triton.jit(do_not_specialize=["chunk", "first", "count"])
def write_scores(
    edges,
    given,
    slope: tl.float64,
    scale: tl.float64,
    scores,
    chunk: tl.int64,
    first: tl.int64,
    count: tl.int64,
    S,
):
    """Scores [E, H] in listed order."""
    slope, scale = summed(slope, S), summed(scale, S)
    h = tl.program_id(1) * S.BH + tl.arange(0, S.BH)
    k = tl.arange(0, S.BK)
    att = att_of(given, h, k, S)
    for turn in range(tl.program_id(0).to(tl.int64), count, tl.num_programs(0)):
        row, begin, end = span(edges, first + turn, chunk)
        own = own_of_target(given, row, h, k, S)
        for at in range(begin, end, S.BE):
            _, live, j, n = block(edges, at, end, S)
            s, _ = score_by_target(own, att, given, slope, scale, j, n, live, h, k, S)
            store_heads(scores, n, live, h, cut_scores(s, S), S)
