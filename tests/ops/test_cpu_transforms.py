"""The compiled kernels under what must see or transform a call: modes, torch.func, forward mode."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import grad, jacrev, jvp, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from gat.errors import BackendError
from gat.ops import cpu
from tests.ops.inputs import CALLS, OPERATORS, graph, inputs

pytestmark = pytest.mark.skipif(not cpu.status().available, reason=str(cpu.status()))


def calls(call: str):
    """The call by each backend, as a function of its tensors alone, and tensors for it."""
    on = graph("random")
    t = inputs(call, on, 2, 3)

    def by(backend):
        return lambda *given: CALLS[call](on, **dict(zip(t, given, strict=True)), backend=backend)

    return by("cpu"), by("reference"), tuple(t.values())


def loss(run):
    return lambda *given: run(*given).square().sum()


TRANSFORMS = {
    "grad": lambda run, given: grad(loss(run), argnums=tuple(range(len(given))))(*given),
    "jacrev": lambda run, given: jacrev(loss(run))(*given),
    "jvp": lambda run, given: jvp(run, given, tuple(torch.ones_like(x) for x in given)),
    "vmap": lambda run, given: vmap(lambda k: run(*(x * k for x in given)))(torch.arange(1.0, 4)),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("call", CALLS)
def test_torch_func_transforms_a_call(call, transform):
    ours, reference, given = calls(call)
    apply = TRANSFORMS[transform]
    torch.testing.assert_close(apply(ours, given), apply(reference, given))


@pytest.mark.parametrize("call", CALLS)
def test_forward_mode_gives_the_tangent(call):
    """Not silently none."""

    def tangent(run, given):
        with forward_ad.dual_level():
            duals = [forward_ad.make_dual(x, torch.ones_like(x)) for x in given]
            return forward_ad.unpack_dual(run(*duals)).tangent

    ours, reference, given = calls(call)
    torch.testing.assert_close(tangent(ours, given), tangent(reference, given))


@pytest.mark.parametrize("call", CALLS)
def test_several_gradients_at_once(call):
    ours, _, given = calls(call)
    given = [x.requires_grad_() for x in given]
    out = ours(*given)
    grads = torch.randn(3, *out.shape, dtype=out.dtype)
    found = torch.autograd.grad(out, given, grads, is_grads_batched=True, retain_graph=True)
    each = [torch.autograd.grad(out, given, one, retain_graph=True) for one in grads]
    expected = tuple(torch.stack(those) for those in zip(*each, strict=True))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("call", CALLS)
def test_a_mode_sees_one_operator_each_way(call):
    """A profiler of torch's operators, or a trace: there a call may not go past the dispatcher."""
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(function.name())
            return function(*args, **(kwargs or {}))

    ours, _, given = calls(call)
    given = [x.requires_grad_() for x in given]
    plain = torch.autograd.grad(loss(ours)(*given), given)
    with Watch():
        watched = torch.autograd.grad(loss(ours)(*given), given)
    ours_seen = [name for name in seen if name.startswith("gat::")]
    assert ours_seen == [f"gat::{call}_forward", f"gat::{call}_backward"]
    torch.testing.assert_close(watched, plain, rtol=0, atol=0)


@pytest.mark.filterwarnings(
    "ignore::torch.jit.TracerWarning", "ignore:.*torch.jit:DeprecationWarning"
)
def test_a_trace_holds_the_operator_and_not_what_it_gave():
    ours, _, given = calls("additive")
    traced = torch.jit.trace(ours, given, check_trace=False)
    others = tuple(x + 1 for x in given)
    torch.testing.assert_close(traced(*others), ours(*others))


@pytest.mark.parametrize("call", CALLS)
def test_a_backward_without_the_edges_by_source_is_refused(call):
    from gat.ops.library import BY_NAME, _walk
    from gat.ops.walk import Options

    on, operator = graph("random"), BY_NAME[call]
    t = [x.requires_grad_() for x in inputs(call, on, 2, 3).values()]
    t += [None] * (operator.count - len(t))
    rest = (None, False) if call in OPERATORS else ()
    run = getattr(torch.ops.gat, f"{call}_forward")
    result = run(*t, *_walk(on, training=False), *Options(), *rest)
    out = result[0] if call in OPERATORS else result
    with pytest.raises(BackendError, match="by_source"):
        out.sum().backward()
