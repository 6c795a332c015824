"""Copy and gather bandwidth: plausible numbers, and the sentence where they cannot be had."""

from types import SimpleNamespace

import pytest
import torch

from gat.errors import BackendError
from gat.ops import cpu
from gat.ops.cpu import bandwidth


@pytest.fixture
def compiled():
    if not (cpu.status().available and hasattr(cpu.library(), "gat_cpu_gather")):
        pytest.skip(f"the compiled library cannot measure bandwidth: {cpu.status()}")


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("threads", [1, 2])
def test_bandwidth_lies_between_a_disk_and_a_dream(threads):
    rows = torch.randint(1000, (20_000,))
    read = bandwidth.gather_bandwidth(rows, 1000, 17, threads, repeats=2)
    copied = bandwidth.copy_bandwidth(threads, megabytes=8, repeats=2)
    assert 1e7 < read < 1e13
    assert 1e7 < copied < 1e13


@pytest.mark.usefixtures("compiled")
def test_what_is_timed_is_done():
    gather = bandwidth._function("gat_cpu_gather", bandwidth.ctypes.c_float)
    table, rows = torch.arange(21.0).view(7, 3), torch.tensor([6, 0, 2], dtype=torch.int32)
    count = bandwidth.ctypes.c_int64
    for threads in (1, 2, 5):
        total = gather(threads, count(3), count(3), bandwidth._at(rows), bandwidth._at(table))
        assert total == table[rows.long()].sum()
        target = torch.zeros(21)
        copy = bandwidth._function("gat_cpu_copy", bandwidth.ctypes.c_double)
        assert copy(threads, count(21), bandwidth._at(table), bandwidth._at(target)) == 20
        assert torch.equal(target, table.flatten())
    assert gather(2, count(0), count(3), bandwidth._at(rows), bandwidth._at(table)) == 0


@pytest.mark.parametrize(
    ("library", "reason"),
    [(None, "it was not built"), (SimpleNamespace(), "the library was built before it could")],
    ids=["absent", "older"],
)
def test_without_the_library_it_says_how_to_get_it(monkeypatch, library, reason):
    monkeypatch.setattr(cpu, "library", lambda: library)
    monkeypatch.setattr(cpu, "status", lambda: cpu.Status(False, reason="it was not built"))
    with pytest.raises(BackendError, match=f"cannot be measured: {reason}; install a C"):
        bandwidth.copy_bandwidth(1)
