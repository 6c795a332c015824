"""What only a GPU can show: streams, CUDA graphs, no waiting, the same bits, memory."""

import pytest
import torch

from gat.errors import BackendError
from gat.graph import Graph
from tests.device import DEVICE
from tests.ops.inputs import CALLS, OPERATORS, inputs

if DEVICE.type != "cuda":
    pytest.skip("needs a GPU (make test-gpu)", allow_module_level=True)


def large(nodes: int = 20_000, edges: int = 300_000) -> Graph:
    """A graph with a hub of 10,000 edges and rows of every class."""
    torch.manual_seed(1)
    source, target = torch.randint(nodes, (2, edges))
    target[:10_000] = 3
    source[10_000:20_000] = 5
    return Graph.from_edge_index(torch.stack([source, target]), nodes)


def step(call: str, on: Graph, t: dict, **options):
    result = CALLS[call](on, **t, **options)
    outputs = result if isinstance(result, tuple) else (result,)
    return (*outputs, *torch.autograd.grad([x.sum() for x in outputs], list(t.values())))


def prepared(call: str, on: Graph, dtype: torch.dtype = torch.float32) -> dict:
    return {k: x.requires_grad_() for k, x in inputs(call, on, 4, 16, dtype).items()}


# Entmax is torch's there, whose sums by index are in no order.
TRITONS = [call for call in CALLS if call != "segment_entmax"]


@pytest.mark.parametrize("edges", [300_000, 3_000_000], ids=["sparse", "dense"])
@pytest.mark.parametrize("call", TRITONS)
def test_the_same_bits_every_time(call, edges):
    on = large(20_000, edges)
    t = prepared(call, on)
    options = {"dropout": 0.5, "seed": 3} if call in OPERATORS else {}
    first = step(call, on, t, **options)
    for _ in range(3):
        for ours, expected in zip(step(call, on, t, **options), first, strict=True):
            assert torch.equal(ours, expected)


@pytest.mark.parametrize("call", TRITONS)
def test_nothing_waits_for_the_gpu(call):
    on = large()
    t = prepared(call, on)
    options = {"dropout": 0.5, "return_weights": True} if call in OPERATORS else {}
    step(call, on, t, **options)
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(call, on, t, **options)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("call", OPERATORS)
def test_on_a_stream_of_its_own(call):
    on = large()
    t = prepared(call, on)
    expected = step(call, on, t)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        found = step(call, on, t)
    torch.cuda.current_stream().wait_stream(stream)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("call", OPERATORS)
def test_captured_in_a_cuda_graph_each_replay_has_new_inputs_and_a_new_mask(call):
    on = large(2_000, 30_000)
    t = prepared(call, on)
    # Whatever is compiled or loaded for a call is so at its first one.
    step(call, on, t, dropout=0.5, return_weights=True)
    torch.cuda.synchronize()
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        found = step(call, on, t, dropout=0.5, return_weights=True)
    masks = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        with torch.no_grad():
            for tensor in t.values():
                tensor.normal_()
        captured.replay()
        torch.cuda.synchronize()
        masks.append(found[1] == 0)
        # The same numbers with dropout of this mask, by the definition.
        weights = CALLS[call](on, **t, return_weights=True, backend="reference")[1]
        torch.testing.assert_close(found[1], weights.masked_fill(masks[-1], 0) * 2)
    assert not torch.equal(*masks)


def test_a_graph_never_used_before_is_refused_while_a_cuda_graph_is_captured():
    on = large(2_000, 30_000)
    t = prepared("additive", on)
    with (
        pytest.raises(BackendError, match="used for the first time in training while a CUDA graph"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        step("additive", on, t)
    assert len(step("additive", on, t)) == 1 + len(t)


@pytest.mark.parametrize("edges", [30_000, 300_000], ids=["sparse", "dense"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("call", CALLS)
def test_as_the_cpu_computes_it(call, dtype, edges):
    on = large(2_000, edges)
    t = prepared(call, on, dtype)
    options = {"dropout": 0.5, "seed": 3, "return_weights": True} if call in OPERATORS else {}
    found = step(call, on, t, **options)
    here = {k: x.detach().cpu().requires_grad_() for k, x in t.items()}
    expected = step(call, on.to("cpu"), here, **options)
    eps = torch.finfo(dtype).eps
    for ours, theirs in zip(found, expected, strict=True):
        largest = float(theirs.abs().max())
        torch.testing.assert_close(ours.cpu(), theirs, rtol=16 * eps, atol=16 * eps * largest)


@pytest.mark.parametrize("call", OPERATORS)
def test_memory_is_a_few_times_the_inputs_never_edges_times_channels(call):
    on = large(20_000, 2_000_000)
    t = {k: x for k, x in prepared(call, on).items() if not k.startswith("edge")}
    t.pop("score_edge", None)
    step(call, on, t)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step(call, on, t)
    rows = 20_000 * 4 * 16 * 4
    assert torch.cuda.max_memory_allocated() - before <= 12 * rows
    assert 12 * rows < 2_000_000 * 4 * 16 * 4


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("call", OPERATORS)
def test_on_a_gpu_that_is_not_the_current_one(call):
    on = large(2_000, 30_000)
    t = prepared(call, on)
    there = {k: x.detach().to("cuda:1").requires_grad_() for k, x in t.items()}
    found = step(call, on.to("cuda:1"), there)
    for ours, theirs in zip(found, step(call, on, t), strict=True):
        assert torch.equal(ours.cpu(), theirs.cpu())


def test_a_graph_is_built_on_the_gpu():
    on = large()
    for tensor in (on.rowptr, on.col, on.schedule.units, on.by_source.col):
        assert tensor.device.type == "cuda"
    here = Graph.from_edge_index(on.edge_index.cpu(), 20_000)
    assert torch.equal(on.by_source.number.cpu(), here.by_source.number)
    assert torch.equal(on.schedule.units.cpu(), here.schedule.units)
