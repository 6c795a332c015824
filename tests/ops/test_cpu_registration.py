"""The compiled kernels as operators of torch: autograd, opcheck, torch.compile."""

import shutil

import pytest
import torch

from gat.graph import Graph
from gat.ops import cpu
from tests.ops.inputs import CALLS, OPERATORS, graph, inputs

pytestmark = pytest.mark.skipif(not cpu.status().available, reason=str(cpu.status()))

DROPPED = {"dropout": 0.4, "seed": 7, "return_weights": True}


def options_of(call: str) -> dict:
    return DROPPED if call in OPERATORS else {}


# Gradients --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["no_edges", "one_edge", "loops_and_duplicates", "bipartite_wide"])
@pytest.mark.parametrize("call", CALLS)
def test_gradients_and_second_gradients(call, name):
    on = graph(name)
    t = inputs(call, on, 2, 3)
    if call == "gatv2":
        t["value"] = torch.randn(on.num_src, 2, 5, dtype=torch.float64)

    def run(*tensors):
        named = dict(zip(t, tensors, strict=True))
        return CALLS[call](on, **named, **options_of(call), backend="cpu")

    leaves = tuple(tensor.requires_grad_() for tensor in t.values())
    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradgradcheck(run, leaves, fast_mode=True)


@pytest.mark.parametrize("activation", ["leaky_relu", "tanh"])
@pytest.mark.parametrize("call", ["gatv2", "gatv2_scores"])
def test_gradients_of_each_activation(call, activation):
    on = graph("random")
    t = inputs(call, on, 2, 3)

    def run(*tensors):
        named = dict(zip(t, tensors, strict=True))
        return CALLS[call](on, **named, activation=activation, backend="cpu")

    leaves = tuple(tensor.requires_grad_() for tensor in t.values())
    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradgradcheck(run, leaves, fast_mode=True)


@pytest.mark.parametrize("call", OPERATORS)
def test_gradient_through_the_weights_alone_and_through_both(call):
    """A loss may use the weights, the output, or both; a result that is not used costs nothing."""
    on = graph("random")
    t = {k: v.requires_grad_() for k, v in inputs(call, on, 2, 3).items()}
    losses = {
        "weights": lambda out, weights: weights.square().sum(),
        "output": lambda out, weights: out.square().sum(),
        "both": lambda out, weights: out.square().sum() + weights.square().sum(),
    }
    for loss in losses.values():
        found = []
        for backend in ("cpu", "reference"):
            result = CALLS[call](on, **t, **DROPPED, backend=backend)
            leaves = list(t.values())
            grads = torch.autograd.grad(loss(*result), leaves, materialize_grads=True)
            found.append(grads)
        torch.testing.assert_close(*found)


def test_one_tensor_as_several_arguments():
    on = graph("random")
    found = []
    for backend in ("cpu", "reference"):
        torch.manual_seed(1)
        x = torch.randn(31, 2, 3, dtype=torch.float64, requires_grad=True)
        att = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
        first = CALLS["gatv2"](on, x, x, att, value=x, backend=backend)
        second = CALLS["dot"](on, x, x, x, backend=backend)
        slope = torch.autograd.grad((first * second).sum(), x, create_graph=True)[0]
        found.append((slope, *torch.autograd.grad(slope.square().sum(), (x, att))))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("call", CALLS)
def test_inputs_and_gradients_in_any_layout(call):
    """Permuted, strided and expanded tensors, and gradients of such layouts."""
    on = graph("random")
    plain = inputs(call, on, 2, 3)
    layouts = {
        "permuted": lambda x: x.transpose(0, -1).contiguous().transpose(0, -1),
        "strided": lambda x: torch.stack([x, x], dim=-1)[..., 0],
        "offset": lambda x: torch.cat([x.flatten(), x.flatten()])[x.numel() :].view(x.shape),
    }
    results = {}
    for name, lay in ({"plain": lambda x: x} | layouts).items():
        t = {k: lay(v).detach().requires_grad_() for k, v in plain.items()}
        out = CALLS[call](on, **t, backend="cpu")
        torch.manual_seed(2)
        upstream = lay(torch.randn(out.shape, dtype=out.dtype))
        results[name] = (out, *torch.autograd.grad(out, list(t.values()), upstream))
    for name in layouts:
        for ours, expected in zip(results[name], results["plain"], strict=True):
            assert torch.equal(ours, expected), name


@pytest.mark.parametrize("call", CALLS)
def test_gradient_that_is_expanded_from_one_number(call):
    on = graph("random")
    t = {k: v.requires_grad_() for k, v in inputs(call, on, 2, 3).items()}
    found = [
        torch.autograd.grad(CALLS[call](on, **t, backend=backend).sum(), list(t.values()))
        for backend in ("cpu", "reference")
    ]
    torch.testing.assert_close(*found)


# torch.library's checks ---------------------------------------------------------------------------


def operator_arguments(call: str, t: dict, on: Graph, monkeypatch) -> tuple:
    """What a call passes to its registered operator, gat::CALL_forward."""
    from gat.ops import library

    seen = []
    run = library.cpu._run

    def spy(name, graph, options, rest, given):
        training = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in given)
        operator = getattr(torch.ops.gat, f"{name}_forward").default
        seen.append((operator, (*given, *library._walk(graph, training), *options, *rest)))
        return run(name, graph, options, rest, given)

    monkeypatch.setattr(library.cpu, "_run", spy)
    CALLS[call](on, **t, **options_of(call), backend="cpu")
    return seen[0]


def by_name(call: str):
    from gat.ops.library import OPERATORS

    return next(operator for operator in OPERATORS if operator.name == call)


@pytest.mark.parametrize("layout", ["plain", "permuted", "without_gradients", "sorted"])
@pytest.mark.parametrize("call", CALLS)
def test_forward_operators_pass_opcheck(call, layout, monkeypatch):
    on = graph("random")
    if layout == "sorted":
        on = Graph.from_edge_index(on.edge_index[:, on.perm], 31)
        assert on.perm is None
    t = inputs(call, on, 2, 3)
    if layout == "permuted":
        t = {k: v.transpose(0, -1).contiguous().transpose(0, -1) for k, v in t.items()}
    t = {k: v.requires_grad_(layout != "without_gradients") for k, v in t.items()}
    operator, arguments = operator_arguments(call, t, on, monkeypatch)
    torch.library.opcheck(operator, arguments)


@pytest.mark.parametrize("layout", ["plain", "permuted"])
@pytest.mark.parametrize("call", CALLS)
def test_backward_operators_pass_opcheck(call, layout, monkeypatch):
    on = graph("random")
    t = {k: v.requires_grad_() for k, v in inputs(call, on, 2, 3).items()}
    forward, arguments = operator_arguments(call, t, on, monkeypatch)
    with torch.no_grad():
        result = forward(*arguments)
    backward = getattr(torch.ops.gat, f"{call}_backward")
    grad = torch.randn_like(result[0] if call in OPERATORS else result)
    if layout == "permuted":
        grad = grad.transpose(0, -1).contiguous().transpose(0, -1)
    if call in OPERATORS:
        *given, seed, _ = arguments
        saved = (seed, *result[:2], grad, torch.randn_like(result[2]))
    else:
        given, saved = arguments, (result, grad)
    given = [x.detach() if isinstance(x, torch.Tensor) else x for x in given]
    wanted = [x is not None for x in given[: by_name(call).count]]
    for needed in (wanted, [k == 0 for k in range(len(wanted))]):
        torch.library.opcheck(backward, (*given, *saved, needed))


# torch.compile ------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS)
def test_compiled_in_one_piece_for_graphs_never_used_before(call):
    run = torch.compile(CALLS[call], fullgraph=True, dynamic=True, backend="aot_eager")
    options = {"dropout": 0.5, "seed": torch.tensor(3)} if call in OPERATORS else {}
    for name in ("random", "sixty_three_edges"):
        on = graph(name)
        t = {k: v.requires_grad_() for k, v in inputs(call, on, 2, 3).items()}
        out = run(on, **t, **options, backend="cpu")
        expected = CALLS[call](graph(name), **t, **options, backend="cpu")
        torch.testing.assert_close(out, expected)
        leaves = list(t.values())
        ours = torch.autograd.grad(out.square().sum(), leaves)
        torch.testing.assert_close(ours, torch.autograd.grad(expected.square().sum(), leaves))


@pytest.mark.parametrize("call", CALLS)
def test_compiled_once_for_graphs_of_any_size(call):
    compilations = []

    def count(module, example_inputs):
        compilations.append(module)
        return module.forward

    run = torch.compile(CALLS[call], fullgraph=True, dynamic=True, backend=count)
    for nodes, edges in ((31, 211), (40, 300), (17, 90)):
        on = Graph.from_edge_index(torch.randint(nodes, (2, edges)), nodes)
        _ = on.by_target, on.by_source, on.transposed, on.edge_index
        t = {k: v.requires_grad_() for k, v in inputs(call, on, 2, 3).items()}
        out = run(on, **t, backend="cpu")
        torch.testing.assert_close(out, CALLS[call](on, **t, backend="reference"))
    assert len(compilations) == 1


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs g++")
def test_compiled_by_inductor():
    on = graph("random")
    t = {k: v.float().requires_grad_() for k, v in inputs("additive", on, 2, 3).items()}
    run = torch.compile(CALLS["additive"], fullgraph=True, dynamic=True)
    out, expected = run(on, **t, backend="cpu"), CALLS["additive"](on, **t, backend="reference")
    torch.testing.assert_close(out, expected)
    leaves = list(t.values())
    ours = torch.autograd.grad(out.square().sum(), leaves)
    torch.testing.assert_close(ours, torch.autograd.grad(expected.square().sum(), leaves))
