"""Measuring on a GPU, as far as there need be none: the order of things, and what is refused."""

import json

import pytest
import torch

from gat.bench import gpu, layer
from gat.bench.case import Plan
from gat.bench.record import Gpu
from gat.bench.shape import Shape
from gat.errors import BackendError, DoesNotFitError, InputError

TINY = Shape("gat", 2, 5, "tiny")


@pytest.fixture
def log(monkeypatch):
    """What is done, in order, with events and an allocator of this fixture's own: one millisecond
    passes between two marks."""
    done, marks = [], iter(range(10**9))

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = next(marks)
            done.append("mark")

        def synchronize(self):
            done.append("wait")

        def elapsed_time(self, end):
            return float(end.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("empty"))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: done.append("wait"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (1 << 16, 1 << 20))
    monkeypatch.setattr(gpu, "flusher", lambda: lambda: done.append("flush"))
    monkeypatch.setattr(gpu, "WARM_SECONDS", 0.0)
    return done


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("measure", [layer.measure_layer, layer.measure_scaling])
def test_a_gpu_that_is_not_there_is_refused_before_anything_else(at_home, measure):
    # Neither the peer nor the graph is known either.
    shape = Shape("gat", 2, 5, "corra", device="cuda")
    with pytest.raises(BackendError, match=r"device 'cuda' was asked for, and torch .* no GPU"):
        measure(shape, Plan(("numba",), threads=1, malloc=("default",)))
    assert at_home == []


def test_a_gpu_has_one_malloc_mode(monkeypatch, at_home):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for malloc in (("default", "kept"), ("kept",), ()):
        with pytest.raises(InputError, match=r"on cuda; expected default alone: the C library's"):
            layer.measure_layer(Shape(device="cuda"), Plan(("gat",), threads=1, malloc=malloc))
    assert at_home == []


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"device": "tpu"}, "device is 'tpu'; expected one of 'cpu', 'cuda'"),
        ({"dtype": "int8"}, "dtype is 'int8'; expected one of 'float32', 'bfloat16', 'float16'"),
    ],
)
def test_a_shape_names_what_it_does_not_know(values, sentence):
    with pytest.raises(InputError, match=sentence):
        Shape(**values)


def test_a_shape_says_its_device_and_dtype_where_they_are_not_the_usual_ones():
    assert set(Shape().to_dict()) == {"operator", "heads", "channels", "graph", "fraction"}
    assert str(Shape("gat", 2, 5, "tiny")) == "gat 2x5 on tiny"
    on_gpu = Shape("gat", 2, 5, "tiny", device="cuda")
    assert str(on_gpu) == "gat 2x5 on tiny, float32 on cuda"
    assert on_gpu.to_dict()["device"] == "cuda"
    narrow = Shape("gat", 2, 5, "tiny", dtype="bfloat16")
    assert str(narrow) == "gat 2x5 on tiny, bfloat16 on cpu"
    for shape in (Shape(), on_gpu, narrow):
        assert Shape(**json.loads(json.dumps(shape.to_dict()))) == shape


def test_a_run_flushes_then_marks_each_part_and_waits_once(log):
    x = torch.ones(3, requires_grad=True)

    def forward():
        log.append("forward")
        out = x * 2
        out.register_hook(lambda grad: log.append("backward"))
        return out

    parts = gpu.with_backward(forward, [x], torch.ones(3), gpu.flusher())()
    assert log == ["flush", "mark", "forward", "mark", "backward", "mark", "wait"]
    assert parts == {"forward": 1e-3, "backward": 1e-3, "together": 2e-3}


def test_every_turn_warms_up_and_leaves_no_memory_behind(log):
    made = []

    def run():
        log.append("run")
        return {"together": float(log.count("run"))}

    sampler = gpu.Sampler(lambda: made.append("made") or run)
    for turn in range(2):
        log.clear()
        samples = sampler(2)
        assert log == ["run"] * (gpu.WARM_RUNS + 2 * gpu.RUNS) + ["empty"], turn
        # None of those that warmed up is among them.
        assert samples[0] == {"together": gpu.WARM_RUNS + 1}
        assert len(samples) == 2 * gpu.RUNS
    assert made == ["made"]


def test_a_gpu_that_was_idle_is_kept_busy_for_a_while(monkeypatch):
    monkeypatch.setattr(gpu, "WARM_SECONDS", 0.05)
    runs = []
    gpu._warm(lambda: runs.append(1))
    assert len(runs) > 100


def test_a_peer_that_does_not_fit_in_the_gpus_memory_is_told_apart_from_a_bug(log):
    def raising(sentence):
        def prepare():
            raise RuntimeError(sentence)

        return gpu.Sampler(prepare)

    with pytest.raises(DoesNotFitError, match="CUDA out of memory"):
        raising("CUDA out of memory. Tried to allocate 20.00 GiB.\nmore")(1)
    with pytest.raises(RuntimeError, match="an illegal memory access"):
        raising("CUDA error: an illegal memory access was encountered")(1)
    assert log == ["empty", "empty"]


def test_peak_memory_is_over_what_was_held_when_the_run_began(monkeypatch, log):
    held = {"now": 1000, "peak": 5000}

    def reset():
        log.append("reset")
        held["peak"] = held["now"]

    def run():
        log.append("run")
        held["now"], held["peak"] = 1300, 1700

    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: held["now"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: held["peak"])
    assert gpu.peak_over(run) == (700, True, 1700)
    assert log == ["wait", "reset", "run", "wait"]


@pytest.mark.parametrize(("cache", "size"), [(60 << 20, 512 << 20), (200 << 20, 800 << 20)])
def test_what_is_flushed_is_several_times_the_cache(monkeypatch, cache, size):
    class Properties:
        L2_cache_size = cache

    asked = []
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    real = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *n, **how: asked.append((*n, how)) or real(3))
    gpu.flusher()()
    assert asked == [(size, {"dtype": torch.uint8, "device": "cuda"})]


@pytest.mark.usefixtures("log")
def test_bandwidth_counts_what_is_read_and_written(monkeypatch):
    # A quarter of 64 KiB, half of it read and half of it written, in the fixture's millisecond.
    assert gpu.copy_bandwidth("cpu") == pytest.approx((1 << 14) / 1e-3)
    rows = torch.arange(8).repeat(2)
    assert gpu.gather_bandwidth(rows, 8, 4, torch.bfloat16) == pytest.approx(16 * 4 * 4 / 1e-3)
    # Of more rows than may be moved, the first ones.
    monkeypatch.setattr(gpu, "MOVED", 160)
    assert gpu.gather_bandwidth(rows, 8, 4, torch.bfloat16) == pytest.approx(10 * 4 * 4 / 1e-3)


def test_every_timed_copy_finds_a_flushed_cache(log):
    gpu.copy_bandwidth("cpu", repeats=4)
    assert log == ["flush", "mark", "mark", "wait"] * (gpu.WARM_RUNS + 4)


def test_peers_take_turns_in_one_process_and_the_bandwidth_comes_last(log):
    found = layer._times_on_gpu(TINY, ["gat", "pyg"], 7)
    assert list(found["samples"]) == ["gat", "pyg"]
    for parts in found["samples"].values():
        assert set(parts) == {"forward", "backward", "together"}
        assert all(len(samples) == 7 * gpu.RUNS for samples in parts.values())
    assert found["bandwidth"]["floor_at"] == "copied"
    # Two peers in three turns each, and nothing but the bandwidth after the last of them.
    assert log.count("empty") == 6
    assert log[len(log) - 1 - log[::-1].index("empty") + 1] == "flush"
    # A run of a peer has three marks, one of the bandwidth two.
    runs = 2 * (7 * gpu.RUNS + 3 * gpu.WARM_RUNS)
    assert log.count("mark") == 3 * runs + 2 * 2 * (20 + gpu.WARM_RUNS)
    assert log.count("flush") == runs + 2 * (20 + gpu.WARM_RUNS)


def test_a_peer_without_room_is_left_out_and_the_others_go_on(monkeypatch, log):
    own = layer._parts

    def parts(operator, name, inputs):
        if name == "pyg":
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return own(operator, name, inputs)

    monkeypatch.setattr(layer, "_parts", parts)
    assert list(layer._times_on_gpu(TINY, ["pyg", "gat"], 1)["samples"]) == ["gat"]


def test_memory_on_a_gpu_is_of_a_second_run(monkeypatch, log):
    runs = []
    own = layer._once

    def counted(*what):
        run = own(*what)
        return lambda: runs.append(1) or run()

    monkeypatch.setattr(layer, "_once", counted)
    for name, value in (("memory_allocated", 64), ("max_memory_allocated", 96)):
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    resets = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: resets.append(len(runs)))
    found = layer._memory_on_gpu(TINY, "gat")
    assert found == {"bytes": 32, "inputs": 64, "exact": True}
    assert (resets, len(runs)) == ([1], 2)


def test_the_gpu_and_its_software_are_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(gpu.shutil, "which", lambda name: None)
    found = Gpu(**gpu.told())
    assert (found.name, found.cuda, found.driver) == ("NVIDIA H200", "13.0", None)


@pytest.mark.parametrize(
    ("script", "version"),
    [("echo 580.159.03", "580.159.03"), ("true", None), ("exit 9", None)],
)
def test_the_driver_is_what_nvidia_smi_says(monkeypatch, tmp_path, script, version):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(gpu.shutil, "which", lambda name: str(program))
    assert gpu._driver() == version


def test_a_measurement_of_the_cpu_holds_itself_to_free_memory_and_of_a_gpu_does_not(monkeypatch):
    seen = []
    monkeypatch.setattr("gat.bench.process.run", lambda *what, held=True, **how: seen.append(held))
    for device in ("cpu", "cuda"):
        Plan(("gat",), threads=1, malloc=("default",), device=device)._run("layer.check", {})
    assert seen == [True, False]
