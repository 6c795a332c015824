"""HANConv against PyTorch Geometric's: outputs, semantic weights, every gradient, conventions."""

import copy
import inspect
import pickle

import pytest
import torch
import torch_geometric.nn as pyg

from gat.errors import InputError
from gat.graph import Graph
from gat.nn.han_conv import HANConv
from tests.device import generator
from tests.graphs import GRAPHS

WIDTHS = {"author": 4, "paper": 6, "venue": 3}
TYPES = [
    ("author", "writes", "paper"),
    ("paper", "cites", "paper"),
    ("paper", "written_by", "author"),
    ("venue", "publishes", "paper"),
]
METADATA = (list(WIDTHS), TYPES)


def twins(in_channels=None, heads=2, **options):
    """PyG's layer and ours, in float64, with the same parameters."""
    in_channels = WIDTHS if in_channels is None else in_channels
    theirs = pyg.HANConv(in_channels, 6, METADATA, heads=heads, **options).double()
    ours = HANConv(in_channels, 6, METADATA, heads=heads, **options).double()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def inputs(sizes=(11, 31, 5), widths=WIDTHS):
    """x_dict and edge_index_dict: authors, papers and venues; nothing enters a venue."""
    sizes = dict(zip(WIDTHS, sizes, strict=True))
    draw = generator(1)
    x_dict = {
        kind: torch.randn(sizes[kind], widths[kind], dtype=torch.float64, generator=draw)
        for kind in sizes
    }
    edges = {}
    for number, (src, rel, dst) in enumerate(TYPES):
        count = 17 * (number + 1) if sizes[src] and sizes[dst] else 0
        ends = [torch.randint(max(sizes[kind], 1), (count,), generator=draw) for kind in (src, dst)]
        edges[src, rel, dst] = torch.stack(ends)
    return x_dict, edges


def compare(theirs, ours, x_dict, edges):
    """Outputs, semantic weights and every gradient agree."""
    results = []
    for layer in (theirs, ours):
        leaves = {kind: x.detach().clone().requires_grad_() for kind, x in x_dict.items()}
        out, semantic = layer(leaves, edges, return_semantic_attention_weights=True)
        total = sum(
            (o * torch.linspace(-1, 2, o.numel(), dtype=o.dtype).view_as(o)).sum()
            for o in out.values()
            if o is not None
        )
        layer.zero_grad()
        total.backward()
        wanted = [*leaves.values(), *layer.parameters()]
        grads = [torch.zeros_like(t) if t.grad is None else t.grad for t in wanted]
        assert out["venue"] is None
        assert semantic["venue"] is None
        found = [{k: v for k, v in d.items() if v is not None} for d in (out, semantic)]
        results.append((*found, grads))
    torch.testing.assert_close(results[1], results[0])


@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
@pytest.mark.parametrize("heads", [1, 2, 6])
def test_equals_pyg(heads, flow):
    sizes = (13, 13, 13) if flow == "target_to_source" else (11, 31, 5)
    compare(*twins(heads=heads, negative_slope=0.1, flow=flow), *inputs(sizes))


@pytest.mark.parametrize("sizes", [(1, 1, 1), (0, 7, 1), (5, 0, 2), (9, 9, 0)], ids=str)
def test_equals_pyg_where_node_types_are_small_or_empty(sizes):
    compare(*twins(), *inputs(sizes))


@pytest.mark.parametrize("graph", ["no_edges", "loops_and_duplicates", "hub", "isolated_nodes"])
def test_equals_pyg_on_awkward_graphs(graph):
    edge_index, num_nodes, _ = GRAPHS[graph]
    x_dict, edges = inputs((3, num_nodes, 2))
    edges["paper", "cites", "paper"] = edge_index
    compare(*twins(), x_dict, edges)


@pytest.mark.parametrize("in_channels", [-1, {"author": -1, "paper": -1, "venue": 3}], ids=str)
def test_lazy_sizes(in_channels):
    x_dict, edges = inputs()
    layer = HANConv(in_channels, 6, METADATA, heads=2).double()
    out = layer(x_dict, edges)
    assert out["paper"].shape == (31, 6)
    assert out["author"].shape == (11, 6)


def test_other_forms_of_edges_and_features_equal_the_edge_index():
    x_dict, edges = inputs()
    _, ours = twins()
    expected = ours(x_dict, edges)
    graphs = {
        kind: Graph.from_edge_index(e, (len(x_dict[kind[0]]), len(x_dict[kind[2]])))
        for kind, e in edges.items()
    }
    assert torch.equal(ours(x_dict, graphs)["paper"], expected["paper"])
    sparse = {kind: x.to_sparse_csr() for kind, x in x_dict.items()}
    torch.testing.assert_close(ours(sparse, edges)["paper"], expected["paper"])


def test_returned_weights_are_each_edge_types():
    x_dict, edges = inputs()
    theirs, ours = twins()
    seen, message = [], theirs.message

    def watched(x_j, alpha_i, alpha_j, index, ptr, size_i):
        seen.append(torch.nn.functional.leaky_relu(alpha_i + alpha_j, 0.2))
        return message(x_j, alpha_i, alpha_j, index, ptr, size_i)

    theirs.message = watched
    expected = theirs(x_dict, edges)
    out, weights = ours(x_dict, edges, return_attention_weights=True)
    torch.testing.assert_close(out["paper"], expected["paper"])
    assert list(weights) == TYPES
    for scores, (edge_type, (returned, found)) in zip(seen, weights.items(), strict=True):
        assert returned is edges[edge_type]
        size = len(x_dict[edge_type[2]])
        torch.testing.assert_close(found, _softmax(scores, returned[1], size))
    three = ours(x_dict, edges, True, return_attention_weights=True)
    assert len(three) == 3
    torch.testing.assert_close(three[1]["paper"], theirs(x_dict, edges, True)[1]["paper"])


def _softmax(scores, index, size):
    exp = (scores - scores.max()).exp()
    return exp / exp.new_zeros(size, exp.size(1)).index_add(0, index, exp)[index]


@pytest.mark.parametrize("heads", [1, 2])
def test_a_batch_is_separate_calls(heads):
    x_dict, edges = inputs()
    _, layer = twins(heads=heads)
    many = {kind: torch.randn(3, *x.shape, dtype=x.dtype) for kind, x in x_dict.items()}
    out, semantic, weights = layer(many, edges, True, return_attention_weights=True)
    each = [
        layer({kind: x[b] for kind, x in many.items()}, edges, True, return_attention_weights=True)
        for b in range(3)
    ]
    assert out["venue"] is None
    assert semantic["venue"] is None
    for kind in ("author", "paper"):
        torch.testing.assert_close(out[kind], torch.stack([one[0][kind] for one in each]))
        torch.testing.assert_close(semantic[kind], torch.stack([one[1][kind] for one in each]))
    for kind in TYPES:
        expected = torch.stack([one[2][kind][1] for one in each])
        torch.testing.assert_close(weights[kind][1], expected)
    expected = torch.stack([one[0]["paper"] for one in each])
    got, want = (
        torch.autograd.grad(o.square().sum(), list(layer.proj.parameters()), allow_unused=True)
        for o in (out["paper"], expected)
    )
    torch.testing.assert_close(got, want)


def test_dropout_in_training_only():
    x_dict, edges = inputs()
    _, layer = twins(dropout=0.5)
    _, weights = layer(x_dict, edges, return_attention_weights=True)
    found = torch.cat([w for _, w in weights.values()])
    assert 0.4 < (found == 0).double().mean() < 0.6
    _, weights = layer.eval()(x_dict, edges, return_attention_weights=True)
    assert all((w > 0).all() for _, w in weights.values())


def test_repr_state_dict_and_signature_are_pygs():
    theirs, ours = twins()
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert isinstance(ours, pyg.HANConv)
    assert inspect.signature(HANConv) == inspect.signature(pyg.HANConv)
    names = [list(inspect.signature(c.forward).parameters) for c in (HANConv, pyg.HANConv)]
    assert names[0] == [*names[1], "return_attention_weights"]


def test_a_layer_of_pygs_becomes_ours_by_its_class():
    x_dict, edges = inputs()
    theirs, _ = twins()
    expected = theirs(x_dict, edges)["paper"]
    theirs.__class__ = HANConv
    copied = pickle.loads(pickle.dumps(copy.deepcopy(theirs)))
    for layer in (theirs, copied):
        torch.testing.assert_close(layer(x_dict, edges)["paper"], expected)


@pytest.mark.parametrize("way", ["hook", "message", "explain"])
def test_goes_pygs_way_where_only_that_gives_what_was_asked(way):
    x_dict, edges = inputs()
    x_dict.pop("venue")
    edges = {("paper", "cites", "paper"): edges["paper", "cites", "paper"]}
    theirs, ours = twins()
    seen = []
    if way == "hook":
        ours.register_message_forward_hook(lambda *args: seen.append(1))
    elif way == "message":
        original = ours.message
        ours.message = lambda *args, **kwargs: seen.append(1) or original(*args, **kwargs)
    elif way == "explain":
        for layer in (ours, theirs):
            layer.explain = True
            layer._edge_mask = torch.linspace(-1, 1, 34, dtype=torch.float64)
            layer._loop_mask = torch.ones(34, dtype=torch.bool)
    torch.testing.assert_close(ours(x_dict, edges)["paper"], theirs(x_dict, edges)["paper"])
    assert bool(seen) is (way != "explain")
    with pytest.raises(InputError, match="PyG's code, which has no return_attention_weights"):
        ours(x_dict, edges, return_attention_weights=True)
    graphs = {kind: Graph.from_edge_index(e, 31) for kind, e in edges.items()}
    with pytest.raises(InputError, match=r"runs through PyG's code, and a gat\.Graph cannot"):
        ours(x_dict, graphs)


def test_bad_inputs_are_refused_in_words():
    x_dict, edges = inputs()
    _, layer = twins()
    with pytest.raises(IndexError, match="names target node 31, outside"):
        layer(x_dict, {TYPES[1]: torch.tensor([[0], [31]])})
    with pytest.raises(InputError, match=r"x_dict has shapes \{'author': \[2, 11, 4\], 'paper'"):
        layer({**x_dict, "author": x_dict["author"].expand(2, -1, -1)}, edges)


def test_dtypes_under_autocast_are_pygs():
    x_dict, edges = inputs()
    x_dict = {kind: x.float() for kind, x in x_dict.items()}
    dtypes = []
    for layer in twins():
        with torch.autocast("cpu", torch.bfloat16):
            out, semantic = layer.float()(x_dict, edges, True)
        dtypes.append((out["paper"].dtype, semantic["paper"].dtype))
    assert dtypes[0] == dtypes[1]


def test_graphs_compile_in_one_piece():
    x_dict, edges = inputs()
    _, layer = twins()
    graphs = {
        kind: Graph.from_edge_index(e, (len(x_dict[kind[0]]), len(x_dict[kind[2]])))
        for kind, e in edges.items()
    }
    whole = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(whole(x_dict, graphs)["paper"], layer(x_dict, edges)["paper"])
