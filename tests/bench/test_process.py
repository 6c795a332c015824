"""Processes of their own: malloc mode and threads really set, errors and shortages said here."""

import os
import subprocess
import sys

import pytest
import torch

from gat import machine
from gat.bench import child, memory, process, timing, turns
from gat.errors import DoesNotFitError, InputError

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="malloc's settings are of glibc")


@LINUX
@pytest.mark.parametrize("mode", ["default", "kept"])
def test_the_malloc_mode_is_set_in_the_child_and_shows_in_page_faults(monkeypatch, mode):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    found = process.run("child.probe", {"megabytes": 48}, threads=2, malloc=mode)
    assert found["malloc"] == process.MALLOC[mode]
    assert found["threads"] == 2
    if mode == "kept":
        assert found["faults"] < 1
    else:
        assert found["faults"] > 0.4


def test_a_childs_error_is_raised_here_as_it_was_there():
    arguments = {"shape": {"graph": "nowhere"}, "names": ["gat"]}
    with pytest.raises(InputError, match="there is no graph 'nowhere' to measure"):
        process.run("layer.check", arguments, threads=1)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="limits are set on Linux")
def test_what_does_not_fit_fails_in_words():
    with pytest.raises(
        DoesNotFitError, match=r"child.fill needs more memory than is free \(.* leave"
    ):
        process.run("child.fill", {"gibibytes": 1 << 20}, threads=1)


@pytest.mark.parametrize(
    ("code", "error", "sentence"),
    [
        (-9, DoesNotFitError, "was killed \\(out of memory\\?\\); measure a smaller graph"),
        (137, DoesNotFitError, "was killed"),
        (1, RuntimeError, "ended with 1; see the lines above"),
        (-2, KeyboardInterrupt, None),
    ],
)
def test_a_child_that_ends_without_an_answer(monkeypatch, code, error, sentence):
    ended = subprocess.CompletedProcess([], code)
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: ended)
    with pytest.raises(error, match=sentence):
        process.run("layer.times", {}, threads=1)


def test_another_malloc_mode_is_refused():
    with pytest.raises(InputError, match="malloc is 'jemalloc'; expected default or kept"):
        process.run("child.probe", {}, threads=1, malloc="jemalloc")


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="needs Linux")
def test_memory_sees_a_known_allocation_its_peak_and_not_what_was_there():
    there = torch.ones(24 << 18)

    def run():
        kept = torch.ones(32 << 18)
        gone = torch.ones(32 << 18)
        del gone
        return kept

    peak = memory.peak_over(run)
    assert peak.exact
    assert 63 < peak.bytes / 2**20 < 72
    assert memory.resident() >= there.numel() * 4


def test_where_the_peak_cannot_be_set_back_the_figure_is_a_bound(monkeypatch):
    monkeypatch.setattr(memory, "_reset_peak", lambda: False)
    peak = memory.peak_over(lambda: torch.ones(32 << 18))
    assert not peak.exact
    assert peak.bytes / 2**20 > 31


def test_free_memory_is_told_and_written_for_people():
    free = machine.available()
    assert free is None or free > 2**20
    assert machine.gib(3 * 2**29) == "1.50 GiB"


def test_peers_take_turns_and_every_sample_is_kept(monkeypatch):
    monkeypatch.setattr(timing, "SHORTEST", 0.0)
    order = []

    def run(name):
        def once():
            order.append(name)
            return {"forward": 0.5, "backward": 0.25}

        return once

    samplers = {name: timing.Sampler(run(name)) for name in "ab"}
    samples = timing.take_turns(samplers, repeats=3)
    # One run each warms up, and is long enough to say that one makes a sample.
    assert order == [*"aa", *"bb", *"abab"]
    assert samples["a"]["forward"] == [0.5] * 3
    assert samples["b"]["backward"] == [0.25] * 3
    assert len(samples["b"]["together"]) == 3


def test_a_short_run_is_repeated_within_a_sample(monkeypatch):
    monkeypatch.setattr(timing, "SHORTEST", 0.01)
    count = 0

    def once():
        nonlocal count
        count += 1
        return {"all": 1.0}

    timing.take_turns({"a": timing.Sampler(once)}, repeats=1)
    assert count > 10


def test_turns_of_several_samples():
    order = []

    def taker(name):
        def take(count):
            order.append((name, count))
            return [{"all": float(len(order))}] * count

        return take

    samples = timing.take_turns({name: taker(name) for name in "ab"}, repeats=7, rounds=3)
    assert order == [("a", 2), ("b", 2), ("a", 2), ("b", 2), ("a", 3), ("b", 3)]
    assert samples["a"]["all"] == [1.0, 1.0, 3.0, 3.0, 5.0, 5.0, 5.0]
    assert len(timing.take_turns({"a": taker("a")}, repeats=2, rounds=3)["a"]["all"]) == 2


def test_a_peer_that_does_not_fit_at_a_later_turn_is_left_out_and_the_others_go_on():
    order = []

    def taker(name):
        def take(count):
            order.append(name)
            if name == "a" and order.count("a") == 2:
                raise DoesNotFitError("memory in pieces")
            return [{"all": 0.5}] * count

        return take

    samples = timing.take_turns({name: taker(name) for name in "ab"}, repeats=3)
    assert order == [*"abab", "b"]
    assert samples == {"b": {"all": [0.5] * 3}}


def test_a_peer_that_fits_only_once_gets_a_process_for_each_sample(monkeypatch):
    counts = []

    def run(function, arguments, **how):
        counts.append(arguments["count"])
        if arguments["count"] > most:
            raise DoesNotFitError("memory in pieces")
        return [{"all": 0.5}] * arguments["count"]

    monkeypatch.setattr(process, "run", run)
    most = 1
    assert turns._turn("layer.samples", {"name": "a"}, 3) == [{"all": 0.5}] * 3
    assert counts == [3, 1, 1, 1]
    most = 0
    with pytest.raises(DoesNotFitError, match="in pieces"):
        turns._turn("layer.samples", {"name": "a"}, 3)


@LINUX
def test_a_turn_has_the_malloc_mode_of_the_process_that_takes_it(monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "7")
    found = process.run("child.probe", {"megabytes": 1}, threads=1, malloc=None)
    assert found["malloc"] == {"MALLOC_MMAP_MAX_": "7"}


def test_probe_tells_settings_and_threads():
    assert child.probe(megabytes=1)["threads"] == torch.get_num_threads()
