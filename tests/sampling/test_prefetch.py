"""Results in order from another thread, and rows of features from wherever they are."""

import subprocess
import sys
import threading
import traceback

import numpy as np
import pytest
import torch

from gat.errors import ArgumentTypeError, InputError
from gat.sampling.prefetch import gather, prefetched


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("gat-prefetch")]


@pytest.mark.parametrize("depth", [0, 1, 2, 50])
@pytest.mark.parametrize("steps", [range(0), range(1), range(7), range(3, 20, 4)], ids=str)
def test_results_come_in_order(steps, depth):
    assert list(prefetched(lambda step: step * step, steps, depth)) == [k * k for k in steps]
    assert not helpers()


def test_at_most_depth_results_are_ahead():
    made = []
    results = prefetched(lambda step: made.append(step) or step, range(20), depth=3)
    for taken, step in enumerate(results, start=1):
        assert step == taken - 1
        assert len(made) <= taken + 3


def test_the_next_is_made_while_this_one_is_used():
    second = threading.Event()
    results = prefetched(lambda step: second.set() if step == 1 else None, range(2), depth=1)
    next(results)
    assert second.wait(10)
    results.close()


def test_one_thread_makes_all_and_it_is_another():
    names = set(prefetched(lambda _: threading.get_ident(), range(9), depth=2))
    assert len(names) == 1
    assert threading.get_ident() not in names


def test_depth_zero_makes_in_place_when_asked():
    made = []
    results = prefetched(lambda step: made.append(threading.get_ident()), range(3), depth=0)
    assert made == []
    next(results)
    assert made == [threading.get_ident()]
    results.close()
    assert len(made) == 1


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_an_exception_is_raised_at_its_place_with_where_it_came_from(depth):
    def the_culprit(step: int) -> int:
        if step == 3:
            raise KeyError("step 3 is broken")
        return step

    results = prefetched(the_culprit, range(9), depth)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="step 3 is broken") as caught:
        next(results)
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert "the_culprit" in names
    assert not helpers()


@pytest.mark.parametrize("way", ["break", "exception", "close", "dropped"])
def test_leaving_early_ends_the_thread(way):
    made = []
    results = prefetched(lambda step: made.append(step), range(1000), depth=2)
    next(results)
    assert len(helpers()) == 1
    if way == "close":
        results.close()
    elif way == "exception":
        with pytest.raises(RuntimeError, match="consumer"):
            results.throw(RuntimeError("consumer"))
    elif way == "break":
        for _ in results:
            break
    del results
    assert not helpers()
    assert len(made) <= 5


def test_never_started_starts_no_thread():
    results = prefetched(str, range(3))
    assert not helpers()
    del results


def test_results_are_not_held_on_to():
    alive = set()

    class Result:
        def __init__(self) -> None:
            alive.add(id(self))

        def __del__(self) -> None:
            alive.discard(id(self))

    held = []
    for result in prefetched(lambda _: Result(), range(5), depth=1):
        held.append(len(alive))
        del result
    # The one in use and the one ahead.
    assert max(held) <= 2


def test_the_worker_has_one_torch_thread_and_the_others_keep_theirs():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert list(prefetched(lambda _: torch.get_num_threads(), range(2))) == [1, 1]
        assert torch.get_num_threads() == 3
        later = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert later == [3]
    finally:
        torch.set_num_threads(before)


def test_an_interpreter_leaves_while_results_are_waiting():
    program = (
        "import torch; from gat.sampling.prefetch import prefetched\n"
        "results = prefetched(lambda step: torch.ones(1000).sum(), range(10**9))\n"
        "print(next(results).item())\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1000.0\n", "")


def test_a_depth_below_zero_is_refused_at_once():
    with pytest.raises(InputError, match="depth is -1; expected how many results"):
        prefetched(str, range(3), depth=-1)


NODES = {
    "some": torch.tensor([4, 0, 6]),
    "again": torch.tensor([2, 2, 0, 2]),
    "none": torch.empty(0, dtype=torch.int64),
    "all": torch.arange(7),
}


@pytest.mark.parametrize("nodes", NODES.values(), ids=NODES)
@pytest.mark.parametrize("pin", [False, True], ids=["", "pin"])
def test_gathered_rows_are_copies_of_the_rows(nodes, pin):
    x = torch.randn(7, 3)
    rows = gather(x, nodes, pin)
    assert torch.equal(rows, x[nodes])
    assert rows.is_pinned() == (pin and torch.cuda.is_available())
    rows.zero_()
    assert x.all()


@pytest.mark.parametrize("nodes", NODES.values(), ids=NODES)
def test_rows_of_a_file_are_gathered_and_the_file_stays_as_it_is(nodes, tmp_path):
    x = torch.randn(7, 3)
    np.save(tmp_path / "x.npy", x.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "x.npy", mmap_mode="c"))
    rows = gather(mapped, nodes)
    assert torch.equal(rows, x[nodes])
    rows.zero_()
    assert torch.equal(torch.from_numpy(np.load(tmp_path / "x.npy")), x)


@pytest.mark.parametrize("nodes", NODES.values(), ids=NODES)
def test_rows_of_a_csr_matrix_are_a_csr_matrix(nodes):
    x = torch.randn(7, 5) * (torch.rand(7, 5) < 0.4)
    x[2] = 0
    rows = gather(x.to_sparse_csr(), nodes)
    assert rows.layout == torch.sparse_csr
    assert torch.equal(rows.to_dense(), x[nodes])


def test_other_layouts_are_refused():
    with pytest.raises(ArgumentTypeError, match=r"x is torch.sparse_coo.*Pass x.to_sparse_csr"):
        gather(torch.eye(3).to_sparse(), torch.tensor([0]))
