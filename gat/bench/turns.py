"""The peers' turns where each turn is a process of its own.

With freed memory kept, two large peers would not fit beside each other, and in one heap what one
leaves behind would be in the other's way.
"""

from functools import partial
from typing import Any

import torch

from gat.bench import process, timing
from gat.errors import DoesNotFitError

__all__ = ["take"]

# Turns of each peer; starting a process for every single sample would take longer than the samples.
ROUNDS = 3


def take(
    kind: str, what: dict[str, Any], names: list[str], repeats: int, rounds: int = ROUNDS
) -> dict[str, dict[str, list[float]]]:
    """Seconds of each peer that fits, as `timing.take_turns` returns them.

    A turn is the function ``samples`` of module ``kind``: its arguments are those of ``what``, the
    peer's ``name`` and the ``count`` of samples to take. rounds: turns of each peer.
    """
    takers = {name: partial(_turn, f"{kind}.samples", {**what, "name": name}) for name in names}
    return timing.take_turns(takers, repeats, rounds)


def _turn(function: str, given: dict[str, Any], count: int) -> list[timing.Parts]:
    """One peer's ``count`` samples.

    Memory that is kept falls to pieces run by run, so a peer that barely fits may not fit again:
    it gets a process for each sample then.
    """

    def run(count: int) -> list[timing.Parts]:
        arguments = {**given, "count": count}
        return process.run(function, arguments, threads=torch.get_num_threads(), malloc=None)

    try:
        return run(count)
    except DoesNotFitError:
        return [run(1)[0] for _ in range(count)]
