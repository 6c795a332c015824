"""Arithmetic that all kernels share, on tiles: rounding, exponentials, dropout, reading rows.

``S``: a `gat.ops.triton.shapes.Shape`. Sums, statistics and scores are in S.ACC. Comparisons are
written so that a NaN stays one.
"""

import triton
import triton.language as tl


@triton.jit
def summed(number, S):
    """A number among the arguments as what is summed in. The interpreter has it as Python's."""
    return (tl.full([], 0.0, S.ACC) + number).to(S.ACC)


@triton.jit
def finite_as(x, largest):
    """A score that overflowed counts as the largest of its sign."""
    x = tl.where(x > largest, largest, x)
    return tl.where(x < -largest, -largest, x)


@triton.jit
def finite(x, S):
    return finite_as(x, S.LARGEST)


@triton.jit
def is_cut(x, largest):
    """A score that was cut does not move with what it was computed from."""
    return (x >= largest) | (x <= -largest)


@triton.jit
def base_of(top):
    """What scores are taken relative to: nothing where all are masked."""
    return tl.where(top == float("-inf"), 0.0, top)


@triton.jit
def exp_below(score, top):
    """exp(score - top); 1 where a score worked out anew is rounded above the highest."""
    below = score - top
    return tl.exp(tl.where(below > 0, 0.0, below))


@triton.jit
def tanh(x, S):
    """Through exp; in float32 an odd polynomial near zero, where that cancels."""
    size = tl.abs(x)
    e = tl.exp(-2.0 * size)
    far = (1.0 - e) / (1.0 + e)
    far = tl.where(x < 0, -far, far)
    if tl.float64 == S.ACC:
        return far
    q = x * x
    p = 2.2493165e-03 * q - 8.3051007e-03
    p = p * q + 2.1756927e-02
    p = p * q - 5.3957776e-02
    p = p * q + 1.3333297e-01
    p = p * q - 3.3333333e-01
    return tl.where(size < 0.625, x + x * q * p, far)


@triton.jit
def leaky_relu(z, slope):
    return tl.where(z > 0, z, z * slope)


@triton.jit
def rate_of(z, slope):
    """LeakyReLU's derivative."""
    return tl.where(z > 0, 1.0, slope)


@triton.jit
def activate(hidden, slope, S):
    return tanh(hidden, S) if S.ACTIVATION == "tanh" else leaky_relu(hidden, slope)


@triton.jit
def rate(hidden, active, slope, S):
    """The activation's derivative."""
    if S.ACTIVATION == "tanh":
        return 1.0 - active * active
    else:
        return rate_of(hidden, slope)


@triton.jit
def stream_of(seed):
    """Where the stream of dropout starts; nothing without dropout."""
    if seed is not None:
        return tl.load(seed).to(tl.uint64)
    else:
        return 0


@triton.jit
def kept(stream, threshold, factor, edge, h, S):
    """What a weight is multiplied by, [BE, BH]: 0 where it is dropped, else ``factor``.

    Number ``edge * H + h`` of the stream that `gat.ops.dropout` defines.
    """
    if not S.DROPS:
        return tl.full([S.BE, S.BH], 1.0, S.ACC)
    # Multiplied before edges meet heads: of each there are few.
    of_edge = edge.to(tl.uint64) * S.H * 0x9E3779B97F4A7C15
    of_head = stream + (h.to(tl.uint64) + 1) * 0x9E3779B97F4A7C15
    z = of_edge[:, None] + of_head[None, :]
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    z = z ^ (z >> 31)
    return tl.where((z >> 32).to(tl.int64) >= threshold, factor, 0.0)


@triton.jit
def load_rows(rows, node, live, h, c, H, C, S):
    """Rows [BE, BH, channels] of a tensor [N, H, C]; 0 where nothing lives."""
    at = node[:, None, None] * (H * C) + (h[:, None] * C + c[None, :])[None, :, :]
    mask = live[:, None, None] & ((h < H)[:, None] & (c < C)[None, :])[None, :, :]
    return tl.load(rows + at, mask=mask, other=0.0).to(S.ACC)


@triton.jit
def store_rows(to, node, live, h, c, x, H, C):
    at = node[:, None, None] * (H * C) + (h[:, None] * C + c[None, :])[None, :, :]
    mask = live[:, None, None] & ((h < H)[:, None] & (c < C)[None, :])[None, :, :]
    tl.store(to + at, x.to(to.dtype.element_ty), mask=mask)


@triton.jit
def load_row(rows, node, h, c, H, C, S):
    """One row [BH, channels] of a tensor [N, H, C]."""
    at = node * (H * C) + h[:, None] * C + c[None, :]
    return tl.load(rows + at, mask=(h < H)[:, None] & (c < C)[None, :], other=0.0).to(S.ACC)


@triton.jit
def store_row(to, node, h, c, x, H, C):
    at = node * (H * C) + h[:, None] * C + c[None, :]
    tl.store(to + at, x.to(to.dtype.element_ty), mask=(h < H)[:, None] & (c < C)[None, :])


@triton.jit
def load_heads(numbers, node, live, h, S):
    """Numbers [BE, BH] of a tensor [N, H] or [E, H]; 0 where nothing lives."""
    at = node[:, None] * S.H + h[None, :]
    return tl.load(numbers + at, mask=live[:, None] & (h < S.H)[None, :], other=0.0).to(S.ACC)


@triton.jit
def store_heads(to, node, live, h, x, S):
    at = node[:, None] * S.H + h[None, :]
    tl.store(to + at, x.to(to.dtype.element_ty), mask=live[:, None] & (h < S.H)[None, :])


@triton.jit
def load_head(numbers, node, h, S):
    """Numbers [BH] of one row of a tensor [N, H]."""
    return tl.load(numbers + node * S.H + h, mask=h < S.H, other=0.0).to(S.ACC)


@triton.jit
def store_head(to, node, h, x, S):
    tl.store(to + node * S.H + h, x.to(to.dtype.element_ty), mask=h < S.H)
