"""Seconds: the peers in turn, so that a machine that slows down does so for all of them."""

import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.autograd import grad

from gat.errors import DoesNotFitError

__all__ = [
    "OneByOne",
    "Parts",
    "Run",
    "Sampler",
    "Taker",
    "backward_too",
    "median",
    "quiet",
    "take_turns",
    "untold",
]

# Seconds of each part of one run, in order; "together" is timed from outside.
Parts = dict[str, float]
Run = Callable[[], Parts]
# Takes so many samples at a turn.
Taker = Callable[[int], list[Parts]]

# A sample shorter than this is made of several runs: clocks and interrupts would show in it.
SHORTEST = 0.05


class Sampler:
    """Samples of a run; the first call warms up before, unless it is told how many ``loops`` make
    a sample."""

    def __init__(self, run: Run, loops: int = 0) -> None:
        self.run, self.loops = run, loops

    def __call__(self, count: int) -> list[Parts]:
        """``count`` samples: mean seconds of each part, and "together", which also counts letting
        go of what was computed."""
        return [self._sample() for _ in range(count)]

    def _sample(self) -> Parts:
        self.loops = self.loops or _loops(self.run)
        with quiet():
            start = time.perf_counter()
            parts = [self.run() for _ in range(self.loops)]
            whole = time.perf_counter() - start
        means = {part: statistics.fmean(each[part] for each in parts) for part in parts[0]}
        return {**means, "together": whole / self.loops}


class OneByOne:
    """Samples of a call on one item after another, ``each`` of them for a sample that is asked for;
    the first call warms up before."""

    def __init__(self, call: Callable[[Any], object], items: Sequence[Any], each: int) -> None:
        self.call, self.items, self.each = call, itertools.cycle(items), each
        self.warm = False

    def __call__(self, count: int) -> list[Parts]:
        if not self.warm:
            self.call(next(self.items))
            self.warm = True
        with quiet():
            return [self._sample(next(self.items)) for _ in range(count * self.each)]

    def _sample(self, item: Any) -> Parts:
        start = time.perf_counter()
        self.call(item)
        return {"together": time.perf_counter() - start}


def take_turns(
    samplers: Mapping[str, Taker], repeats: int, rounds: int | None = None
) -> dict[str, dict[str, list[float]]]:
    """``repeats`` samples of each, in as many rounds or in ``rounds``, of several samples each.

    Returns seconds: {name: {part: samples}}, without those that raised DoesNotFitError at any turn.
    """
    rounds = min(rounds or repeats, repeats)
    samples: dict[str, dict[str, list[float]]] = {name: {} for name in samplers}
    for done in range(rounds):
        count = repeats * (done + 1) // rounds - repeats * done // rounds
        for name in list(samples):
            try:
                taken = samplers[name](count)
            except DoesNotFitError:
                del samples[name]
                continue
            for parts in taken:
                for part, seconds in parts.items():
                    samples[name].setdefault(part, []).append(seconds)
    return samples


def backward_too(forward: Callable[[], Tensor], leaves: list[Tensor], grad_out: Tensor) -> Run:
    """A run of ``forward`` and its backward to ``leaves``, timed apart."""

    def run() -> Parts:
        start = time.perf_counter()
        out = forward()
        middle = time.perf_counter()
        grad(out, leaves, grad_out)
        return {"forward": middle - start, "backward": time.perf_counter() - middle}

    return run


def untold(call: Callable[[], object]) -> Parts:
    """A run of ``call``, of which only the whole counts."""
    call()
    return {}


def median(samples: list[float]) -> float:
    return statistics.median(samples)


def _loops(run: Run) -> int:
    """How many runs make a sample; the first, which warms up, tells enough of a long one."""
    for _ in range(2):
        start = time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        if seconds > 10 * SHORTEST:
            return 1
    return max(1, min(1000, round(SHORTEST / max(seconds, 1e-6))))


@contextmanager
def quiet() -> Iterator[None]:
    """Without the garbage collector, which has just been."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
