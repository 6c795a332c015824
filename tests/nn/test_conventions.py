"""What PyTorch Geometric's documentation and use promise of these layers, beside the numbers."""

import copy
import inspect
import io
import itertools

import pytest
import torch
import torch_geometric.nn as pyg
from torch_geometric import EdgeIndex

import gat.nn
from gat.errors import InputError
from gat.graph import Graph
from tests.nn.twins import (
    EDGE_DIM,
    GATS,
    NAMES,
    PAIRED,
    SILENT,
    SIZED,
    features,
    options_of,
    ours,
    twins,
    with_weights,
)

ASKED = ["GATConv", "GATv2Conv", "TransformerConv"]


@pytest.mark.parametrize("name", NAMES)
def test_repr_state_dict_and_signature_are_pygs(name):
    theirs, mine = twins(name, 6, 5, heads=2, edge_dim=3, residual=True, beta=True)
    assert repr(mine) == repr(theirs)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    assert isinstance(mine, getattr(pyg, name))
    parameters = list(inspect.signature(getattr(gat.nn, name)).parameters)
    *named, rest = inspect.signature(getattr(pyg, name)).parameters
    own = ["value_dropout", "symmetric_norm", "edge_dropout"] if name in GATS else []
    own += ["target_score"] if name == "GATConv" else []
    assert parameters == [*named, *own, rest]


@pytest.mark.parametrize("name", NAMES)
def test_forward_takes_pygs_arguments_in_pygs_order(name):
    mine, theirs = (
        list(inspect.signature(getattr(library, name).forward).parameters)
        for library in (gat.nn, pyg)
    )
    extra = ["return_attention_weights"] if name in SILENT else []
    assert mine == [*theirs, *extra]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_makes_the_same_parameters(name):
    made = []
    for library in (pyg, gat.nn):
        torch.manual_seed(3)
        layer = getattr(library, name)(*((6, 5, 2) if name in SIZED else ()))
        layer.reset_parameters()
        made.append(layer.state_dict())
    torch.testing.assert_close(made[1], made[0], rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_of_pygs_becomes_ours_by_its_class(name):
    """Nothing that only our __init__ would set is needed, nor by an explainer afterwards."""
    edge_index, x, _, _ = features("random")
    theirs, _ = twins(name, 6, 5, heads=2)
    expected, weights = with_weights(theirs, x, edge_index)
    theirs.__class__ = getattr(gat.nn, name)
    torch.testing.assert_close(with_weights(theirs, x, edge_index), (expected, weights))
    theirs.explain = True
    theirs._edge_mask = torch.full((edge_index.size(1),), 100.0, dtype=torch.float64)
    theirs._loop_mask = edge_index[0] != edge_index[1]
    torch.testing.assert_close(theirs(x, edge_index), expected)
    theirs.explain = None
    torch.testing.assert_close(theirs(x, edge_index), expected)


@pytest.mark.parametrize("concat", [True, False], ids=["concat", "mean"])
@pytest.mark.parametrize("name", SIZED)
def test_shapes_are_those_documented(name, concat):
    edge_index, x, _, _ = features("random")
    out, weights = with_weights(ours(name, 6, 5, heads=3, concat=concat), x, edge_index)
    assert out.shape == (31, 15 if concat else 5)
    assert weights.size(1) == 3


def test_agnn_keeps_the_shape_of_its_features():
    edge_index, x, _, _ = features("random")
    out, weights = with_weights(ours("AGNNConv"), x, edge_index)
    assert out.shape == x.shape
    assert weights.shape[1:] == (1,)


@pytest.mark.parametrize("graph", ["loops_and_duplicates", "random"])
@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
@pytest.mark.parametrize("name", ASKED)
def test_returned_edges_and_weights_are_pygs(name, flow, graph):
    edge_index, x, _, _ = features(graph)
    theirs, mine = twins(name, 6, 5, heads=2, flow=flow)
    _, (their_edges, their_weights) = theirs(x, edge_index, return_attention_weights=True)
    _, (our_edges, our_weights) = mine(x, edge_index, return_attention_weights=True)
    assert torch.equal(our_edges, their_edges)
    torch.testing.assert_close(our_weights, their_weights)


@pytest.mark.parametrize("asked", [None, False, True])
@pytest.mark.parametrize("name", ASKED)
def test_what_comes_back_is_pygs_choice_for_every_request(name, asked):
    """Of TransformerConv even False asks for the weights, as PyG's documentation says."""
    edge_index, x, _, _ = features("random")
    kinds = [
        type(layer(x, edge_index, return_attention_weights=asked))
        for layer in twins(name, 6, 5, heads=2)
    ]
    assert kinds[0] is kinds[1]


@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
@pytest.mark.parametrize("self_loops", [True, False], ids=["loops", "no_loops"])
@pytest.mark.parametrize("name", SILENT)
def test_weights_pyg_does_not_return_come_with_their_edges(name, self_loops, flow):
    edge_index, x, _, _ = features("loops_and_duplicates")
    layer = ours(name, 6, 5, heads=2, add_self_loops=self_loops, flow=flow)
    out, (edges, weights) = layer(x, edge_index, return_attention_weights=True)
    sender, receiver = edges if flow == "source_to_target" else edges.flip(0)
    value = layer.lin(x).view(3, 2, 5) if name == "SuperGATConv" else x.unsqueeze(1)
    summed = torch.zeros_like(value).index_add(0, receiver, weights[..., None] * value[sender])
    torch.testing.assert_close(out, summed.flatten(1))
    torch.testing.assert_close(
        torch.zeros(3, weights.size(1)).double().index_add(0, receiver, weights),
        torch.ones(3, weights.size(1)).double(),
    )
    assert isinstance(layer(x, edge_index, return_attention_weights=False), torch.Tensor)


@pytest.mark.parametrize("name", NAMES)
def test_weights_come_back_in_the_order_of_the_edges_passed(name):
    """Permuting the caller's edges permutes the weights alike (faults 11 and 12)."""
    edge_index, x, _, _ = features("loops_and_duplicates")
    layer = ours(name, 6, 5, heads=2)
    order = torch.randperm(edge_index.size(1))
    graphs = [Graph.from_edge_index(e, 3) for e in (edge_index, edge_index[:, order])]
    if layer.add_self_loops:
        graphs = [graph.with_self_loops() for graph in graphs]
    first, second = (g.to_caller(with_weights(layer, x, g)[1]) for g in graphs)
    # Of two equal loops the first stands for both, so compare what each node gives itself.
    loop = edge_index[0] == edge_index[1]
    torch.testing.assert_close(second[~loop[order]], first[order][~loop[order]])
    torch.testing.assert_close(second[loop[order]].sum(0), first[loop].sum(0))


@pytest.mark.parametrize(
    ("name", "lazy"),
    [*itertools.product(PAIRED, [-1, (-1, -1)]), ("SuperGATConv", -1)],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:.*bipartite")
def test_lazy_sizes(name, lazy):
    edge_index, x, edge_attr, _ = features("random")
    options = {"edge_dim": -1} if "edge_dim" in options_of(name) else {}
    layer = getattr(gat.nn, name)(lazy, 5, 2, **options)
    inputs = x.float() if lazy == -1 else (x.float(), x.float()[:, :4])
    rest = [edge_attr.float()] if options else []
    out = layer(inputs, edge_index, *rest)
    assert out.shape == (31, 10)
    layer.eval()
    torch.testing.assert_close(layer(inputs, edge_index, *rest), out)
    if options:
        assert layer.lin_edge.weight.shape == (10, EDGE_DIM)


@pytest.mark.parametrize("name", ["GATv2Conv", "TransformerConv"])
def test_a_score_of_targets_without_features_is_refused_in_words(name):
    edge_index, x, _, _ = features("random")
    with pytest.raises(
        InputError, match=f"{name} scores every target: x must be a tensor or a full pair"
    ):
        ours(name, 6, 5)((x, None), edge_index)


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_pickles_compute_the_same(name):
    edge_index, x, _, _ = features("random")
    layer = ours(name, 6, 5, heads=2)
    # After a step in training a SuperGATConv holds on to the graph of its gradients.
    layer.train()(x, edge_index)
    layer.eval()
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    expected = layer(x, edge_index)
    assert torch.equal(copy.deepcopy(layer)(x, edge_index), expected)
    assert torch.equal(torch.load(file, weights_only=False)(x, edge_index), expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_fixed_graph_serves_every_kind_of_edges(name):
    """The same edges as int32, PyG's EdgeIndex and our Graph give the same, bit for bit."""
    edge_index, x, _, _ = features("random")
    layer = ours(name, 6, 5, heads=2)
    expected = layer(x, edge_index)
    assert torch.equal(layer(x, edge_index.int()), expected)
    assert torch.equal(layer(x, EdgeIndex(edge_index, sparse_size=(31, 31))), expected)
    assert torch.equal(layer(x, Graph.from_edge_index(edge_index, 31)), expected)


@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv", "SuperGATConv"])
def test_attention_dropout_only_in_training(name):
    edge_index, x, _, _ = features("random")
    layer = ours(name, 6, 5, heads=2, dropout=0.5).train()
    torch.manual_seed(1)
    _, weights = with_weights(layer, x, edge_index)
    share = (weights == 0).double().mean()
    assert 0.4 < share < 0.6
    torch.manual_seed(1)
    assert torch.equal(with_weights(layer, x, edge_index)[1], weights)
    layer.eval()
    assert (with_weights(layer, x, edge_index)[1] > 0).all()
