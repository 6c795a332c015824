"""The compiled kernels beside the float64 reference: every output and gradient, on any graph.

Graphs, dtypes, heads and channels in all combinations; in each the next of an operator's options,
so that every option meets every graph, dtype and size.
"""

import itertools
import zlib

import pytest
import torch

from gat.graph import Graph
from gat.ops import cpu
from tests.graphs import GRAPHS
from tests.ops.accuracy import assert_as_accurate_as_the_reference
from tests.ops.inputs import CALLS, STEPS, graph, inputs
from tests.ops.variants import arguments, subsets, variants

pytestmark = pytest.mark.skipif(not cpu.status().available, reason=str(cpu.status()))

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
SIZES = list(itertools.product((1, 3, 4, 8), (1, 7, 8, 32, 250)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("call", CALLS)
def test_output_and_every_gradient_are_as_accurate_as_the_references(call, name, dtype):
    on = graph(name)
    choices = variants(call)
    # Where to begin differs by test; 5 and 7 divide no number of variants.
    first = zlib.crc32(f"{name} {dtype}".encode())
    for k, size in enumerate(SIZES[::2] if call in STEPS else SIZES):
        variant = choices[(first + 7 * k) % len(choices)]
        t, options = arguments(call, on, size, dtype, variant)
        try:
            assert_as_accurate_as_the_reference(CALLS[call], on, t, "cpu", **options)
        except AssertionError as error:
            error.add_note(f"{size} {sorted(t)} {options}")
            raise


@pytest.mark.parametrize("call", CALLS)
def test_every_combination_of_options(call):
    on = graph("random")
    for variant in variants(call):
        t, options = arguments(call, on, (3, 8), torch.float32, variant)
        assert_as_accurate_as_the_reference(CALLS[call], on, t, "cpu", **options)


@pytest.mark.parametrize("call", CALLS)
def test_any_of_the_gradients_alone(call):
    """Only what is asked for is computed, and is the same whatever else is asked for."""
    on = graph("random")
    t = inputs(call, on, 3, 7)
    if call == "gatv2":
        # Fewer channels than the key: its gradient would not fit where the value's is summed.
        t["value"] = torch.randn(on.num_src, 3, 2, dtype=torch.float64)
    out = CALLS[call](on, **{k: x.requires_grad_() for k, x in t.items()}, backend="cpu")
    upstream = torch.randn_like(out)
    everything = dict(zip(t, torch.autograd.grad(out, list(t.values()), upstream), strict=True))
    for some in subsets(list(t))[1:]:
        leaves = {k: x.detach().requires_grad_(k in some) for k, x in t.items()}
        out = CALLS[call](on, **leaves, backend="cpu")
        grads = torch.autograd.grad(out, [leaves[k] for k in sorted(some)], upstream)
        for name, grad in zip(sorted(some), grads, strict=True):
            assert torch.equal(grad, everything[name]), f"{name}, with {some} asked for"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_number_of_sixteen_bits_is_read_and_rounded_as_torch_does(dtype):
    numbers = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16).view(dtype)
    numbers = numbers[~numbers.isnan()]
    # One edge for each number, its weight a factor: the product is exact in float32 but rounded
    # once. 9 channels: whole vectors, and what remains.
    count = numbers.numel()
    on = Graph.from_edge_index(torch.arange(count).expand(2, count).contiguous(), count)
    value = numbers.view(-1, 1, 1).expand(-1, 1, 9)
    for factor in (1.0, -1.0, 0.3, 3.7, 1e-3, 2.0**-14):
        weight = torch.full((count, 1), factor, dtype=dtype)
        out = CALLS["aggregate"](on, weight, value, backend="cpu")
        expected = (value.float() * weight.float()[..., None]).to(dtype)
        assert torch.equal(out, expected)
