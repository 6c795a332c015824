"""What is wrong never reaches a kernel: bad node numbers and sizes raise first, in words."""

import pytest
import torch

from gat.errors import GatError
from gat.graph import Graph
from gat.nn import GATConv, GATv2Conv
from gat.ops import cpu
from gat.ops.cpu import kernels
from tests.ops.inputs import CALLS, inputs

pytestmark = pytest.mark.skipif(not cpu.status().available, reason=str(cpu.status()))

NODES = 5
GOOD = torch.tensor([[0, 1, 2, 4], [1, 0, 4, 3]])

# name -> (edge_index, also this Python error, what is said)
BAD = {
    "too_large_target": (
        torch.tensor([[0, 1], [1, 5]]),
        IndexError,
        r"edge_index\[1\], position 1, names target node 5, outside \[0, 5\)",
    ),
    "too_large_source": (
        torch.tensor([[0, 2**40], [1, 2]]),
        IndexError,
        r"edge_index\[0\], position 1, names source node 1099511627776, outside \[0, 5\)",
    ),
    "negative": (
        torch.tensor([[0, -1], [1, 2]]),
        IndexError,
        r"edge_index\[0\], position 1, names source node -1, outside \[0, 5\)",
    ),
    "int32_too_large": (
        torch.tensor([[0, 7], [1, 2]], dtype=torch.int32),
        IndexError,
        r"position 1, names source node 7, outside \[0, 5\)",
    ),
    "float": (GOOD.float(), TypeError, r"edge_index has dtype torch\.float32; expected torch\.int"),
    "bool": (GOOD.bool(), TypeError, r"edge_index has dtype torch\.bool; expected torch\.int64"),
    "transposed": (
        GOOD.t(),
        ValueError,
        r"edge_index has shape \[4, 2\]; expected \[2, E\].*pass edge_index\.t\(\)",
    ),
    "one_row": (GOOD[:1], ValueError, r"edge_index has shape \[1, 4\]; expected \[2, E\]"),
}


@pytest.fixture
def called(monkeypatch) -> list[str]:
    """The kernels that run, by name."""
    names: list[str] = []
    find = kernels._function
    monkeypatch.setattr(kernels, "_function", lambda name: names.append(name) or find(name))
    return names


def attend_on(edge_index: torch.Tensor) -> None:
    on = Graph.from_edge_index(edge_index, NODES)
    CALLS["additive"](on, **inputs("additive", on, 2, 3), backend="cpu")


DOORS = {
    "operator": attend_on,
    "GATConv": lambda edge_index: GATConv(3, 2, heads=2)(torch.randn(NODES, 3), edge_index),
    "GATv2Conv": lambda edge_index: GATv2Conv(3, 2, heads=2)(torch.randn(NODES, 3), edge_index),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("door", DOORS)
def test_bad_edges_raise_before_any_kernel_and_leave_the_process_usable(door, bad, called):
    edge_index, error, sentence = BAD[bad]
    with pytest.raises(error, match=sentence) as caught:
        DOORS[door](edge_index)
    assert isinstance(caught.value, GatError)
    assert called == []
    DOORS[door](GOOD)
    assert called


@pytest.mark.parametrize("door", DOORS)
def test_int32_edges_are_taken(door, called):
    DOORS[door](GOOD.int())
    assert called


@pytest.mark.parametrize("call", CALLS)
def test_tensors_that_do_not_fit_the_graph_raise_before_any_kernel(call, called):
    on = Graph.from_edge_index(GOOD, NODES)
    t = inputs(call, on, 2, 3)
    for name, tensor in t.items():
        misfits = [tensor[:-1], tensor[None], tensor.long(), tensor.to("meta")]
        # The last size of these is for the caller to choose.
        if (call, name) not in {("additive", "value"), ("segment_softmax", "scores")}:
            misfits.append(tensor[..., :-1])
        for wrong in misfits:
            with pytest.raises(GatError, match=r"(has shape|has dtype|is on)"):
                CALLS[call](on, **{**t, name: wrong}, backend="cpu")
    assert called == []
    CALLS[call](on, **t, backend="cpu")
    assert called


@pytest.mark.parametrize("call", CALLS)
def test_dtypes_without_kernels_are_refused_by_name(call, called):
    on = Graph.from_edge_index(GOOD, NODES)
    t = {k: v.to(torch.float8_e5m2) for k, v in inputs(call, on, 2, 3).items()}
    with pytest.raises(GatError, match=r"torch\.float8_e5m2; expected one of torch\.float32"):
        CALLS[call](on, **t, backend="cpu")
    assert called == []
