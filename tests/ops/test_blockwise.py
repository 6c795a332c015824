"""Attention over blocks of edges: as accurate as the reference, and without its [E, H, C]."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gat.graph import Graph
from gat.ops import gatv2_attention
from gat.ops.blockwise import blocks, hidden, steps, terms
from tests.graphs import GRAPHS
from tests.ops.accuracy import assert_as_accurate_as_the_reference
from tests.ops.inputs import CALLS, OPERATORS, graph, inputs

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.fixture
def small_blocks(monkeypatch):
    """Several blocks in the smallest graphs; one edge a block where H * C is larger."""
    monkeypatch.setattr(blocks, "ELEMENTS_CPU", 60)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("operator", OPERATORS)
def test_output_and_every_gradient_are_as_accurate_as_the_references(operator, name, dtype):
    on = graph(name)
    for heads, channels in ((1, 1), (3, 7), (2, 32)):
        t = inputs(operator, on, heads, channels, dtype)
        for options in ({}, {"dropout": 0.4, "seed": 5, "return_weights": True}):
            assert_as_accurate_as_the_reference(OPERATORS[operator], on, t, "blockwise", **options)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("activation", ["leaky_relu", "tanh"])
def test_gatv2_with_another_value_and_activation(activation):
    on = graph("random")
    t = inputs("gatv2", on, 2, 3) | {"value": torch.randn(31, 2, 5, dtype=torch.float64)}
    options = {"activation": activation, "negative_slope": 0.1}
    assert_as_accurate_as_the_reference(gatv2_attention, on, t, "blockwise", **options)


@pytest.mark.parametrize("call", CALLS)
def test_without_edge_terms(call):
    on = graph("random")
    edge_terms = ("score_dst", "score_edge", "edge", "edge_key", "edge_value")
    t = {k: v for k, v in inputs(call, on, 2, 3, torch.float32).items() if k not in edge_terms}
    assert_as_accurate_as_the_reference(CALLS[call], on, t, "blockwise")


@pytest.mark.parametrize("operator", OPERATORS)
def test_arguments_of_different_dtypes_compute_in_the_widest(operator):
    on = graph("random")
    t = inputs(operator, on, 2, 3, torch.float32)
    for name in t:
        mixed = t | {name: t[name].double()}
        expected = OPERATORS[operator](on, **mixed, backend="reference")
        out = OPERATORS[operator](on, **mixed, backend="blockwise")
        assert out.dtype == torch.float64
        torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", ["loops_and_duplicates", "bipartite_wide"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_gradients_and_second_gradients(operator, name):
    on = graph(name)
    t = inputs(operator, on, 2, 3)

    def run(*tensors):
        named = dict(zip(t, tensors, strict=True))
        options = {"dropout": 0.4, "seed": 7, "return_weights": True, "backend": "blockwise"}
        return OPERATORS[operator](on, **named, **options)

    leaves = tuple(tensor.requires_grad_() for tensor in t.values())
    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradgradcheck(run, leaves)


def test_second_gradient_when_one_tensor_is_passed_as_several_arguments():
    on = graph("random")

    def penalty(backend):
        torch.manual_seed(1)
        x = torch.randn(31, 2, 3, dtype=torch.float64, requires_grad=True)
        att = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
        out = gatv2_attention(on, x, x, att, value=x, backend=backend)
        slope = torch.autograd.grad(out.square().sum(), x, create_graph=True)[0]
        return torch.autograd.grad(slope.square().sum(), (x, att))

    for ours, theirs in zip(penalty("blockwise"), penalty("reference"), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("operator", OPERATORS)
def test_gradient_of_one_argument_alone(operator):
    on = graph("random")
    t = inputs(operator, on, 2, 3)
    for name in t:
        grads = []
        for backend in ("blockwise", "reference"):
            leaf = t[name].clone().requires_grad_()
            out = OPERATORS[operator](on, **{**t, name: leaf}, backend=backend)
            grads += torch.autograd.grad(out.square().sum(), leaf)
        torch.testing.assert_close(*grads)


# Memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", OPERATORS)
def test_nothing_with_a_row_per_edge_is_kept_for_the_backward_pass(operator):
    on = graph("random")
    t = {k: v.requires_grad_() for k, v in inputs(operator, on, 2, 3).items()}
    given = {v.data_ptr() for v in t.values()}
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        OPERATORS[operator](on, **t, dropout=0.5, seed=1, backend="blockwise")
    own = [x for x in kept if x.data_ptr() not in given]
    assert kept
    assert all(x.size(0) != on.num_edges for x in own), [x.shape for x in own]


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
    graph.edge_index
    attention, tensors = inputs(sys.argv[1], nodes, H, C)
    before = memory("VmRSS")
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    attention(graph, *tensors, dropout=0.5, backend="blockwise").sum().backward()
    return memory("VmHWM") - before

torch.set_num_threads(1)
run(10, 100, 1, 1)
print(run(1000, 200_000, 8, 96))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize("operator", OPERATORS)
def test_peak_memory_forward_and_backward_is_a_fraction_of_edges_times_channels(operator):
    done = subprocess.run(
        [sys.executable, "-c", PEAK, operator], capture_output=True, text=True, check=True
    )
    peak, whole = int(done.stdout), 200_000 * 8 * 96 * 4
    # About ten [E, H] and three times the nodes; one [E, H, C] alone would be 1.
    assert peak < 0.3 * whole, f"{peak / 2**20:.0f} MiB, {peak / whole:.2f} of an [E, H, C]"


# torch.compile and torch.library ----------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS)
def test_compiled_in_one_piece_for_any_size(call):
    run = torch.compile(CALLS[call], fullgraph=True, dynamic=True, backend="aot_eager")
    for name in ("random", "sixty_three_edges"):
        on = graph(name)
        _ = on.edge_index
        t = {k: v.requires_grad_() for k, v in inputs(call, on, 2, 3).items()}
        options = {"dropout": 0.5, "seed": torch.tensor(3)} if call in OPERATORS else {}
        out = run(on, **t, **options, backend="blockwise")
        expected = CALLS[call](on, **t, **options, backend="reference")
        torch.testing.assert_close(out, expected)
        leaves = list(t.values())
        for ours, theirs in zip(
            torch.autograd.grad(out.square().sum(), leaves),
            torch.autograd.grad(expected.square().sum(), leaves),
            strict=True,
        ):
            torch.testing.assert_close(ours, theirs)


def on_two_orders() -> list[tuple[Graph, torch.Tensor | None]]:
    """A graph whose edges are listed as sorted, and one whose are not."""
    source, target = graph("random").edge_index
    order = (target * 31 + source).argsort()
    sorted_graph = Graph.from_edge_index(torch.stack([source, target])[:, order], 31)
    assert sorted_graph.perm is None
    return [(sorted_graph, None), (graph("random"), graph("random").perm)]


@pytest.mark.parametrize("own_row", [False, True])
def test_registered_operators_pass_opcheck(own_row):
    for on, order in on_two_orders():
        x, y = (torch.randn(31, 2, 3, requires_grad=True) for _ in range(2))
        weights = torch.randn(211, 2, requires_grad=True)
        edge = torch.randn(211, 2, 3, requires_grad=True) if own_row else None
        take = None if own_row else on.col
        here = edge if own_row else x
        torch.library.opcheck(blocks.weighted_sum, (weights, here, take, on.row, order, 31))
        torch.library.opcheck(blocks.weighted_sum, (weights, y, on.row, take, order, len(here)))
        torch.library.opcheck(blocks.products, (here, y, take, on.row, order, 211))
        att = torch.randn(2, 3, requires_grad=True)
        rest = (x, y, att, edge, on.col, on.row, order, "leaky_relu", 0.2)
        torch.library.opcheck(hidden.hidden_scores, rest)
        torch.library.opcheck(hidden.hidden_gradients, (weights, *rest))
        torch.library.opcheck(
            terms.term_scores,
            (x[..., 0], y[..., 1] if own_row else None, weights, on.edge_index, 0.2),
        )
        torch.library.opcheck(steps._softmax, (weights, on.edge_index[1], 31))
