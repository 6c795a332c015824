"""Torch's dense kernel as a backend: as accurate as the others, differentiable as they are, and
nothing of the size of the edges; what it cannot run it says."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import grad, jacrev, jvp, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from gat import topology
from gat.errors import BackendError
from gat.graph import Graph, IntervalGraph
from gat.nn import Attend
from gat.ops import additive_attention, cpu, dense, dot_attention, segment_softmax, use_backend
from gat.ops.dense import blocks, tiles
from tests.ops.accuracy import assert_as_accurate_as_the_reference
from tests.ops.inputs import graph, inputs

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
GRAPHS = {
    "complete": lambda: topology.complete(11),
    "equal": lambda: topology.complete([5, 5, 5]),
    "unequal": lambda: topology.complete([1, 7, 3, 0, 7, 1]),
    "sorted": lambda: topology.complete([2, 2, 5, 5, 5]),
    "causal": lambda: topology.causal([13, 1, 5, 13]),
    "bipartite": lambda: topology.bipartite([3, 0, 9, 3], [2, 4, 11, 0]),
    "no_sources": lambda: topology.bipartite([0, 0], [2, 1]),
    "no_nodes": lambda: topology.complete([]),
    "hundreds": lambda: topology.causal([67, 131]),
    "window": lambda: topology.window([13, 1, 0, 5], 2),
    "window_causal": lambda: topology.window([13, 1, 5], 3, causal=True),
    "wide_window": lambda: topology.window([150, 70], 40),
    # Without edges at first, between and at last, and with sources that nobody is entered from.
    "intervals": lambda: IntervalGraph(
        torch.tensor([0, 1, 1, 5, 5, 7, 9]), torch.tensor([0, 2, 4, 0, 2, 1, 0]), 11
    ),
    "no_edges": lambda: IntervalGraph(torch.zeros(5).long(), torch.zeros(5).long(), 3),
}
SIZES = [(1, 1, 1), (3, 7, 7), (2, 8, 5), (2, 32, 32)]


@pytest.fixture(autouse=True)
def _new_graphs(monkeypatch):
    """Of which nothing was asked before."""
    monkeypatch.setattr(topology, "_MEMORY", topology._Memory())


@pytest.fixture
def small_tiles(monkeypatch):
    """Several tiles in the smallest graphs, some of which have no source."""
    monkeypatch.setattr(tiles, "TARGETS", 2)


def drawn(on, heads=2, channels=3, value_channels=None, dtype=torch.float64):
    """query, key and value by name."""
    shapes = {
        "query": (on.num_dst, heads, channels),
        "key": (on.num_src, heads, channels),
        "value": (on.num_src, heads, value_channels or channels),
    }
    return {k: torch.randn(s, dtype=torch.float64).to(dtype) for k, s in shapes.items()}


def leaves_of(on, **sizes):
    return [x.requires_grad_() for x in drawn(on, **sizes).values()]


def both(run):
    """What ``run(backend)`` gives by torch's kernel and by the definition."""
    return run("dense"), run("reference")


# Accuracy and gradients -------------------------------------------------------------------------


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", GRAPHS)
def test_output_and_every_gradient_are_as_accurate_as_the_references(name, dtype):
    on = GRAPHS[name]()
    for sizes in SIZES:
        t = drawn(on, *sizes, dtype=dtype)
        for options in ({}, {"scale": 0.1}):
            assert_as_accurate_as_the_reference(dot_attention, on, t, "dense", **options)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tiles_of_their_own_size_are_as_accurate(dtype):
    t = drawn(on := GRAPHS["wide_window"](), 2, 7, dtype=dtype)
    assert_as_accurate_as_the_reference(dot_attention, on, t, "dense")


@pytest.mark.parametrize("scale", [0.0, -0.7])
@pytest.mark.parametrize("name", ["unequal", "causal", "window"])
def test_any_scale(name, scale):
    on = GRAPHS[name]()
    t = drawn(on, 2, 7)
    assert_as_accurate_as_the_reference(dot_attention, on, t, "dense", scale=scale)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(
    "name", ["equal", "unequal", "causal", "bipartite", "no_sources", "window", "intervals"]
)
def test_gradients_and_second_gradients(name):
    on = GRAPHS[name]()
    leaves = leaves_of(on)

    def run(*given):
        return dot_attention(on, *given, backend="dense")

    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradgradcheck(run, leaves, fast_mode=True)


@pytest.mark.parametrize("name", ["unequal", "window"])
def test_second_gradient_when_one_tensor_is_passed_as_several_arguments(name):
    on = GRAPHS[name]()

    def penalty(backend):
        torch.manual_seed(1)
        x = torch.randn(on.num_src, 2, 3, dtype=torch.float64, requires_grad=True)
        out = dot_attention(on, x, x, x, backend=backend)
        slope = torch.autograd.grad(out.square().sum(), x, create_graph=True)[0]
        return slope, torch.autograd.grad(slope.square().sum(), x)[0]

    torch.testing.assert_close(*both(penalty))


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)])
@pytest.mark.parametrize("name", ["unequal", "intervals"])
def test_any_of_the_gradients_alone(name, wanted):
    on = GRAPHS[name]()
    t = list(drawn(on).values())

    def run(backend):
        given = [x.clone().requires_grad_(k in wanted) for k, x in enumerate(t)]
        out = dot_attention(on, *given, backend=backend)
        return torch.autograd.grad(out.square().sum(), [given[k] for k in wanted])

    torch.testing.assert_close(*both(run))


@pytest.mark.parametrize("name", ["unequal", "window"])
def test_a_backward_may_come_again_if_it_is_kept_and_else_not(name):
    on = GRAPHS[name]()
    leaves = leaves_of(on)
    loss = dot_attention(on, *leaves, backend="dense").square().sum()
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    again = torch.autograd.grad(loss, leaves)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize("name", ["causal", "window"])
def test_what_was_changed_in_place_since_is_refused(name):
    on = GRAPHS[name]()
    leaves, key = leaves_of(on), drawn(on)["key"]
    out = dot_attention(on, leaves[0], key, leaves[2], backend="dense")
    key.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@pytest.mark.parametrize("name", ["equal", "window"])
def test_without_gradients_nothing_is_kept(name):
    on = GRAPHS[name]()
    leaves = leaves_of(on)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        with torch.no_grad():
            assert not dot_attention(on, *leaves, backend="dense").requires_grad
        assert not dot_attention(on, *drawn(on).values(), backend="dense").requires_grad
        assert kept == []
        assert dot_attention(on, *leaves, backend="dense").requires_grad
        assert kept


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        *(("dense", name) for name in ("unequal", "causal", "bipartite", "hundreds", "window")),
        ("auto", "hundreds"),
    ],
)
def test_nothing_of_the_size_of_the_edges_is_made(backend, name):
    on = GRAPHS[name]()
    known = set(on.__dict__)
    leaves = leaves_of(on, heads=8, channels=16)
    dot_attention(on, *leaves, backend=backend).sum().backward()
    assert set(on.__dict__) == known
    assert "by_target" not in known


def test_a_layer_makes_nothing_of_the_size_of_the_edges():
    on = topology.causal(90)
    given = leaves_of(on, heads=8, channels=8, dtype=torch.float32)
    Attend(8, heads=8)(*given, on).sum().backward()
    assert not {"by_target", "by_source", "edge_index", "col"} & set(on.__dict__)


def test_blocks_in_another_order_that_were_met_in_inference_mode_serve_training():
    on = topology.complete([9, 4, 9, 2, 4])
    blocks._remembered.cache_clear()
    with torch.inference_mode():
        dot_attention(on, *drawn(on).values(), backend="dense")
    leaves = leaves_of(on)
    dot_attention(on, *leaves, backend="dense").sum().backward()
    assert blocks._remembered.cache_info().hits == 1
    assert all(x.grad.isfinite().all() for x in leaves)


# dtypes and layouts -----------------------------------------------------------------------------


def test_arguments_of_different_dtypes_compute_in_the_widest():
    on = GRAPHS["unequal"]()
    t = drawn(on, dtype=torch.float32)
    for name in t:
        mixed = t | {name: t[name].double()}
        out = dot_attention(on, **mixed, backend="dense")
        assert out.dtype is torch.float64
        expected = dot_attention(on, **mixed, backend="reference")
        torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)


def test_autocast_changes_nothing():
    on = GRAPHS["causal"]()
    t = drawn(on, 2, 8, dtype=torch.float32)
    plain = dot_attention(on, **t, backend="dense")
    with torch.autocast("cpu", torch.bfloat16):
        leaves = [x.requires_grad_() for x in t.values()]
        out = dot_attention(on, *leaves, backend="dense")
        out.sum().backward()
    assert out.dtype is torch.float32
    assert torch.equal(out, plain)


@pytest.mark.parametrize(
    "lay",
    [
        lambda x: x.transpose(0, -1).contiguous().transpose(0, -1),
        lambda x: torch.stack([x, x], dim=-1)[..., 0],
        lambda x: x[:1].expand_as(x),
    ],
    ids=["permuted", "strided", "expanded"],
)
def test_inputs_in_any_layout(lay):
    on = GRAPHS["unequal"]()
    t = {name: lay(x) for name, x in drawn(on).items()}
    assert_as_accurate_as_the_reference(dot_attention, on, t, "dense")


# Who watches ------------------------------------------------------------------------------------

TRANSFORMS = {
    "grad": lambda run, given: grad(lambda *x: run(*x).square().sum(), (0, 1, 2))(*given),
    "jacrev": lambda run, given: jacrev(lambda *x: run(*x).square().sum())(*given),
    "jvp": lambda run, given: jvp(run, given, tuple(torch.ones_like(x) for x in given)),
    "vmap": lambda run, given: vmap(lambda k: run(*(x * k for x in given)))(torch.arange(1.0, 4)),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", ["unequal", "window"])
def test_torch_func_transforms_a_call(name, transform):
    on = GRAPHS[name]()
    given = tuple(drawn(on).values())

    def run(backend):
        attend = lambda *x: dot_attention(on, *x, backend=backend)  # noqa: E731
        return TRANSFORMS[transform](attend, given)

    torch.testing.assert_close(*both(run))


@pytest.mark.parametrize("name", ["unequal", "window"])
def test_forward_mode_gives_the_tangent(name):
    on = GRAPHS[name]()
    given = drawn(on).values()

    def run(backend):
        with forward_ad.dual_level():
            duals = [forward_ad.make_dual(x, torch.ones_like(x)) for x in given]
            return forward_ad.unpack_dual(dot_attention(on, *duals, backend=backend)).tangent

    ours, theirs = both(run)
    assert ours is not None
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", ["unequal", "window"])
def test_several_gradients_at_once(name):
    on = GRAPHS[name]()
    leaves = leaves_of(on)
    out = dot_attention(on, *leaves, backend="dense")
    grads = torch.randn(3, *out.shape, dtype=out.dtype)
    found = torch.autograd.grad(out, leaves, grads, is_grads_batched=True, retain_graph=True)
    each = [torch.autograd.grad(out, leaves, one, retain_graph=True) for one in grads]
    torch.testing.assert_close(found, tuple(torch.stack(x) for x in zip(*each, strict=True)))


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(("name", "calls"), [("unequal", 3), ("window", 10)])
def test_a_mode_sees_torchs_operators_each_way(name, calls):
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(function.name())
            return function(*args, **(kwargs or {}))

    on = GRAPHS[name]()
    leaves = leaves_of(on)
    plain = torch.autograd.grad(dot_attention(on, *leaves, backend="dense").sum(), leaves)
    with Watch():
        watched = torch.autograd.grad(dot_attention(on, *leaves, backend="dense").sum(), leaves)
    # A call for blocks of 1, 3 and 7 nodes, or for tiles of 2; and one for each one's gradient.
    assert sum("attention" in name for name in seen) == 2 * calls
    torch.testing.assert_close(watched, plain)


@pytest.mark.filterwarnings(
    "ignore::torch.jit.TracerWarning", "ignore:.*torch.jit:DeprecationWarning"
)
@pytest.mark.parametrize("name", ["causal", "window"])
def test_a_trace_holds_the_operators_and_not_what_they_gave(name):
    on = GRAPHS[name]()
    given = tuple(drawn(on).values())

    def run(*x):
        return dot_attention(on, *x, backend="dense")

    traced = torch.jit.trace(run, given, check_trace=False)
    others = tuple(x + 1 for x in given)
    torch.testing.assert_close(traced(*others), run(*others))


def test_compiled_in_one_piece():
    run = torch.compile(dot_attention, fullgraph=True, backend="aot_eager")
    on = GRAPHS["causal"]()
    leaves = leaves_of(on)
    out = run(on, *leaves, backend="dense")
    expected = dot_attention(on, *leaves, backend="reference")
    torch.testing.assert_close(out, expected)
    ours, theirs = (torch.autograd.grad(x.square().sum(), leaves) for x in (out, expected))
    torch.testing.assert_close(ours, theirs)
    with pytest.raises(Exception, match=r"torch\.compile would unroll the tiles"):
        run(GRAPHS["window"](), *leaves_of(GRAPHS["window"]()), backend="dense")


# Kept, refused, chosen --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on", "change", "sentence"),
    [
        (lambda: graph("random"), {}, "the graph's sources are not consecutive numbers, as those"),
        (lambda: topology.grid(31, 1, 2), {}, "the graph's sources are not consecutive numbers"),
        (lambda: topology.window(31, 3), {"return_weights": True}, "it does not keep the weights"),
        (lambda: topology.causal(31), {"dropout": 0.5}, r"dropout here is a function of \(seed,"),
        (lambda: topology.causal(31), {"return_weights": True}, "it does not keep the weights"),
        (lambda: topology.causal(31), {"edge_key": True}, "edge_key and edge_value are of"),
        (lambda: topology.causal(31), {"edge_value": True}, "edge_key and edge_value are of"),
    ],
    ids=["random", "grid", "window", "dropout", "weights", "edge_key", "edge_value"],
)
def test_asked_for_by_name_it_says_why_it_cannot(on, change, sentence):
    on = on()
    change = {k: torch.zeros(on.num_edges, 2, 3) if "edge" in k else v for k, v in change.items()}
    t = drawn(on, dtype=torch.float32)
    with pytest.raises(BackendError, match=f"'dense', torch's kernel, .* {sentence}.*'auto'"):
        dot_attention(on, **t, **change, backend="dense")
    with use_backend("dense"), pytest.raises(BackendError, match=sentence):
        dot_attention(on, **t, **change)
    # Of the rest, auto makes something.
    out = dot_attention(on, **t, **change)
    assert (out[0] if isinstance(out, tuple) else out).shape == (31, 2, 3)


def test_other_operators_and_steps_are_refused():
    on = topology.complete(4)
    sentence = "'dense' cannot run {} on cpu: torch's kernel is for dot attention alone; use backen"
    with pytest.raises(BackendError, match=sentence.format("additive attention")):
        additive_attention(on, **inputs("additive", on, 2, 3), backend="dense")
    with (
        use_backend("dense"),
        pytest.raises(BackendError, match=sentence.format("segment_softmax")),
    ):
        segment_softmax(on, torch.zeros(16, 2))


def test_bad_arguments_are_refused_before_any_backend_is_asked():
    on = topology.complete(4)
    t = drawn(on)
    with pytest.raises(Exception, match=r"key has shape \[3, 2, 3\]; expected \[4, 2, 3\]"):
        dot_attention(on, **t | {"key": t["key"][:3]}, backend="dense")


FITS = {"heads": 8, "channels": 8}
CHOICES = {
    "complete": (lambda: topology.complete(64), {}, {}, True),
    "causal": (lambda: topology.causal(64), {}, {}, True),
    "equal": (lambda: topology.complete([16] * 9), {}, {}, True),
    "short": (lambda: topology.complete([15] * 40), {}, {}, False),
    "unequal": (lambda: topology.causal([64, 90, 70]), {}, {}, True),
    "unequal_short": (lambda: topology.complete([20, 30] * 9), {}, {}, False),
    "small": (lambda: topology.complete(31), {}, {}, False),
    "narrow": (lambda: topology.complete(64), {"heads": 1, "channels": 8}, {}, False),
    "one_target": (lambda: topology.bipartite([200] * 32, 1), {}, {}, False),
    "float64": (lambda: topology.complete(64), {"dtype": torch.float64}, {}, True),
    "bfloat16": (lambda: topology.complete(64), {"dtype": torch.bfloat16}, {}, False),
    "dropout": (lambda: topology.complete(64), {}, {"dropout": 0.5}, False),
    "weights": (lambda: topology.complete(64), {}, {"return_weights": True}, False),
    "window": (lambda: topology.window(512, 128), {}, {}, True),
    "narrow_window": (lambda: topology.window(512, 64), {}, {}, False),
    "window_of_few_heads": (lambda: topology.window(512, 128), {"heads": 2}, {}, False),
    "no_window": (lambda: topology.window([], 1), {}, {}, False),
    "plain": (lambda: Graph.from_edge_index(topology.complete(64).edge_index), {}, {}, False),
    "no_blocks": (lambda: topology.complete([]), {}, {}, False),
    "no_nodes": (lambda: topology.complete([0, 0]), {}, {}, False),
    "elsewhere": (lambda: topology.complete(5, device="meta"), {}, {}, True),
}


@pytest.mark.parametrize("name", CHOICES)
def test_auto_takes_it_where_it_can_run_and_is_the_faster_road(monkeypatch, name):
    make, sizes, options, taken = CHOICES[name]
    on, calls = make(), []
    run = dense.dot
    monkeypatch.setattr(dense, "dot", lambda *a, **k: calls.append(a) or run(*a, **k))
    t = drawn(on, **{**FITS, "dtype": torch.float32, **sizes})
    t = {name: x.to(on.device) for name, x in t.items()}
    for backend in ("auto", None):
        dot_attention(on, **t, **options, backend=backend)
    assert len(calls) == 2 * taken
    other = "cpu" if cpu.status().available and on.device.type == "cpu" else "blockwise"
    if on.device.type == "cpu":
        dot_attention(on, **t, **options, backend=other)
        with use_backend(other):
            dot_attention(on, **t, **options)
    assert len(calls) == 2 * taken
