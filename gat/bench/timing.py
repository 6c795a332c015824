"""Seconds: the peers in turn, so that a machine that slows down does so for all of them."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor
from torch.autograd import grad

__all__ = ["Parts", "Run", "backward_too", "median", "take_turns"]

# Seconds of each part of one run, in order; "together" is timed from outside.
Parts = dict[str, float]
Run = Callable[[], Parts]

# A sample shorter than this is made of several runs: clocks and interrupts would show in it.
SHORTEST = 0.05


def take_turns(runs: dict[str, Run], repeats: int) -> dict[str, dict[str, list[float]]]:
    """``repeats`` samples of each part of each run, in rounds; one run of each warms up before.

    Returns seconds: {name: {part: samples}}, with "together", which also counts letting go of
    what was computed.
    """
    loops = {name: _loops(run) for name, run in runs.items()}
    samples: dict[str, dict[str, list[float]]] = {name: {} for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            with _quiet():
                start = time.perf_counter()
                parts = [run() for _ in range(loops[name])]
                whole = time.perf_counter() - start
            for part in parts[0]:
                mean = statistics.fmean(each[part] for each in parts)
                samples[name].setdefault(part, []).append(mean)
            samples[name].setdefault("together", []).append(whole / loops[name])
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


def median(samples: list[float]) -> float:
    return statistics.median(samples)


def _loops(run: Run) -> int:
    """How many runs make a sample."""
    run()
    start = time.perf_counter()
    run()
    return max(1, min(1000, round(SHORTEST / max(time.perf_counter() - start, 1e-6))))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the garbage collector, which has just been."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
