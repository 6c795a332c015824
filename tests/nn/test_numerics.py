"""Numbers beyond float64 and one backward: autocast, second gradients, torch.compile."""

import pytest
import torch

import gat
from gat.graph import Graph
from tests.nn.twins import EDGE_DIM, LOOPED, NAMES, features, options_of, ours, twins, with_weights

# With an attention type of its own, and with edge features.
VARIANTS = [
    *((name, {}) for name in NAMES),
    ("SuperGATConv", {"attention_type": "SD"}),
    *((name, {"edge_dim": EDGE_DIM}) for name in NAMES if "edge_dim" in options_of(name)),
]


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_second_gradients(name, options):
    edge_index, x, edge_attr, _ = features("sixty_three_edges")
    layer = ours(name, 6, 2, heads=2, **options)
    inputs = (x, edge_attr) if "edge_dim" in options else (x,)
    assert torch.autograd.gradgradcheck(
        lambda x, *rest: layer(x, edge_index, *rest),
        tuple(each.requires_grad_() for each in inputs),
        fast_mode=True,
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_dtypes_under_autocast_are_pygs(name, options, bias):
    edge_index, x, edge_attr, _ = features("random")
    rest = [edge_attr.float()] if "edge_dim" in options else []
    pair = (layer.float() for layer in twins(name, 6, 5, heads=2, bias=bias, **options))
    dtypes = []
    for layer in pair:
        exact = layer(x.float(), edge_index, *rest)
        with torch.autocast("cpu", torch.bfloat16):
            out, weights = with_weights(layer, x.float(), edge_index, *rest)
        torch.testing.assert_close(out.float(), exact, rtol=0.05, atol=0.1)
        dtypes.append((out.dtype, weights.dtype))
    assert dtypes[0] == dtypes[1]


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_layers(name):
    edge_index, x, _, _ = features("hub")
    layer = ours(name, 6, 5, heads=2).float()
    exact = layer(x.float(), edge_index)
    low = layer.bfloat16()(x.bfloat16(), edge_index)
    assert low.dtype is torch.bfloat16
    torch.testing.assert_close(low.float(), exact, rtol=0.05, atol=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_compiled_layer_sorts_once_and_a_graph_compiles_in_one_piece(name, monkeypatch):
    edge_index, x, _, _ = features("random")
    layer = ours(name, 6, 5, heads=2)
    expected = layer(x, edge_index)
    sorts, real = [], torch.sort
    monkeypatch.setattr(torch, "sort", lambda *a, **k: sorts.append(1) or real(*a, **k))
    # Without fullgraph the number of edges, self-loops added, is a graph break.
    for fullgraph in (True, False):
        compiled = torch.compile(layer, backend="aot_eager", fullgraph=fullgraph)
        fresh, counts, before = edge_index.clone(), [], len(sorts)
        for _ in range(3):
            torch.testing.assert_close(compiled(x, fresh), expected)
            counts.append(len(sorts) - before)
        # The first call sorts, once for the graph and once for its transpose; no later one does.
        assert counts == [counts[0]] * 3
        assert 1 <= counts[0] <= 2
        layer(x, fresh)
        assert len(sorts) - before == counts[0]
    cold = Graph.from_edge_index(edge_index, 31)
    if name in LOOPED:
        cold = cold.with_self_loops()
    whole = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(whole(x, cold), expected)


@pytest.mark.parametrize("backend", ["reference", "blockwise"])
@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_every_backend_computes_the_same(name, options, backend):
    edge_index, x, edge_attr, _ = features("loops_and_duplicates")
    rest = [edge_attr] if "edge_dim" in options else []
    layer = ours(name, 6, 5, heads=2, dropout=0.4, **options).train()
    others = [torch.tensor([[0, 1], [2, 2]])] if name == "SuperGATConv" else []
    results = []
    for chosen in (None, backend):
        torch.manual_seed(8)
        with gat.use_backend(chosen or "auto"):
            out = layer(x, edge_index, *rest, *others)
            grads = torch.autograd.grad(out.square().sum(), list(layer.parameters()))
        results.append((out, grads))
    torch.testing.assert_close(results[1], results[0])
