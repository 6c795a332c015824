"""The compiled kernels at their limits: masks, overflow, NaN, wide indices, a hub, memory."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gat.graph import Graph
from gat.ops import additive_attention, cpu, dot_attention, gatv2_attention, keep_mask
from tests.graphs import GRAPHS
from tests.ops.inputs import CALLS, OPERATORS, graph, inputs

pytestmark = pytest.mark.skipif(not cpu.status().available, reason=str(cpu.status()))

# Values as in the reference, where it is finite in these dtypes.
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def both(call, on, t, **options):
    """(outputs, gradients) by the kernels and by the reference."""
    found = []
    for backend in ("cpu", "reference"):
        leaves = {k: v.detach().clone().requires_grad_() for k, v in t.items()}
        result = CALLS[call](on, **leaves, **options, backend=backend)
        outputs = result if isinstance(result, tuple) else (result,)
        grads = torch.autograd.grad([x.sum() for x in outputs], list(leaves.values()))
        found.append([*(x.detach() for x in outputs), *grads])
    return found


def test_default_device_of_torch_is_not_where_the_kernels_write():
    on = graph("random")
    for call in CALLS:
        t = {k: v.requires_grad_() for k, v in inputs(call, on, 2, 3).items()}
        expected = CALLS[call](on, **t, backend="cpu")
        upstream = torch.ones_like(expected)
        with torch.device("meta"):
            out = CALLS[call](on, **t, backend="cpu")
            grads = torch.autograd.grad(out, list(t.values()), upstream)
        assert torch.equal(out, expected)
        assert all(grad.device.type == "cpu" for grad in grads)


# Dropout, masks -----------------------------------------------------------------------------------


# Additive attention has a walk of its own for 4 and 8 heads.
HEADS = pytest.mark.parametrize("heads", [3, 4, 8])


@HEADS
@pytest.mark.parametrize("p", [1e-12, 0.1, 0.6, 0.999, 1.0])
@pytest.mark.parametrize("operator", OPERATORS)
def test_dropped_weights_are_the_reference_masks(operator, p, heads):
    for name, seed in itertools.product(("random", "loops_and_duplicates", "hub"), (0, -1, 2**62)):
        on = graph(name)
        t = inputs(operator, on, heads, 2)
        _, weights = OPERATORS[operator](
            on, **t, dropout=p, seed=seed, return_weights=True, backend="cpu"
        )
        kept = keep_mask(torch.tensor(seed), on.num_edges, heads, p)
        assert torch.equal(weights != 0, kept), (name, seed)


@HEADS
@pytest.mark.parametrize("dropout", [0.0, 0.6])
@pytest.mark.parametrize("name", ["score_src", "score_dst", "score_edge"])
def test_masks_in_any_term_are_the_references(name, dropout, heads):
    for shape in ("loops_and_duplicates", "random", "hub", "hub_that_sends"):
        on = graph(shape)
        t = inputs("additive", on, heads, 5)
        t[name][torch.rand(t[name].shape) < 0.4] = -torch.inf
        options = {"dropout": dropout, "seed": 3, "return_weights": True}
        ours, theirs = both("additive", on, t, **options)
        torch.testing.assert_close(ours, theirs)
        assert all(x.isfinite().all() for x in ours)


@HEADS
def test_target_whose_edges_are_all_masked_in_all_its_blocks(heads):
    on = graph("hub")
    t = inputs("additive", on, heads, 3)
    t["score_edge"][:60] = -torch.inf
    torch.testing.assert_close(*both("additive", on, t))
    t["score_edge"][:] = -torch.inf
    ours, _ = both("additive", on, t)
    assert all((x == 0).all() for x in ours)


# Enormous numbers, NaN ----------------------------------------------------------------------------


@HEADS
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_scores_that_overflow_give_finite_outputs_and_gradients(operator, dtype, heads):
    on = graph("random")
    large = {torch.float16: 3e4, torch.float64: 1e300}.get(dtype, 3e38)
    t = inputs(operator, on, heads, 7, dtype)
    # One sign in all of a target's channels: inf - inf would be NaN, and rightly.
    t |= {k: v.abs() for k, v in t.items() if k in ("key", "att", "edge", "edge_key")}
    own = "score_dst" if operator == "additive" else "query"
    t[own] = torch.full_like(t[own], large)
    t[own][::2] *= -1
    leaves = {k: v.requires_grad_() for k, v in t.items()}
    out, weights = OPERATORS[operator](on, **leaves, return_weights=True, backend="cpu")
    sums = torch.zeros(31, heads, dtype=torch.float64)
    sums = sums.index_add(0, on.edge_index[1], weights.detach().double())[on.in_degree > 0]
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=8 * eps, rtol=0)
    out.sum().backward()
    assert out.isfinite().all()
    assert all(x.grad.isfinite().all() for x in t.values())


@pytest.mark.parametrize(
    ("operator", "channels"),
    [("dot", 15), ("dot", 5), ("dot", 8), ("dot", 250), ("gatv2", 15), ("gatv2", 8)],
)
def test_weights_of_the_backward_pass_are_those_of_the_forward(operator, channels):
    """Also where a score's rounding is far above 1: no weight exceeds 1 in either."""
    for seed, size in itertools.product(range(5), (1e3, 1e10, 1e15)):
        torch.manual_seed(seed)
        on = Graph.from_edge_index(torch.randint(31, (2, 611)), 31)
        t = inputs(operator, on, 2, channels, torch.float32)
        t["query"], t["key"] = t["query"] * size, t["key"] * (size if operator == "gatv2" else 1)
        t = {k: v for k, v in t.items() if not k.startswith("edge")}
        t["value"] = torch.zeros_like(t["key"]).requires_grad_()
        out, weights = OPERATORS[operator](on, **t, return_weights=True, backend="cpu")
        sent = torch.zeros(31, 2).index_add(0, on.edge_index[0], weights.detach())
        out.sum().backward()
        # The gradient of a value is the sum of the weights with which it was sent.
        expected = sent[..., None].expand_as(t["value"])
        torch.testing.assert_close(t["value"].grad, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("operator", ["additive", "dot", "gatv2"])
def test_scores_of_half_precision_are_those_of_float32(operator):
    on = Graph.from_edge_index(torch.tensor([[0, 1], [2, 2]]), 3)
    high, low = torch.tensor([300.0, 290, 300]).half(), torch.ones(3, 1, 1).half()
    if operator == "additive":
        own = (high * 200)[:, None]
        t = {"value": low, "score_src": own, "score_dst": own}
    elif operator == "dot":
        t = {"query": low * 300, "key": high.view(3, 1, 1), "value": low}
    else:
        t = {"query": low, "key": high.view(3, 1, 1), "att": low[0] * 300}
    _, weights = OPERATORS[operator](on, **t, return_weights=True, backend="reference")
    _, ours = OPERATORS[operator](on, **t, return_weights=True, backend="cpu")
    assert weights.flatten().tolist() == [1, 0]
    assert ours.flatten().tolist() == [1, 0]


@pytest.mark.parametrize("call", ["additive_scores", "gatv2_scores", "dot_scores"])
def test_scores_given_out_in_half_precision_are_cut_at_its_largest_number(call):
    on = graph("random")
    t = {k: v.detach() for k, v in inputs(call, on, 2, 5, torch.float16).items()}
    t = {k: v * 200 if k in ("query", "key", "att") else v for k, v in t.items()}
    if call == "additive_scores":
        t["score_src"], t["score_dst"] = t["score_src"] * 3e4, t["score_dst"] * 3e4
        t["score_src"][3] = -torch.inf
    ours, theirs = both(call, on, t)
    cut = theirs[0].abs() == 65504
    assert cut.any()
    torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=2e-2)
    assert torch.equal(ours[0][cut], theirs[0][cut])


@HEADS
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_nan_reaches_what_depends_on_it_and_nothing_else(operator, dtype, heads):
    """Two graphs in one: what holds NaN in one of them leaves the other's numbers as they were."""
    edge_index = graph("random").edge_index
    on = Graph.from_edge_index(torch.cat([edge_index, edge_index + 31], dim=1), 62)
    t = inputs(operator, on, heads, 3, dtype)
    clean = run_with_gradients(operator, on, t)
    for name in t.keys() - {"att"}:
        spoilt = t | {name: t[name].clone()}
        spoilt[name][3] = torch.nan
        found = run_with_gradients(operator, on, spoilt)
        assert found[0][:31].isnan().any(), name
        for x, y, part in zip(found, clean, ["out", *t], strict=True):
            if part != "att":
                half = len(x) // 2
                assert torch.equal(x[half:], y[half:]), f"NaN in {name} reaches {part}"


def run_with_gradients(operator, on, t):
    leaves = {k: v.detach().requires_grad_() for k, v in t.items()}
    out = OPERATORS[operator](on, **leaves, backend="cpu")
    return [out.detach(), *torch.autograd.grad(out.sum(), list(leaves.values()))]


@pytest.mark.parametrize("wanted", ["value", "key", "value and key"])
@pytest.mark.parametrize("same_memory", [False, True])
def test_gradients_of_gatv2_keys_and_of_values_of_their_own_stay_apart(same_memory, wanted):
    on = graph("random")
    t = {k: v.detach() for k, v in inputs("gatv2", on, 2, 5).items() if k != "value"}
    value = t["key"].view_as(t["key"]) if same_memory else torch.randn_like(t["key"])
    found = []
    for backend in ("cpu", "reference"):
        leaves = t | {"value": value}
        leaves = {k: v.detach().requires_grad_(k in wanted) for k, v in leaves.items()}
        gatv2_attention(on, **leaves, backend=backend).sin().sum().backward()
        found.append({k: v.grad for k, v in leaves.items()})
    torch.testing.assert_close(*found)


# Indices and sizes --------------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS)
def test_wide_indices_give_the_same_bits(call, monkeypatch):
    for name in GRAPHS:
        torch.manual_seed(2)
        on = graph(name)
        t = inputs(call, on, 3, 8, torch.float32)
        assert on.by_target.col.dtype is torch.int32
        narrow, _ = both(call, on, t)
        with monkeypatch.context() as patch:
            patch.setattr("gat.graph.structure.index_dtype", lambda *_: torch.int64)
            on = graph(name)
            wide, _ = both(call, on, t)
            assert on.by_target.col.dtype is on.transposed.dtype is torch.int64
        assert all(torch.equal(a, b) for a, b in zip(narrow, wide, strict=True)), name


@pytest.mark.parametrize("sends", [False, True], ids=["receives", "sends"])
def test_hub_of_a_million_edges(sends):
    count = 1_000_000
    leaf, hub = torch.arange(1, count + 1), torch.zeros(count, dtype=torch.int64)
    on = Graph.from_edge_index(torch.stack([hub, leaf] if sends else [leaf, hub]), count + 1)
    t = {"value": torch.randn(count + 1, 1, 2), "score_src": torch.randn(count + 1, 1)}
    ours, theirs = both("additive", on, {k: v.double() for k, v in t.items()})
    torch.testing.assert_close(ours, theirs)
    for found, expected in zip(both("additive", on, t)[0], theirs, strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("call", CALLS)
def test_no_heads_or_no_channels(call):
    on = graph("random")
    for heads, channels in ((0, 3), (2, 0)):
        t = {k: v.requires_grad_() for k, v in inputs(call, on, heads, channels).items()}
        out = CALLS[call](on, **t, backend="cpu")
        assert out.isfinite().all()
        grads = torch.autograd.grad(out.sum(), list(t.values()))
        assert all(grad.isfinite().all() for grad in grads)


# Memory -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", OPERATORS)
def test_nothing_with_a_row_per_edge_is_kept_unless_weights_are_asked_for(operator):
    on = graph("random")
    t = {k: v.requires_grad_() for k, v in inputs(operator, on, 2, 3).items()}
    given = {v.data_ptr() for v in t.values()}
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        OPERATORS[operator](on, **t, dropout=0.5, seed=1, backend="cpu")
    assert kept
    arrays = {x.data_ptr() for x in (on.by_target.col, on.by_source.col, on.transposed)}
    arrays |= {x.number.data_ptr() for x in (on.by_target, on.by_source) if x.number is not None}
    own = [x for x in kept if x.data_ptr() not in given | arrays]
    assert all(x.shape[:1] != (on.num_edges,) for x in own), [x.shape for x in own]


PEAK = """
import sys, torch
from gat.graph import Graph
from gat.ops import additive_attention, dot_attention, gatv2_attention

def memory(line):
    return 1024 * next(int(s.split()[1]) for s in open("/proc/self/status") if s.startswith(line))

def inputs(operator, nodes, H, C):
    x, scores = (lambda: torch.randn(nodes, H, C).requires_grad_()), torch.randn(nodes, H)
    if operator == "additive":
        return additive_attention, (x(), scores.clone().requires_grad_(), scores.requires_grad_())
    if operator == "gatv2":
        return gatv2_attention, (x(), x(), torch.randn(H, C, requires_grad=True))
    return dot_attention, (x(), x(), x())

def run(nodes, edges, H, C):
    graph = Graph.from_edge_index(torch.randint(nodes, (2, edges)), nodes)
    graph.by_target, graph.by_source, graph.transposed
    attention, tensors = inputs(sys.argv[1], nodes, H, C)
    before = memory("VmRSS")
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    attention(graph, *tensors, dropout=0.5, backend="cpu").sum().backward()
    return memory("VmHWM") - before

torch.set_num_threads(1)
run(10, 100, 1, 1)
print(run(1000, 400_000, 8, 96))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize("operator", OPERATORS)
def test_peak_memory_is_of_the_nodes_and_at_most_one_number_per_edge_and_head(operator):
    done = subprocess.run(
        [sys.executable, "-c", PEAK, operator], capture_output=True, text=True, check=True
    )
    peak, nodes, numbers = int(done.stdout), 1000 * 8 * 96 * 4, 400_000 * 8 * 4
    # Output and gradients, and what the processes's own allocations round up to.
    allowed = 8 * nodes + (1.2 * numbers if operator == "additive" else 0) + 8 * 2**20
    assert peak < allowed, f"{peak / 2**20:.1f} MiB, more than {allowed / 2**20:.1f}"


def test_windows_of_sources_give_the_same(monkeypatch):
    """More edges than fit in one window of additive.cpp: 16 MiB of their gradients."""
    generator = torch.Generator().manual_seed(1)
    on = Graph.from_edge_index(torch.randint(2000, (2, 600_000), generator=generator), 2000)
    t = {k: v for k, v in inputs("additive", on, 8, 1).items() if k != "score_edge"}
    ours, theirs = both("additive", on, t)
    torch.testing.assert_close(ours, theirs)


def test_public_functions_choose_these_kernels_by_themselves():
    on = graph("random")
    for attention in (additive_attention, gatv2_attention, dot_attention):
        name = attention.__name__.replace("_attention", "")
        t = inputs(name, on, 2, 3)
        assert torch.equal(attention(on, **t), attention(on, **t, backend="cpu"))
