"""Triton's kernels beside the definition: on a GPU, or on the CPU in Triton's interpreter.

Rows count as hubs from a few edges on, so that every class of rows occurs on small graphs.
"""

import zlib

import pytest
import torch

from gat.errors import BackendError
from gat.graph import Graph, compact, schedule
from gat.ops import additive_attention, cpu, gatv2_attention, keep_mask
from gat.ops.backend import why_not
from tests.device import DEVICE
from tests.graphs import GRAPHS
from tests.ops.accuracy import assert_as_accurate_as_the_reference
from tests.ops.inputs import CALLS, OPERATORS, graph, inputs
from tests.ops.variants import arguments, variants

REASON = why_not("triton", "additive", DEVICE.type)
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)

TRITONS = [call for call in CALLS if call != "segment_entmax"]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
SIZES = [(3, 5), (1, 1), (8, 8), (4, 33), (2, 16)]


@pytest.fixture(autouse=True)
def _small_classes(monkeypatch):
    monkeypatch.setattr(schedule, "LIGHT", 4)
    monkeypatch.setattr(schedule, "CHUNK", 12)


def small_hub(flipped: bool = False) -> Graph:
    """30 edges into one node, or out of one: the interpreter's time is by rows."""
    ends = torch.stack([torch.arange(1, 31), torch.zeros(30, dtype=torch.int64)])
    return Graph.from_edge_index(ends.flip(0) if flipped else ends, 31)


def both(call, on, t, backends=("triton", "reference"), **options):
    """(outputs, gradients) by each backend, the gradients of a sum with weights drawn once."""
    found = []
    for backend in backends:
        leaves = {k: v.detach().clone().requires_grad_() for k, v in t.items()}
        result = CALLS[call](on, **leaves, **options, backend=backend)
        outputs = result if isinstance(result, tuple) else (result,)
        torch.manual_seed(5)
        upstream = [torch.randn_like(x) for x in outputs]
        grads = torch.autograd.grad(outputs, list(leaves.values()), upstream)
        found.append([*(x.detach() for x in outputs), *grads])
    return found


# Accuracy -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("call", TRITONS)
def test_output_and_every_gradient_are_as_accurate_as_the_references(call, name):
    """The next dtype, size and variant of options for each graph."""
    on = graph(name)
    k = zlib.crc32(name.encode()) + list(GRAPHS).index(name)
    choices = variants(call)
    dtype, size, variant = DTYPES[k % 4], SIZES[k % 5], choices[k % len(choices)]
    t, options = arguments(call, on, size, dtype, variant)
    assert_as_accurate_as_the_reference(CALLS[call], on, t, "triton", **options)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("call", TRITONS)
def test_every_dtype_with_every_option(call, dtype):
    on = graph("random")
    options = {"dropout": 0.4, "seed": 7, "return_weights": True} if call in OPERATORS else {}
    t = inputs(call, on, 3, 5, dtype)
    assert_as_accurate_as_the_reference(CALLS[call], on, t, "triton", **options)


@pytest.mark.parametrize("activation", ["leaky_relu", "tanh"])
@pytest.mark.parametrize("channels", [None, 2])
def test_gatv2_where_the_keys_are_the_values_and_where_not(activation, channels):
    on = small_hub(flipped=True)
    t = inputs("gatv2", on, 2, 5)
    if channels is not None:
        t["value"] = torch.randn(on.num_src, 2, channels, dtype=torch.float64)
    torch.testing.assert_close(*both("gatv2", on, t, activation=activation))


@pytest.mark.parametrize("rated", [False, True])
@pytest.mark.parametrize("weights", [False, True])
def test_gradient_of_score_dst_either_way(rated, weights, monkeypatch):
    """From what the forward kept, or handed over by the edges."""
    monkeypatch.setattr("gat.ops.library._is_dense", lambda *_: rated)
    options = {"dropout": 0.4, "seed": 3, "return_weights": weights}
    for on in (graph("sixty_three_edges"), small_hub(), small_hub(flipped=True)):
        torch.testing.assert_close(*both("additive", on, inputs("additive", on, 3, 5), **options))


@pytest.mark.parametrize("call", TRITONS)
def test_heads_in_groups(call, monkeypatch):
    from gat.ops.triton import tiles

    monkeypatch.setattr(tiles, "LONGEST_ROW", 16)
    on = graph("sixty_three_edges")
    torch.testing.assert_close(*both(call, on, inputs(call, on, 5, 6)))


@pytest.mark.parametrize("call", TRITONS)
def test_wide_indices(call, monkeypatch):
    monkeypatch.setattr(compact, "LARGEST", 3)
    on = graph("sixty_three_edges")
    assert on.by_target.col.dtype == on.schedule.units.dtype == torch.int64
    torch.testing.assert_close(*both(call, on, inputs(call, on, 2, 3)))


@pytest.mark.parametrize("call", ["additive", "gatv2", "dot"])
def test_no_channels_and_no_heads(call):
    on = graph("loops_and_duplicates")
    for heads, channels in ((2, 0), (0, 3)):
        t = inputs(call, on, heads, channels)
        assert CALLS[call](on, **t, backend="triton").shape == (3, heads, channels)


@pytest.mark.parametrize("call", TRITONS)
def test_any_of_the_gradients_alone(call):
    on = graph("sixty_three_edges")
    t = inputs(call, on, 2, 3)
    everything = both(call, on, t, ("triton",))[0]
    expected = dict(zip(t, everything[-len(t) :], strict=True))
    for name in t:
        leaves = {k: x.detach().requires_grad_(k == name) for k, x in t.items()}
        out = CALLS[call](on, **leaves, backend="triton")
        torch.manual_seed(5)
        grad = torch.autograd.grad(out, leaves[name], torch.randn_like(out))[0]
        assert torch.equal(grad, expected[name]), name


# Dropout, masks, limits ---------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1e-12, 0.6, 1.0])
@pytest.mark.parametrize("operator", OPERATORS)
def test_dropped_weights_are_those_of_every_backend(operator, p):
    on = graph("random")
    t = inputs(operator, on, 3, 2)
    for seed in (-1, 2**62):
        options = {"dropout": p, "seed": seed, "return_weights": True}
        out, weights = OPERATORS[operator](on, **t, **options, backend="triton")
        kept = keep_mask(torch.tensor(seed), on.num_edges, 3, p)
        assert torch.equal(weights != 0, kept)
        if DEVICE.type == "cpu" and cpu.status().available:
            theirs = OPERATORS[operator](on, **t, **options, backend="cpu")
            torch.testing.assert_close((out, weights), theirs)


@pytest.mark.parametrize("name", ["score_src", "score_dst", "score_edge"])
def test_masks_in_any_term_are_the_references(name):
    for on in (graph("sixty_three_edges"), small_hub()):
        t = inputs("additive", on, 2, 5)
        t[name][torch.rand(t[name].shape) < 0.4] = -torch.inf
        found = both("additive", on, t, dropout=0.5, seed=3, return_weights=True)
        torch.testing.assert_close(*found)
        assert all(x.isfinite().all() for x in found[0])


def test_target_whose_edges_are_all_masked_in_all_its_chunks():
    on = small_hub()
    t = inputs("additive", on, 2, 3)
    t["score_edge"][:16] = -torch.inf
    torch.testing.assert_close(*both("additive", on, t))
    t["score_edge"][:] = -torch.inf
    assert all((x == 0).all() for x in both("additive", on, t)[0])


# What numpy, which the interpreter computes with, says of it.
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("operator", OPERATORS)
def test_scores_that_overflow_give_finite_outputs_and_gradients(operator, dtype):
    on = graph("random")
    large = {torch.float16: 3e4, torch.float64: 1e300}.get(dtype, 3e38)
    t = inputs(operator, on, 2, 7, dtype)
    # One sign in all of a target's channels: inf - inf would be NaN, and rightly.
    t |= {k: v.abs() for k, v in t.items() if k in ("key", "att", "edge", "edge_key")}
    own = "score_dst" if operator == "additive" else "query"
    t[own] = torch.full_like(t[own], large)
    t[own][::2] *= -1
    found = both(operator, on, t, ("triton",), return_weights=True)[0]
    assert all(x.isfinite().all() for x in found)
    sums = torch.zeros(31, 2, dtype=torch.float64)
    sums = sums.index_add(0, on.edge_index[1], found[1].double())[on.in_degree > 0]
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=8 * eps, rtol=0)


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize("rated", [False, True])
@pytest.mark.parametrize("slope", [10.0, -2.0, 0.0])
def test_score_that_a_steep_slope_made_overflow_does_not_move(slope, rated, monkeypatch):
    monkeypatch.setattr("gat.ops.library._is_dense", lambda *_: rated)
    on = Graph.from_edge_index(torch.tensor([[0, 1, 2], [0, 0, 0]]), 3)
    t = {
        "value": torch.tensor([1.0, 2.0, 5.0]).view(3, 1, 1),
        "score_src": torch.tensor([[-3e38], [-1e38], [-0.5e38]]),
        "score_dst": torch.tensor([[-1.5e38], [0.0], [0.0]]),
    }
    torch.testing.assert_close(*both("additive", on, t, negative_slope=slope))


def test_a_graph_that_is_new_is_refused_while_a_cuda_graph_is_captured(monkeypatch):
    on = graph("one_edge")
    t = inputs("additive", on, 1, 2)
    monkeypatch.setattr("gat.ops.library._is_capturing", lambda device: True)
    with pytest.raises(
        BackendError, match=r"used for the first time while .*; run one step before"
    ):
        additive_attention(on, **t, backend="triton")
    assert "by_target" not in on.__dict__
    monkeypatch.setattr("gat.ops.library._is_capturing", lambda device: False)
    expected = additive_attention(on, **t, backend="triton")
    monkeypatch.setattr("gat.ops.library._is_capturing", lambda device: True)
    assert torch.equal(additive_attention(on, **t, backend="triton"), expected)
    # The edges by source are another sort, which only training asks for.
    t["value"].requires_grad_()
    with pytest.raises(BackendError, match=r"used for the first time in training while a CUDA"):
        additive_attention(on, **t, backend="triton")
    assert "by_source" not in on.__dict__


@pytest.mark.parametrize("operator", OPERATORS)
def test_nan_stays_with_the_targets_that_see_it(operator):
    on = graph("random")
    t = inputs(operator, on, 2, 3)
    source = "score_src" if operator == "additive" else "key"
    t[source][4] = torch.nan
    out = OPERATORS[operator](on, **t, backend="triton")
    reached = torch.zeros(31, dtype=torch.bool)
    reached[on.edge_index[1][on.edge_index[0] == 4]] = True
    assert torch.equal(out.isnan().any(-1).any(-1), reached)


# Autograd, torch.compile --------------------------------------------------------------------------


@pytest.mark.parametrize("call", TRITONS)
def test_second_gradients_are_the_definitions(call):
    on = graph("one_edge" if call == "segment_softmax" else "loops_and_duplicates")
    found = []
    for backend in ("triton", "reference"):
        torch.manual_seed(1)
        t = {k: v.requires_grad_() for k, v in inputs(call, on, 2, 3).items()}
        out = CALLS[call](on, **t, backend=backend)
        slopes = torch.autograd.grad(out.square().sum(), list(t.values()), create_graph=True)
        size = sum(slope.square().sum() for slope in slopes)
        found.append(torch.autograd.grad(size, list(t.values()), materialize_grads=True))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("call", TRITONS)
def test_operators_pass_opcheck(call, monkeypatch):
    from gat.ops import library

    seen = []
    run = library.call_operator
    monkeypatch.setattr(library, "call_operator", lambda *call: seen.append(call) or run(*call))
    on = graph("sixty_three_edges")
    t = {k: v.requires_grad_() for k, v in inputs(call, on, 2, 3).items()}
    options = {"dropout": 0.4, "seed": 7, "return_weights": True} if call in OPERATORS else {}
    CALLS[call](on, **t, **options, backend="triton")
    operator, given = seen[0]
    forward = getattr(torch.ops.gat, f"{operator.name}_forward").default
    torch.library.opcheck(forward, (*given.inputs, *given.walk, *given.options, *given.rest))


@pytest.mark.parametrize("call", OPERATORS)
def test_compiled_in_one_piece_with_a_graph_and_with_edges(call):
    from gat.graph import graph_of

    def attend(edges, *tensors):
        on = edges if isinstance(edges, Graph) else graph_of(edges, 13)
        named = dict(zip(t, tensors, strict=True))
        return CALLS[call](on, **named, backend="triton")

    on = graph("sixty_three_edges")
    t = {k: v.requires_grad_() for k, v in inputs(call, on, 2, 3).items()}
    leaves = list(t.values())
    expected = attend(on, *leaves)
    slopes = torch.autograd.grad(expected.square().sum(), leaves)
    for edges in (on, on.edge_index):
        run = torch.compile(attend, fullgraph=True, dynamic=True, backend="aot_eager")
        out = run(edges, *leaves)
        torch.testing.assert_close(out, expected)
        torch.testing.assert_close(torch.autograd.grad(out.square().sum(), leaves), slopes)


def test_gradient_through_the_weights_alone_and_through_both():
    on = graph("sixty_three_edges")
    losses = [
        lambda out, weights: weights.square().sum(),
        lambda out, weights: out.square().sum() + weights.square().sum(),
    ]
    for call in OPERATORS:
        t = {k: v.requires_grad_() for k, v in inputs(call, on, 2, 3).items()}
        for loss in losses:
            found = []
            for backend in ("triton", "reference"):
                result = CALLS[call](
                    on, **t, dropout=0.4, seed=7, return_weights=True, backend=backend
                )
                grads = torch.autograd.grad(loss(*result), list(t.values()), materialize_grads=True)
                found.append(grads)
            torch.testing.assert_close(*found)


def test_arguments_in_any_layout():
    on = graph("sixty_three_edges")
    for call in (additive_attention, gatv2_attention):
        name = "additive" if call is additive_attention else "gatv2"
        t = inputs(name, on, 2, 3)
        turned = {k: v.transpose(0, -1).contiguous().transpose(0, -1) for k, v in t.items()}
        expected = call(on, **t, backend="triton")
        assert torch.equal(call(on, **turned, backend="triton"), expected)
