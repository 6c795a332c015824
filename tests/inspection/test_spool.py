"""Spool: what is recorded batch by batch becomes one record on disk, with the chosen rows only."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock, Timeout
from hypothesis import given, settings
from hypothesis import strategies as st

from gat.errors import ArgumentTypeError, IndexRangeError, InputError, MissingDependencyError
from gat.inspection import AttentionRecord
from gat.inspection.storing import spool
from gat.inspection.storing.saving import load_attention, save_attention
from gat.inspection.storing.spool import Spool, publish
from tests.inspection.stored_records import assert_same, record

pytest.importorskip("pyarrow")

GOOD = {
    "edge_id": torch.arange(3),
    "edge_index": torch.zeros(2, 3, dtype=torch.int64),
    "batch": 0,
    "weights": torch.rand(3, 2),
}
META = {"layer_type": "GATConv", "when": "before_dropout"}


def by_hand(batches, chosen, loops, dtype=torch.float32, layer="conv1", edge_type=None, **meta):
    """The definition: the rows whose batch is the chosen one of their target, one by one."""
    into = 1 if meta.get("flow", "source_to_target") == "source_to_target" else 0
    rows = [
        (edge, pair, weights)
        for edges, pairs, batch, rows in batches
        for edge, pair, weights in zip(edges.tolist(), pairs.t().tolist(), rows, strict=True)
        if chosen[pair[into]] == batch
    ]
    heads = loops.size(1)
    return AttentionRecord(
        layer,
        edge_index=torch.tensor([pair for _, pair, _ in rows], dtype=torch.int64).view(-1, 2).t(),
        weights=torch.stack([w for *_, w in rows]) if rows else torch.empty(0, heads, dtype=dtype),
        edge_id=torch.tensor([edge for edge, *_ in rows], dtype=torch.int64),
        loops=loops,
        num_dst=len(chosen),
        edge_type=edge_type,
        **{**META, **meta},
    )


def some_batches(seed, count, num_src, num_dst, heads=2, dtype=torch.float32, flow=True):
    """Batches of up to 12 rows, numbered from 0, with some targets in several of them."""
    seed = torch.Generator().manual_seed(seed)
    batches = []
    for batch in range(count):
        rows = int(torch.randint(12, (), generator=seed))
        ends = [torch.randint(n, (rows,), generator=seed) for n in (num_src, num_dst)]
        weights = torch.rand(rows, heads, generator=seed).to(dtype)
        edges = torch.randint(1000, (rows,), generator=seed)
        batches.append((edges, torch.stack(ends if flow else ends[::-1]), batch, weights))
    return batches, torch.randint(-1, count + 1, (num_dst,), generator=seed)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_the_chosen_rows_come_back(data, tmp_path_factory):
    draw = data.draw
    num_src, num_dst, heads = (draw(st.integers(1, 9)) for _ in range(3))
    dtype = draw(st.sampled_from(spool.DTYPES))
    flow = draw(st.sampled_from(["source_to_target", "target_to_source"]))
    batches, chosen = some_batches(
        draw(st.integers(0, 999)),
        draw(st.integers(0, 6)),
        num_src,
        num_dst,
        heads,
        dtype,
        flow == "source_to_target",
    )
    loops = torch.rand(num_dst, heads)
    meta = {**META, "num_src": num_src, "flow": flow}
    if draw(st.booleans()):
        meta |= {"seen": chosen >= 0, "complete": chosen > 1, "heads": tuple(range(5, 5 + heads))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "PIECE", draw(st.sampled_from([1, 200, 1 << 20])))
        with Spool(tmp_path_factory.mktemp("a"), "conv1", heads, dtype) as spooled:
            for batch in batches:
                spooled.append(*batch)
            found = spooled.finish(chosen, loops, **meta)
    assert_same(found, by_hand(batches, chosen, loops, dtype, **meta))


def test_batches_can_be_numbered_row_by_row(tmp_path):
    batches, chosen = some_batches(1, 5, 7, 7)
    edges, pairs, numbers, weights = zip(*batches, strict=True)
    numbers = [torch.full((len(e),), n) for e, n in zip(edges, numbers, strict=True)]
    with Spool(tmp_path, "conv1", 2, torch.float32) as spooled:
        spooled.append(
            torch.cat(edges), torch.cat(pairs, 1), torch.cat(numbers), torch.cat(weights)
        )
        found = spooled.finish(chosen, torch.zeros(7, 2), num_src=7, **META)
    assert found.num_edges > 0
    assert_same(found, by_hand(batches, chosen, torch.zeros(7, 2), num_src=7))


def test_what_comes_from_a_backward_pass_or_strided_is_taken(tmp_path):
    weights = torch.rand(2, 3, requires_grad=True).t()
    with Spool(tmp_path, "conv1", 2, torch.float32) as spooled:
        spooled.append(torch.arange(3), torch.arange(6).view(3, 2).t(), 0, weights)
        chosen = torch.zeros(6, dtype=torch.int64)
        found = spooled.finish(chosen, torch.zeros(6, 2), num_src=6, **META)
    torch.testing.assert_close(found.weights, weights.detach())
    torch.testing.assert_close(found.edge_index, torch.arange(6).view(3, 2).t())


def test_the_layers_of_a_recording_are_published_together(tmp_path):
    save_attention(record(), tmp_path)
    keys = ["conv1", ("hetero", ("a", "to", "b")), ("hetero", ("b", "to", "a"))]
    spools = [Spool(tmp_path, key, 2, torch.float32) for key in keys]
    expected = []
    for number, one in enumerate(spools):
        batches, chosen = some_batches(number, 4, 5, 6)
        for batch in batches:
            one.append(*batch)
        layer, kind = (keys[number], None) if number == 0 else keys[number]
        loops = torch.rand(6, 2)
        found = one.finish(chosen, loops, num_src=5, **META)
        expected.append(by_hand(batches, chosen, loops, layer=layer, edge_type=kind, num_src=5))
        assert_same(found, expected[-1])
        assert_same(load_attention(tmp_path)["conv1"], record())
    publish(spools)
    loaded = load_attention(tmp_path)
    assert list(loaded) == keys
    for found, one in zip(loaded.values(), expected, strict=True):
        assert_same(found, one)
    assert len(list(tmp_path.iterdir())) == 2 + 2 * 3  # the lock, the index, two files each
    save_attention(record("hub"), tmp_path)  # the lock is free again


def test_what_is_not_finished_is_not_published(tmp_path):
    end = torch.zeros(1).long(), torch.zeros(1, 2)
    with Spool(tmp_path / "a", "conv1", 2, torch.float32) as one:
        with pytest.raises(InputError, match="a spool is not finished, or was closed before"):
            publish([one])
        one.finish(*end, num_src=1, **META)
        with Spool(tmp_path / "b", "conv1", 2, torch.float32) as other:
            other.finish(*end, num_src=1, **META)
            with pytest.raises(InputError, match="the spools write to 2 folders; expected one"):
                publish([one, other])
        with pytest.raises(InputError, match="a spool is not finished, or was closed before"):
            publish([one, other])
    with pytest.raises(InputError, match="the spools write to 0 folders; expected one"):
        publish([])
    assert [path.name for path in tmp_path.glob("*/*")] == [".lock"] * 2


def scratches(folder):
    return [path.name for path in folder.glob("*.scratch")]


MEMORY = """
import sys, torch
from gat.inspection.storing import spool
def batch(number):
    pair = torch.stack([torch.arange(ROWS) % 1000 + 1000 * number] * 2)
    return torch.arange(ROWS), pair, number, torch.full((ROWS, HEADS), float(number))
ROWS, HEADS, BATCHES = 50_000, 16, 20
NODES = 1000 * BATCHES
spool.PIECE = 4 << 20
chosen = torch.arange(NODES) // 1000
chosen[0] = -1  # all that follows moves
with spool.Spool(sys.argv[1], "conv1", HEADS, torch.float32) as one:
    one.append(*batch(0))
    print("recording", flush=True)
    for number in range(1, BATCHES):
        one.append(*batch(number))
    record = one.finish(chosen, torch.zeros(NODES, HEADS), layer_type="", when="", num_src=NODES)
    print(record.num_edges, flush=True)
    assert torch.equal(record.weights[:, 3], chosen[record.target].float())
forgotten = spool.Spool(sys.argv[1], "conv2", HEADS, torch.float32)
1 / 0
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_bounded_and_a_raising_process_leaves_no_scratch(tmp_path):
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", MEMORY, str(tmp_path)], **pipe) as run:
        assert run.stdout.readline() == "recording\n"
        held = [_anonymous_bytes(run.pid)]
        while run.poll() is None:
            held.append(_anonymous_bytes(run.pid))
            time.sleep(0.001)
        assert "ZeroDivisionError" in run.stderr.read()
        edges = int(run.stdout.read())
    assert scratches(tmp_path) == []  # of the process that raised with a spool at hand
    assert edges == 20 * 50_000 - 50
    raw = 20 * 50_000 * (4 * 8 + 16 * 4)
    assert len(held) > 20
    assert max(held) - held[0] < 0.3 * raw, f"{max(held) - held[0]} of {raw} bytes"


def _anonymous_bytes(process):
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024 if "RssAnon:" in status else 0


@pytest.mark.parametrize("how", ["in_the_block", "full_disk", "in_finish", "forgotten"])
def test_scratch_is_removed_when_something_raises(how, tmp_path, monkeypatch):
    one = Spool(tmp_path, "conv1", 2, torch.float32)
    batch = (torch.arange(3), torch.zeros(2, 3).long(), 0, torch.rand(3, 2))
    one.append(*batch)
    assert scratches(tmp_path) == ["000001.scratch"]
    if how == "in_the_block":
        with pytest.raises(ZeroDivisionError), one:
            1 / 0  # noqa: B018
    if how == "full_disk":
        monkeypatch.setattr(one, "_write", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(OSError, match="full"):
            one.append(*batch)
    if how == "in_finish":
        with pytest.raises(IndexRangeError, match=r"enters node 0; expected targets in \[0, 0\)"):
            one.finish(torch.empty(0).long(), torch.empty(0, 2), num_src=3, **META)
    if how == "forgotten":
        del one
    assert scratches(tmp_path) == []
    if how != "forgotten":
        with pytest.raises(InputError, match="the spool of layer 'conv1' is closed; make a new"):
            one.append(*batch)
    save_attention(record(), tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_scratch_of_a_killed_process_is_named_and_removed_by_the_next(tmp_path):
    if (child := os.fork()) == 0:
        one = Spool(tmp_path, "conv1", 2, torch.float32)
        one.append(**GOOD)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert scratches(tmp_path) == ["000001.scratch"]
    with pytest.raises(InputError, match=r"no completed attention.*\(000001\.scratch\); rec"):
        load_attention(tmp_path)
    with Spool(tmp_path, "conv1", 2, torch.float32):
        assert scratches(tmp_path) == ["000001.scratch"]
        assert not list(Path(tmp_path, "000001.scratch").iterdir())


@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_what_a_worker_process_forgets_is_still_its_parents(tmp_path):
    one = Spool(tmp_path, "conv1", 2, torch.float32)
    one.append(**GOOD)
    if (child := os.fork()) == 0:
        del one
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(Timeout):
        FileLock(tmp_path / ".lock", timeout=0).acquire()
    found = one.finish(torch.zeros(1).long(), torch.zeros(1, 2), num_src=1, **META)
    assert found.num_edges == 3


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"edge_index": torch.zeros(3, 2).long()}, InputError, r"edge_index is \[3, 2\]; expected"),
        ({"weights": torch.rand(3, 4)}, InputError, r"weights is \[3, 4\]; expected \[3, 2\], for"),
        ({"weights": torch.rand(3, 2).half()}, ArgumentTypeError, "float16; expected torch.float3"),
        ({"batch": torch.zeros(2)}, InputError, r"batch is \[2\]; expected \[3\]"),
        ({"batch": -1}, InputError, "a batch number is negative"),
        ({"batch": torch.tensor([0, -1, 0])}, InputError, "a batch number is negative"),
    ],
    ids=["edge_index", "heads", "dtype", "batch", "negative", "one_negative"],
)
def test_what_does_not_fit_is_refused_and_the_spool_goes_on(changed, error, said, tmp_path):
    with Spool(tmp_path, "conv1", 2, torch.float32) as one:
        with pytest.raises(error, match=said):
            one.append(**{**GOOD, **changed})
        one.append(**GOOD)
        found = one.finish(torch.zeros(1).long(), torch.zeros(1, 2), num_src=1, **META)
        assert found.num_edges == 3
        with pytest.raises(InputError, match="the spool of layer 'conv1' is finished"):
            one.append(**GOOD)


def test_heads_and_dtype_are_checked_at_the_door(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="num_heads is 0; expected at least 1"):
        Spool(tmp_path, "conv1", 0, torch.float32)
    with pytest.raises(
        ArgumentTypeError, match=r"dtype is torch\.int64; expected one of torch\.fl"
    ):
        Spool(tmp_path, "conv1", 1, torch.int64)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"graph-attention\[arrow\]"):
        Spool(tmp_path, "conv1", 1, torch.float32)
    assert not list(tmp_path.iterdir())
