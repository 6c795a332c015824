"""Tiles that were measured: with GAT_TILES=FILE in the environment, the fastest of a few.

A call of a new kind (kernel, heads, channels, dtype, class of degrees, GPU; never how many nodes or
edges) is timed with each, and the choice kept in FILE, which later runs read. Without it tiles are
reckoned (`tiles.py`): measured anew, another tile may win, and its sums have other last bits.
"""

import functools
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import triton

from gat.errors import InputError
from gat.ops.triton.tiles import Tile

__all__ = ["choose"]

VARIABLE = "GAT_TILES"
Run = Callable[[Tile], None]

# Below so many edges times elements of a row a launch is too short to be told from another.
LEAST_WORK = 1 << 27
RUNS = 5
# Launches timed together: of one alone the host's part would show.
LAUNCHES = 10


def choose(key: tuple, reckoned: Tile, run: Run, work: int, device: torch.device) -> Tile:
    """The tile for calls of a kind, ``key``; ``run`` launches one of them, of ``work`` elements."""
    if VARIABLE not in os.environ:
        return reckoned
    file = Path(os.environ[VARIABLE])
    known = _read(file)
    name = " ".join(map(str, (_gpu(device), triton.__version__, *key)))
    if name in known:
        return known[name]
    if work < LEAST_WORK or device.type != "cuda":
        return reckoned
    with torch.cuda.device(device):
        # Timing waits for the GPU, which a CUDA graph that is being captured does not allow.
        if torch.cuda.is_current_stream_capturing():
            return reckoned
        known[name] = min(_candidates(reckoned), key=lambda tile: _seconds(run, tile))
    _write(file, known)
    return known[name]


def _candidates(tile: Tile) -> list[Tile]:
    """A few tiles about the reckoned one, which comes first."""
    more = [Tile(tile.edges * 2, tile.warps), Tile(tile.edges // 2, tile.warps)]
    more += [Tile(tile.edges, tile.warps * 2), Tile(tile.edges * 2, tile.warps * 2)]
    return [tile, *(t for t in more if t.edges >= 1 and t.warps <= 8)]


def _seconds(run: Run, tile: Tile) -> float:
    """The median of some runs after one, which compiles; infinite for a tile that does not fit."""
    try:
        run(tile)
    except triton.runtime.errors.OutOfResources:
        return float("inf")
    taken = []
    for _ in range(RUNS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(LAUNCHES):
            run(tile)
        end.record()
        end.synchronize()
        taken.append(begin.elapsed_time(end))
    return statistics.median(taken)


@functools.cache
def _gpu(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@functools.cache
def _read(file: Path) -> dict[str, Tile]:
    """What was measured before; kept, and added to by `choose`."""
    if not file.exists():
        return {}
    try:
        return {name: Tile(**tile) for name, tile in json.loads(file.read_text()).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file}, named by {VARIABLE}, holds no measured tiles ({error}); delete it to measure "
            f"anew, or unset {VARIABLE}"
        ) from error


def _write(file: Path, known: dict[str, Tile]) -> None:
    text = json.dumps({name: tile._asdict() for name, tile in sorted(known.items())}, indent=1)
    with tempfile.NamedTemporaryFile("w", dir=file.absolute().parent, delete=False) as part:
        part.write(text + "\n")
    os.replace(part.name, file)
