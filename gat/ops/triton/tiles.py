"""How large a kernel's tiles are: edges, heads and channels at a time, and warps.

A tile [edges, heads, channels] is held in registers. Its heads and channels are a row that is read
at once, 16 bytes a thread; its edges are rows in flight, one after the other in the same threads,
so that sums over edges need no exchange between them.
"""

from typing import NamedTuple

__all__ = ["Tile", "ceil_div", "heads_of_tile", "power_of_two", "tile_for"]

# Rows that are gathered again and again should stay in the cache of the GPU: an H200 has 60 MB.
CACHE = 40_000_000

# What the threads of a warp read at once, in bytes. Shorter rows leave a warp several edges at a
# time, which takes it more instructions a byte than memory leaves time for.
WARP = 32 * 16

# How often a row is gathered on average from which on it should stay in the cache.
OFTEN = 8

# Elements of a row at most, and of all tiles in one thread.
LONGEST_ROW = 1024
PER_THREAD = 64


def power_of_two(number: int) -> int:
    """The least that is not below; of Triton's own function a call takes longer than all else here
    together."""
    return 1 << max(number - 1, 0).bit_length()


def ceil_div(number: int, by: int) -> int:
    return -(-number // by)


class Tile(NamedTuple):
    edges: int
    warps: int


def heads_of_tile(heads: int, channels: int, itemsize: int, rows: int, edges: int) -> int:
    """Heads at a time, a power of two; groups of heads are the slow axis of a launch.

    All of them, unless that leaves lanes without a head, makes rows too long, or fewer keep rows
    that are gathered often in the cache.
    """
    size = max(channels * itemsize, 1)
    most = min(power_of_two(heads), max(1, LONGEST_ROW // power_of_two(channels)))
    powers = [1 << power for power in range(most.bit_length())]
    groups = [group for group in powers if group * size >= WARP] or [most]
    best = min(groups, key=lambda group: (ceil_div(heads, group) * group, -group))
    if edges >= OFTEN * rows and rows * best * size > CACHE:
        fitting = [group for group in groups if rows * group * size <= CACHE]
        return max(fitting, default=best)
    return best


def tile_for(row: int, itemsize: int, tiles: int, light: bool) -> Tile:
    """A tile for rows of ``row`` elements, a power of two, of which a kernel holds ``tiles`` at
    once; ``light``: for rows of the graph of few edges."""
    warps = min(max(row * itemsize // WARP, 1), 8)
    room = 32 * warps * PER_THREAD // (2 if itemsize == 8 else 1) // power_of_two(tiles)
    return Tile(min(max(room // row, 1), 16 if light else 64), warps)
