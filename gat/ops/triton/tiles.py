"""How large a kernel's tiles are: edges, heads and channels at a time, and warps.

A tile [edges, heads, channels] is held in registers. Its heads and channels are a row that is read
at once, 16 bytes a thread; its edges are rows in flight, one after the other in the same threads,
so that sums over edges need no exchange between them.
"""

from typing import NamedTuple

import triton

__all__ = ["Tile", "heads_of_tile", "tile_for"]

# Rows that are gathered again and again should stay in the cache of the GPU: an H200 has 60 MB.
CACHE = 40_000_000

# The least part of a row that is worth a program of its own, in bytes: a line of the cache.
LINE = 128

# What the threads of a warp read at once, in bytes.
WARP = 32 * 16

# How often a row is gathered on average from which on it should stay in the cache.
OFTEN = 8

# Elements of a row at most, and of all tiles in one thread.
LONGEST_ROW = 1024
PER_THREAD = 64


class Tile(NamedTuple):
    edges: int
    warps: int


def heads_of_tile(heads: int, channels: int, itemsize: int, rows: int, edges: int) -> int:
    """Heads at a time, a power of two: all of them, unless that fills lanes with nothing, or rows
    would be too long, or too large together for the cache. Groups of heads are the slow axis of a
    launch."""
    width = triton.next_power_of_2(max(channels, 1))
    group = min(triton.next_power_of_2(max(heads, 1)), max(1, LONGEST_ROW // width))
    size = channels * itemsize
    often = edges >= OFTEN * rows
    while group > 1 and group // 2 * size >= LINE:
        if heads % group == 0 and not (often and rows * group * size > CACHE):
            break
        group //= 2
    return group


def tile_for(row: int, itemsize: int, tiles: int, light: bool) -> Tile:
    """A tile for rows of ``row`` elements, a power of two, of which a kernel holds ``tiles`` at
    once; ``light``: for rows of the graph of few edges."""
    warps = min(max(row * itemsize // WARP, 1), 8)
    room = 32 * warps * PER_THREAD // (2 if itemsize == 8 else 1) // triton.next_power_of_2(tiles)
    return Tile(min(max(room // row, 1), 16 if light else 64), warps)
