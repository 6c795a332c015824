"""The compiled kernels under threads and processes: the same bits, and nothing hangs or crashes."""

import multiprocessing
import os
import threading

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from gat.graph import Graph
from gat.ops import cpu
from tests.ops.inputs import CALLS, OPERATORS, inputs

pytestmark = pytest.mark.skipif(not cpu.status().available, reason=str(cpu.status()))

HEADS, CHANNELS = 4, 16
SECONDS = 30


@pytest.fixture(scope="module")
def large() -> Graph:
    """A graph of many parts of work: see PART_WORK in parallel.h. A hub, nodes without edges."""
    generator = torch.Generator().manual_seed(5)
    source, target = torch.randint(3000, (2, 30_000), generator=generator)
    target[:4000] = 7
    source[4000:8000] = 11
    target[target > 2900] = 3
    return Graph.from_edge_index(torch.stack([source, target]), 3000)


@pytest.fixture
def threads():
    """Set torch's number of threads, for the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def draw(call: str, on: Graph) -> tuple[dict, dict]:
    torch.manual_seed(9)
    t = inputs(call, on, HEADS, CHANNELS, torch.float32)
    return t, {"dropout": 0.3, "seed": 4, "return_weights": True} if call in OPERATORS else {}


def run(call: str, on: Graph, drawn: tuple[dict, dict] | None = None) -> list[torch.Tensor]:
    """Outputs and gradients, of the same inputs at every call."""
    t, options = drawn or draw(call, on)
    leaves = {k: v.detach().requires_grad_() for k, v in t.items()}
    result = CALLS[call](on, **leaves, **options, backend="cpu")
    outputs = result if isinstance(result, tuple) else (result,)
    grads = torch.autograd.grad([x.sum() for x in outputs], list(leaves.values()))
    return [*(x.detach() for x in outputs), *grads]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("call", CALLS)
def test_the_same_bits_in_twenty_runs_of_one_and_of_two_threads(call, large, threads):
    threads(1)
    first = run(call, large)
    assert same(first, run(call, large))
    threads(2)
    for _ in range(20):
        assert same(first, run(call, large))


@pytest.mark.parametrize("call", CALLS)
def test_the_same_bits_with_more_threads_than_parts_or_cores(call, large, threads):
    small = Graph.from_edge_index(torch.randint(31, (2, 211)), 31)
    for on in (large, small):
        threads(1)
        first = run(call, on)
        threads(7)
        assert same(first, run(call, on))


def test_the_large_graph_is_right_too(large, threads):
    """Where a row is cut from its neighbours, and sums over parts are added up."""
    threads(2)
    for call in CALLS:
        t, options = draw(call, large)
        exact = {k: v.double().requires_grad_() for k, v in t.items()}
        found = []
        for backend in ("cpu", "reference"):
            result = CALLS[call](large, **exact, **options, backend=backend)
            outputs = result if isinstance(result, tuple) else (result,)
            grads = torch.autograd.grad([x.square().sum() for x in outputs], list(exact.values()))
            found.append([*outputs, *grads])
        torch.testing.assert_close(*found, msg=lambda text, call=call: f"{call}: {text}")


def test_four_python_threads_at_once(large, threads):
    threads(2)
    drawn = {call: draw(call, large) for call in CALLS}
    expected = {call: run(call, large, drawn[call]) for call in CALLS}
    wrong = []

    def work(calls):
        torch.set_num_threads(2)
        for call in calls:
            if not same(run(call, large, drawn[call]), expected[call]):
                wrong.append(call)

    order = list(CALLS)
    workers = [
        threading.Thread(target=work, args=(order[k:] + order[:k],), daemon=True) for k in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(SECONDS)
    assert not any(worker.is_alive() for worker in workers)
    assert wrong == []


# Forked children ------------------------------------------------------------------------------


def forward(call: str, on: Graph, drawn: tuple[dict, dict]) -> torch.Tensor:
    t, options = drawn
    result = CALLS[call](on, **t, **options, backend="cpu")
    return result[0] if isinstance(result, tuple) else result


def _in_a_child(call, on, drawn, expected, right):
    # torch still says two, though the parent's threads are gone; its own large operations hang.
    assert torch.get_num_threads() == 2
    out = forward(call, on, drawn)
    torch.set_num_threads(1)
    if torch.equal(out, expected):
        right.set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("call", OPERATORS)
def test_a_forked_child_computes_after_its_parent_did_in_parallel(call, large, threads):
    threads(2)
    drawn = draw(call, large)
    expected = forward(call, large, drawn)
    context = multiprocessing.get_context("fork")
    right = context.Event()
    child = context.Process(target=_in_a_child, args=(call, large, drawn, expected, right))
    child.start()
    child.join(SECONDS)
    hangs = child.is_alive()
    child.kill()
    assert not hangs
    assert (child.exitcode, right.is_set()) == (0, True)
    # And the parent goes on.
    assert torch.equal(forward(call, large, drawn), expected)


class Attended(Dataset):
    """A data set that computes attention, forward and backward, for each of its entries."""

    def __init__(self, on: Graph) -> None:
        self.on = on

    def __len__(self) -> int:
        return 4

    def __getitem__(self, number: int) -> torch.Tensor:
        return run("gatv2", self.on)[number]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_data_loaders_workers_compute(large, threads):
    threads(2)
    expected = run("gatv2", large)[:4]
    loader = DataLoader(
        Attended(large), None, num_workers=2, multiprocessing_context="fork", timeout=SECONDS
    )
    assert same(list(loader), expected)
