"""GATConv and GATv2Conv against PyTorch Geometric's: output, every gradient, every convention."""

import copy
import inspect
import itertools

import networkx
import pytest
import torch
import torch_geometric.nn as pyg
from torch_geometric import EdgeIndex

import gat.nn
from gat.errors import InputError
from gat.graph import Graph
from tests.graphs import GRAPHS
from tests.nn.twins import EDGE_DIM, NAMES, compare, features, twins


@pytest.mark.parametrize("graph", ["no_edges", "one_edge", "loops_and_duplicates", "hub", "random"])
@pytest.mark.parametrize(
    ("heads", "concat", "residual", "bias"),
    [
        (1, True, False, True),
        (3, True, True, False),
        (3, False, True, True),
        (2, False, False, False),
    ],
)
@pytest.mark.parametrize("self_loops", [True, False], ids=["loops", "no_loops"])
@pytest.mark.parametrize("edge_dim", [None, EDGE_DIM], ids=["", "edge_dim"])
@pytest.mark.parametrize("name", NAMES)
def test_equals_pyg_over_the_options(
    name, edge_dim, self_loops, heads, concat, residual, bias, graph
):
    edge_index, x, edge_attr, _ = features(graph)
    theirs, ours = twins(
        name, 6, 5, heads, concat=concat, residual=residual, bias=bias, edge_dim=edge_dim,
        add_self_loops=self_loops, negative_slope=0.1,
    )  # fmt: skip
    compare(theirs, ours, x, edge_index, edge_attr if edge_dim else None)


@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
@pytest.mark.parametrize(
    "fill", [0.5, torch.tensor([1.0, -2.0, 0.5]), "mean", "add", "min", "max", "mul"], ids=str
)
@pytest.mark.parametrize("name", NAMES)
def test_equals_pyg_for_every_fill_value_and_flow(name, fill, flow):
    edge_index, x, edge_attr, _ = features("random")
    theirs, ours = twins(name, 6, 5, 2, edge_dim=EDGE_DIM, fill_value=fill, flow=flow)
    compare(theirs, ours, x, edge_index, edge_attr)


@pytest.mark.parametrize("name", NAMES)
def test_one_dimensional_edge_attr(name):
    edge_index, x, edge_attr, _ = features("random")
    theirs, ours = twins(name, 6, 5, 2, edge_dim=1)
    compare(theirs, ours, x, edge_index, edge_attr[:, 0])


@pytest.mark.parametrize("self_loops", [True, False], ids=["loops", "no_loops"])
@pytest.mark.parametrize("in_channels", [6, (6, 6)], ids=str)
@pytest.mark.parametrize("graph", ["bipartite_wide", "bipartite_tall"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:.*bipartite")
def test_bipartite_equals_pyg(name, graph, in_channels, self_loops):
    edge_index, x_src, _, num_dst = features(graph)
    x_dst = torch.randn(num_dst, 6, dtype=torch.float64)
    theirs, ours = twins(name, in_channels, 5, 2, add_self_loops=self_loops, residual=True)
    compare(theirs, ours, (x_src, x_dst), edge_index)


@pytest.mark.parametrize("in_channels", [6, (6, 6)], ids=str)
@pytest.mark.parametrize("graph", ["bipartite_wide", "bipartite_tall"])
def test_gatconv_without_target_features_equals_pyg(graph, in_channels):
    edge_index, x, _, num_dst = features(graph)
    theirs, ours = twins("GATConv", in_channels, 5, 2, add_self_loops=False)
    compare(theirs, ours, (x, None), edge_index, size=(x.size(0), num_dst))


def test_gatv2conv_without_target_features_is_refused_in_words():
    edge_index, x, _, _ = features("random")
    with pytest.raises(
        InputError, match="GATv2Conv scores every target: x must be a tensor or a full pair"
    ):
        gat.nn.GATv2Conv(6, 5)((x.float(), None), edge_index)


@pytest.mark.parametrize("name", NAMES)
def test_shared_and_int32_and_edge_index_class(name):
    edge_index, x, _, _ = features("random")
    theirs, ours = twins(name, 6, 5, 2, **({"share_weights": True} if name == "GATv2Conv" else {}))
    compare(theirs, ours, x, edge_index)
    expected = ours(x, edge_index)
    assert torch.equal(ours(x, edge_index.int()), expected)
    assert torch.equal(ours(x, EdgeIndex(edge_index, sparse_size=(31, 31))), expected)
    assert torch.equal(ours(x, Graph.from_edge_index(edge_index, 31)), expected)


@pytest.mark.parametrize("self_loops", [True, False], ids=["loops", "no_loops"])
@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_matrices_equal_the_edge_index_they_hold(name, layout, self_loops):
    edge_index = torch.unique(GRAPHS["random"][0], dim=1)
    x = torch.randn(31, 6, dtype=torch.float64)
    values = torch.ones(edge_index.size(1), dtype=torch.float64)
    adj_t = torch.sparse_coo_tensor(edge_index.flip(0), values, (31, 31)).coalesce()
    adj_t = getattr(
        adj_t, {"coo": "coalesce", "csr": "to_sparse_csr", "csc": "to_sparse_csc"}[layout]
    )()
    theirs, ours = twins(name, 6, 5, 2, add_self_loops=self_loops)
    torch.testing.assert_close(ours(x, adj_t), theirs(x, edge_index))
    if layout == "csc":  # PyG's layers cannot take it
        return
    compare(theirs, ours, x, adj_t)
    matrix, weights = ours(x, adj_t, return_attention_weights=True)[1]
    expected, _ = theirs(x, adj_t, return_attention_weights=True)[1]
    assert matrix.layout == expected.layout
    torch.testing.assert_close(matrix.to_dense(), expected.to_dense())
    assert weights.size(1) == 2


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_features_equal_dense_ones(name, residual):
    edge_index, x, _, _ = features("random")
    x = x * (x > 1)
    layer = getattr(gat.nn, name)(6, 5, 2, residual=residual).double()
    results = []
    for form in (x, x.to_sparse_csr()):
        layer.zero_grad()
        out = layer(form, edge_index)
        out.square().sum().backward()
        results.append((out, {k: p.grad for k, p in layer.named_parameters()}))
    torch.testing.assert_close(results[1], results[0])


@pytest.mark.parametrize("graph", ["loops_and_duplicates", "random"])
@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
@pytest.mark.parametrize("name", NAMES)
def test_returned_edges_and_weights_are_pygs(name, flow, graph):
    edge_index, x, _, _ = features(graph)
    theirs, ours = twins(name, 6, 5, 2, flow=flow)
    _, (their_edges, their_weights) = theirs(x, edge_index, return_attention_weights=True)
    _, (our_edges, our_weights) = ours(x, edge_index, return_attention_weights=True)
    assert torch.equal(our_edges, their_edges)
    torch.testing.assert_close(our_weights, their_weights)
    assert isinstance(ours(x, edge_index, return_attention_weights=None), torch.Tensor)


@pytest.mark.parametrize("name", NAMES)
def test_weights_come_back_in_the_order_of_the_edges_passed(name):
    """Permuting the caller's edges permutes the weights alike (faults 11 and 12)."""
    edge_index, x, _, _ = features("loops_and_duplicates")
    layer = getattr(gat.nn, name)(6, 5, 2).double()
    order = torch.randperm(edge_index.size(1))
    graphs = [
        Graph.from_edge_index(e, 3).with_self_loops() for e in (edge_index, edge_index[:, order])
    ]
    first, second = (g.to_caller(layer(x, g, return_attention_weights=True)[1][1]) for g in graphs)
    # Of two equal loops the first stands for both, so compare what each node gives itself.
    loop = edge_index[0] == edge_index[1]
    torch.testing.assert_close(second[~loop[order]], first[order][~loop[order]])
    torch.testing.assert_close(second[loop[order]].sum(0), first[loop].sum(0))


@pytest.mark.parametrize(("name", "lazy"), list(itertools.product(NAMES, [-1, (-1, -1)])))
@pytest.mark.filterwarnings("ignore:.*bipartite")
def test_lazy_sizes(name, lazy):
    edge_index, x, _, _ = features("random")
    layer = getattr(gat.nn, name)(lazy, 5, 2)
    inputs = x.float() if lazy == -1 else (x.float(), x.float()[:, :4])
    assert layer(inputs, edge_index).shape == (31, 10)


@pytest.mark.parametrize("name", NAMES)
def test_repr_state_dict_and_signature_are_pygs(name):
    theirs, ours = twins(name, 6, 5, heads=2, edge_dim=3, residual=True)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert isinstance(ours, getattr(pyg, name))
    parameters = list(inspect.signature(getattr(gat.nn, name)).parameters)
    assert parameters[:-3] == list(inspect.signature(getattr(pyg, name)).parameters)[:-1]
    assert parameters[-3:] == ["value_dropout", "symmetric_norm", "kwargs"]
    assert str(inspect.signature(ours.forward)).split(",")[0] == "(x: Any"


@pytest.mark.parametrize("name", NAMES)
def test_copies_compute_the_same(name):
    edge_index, x, _, _ = features("random")
    layer = getattr(gat.nn, name)(6, 5, 2).double()
    assert torch.equal(copy.deepcopy(layer)(x, edge_index), layer(x, edge_index))


@pytest.mark.parametrize("name", NAMES)
def test_attention_dropout_only_in_training(name):
    edge_index, x, _, _ = features("random")
    _, ours = twins(name, 6, 5, 2, dropout=0.5)
    torch.manual_seed(1)
    _, (_, weights) = ours(x, edge_index, return_attention_weights=True)
    share = (weights == 0).double().mean()
    assert 0.4 < share < 0.6
    torch.manual_seed(1)
    assert torch.equal(ours(x, edge_index, return_attention_weights=True)[1][1], weights)
    ours.eval()
    assert (ours(x, edge_index, return_attention_weights=True)[1][1] > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_value_dropout_leaves_the_scores_alone(name):
    edge_index, x, _, _ = features("random")
    plain = getattr(gat.nn, name)(6, 5, 2).double()
    dropped = getattr(gat.nn, name)(6, 5, 2, value_dropout=0.5).double()
    dropped.load_state_dict(plain.state_dict())
    out, (_, weights) = plain(x, edge_index, return_attention_weights=True)
    out_dropped, (_, weights_dropped) = dropped(x, edge_index, return_attention_weights=True)
    assert torch.equal(weights, weights_dropped)
    assert not torch.allclose(out, out_dropped)
    torch.testing.assert_close(dropped.eval()(x, edge_index), out)


@pytest.mark.parametrize("name", NAMES)
def test_symmetric_norm_scales_by_degrees(name):
    edge_index, x, _, _ = features("random")
    plain = getattr(gat.nn, name)(6, 5, 2, bias=False).double()
    scaled = getattr(gat.nn, name)(6, 5, 2, bias=False, symmetric_norm=True).double()
    scaled.load_state_dict(plain.state_dict())
    _, ((source, target), weights) = plain(x, edge_index, return_attention_weights=True)
    lin = plain.lin if name == "GATConv" else plain.lin_l
    value = lin(x).view(-1, 2, 5)
    degree_out = torch.bincount(source, minlength=31).double()
    degree_in = torch.bincount(target, minlength=31).double()
    factor = (degree_in[target] / degree_out[source]).sqrt()
    message = (factor[:, None] * weights).unsqueeze(-1) * value[source]
    expected = torch.zeros(31, 2, 5, dtype=torch.float64).index_add(0, target, message)
    torch.testing.assert_close(scaled(x, edge_index), expected.flatten(1))


@pytest.mark.parametrize("name", NAMES)
def test_double_backward_and_autocast(name):
    edge_index, x, _, _ = features("sixty_three_edges")
    layer = getattr(gat.nn, name)(6, 2, 2).double()
    assert torch.autograd.gradgradcheck(
        lambda x: layer(x, edge_index), x.requires_grad_(), fast_mode=True
    )
    layer, x = layer.float(), x.detach().float()
    with torch.autocast("cpu", torch.bfloat16):
        low = layer(x, edge_index)
    torch.testing.assert_close(low.float(), layer(x, edge_index), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:.*bipartite")
def test_pairs_share_no_projection_they_should_not(name):
    """A pair under share_weights, and a layer for pairs given one tensor."""
    edge_index, x, _, num_dst = features("bipartite_wide")
    options = {"share_weights": True} if name == "GATv2Conv" else {}
    theirs, ours = twins(name, 6, 5, 2, **options)
    compare(theirs, ours, (x, torch.randn(num_dst, 6, dtype=torch.float64)), edge_index)
    theirs, ours = twins(name, (6, 6), 5, 2)
    compare(theirs, ours, features("random")[1], features("random")[0])


@pytest.mark.parametrize("form", ["EdgeIndex", "csr"])
@pytest.mark.parametrize("graph", ["bipartite_wide", "bipartite_tall"])
@pytest.mark.filterwarnings("ignore:Sparse")
def test_targets_without_features_are_counted_by_the_edges(graph, form):
    edge_index, x, _, num_dst = features(graph)
    edge_index = torch.unique(edge_index, dim=1)
    shape = (x.size(0), num_dst)
    theirs, ours = twins("GATConv", 6, 5, 2, add_self_loops=False)
    matrix = torch.sparse_coo_tensor(
        edge_index.flip(0), torch.ones(edge_index.size(1)).double(), shape[::-1]
    )
    wrapped = EdgeIndex(edge_index.contiguous(), sparse_size=shape)
    edges = wrapped if form == "EdgeIndex" else matrix.to_sparse_csr()
    expected = theirs((x, None), edge_index, size=shape)
    torch.testing.assert_close(ours((x, None), edges), expected)
    torch.testing.assert_close(ours((x, None), edge_index, size=(None, num_dst)), expected)


@pytest.mark.parametrize("layout", ["coo", "csr"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:Sparse")
def test_edge_features_held_by_a_sparse_matrix(name, layout):
    edge_index = torch.unique(GRAPHS["random"][0].flip(0), dim=1).flip(0)  # by target, as CSR
    x = torch.randn(31, 6, dtype=torch.float64)
    layer = getattr(gat.nn, name)(6, 5, 2, edge_dim=EDGE_DIM, add_self_loops=False).double()
    results = []
    for held in (True, False):
        values = torch.linspace(-1, 1, edge_index.size(1) * EDGE_DIM, dtype=torch.float64)
        values = values.view(-1, EDGE_DIM).clone().requires_grad_()
        matrix = torch.sparse_coo_tensor(
            edge_index.flip(0), values, (31, 31, EDGE_DIM), is_coalesced=True
        )
        if layout == "csr":
            pointer = Graph.from_edge_index(edge_index, 31).rowptr
            matrix = torch.sparse_csr_tensor(pointer, edge_index[0], values, (31, 31, EDGE_DIM))
        out = layer(x, matrix) if held else layer(x, edge_index, values)
        out.square().sum().backward()
        results.append((out, values.grad))
    torch.testing.assert_close(results[0], results[1])
    loose = torch.sparse_coo_tensor(edge_index.flip(0), values.detach(), (31, 31, EDGE_DIM))
    with pytest.raises(InputError, match=r"uncoalesced sparse matrix.*pass matrix\.coalesce\(\)"):
        layer(x, loose)


@pytest.mark.parametrize("name", NAMES)
def test_returned_edges_of_an_edge_index_class_are_one(name):
    edge_index, x, _, _ = features("random")
    wrapped = EdgeIndex(edge_index, sparse_size=(31, 31))
    _, (edges, _) = getattr(gat.nn, name)(6, 5).double()(x, wrapped, return_attention_weights=True)
    assert isinstance(edges, EdgeIndex)


@pytest.mark.parametrize("name", NAMES)
def test_a_networkx_graph_is_taken_too(name):
    layer, x = getattr(gat.nn, name)(6, 5), torch.randn(4, 6)
    expected = layer(x, torch.tensor([[0, 1, 2, 1, 2, 3], [1, 2, 3, 0, 1, 2]]))
    torch.testing.assert_close(layer(x, networkx.path_graph(4)), expected)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_dtypes_under_autocast_are_pygs(name, bias):
    edge_index, x, _, _ = features("random")
    theirs, ours = (layer.float() for layer in twins(name, 6, 5, 2, bias=bias))
    dtypes = []
    for layer in (theirs, ours):
        with torch.autocast("cpu", torch.bfloat16):
            out, (_, weights) = layer(x.float(), edge_index, return_attention_weights=True)
        dtypes.append((out.dtype, weights.dtype))
    assert dtypes[0] == dtypes[1]


def test_symmetric_norm_of_a_hub_fits_half_precision():
    source = torch.arange(1, 70_001)
    edge_index = torch.stack([source, torch.zeros_like(source)])
    layer = gat.nn.GATConv(1, 1, symmetric_norm=True, bias=False)
    x = torch.rand(70_001, 1)
    exact = layer(x, edge_index)[0]
    torch.testing.assert_close(
        layer.half()(x.half(), edge_index)[0].float(), exact, rtol=0.01, atol=0.01
    )


@pytest.mark.parametrize("name", NAMES)
def test_compiled_layer_sorts_once_and_a_graph_compiles_in_one_piece(name, monkeypatch):
    edge_index, x, _, _ = features("random")
    layer = getattr(gat.nn, name)(6, 5, 2).double()
    expected = layer(x, edge_index)
    compiled = torch.compile(layer, backend="aot_eager")
    fresh, sorts, real = edge_index.clone(), [], torch.sort
    monkeypatch.setattr(torch, "sort", lambda *a, **k: sorts.append(1) or real(*a, **k))
    counts = []
    for _ in range(3):
        torch.testing.assert_close(compiled(x, fresh), expected)
        counts.append(len(sorts))
    # The first call sorts, once for the graph and once for its transpose; no later one does.
    assert counts == [counts[0]] * 3
    assert 1 <= counts[0] <= 2
    cold = Graph.from_edge_index(edge_index, 31).with_self_loops()
    whole = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(whole(x, cold), expected)
