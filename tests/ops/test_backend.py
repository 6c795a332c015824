"""Backends: one asked for by name runs or says why not; only auto chooses."""

import types
import warnings

import pytest
import torch

import gat.ops
from gat.errors import BackendError, InputError
from gat.ops import additive_attention, backend, blockwise, cpu, dot_attention, segment_softmax
from tests.ops.inputs import CALLS, graph, inputs

CPU, GPU, META = torch.device("cpu"), torch.device("cuda"), torch.device("meta")


@pytest.fixture(autouse=True)
def _fresh_choice(monkeypatch):
    monkeypatch.setattr(backend, "_settled", {})
    monkeypatch.setattr(backend, "_modules", {})
    # Triton's kernels want a GPU here.
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


def with_library(monkeypatch, available, operators=tuple(CALLS)):
    """As if the compiled library were there or not, with kernels for these operators."""
    library = types.ModuleType("gat.ops.library")
    kernels = {name: lambda *_, name=name, **__: f"kernel of {name}" for name in operators}
    library.cpu = library.triton = types.SimpleNamespace(**kernels)
    known = {"gat.ops.library": library, "gat.ops.blockwise": blockwise}
    imports = types.SimpleNamespace(import_module=known.__getitem__)
    monkeypatch.setattr(backend, "importlib", imports)
    monkeypatch.setattr(backend, "find_spec", lambda name: name in known or None)
    status = cpu.Status(available, reason="it is not there", remedy="build it")
    monkeypatch.setattr(cpu, "status", lambda: status)
    monkeypatch.setattr(cpu, "notice_if_missing", lambda: warnings.warn("not there", stacklevel=1))


def test_auto_takes_the_library_where_it_serves(monkeypatch):
    with_library(monkeypatch, True, ["additive", "aggregate"])
    monkeypatch.setattr(cpu, "notice_if_missing", lambda: True)
    assert backend.implementation("additive", None, CPU)() == "kernel of additive"
    assert backend.implementation("dot", None, CPU) is blockwise.dot
    assert backend.implementation("additive", None, META) is blockwise.additive


def test_auto_takes_blocks_of_edges_without_the_library_and_says_so(monkeypatch):
    with_library(monkeypatch, False)
    with pytest.warns(UserWarning, match="not there"):
        assert backend.implementation("additive", None, CPU) is blockwise.additive
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backend.implementation("additive", None, META) is blockwise.additive


def test_library_asked_for_by_name_runs_or_says_why_not(monkeypatch):
    with_library(monkeypatch, False)
    with pytest.raises(BackendError, match=r"'cpu' cannot run dot attention on cpu: .*build it"):
        backend.implementation("dot", "cpu", CPU)
    with_library(monkeypatch, True, ["dot"])
    assert backend.implementation("dot", "cpu", CPU)() == "kernel of dot"
    with pytest.raises(BackendError, match=r"'cpu' cannot run aggregate on cpu: .* no such"):
        backend.implementation("aggregate", "cpu", CPU)
    with pytest.raises(BackendError, match="on meta: it computes on the CPU only; move the"):
        backend.implementation("dot", "cpu", META)


def test_auto_takes_tritons_kernels_on_a_gpu_and_says_where_triton_is_missing(monkeypatch):
    with_library(monkeypatch, True, ["additive"])
    known = ("triton", "gat.ops.library", "gat.ops.blockwise")
    monkeypatch.setattr(backend, "find_spec", lambda name: name in known or None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backend.implementation("additive", None, GPU)() == "kernel of additive"
        assert backend.implementation("segment_entmax", None, GPU) is blockwise.segment_entmax
    monkeypatch.setattr(backend, "_settled", {})
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    backend.warn_once.cache_clear()
    with pytest.warns(UserWarning, match="triton is not installed .* more slowly"):
        assert backend.implementation("additive", None, GPU) is blockwise.additive
    with pytest.raises(BackendError, match="'triton' cannot run dot attention on cuda: triton is"):
        backend.implementation("dot", "triton", GPU)


def test_triton_on_the_cpu_is_refused_unless_it_is_interpreted(monkeypatch):
    pytest.importorskip("triton")
    sentence = "on cpu: it computes on a GPU; move the tensors, .* or set TRITON_INTERPRET=1"
    with pytest.raises(BackendError, match=sentence):
        backend.implementation("dot", "triton", CPU)
    with pytest.raises(BackendError, match=r"segment_entmax on cuda: .* no such kernel"):
        backend.implementation("segment_entmax", "triton", GPU)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert backend.implementation("dot", "triton", CPU).__self__.scheduled


def test_what_was_settled_is_not_asked_again(monkeypatch):
    first = backend.implementation("gatv2", "blockwise", CPU)

    def refuse(*_):
        raise AssertionError("asked again")

    monkeypatch.setattr(backend, "why_not", refuse)
    assert backend.implementation("gatv2", "blockwise", CPU) is first


def test_first_call_of_a_process_may_be_a_compiled_one():
    on = graph("random")
    _ = on.edge_index
    scores = torch.randn(211, 2)
    run = torch.compile(segment_softmax, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(run(on, scores), segment_softmax(on, scores, backend="reference"))


@pytest.mark.parametrize("call", CALLS)
def test_backend_by_name_runs_or_says_why_not(call):
    on = graph("random")
    t = inputs(call, on, 2, 3)
    expected = CALLS[call](on, **t, backend="reference")
    for name in ("auto", "blockwise"):
        torch.testing.assert_close(CALLS[call](on, **t, backend=name), expected)
    with pytest.raises(BackendError, match=f"backend 'triton' cannot run {call}.* on cpu: "):
        CALLS[call](on, **t, backend="triton")


def test_use_backend_holds_for_its_block_and_as_a_function():
    on = graph("random")
    t = inputs("dot", on, 2, 3)
    with gat.ops.use_backend("triton"), pytest.raises(BackendError, match="'triton'"):
        dot_attention(on, **t)
    assert dot_attention(on, **t).shape == (31, 2, 3)
    choice = gat.ops.use_backend("triton")
    with pytest.raises(BackendError):
        dot_attention(on, **t)
    assert dot_attention(on, **t, backend="reference").shape == (31, 2, 3)
    choice.__exit__()
    assert dot_attention(on, **t).shape == (31, 2, 3)
    with pytest.raises(InputError, match="backend is 'gpu'"):
        gat.ops.use_backend("gpu")


def test_choice_changes_what_compiled_code_runs():
    on = graph("random")
    _ = on.edge_index
    t = inputs("additive", on, 2, 3)
    run = torch.compile(additive_attention, fullgraph=True, backend="aot_eager")
    out = run(on, **t)
    with gat.ops.use_backend("reference"):
        torch.testing.assert_close(run(on, **t), out)
