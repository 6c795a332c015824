"""Peers that few have installed: left out in words where they are not."""

import sys
from types import ModuleType

import pytest

from gat.bench import layer, optional, peers, plain, report
from gat.bench.case import Plan
from gat.bench.shape import Shape

TINY = Shape("gat", 2, 5, "tiny")


@pytest.fixture
def nothing(monkeypatch):
    """Neither package is there."""
    monkeypatch.setattr(optional, "find_spec", lambda name: None)


@pytest.mark.usefixtures("nothing")
@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("dgl", TINY, "is not installed (https://www.dgl.ai/"),
        ("turbo-gnn", TINY, "has GATv2's and dot-product attention only"),
        ("turbo-gnn", Shape("dot", 2, 32), "computes on a GPU only"),
        ("turbo-gnn", Shape("gatv2", 2, 5, device="cuda"), "takes 32, 64, 128, 256 channels a"),
        ("turbo-gnn", Shape("gatv2", 2, 32, device="cuda"), "is not installed (pip install --no-"),
        ("pyg-compiled", Shape(device="cuda"), "needs triton (pip install triton)"),
        ("torch", Shape(dtype="bfloat16"), "is left out: torch's sampled_addmm does not compute"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_why_a_peer_is_left_out(name, shape, reason):
    assert peers.PEERS[name].why_not(shape).startswith(reason)


def test_a_compiler_is_asked_for_where_code_is_made_for_the_cpu(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert optional.no_compiler(TINY) == "needs a C++ compiler; there is no no-such-compiler"
    monkeypatch.setenv("CXX", sys.executable)
    assert optional.no_compiler(TINY) == ""


def test_peers_that_are_always_there_are_never_left_out():
    assert plain.why_not(TINY) == ""
    for name in ("gat", "cpu", "triton", "blockwise", "reference", "pyg", "pyg-sorted"):
        assert peers.PEERS[name].why_not(Shape(device="cuda", dtype="float16")) == ""


def test_a_package_that_fails_to_load_says_how(monkeypatch, tmp_path):
    (tmp_path / "turbo_gnn.py").write_text("raise OSError('libcudart.so.12: no such file\\nmore')")
    monkeypatch.syspath_prepend(tmp_path)
    reason = optional.no_turbo(Shape("gatv2", 2, 32, device="cuda"))
    assert reason == (
        "cannot be imported: libcudart.so.12: no such file (pip install --no-build-isolation --pre "
        "turbo-gnn)"
    )


def test_a_dgl_without_cuda_is_left_out_on_a_gpu(monkeypatch):
    class Graph:
        def __init__(self, edges):
            self.edges = edges

        def to(self, device):
            if device == "cuda":
                raise Exception("Device API cuda is not enabled.\nmore")

    package = ModuleType("dgl")
    package.graph = Graph
    monkeypatch.setitem(sys.modules, "dgl", package)
    assert optional._dgl_refuses("cpu") == ""
    said = optional._dgl_refuses("cuda")
    assert said.startswith("has no build for cuda here: Device API cuda is not enabled. (https:")


@pytest.mark.usefixtures("nothing", "at_home")
def test_a_peer_that_is_absent_is_named_with_the_reason_and_the_others_are_measured():
    plan = Plan(("gat", "dgl"), repeats=1, threads=1, malloc=("kept",))
    (case,) = layer.measure_layer(TINY, plan).cases
    assert set(case.absent) == {"dgl"}
    assert set(case.checked.errors) == {"gat"}
    assert [figure.peer for figure in case.figures] == ["gat"]
    assert report.notes(case)[0].startswith("dgl is not installed (https://www.dgl")


@pytest.mark.usefixtures("nothing", "at_home")
def test_where_every_peer_is_absent_nothing_is_told_but_why():
    plan = Plan(("dgl",), repeats=1, threads=1, malloc=("kept",))
    (case,) = layer.measure_layer(TINY, plan).cases
    assert (case.figures, case.memory) == ([], [])
    assert report.notes(case)[1:] == ["nobody was left to be checked"]


@pytest.mark.usefixtures("at_home")
def test_a_compiled_peers_memory_is_not_its_compilers(monkeypatch):
    runs = []
    own = layer._once

    def counted(*what):
        run = own(*what)
        return lambda: runs.append(1) or run()

    monkeypatch.setattr(layer, "_once", counted)
    for name, count in (("pyg", 1), ("pyg-compiled", 2)):
        monkeypatch.setitem(peers.PEERS, "x", _without_compiler(name))
        runs.clear()
        layer.memory(TINY.to_dict(), "x")
        assert len(runs) == count


def _without_compiler(name):
    kind = peers.PEERS[name]
    return peers.Kind("x", peers.PEERS["pyg"].of, one_shape=kind.one_shape)
