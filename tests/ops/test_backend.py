"""Backends: one asked for by name runs or says why not; only auto chooses."""

import pytest
import torch

import gat.ops
from gat.errors import BackendError, InputError
from gat.ops import additive_attention, dot_attention
from tests.ops.inputs import graph, inputs


def test_backend_by_name_runs_or_says_why_not():
    on = graph("random")
    t = inputs("additive", on, 2, 3)
    auto = additive_attention(on, **t)
    assert torch.equal(additive_attention(on, **t, backend="reference"), auto)
    for name in ("cpu", "triton"):
        with pytest.raises(
            BackendError, match=f"backend '{name}' cannot run additive attention on cpu: "
        ):
            additive_attention(on, **t, backend=name)


def test_use_backend_holds_for_its_block_and_as_a_function():
    on = graph("random")
    t = inputs("dot", on, 2, 3)
    with gat.ops.use_backend("triton"), pytest.raises(BackendError, match="'triton'"):
        dot_attention(on, **t)
    assert dot_attention(on, **t).shape == (31, 2, 3)
    choice = gat.ops.use_backend("triton")
    with pytest.raises(BackendError):
        dot_attention(on, **t)
    assert dot_attention(on, **t, backend="reference").shape == (31, 2, 3)
    choice.__exit__()
    assert dot_attention(on, **t).shape == (31, 2, 3)
    with pytest.raises(InputError, match="backend is 'gpu'"):
        gat.ops.use_backend("gpu")
