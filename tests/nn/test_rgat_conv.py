"""RGATConv against PyTorch Geometric's: output, weights, every gradient, every convention."""

import copy
import inspect
import pickle

import pytest
import torch
import torch_geometric.nn as pyg
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric import EdgeIndex
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.utils import to_torch_csr_tensor

from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.graph import Graph
from gat.nn.relations import Relations
from gat.nn.rgat_conv import RGATConv
from tests.graphs import GRAPHS, SQUARE
from tests.nn.relational import (
    ADDITIVE,
    MECHANISMS,
    MODS,
    MULTIPLICATIVE,
    RELATIONS,
    WAYS,
    WIDTH,
    named,
    rgat_twins,
    typed,
)
from tests.nn.twins import EDGE_DIM, compare

WEIGHTS = [{}, {"num_bases": 2}, {"num_blocks": 3}]
WAY_IDS = [named(way) for way in WAYS]
SPARSE = pytest.mark.filterwarnings("ignore:Sparse")


@pytest.mark.parametrize("weights", WEIGHTS, ids=["plain", "bases", "blocks"])
@pytest.mark.parametrize("edge_dim", [None, EDGE_DIM], ids=["", "edge_dim"])
@pytest.mark.parametrize("mod", MODS, ids=str)
@pytest.mark.parametrize("way", WAYS, ids=WAY_IDS)
def test_equals_pyg_over_the_options(way, mod, edge_dim, weights):
    edge_index, x, edge_type, edge_attr = typed("sixty_three_edges")
    theirs, ours = rgat_twins(mod=mod, edge_dim=edge_dim, negative_slope=0.1, **way, **weights)
    compare(theirs, ours, x, edge_index, edge_type, edge_attr if edge_dim else None)


@pytest.mark.parametrize(
    ("heads", "concat", "bias"),
    [(1, True, False), (3, False, True), (2, False, False), (1, False, True)],
)
@pytest.mark.parametrize("mod", [None, "scaled"], ids=str)
@pytest.mark.parametrize("way", WAYS, ids=WAY_IDS)
def test_equals_pyg_for_heads_joined_and_averaged(way, mod, heads, concat, bias):
    edge_index, x, edge_type, _ = typed("random")
    theirs, ours = rgat_twins(mod=mod, heads=heads, concat=concat, bias=bias, **way)
    compare(theirs, ours, x, edge_index, edge_type)


@pytest.mark.parametrize("mod", [None, "additive", "scaled"], ids=str)
@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("graph", [name for name in SQUARE if name != "no_nodes"])
def test_equals_pyg_on_awkward_graphs(graph, mechanism, mod):
    edge_index, x, edge_type, edge_attr = typed(graph)
    theirs, ours = rgat_twins(attention_mechanism=mechanism, mod=mod, edge_dim=EDGE_DIM)
    compare(theirs, ours, x, edge_index, edge_type, edge_attr)


@pytest.mark.parametrize("way", WAYS, ids=WAY_IDS)
def test_no_nodes_and_a_single_relation(way):
    edge_index, x, edge_type, _ = typed("no_nodes")
    _, ours = rgat_twins(num_relations=1, **way)
    assert ours(x, edge_index, edge_type).shape == (0, 15 * way["dim"])


@pytest.mark.parametrize("way", WAYS, ids=WAY_IDS)
@pytest.mark.parametrize("graph", ["bipartite_wide", "bipartite_tall"])
def test_a_pair_of_node_sets_equals_pyg(graph, way):
    edge_index, x, edge_type, _ = typed(graph)
    x_dst = torch.randn(GRAPHS[graph][2], WIDTH, dtype=torch.float64)
    theirs, ours = rgat_twins(**way)
    compare(theirs, ours, (x, x_dst), edge_index, edge_type)


@pytest.mark.parametrize("way", WAYS, ids=WAY_IDS)
def test_flow_edge_attr_of_one_dimension_and_size_equal_pyg(way):
    edge_index, x, edge_type, edge_attr = typed("random")
    theirs, ours = rgat_twins(flow="target_to_source", edge_dim=1, **way)
    compare(theirs, ours, x, edge_index, edge_type, edge_attr[:, 0], size=(31, 31))


def test_returned_edges_and_weights_are_pygs():
    edge_index, x, edge_type, _ = typed("loops_and_duplicates")
    theirs, ours = rgat_twins()
    for asked in (True, False):  # either returns them, says PyG
        (_, (edges, weights)), (_, (_, expected)) = (
            layer(x, edge_index, edge_type, return_attention_weights=asked)
            for layer in (ours, theirs)
        )
        assert edges is edge_index
        torch.testing.assert_close(weights, expected)
    assert isinstance(ours(x, edge_index, edge_type), torch.Tensor)
    order = torch.randperm(edge_index.size(1))
    permuted = ours(x, edge_index[:, order], edge_type[order], return_attention_weights=True)
    torch.testing.assert_close(permuted[1][1], weights[order])


@pytest.mark.parametrize("way", WAYS, ids=WAY_IDS)
def test_other_forms_of_edges_equal_the_edge_index(way):
    edge_index, x, edge_type, _ = typed("random")
    _, ours = rgat_twins(**way)
    expected = ours(x, edge_index, edge_type)
    graph = Graph.from_edge_index(edge_index, 31)
    relations = Relations.of(graph, edge_type, RELATIONS)
    for edges, types in (
        (edge_index.int(), edge_type.int()),
        (EdgeIndex(edge_index, sparse_size=(31, 31)), edge_type),
        (graph, edge_type),
        (graph, relations),
    ):
        assert torch.equal(ours(x, edges, types), expected)


@pytest.mark.parametrize("layout", ["coo", "csr"])
@SPARSE
def test_relations_as_the_values_of_a_sparse_matrix(layout):
    """PyG's documentation promises it; its code takes them only if they are passed as well."""
    edge_index, x, _, _ = typed("random")
    edge_index = torch.unique(edge_index, dim=1)
    types = torch.arange(edge_index.size(1)) % RELATIONS
    matrix = torch.sparse_coo_tensor(edge_index.flip(0), types, (31, 31)).coalesce()
    matrix = matrix if layout == "coo" else matrix.to_sparse_csr()
    theirs, ours = rgat_twins()
    out, (returned, weights) = ours(x, matrix, return_attention_weights=True)
    expected = theirs(x, matrix, matrix.values(), return_attention_weights=True)
    torch.testing.assert_close(out, expected[0])
    torch.testing.assert_close(weights, expected[1][1])
    assert returned.layout == expected[1][0].layout
    torch.testing.assert_close(returned.to_dense(), expected[1][0].to_dense())
    matrix.values().copy_((matrix.values() + 1) % RELATIONS)
    torch.testing.assert_close(ours(x, matrix), theirs(x, matrix, matrix.values()))


@SPARSE
def test_edge_features_as_the_values_of_a_sparse_matrix():
    edge_index, x, _, _ = typed("random")
    edge_index = torch.unique(edge_index, dim=1)
    values = torch.randn(edge_index.size(1), EDGE_DIM, dtype=torch.float64)
    types = torch.arange(edge_index.size(1)) % RELATIONS
    matrix = to_torch_csr_tensor(edge_index, values, (31, 31))
    theirs, ours = rgat_twins(edge_dim=EDGE_DIM)
    torch.testing.assert_close(ours(x, matrix, types), theirs(x, matrix, types))


@pytest.mark.parametrize("weights", [{}, {"num_bases": 2}], ids=["plain", "bases"])
def test_node_numbers_are_features_with_a_one(weights):
    """PyG's documentation promises it of x with one dimension; its code fails."""
    edge_index, _, edge_type, _ = typed("random")
    theirs, ours = rgat_twins(**weights)
    numbers = torch.randint(WIDTH, (31,))
    results = []
    for layer, x in ((ours, numbers), (theirs, torch.eye(WIDTH).double()[numbers])):
        out = layer(x, edge_index, edge_type)
        layer.zero_grad()
        out.square().sum().backward()
        results.append((out, [p.grad for p in layer.parameters()]))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("weights", WEIGHTS, ids=["plain", "bases", "blocks"])
@pytest.mark.parametrize("mod", [None, "scaled"], ids=str)
@pytest.mark.parametrize("concat", [True, False], ids=["concat", "mean"])
@pytest.mark.parametrize("way", WAYS, ids=WAY_IDS)
def test_a_batch_is_separate_calls(way, concat, mod, weights):
    edge_index, x, edge_type, edge_attr = typed("random")
    _, layer = rgat_twins(concat=concat, mod=mod, edge_dim=EDGE_DIM, **way, **weights)
    x = torch.randn(2, *x.shape, dtype=x.dtype, requires_grad=True)
    rest = (edge_index, edge_type, edge_attr)
    out, (edges, found) = layer(x, *rest, return_attention_weights=True)
    each = [layer(one, *rest, return_attention_weights=True) for one in x]
    expected = torch.stack([one for one, _ in each])
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(found, torch.stack([one for _, (_, one) in each]))
    assert edges is edge_index
    scale = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
    wanted = [x, *(p for p in layer.parameters() if p is not layer.w or mod == "additive")]
    got, want = (
        torch.autograd.grad((o * scale).sum(), wanted, allow_unused=True) for o in (out, expected)
    )
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("way", WAYS, ids=WAY_IDS)
def test_dropout_in_training_only_and_after_the_weights_that_are_returned(way):
    edge_index, x, edge_type, _ = typed("random")
    theirs, ours = rgat_twins(dropout=0.5, bias=False, **way)
    exact = theirs.eval()(x, edge_index, edge_type, return_attention_weights=True)[1][1]
    torch.manual_seed(1)
    out, (_, weights) = ours(x, edge_index, edge_type, return_attention_weights=True)
    torch.testing.assert_close(weights, exact)
    torch.manual_seed(1)
    torch.testing.assert_close(ours(x, edge_index, edge_type), out)
    assert not torch.allclose(ours(x, edge_index, edge_type), out)
    torch.testing.assert_close(
        ours.eval()(x, edge_index, edge_type), theirs(x, edge_index, edge_type)
    )


@pytest.mark.parametrize("way", [WAYS[0], WAYS[2]], ids=[WAY_IDS[0], WAY_IDS[2]])
def test_dropout_keeps_half_of_the_messages_doubled(way):
    """On a star every message arrives alone: what a node gets is its message, dropped or not."""
    source, target = torch.zeros(4000, dtype=torch.int64), torch.arange(1, 4001)
    edges, types = torch.stack([source, target]), target % RELATIONS
    _, ours = rgat_twins(dropout=0.25, bias=False, **way)
    x = torch.randn(4001, WIDTH, dtype=torch.float64)
    dropped, kept = ours(x, edges, types)[1:], ours.eval()(x, edges, types)[1:]
    share = (dropped == 0).double().mean()
    assert 0.22 < share < 0.28
    torch.testing.assert_close(dropped[dropped != 0], kept[dropped != 0] / 0.75)


def test_no_tensor_grows_with_edges_times_channels():
    """20 nodes and 2 relations make 40 pairs; PyG gathers [E, in, H * C] weights."""
    layer = RGATConv(WIDTH, 16, 2, heads=3)
    edge_index, edge_type = torch.randint(20, (2, 2000)), torch.randint(2, (2000,))
    largest = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            results = result if isinstance(result, tuple | list) else (result,)
            largest.extend(r.numel() for r in results if isinstance(r, torch.Tensor))
            return result

    x = torch.randn(20, WIDTH, requires_grad=True)
    layer(x, edge_index, edge_type)  # the graph, once
    with Watch():
        layer(x, edge_index, edge_type).sum().backward()
    assert max(largest) <= 2000 * 3


def test_pairs_are_found_once_and_a_change_is_noticed(monkeypatch):
    edge_index, x, edge_type, _ = typed("random")
    theirs, ours = rgat_twins()
    calls, real = [], torch.unique
    monkeypatch.setattr(torch, "unique", lambda *a, **k: calls.append(1) or real(*a, **k))
    for _ in range(3):
        ours(x, edge_index, edge_type)
    assert len(calls) == 2
    edge_type.copy_((edge_type + 1) % RELATIONS)
    torch.testing.assert_close(ours(x, edge_index, edge_type), theirs(x, edge_index, edge_type))
    edge_index.copy_(edge_index.flip(1))
    torch.testing.assert_close(ours(x, edge_index, edge_type), theirs(x, edge_index, edge_type))
    with torch.inference_mode():
        inferred = ours(x, edge_index.clone(), edge_type.clone())
    assert torch.equal(inferred, ours(x, edge_index, edge_type))


def test_bad_inputs_are_refused_in_words():
    edge_index, x, edge_type, edge_attr = typed("random")
    _, layer = rgat_twins()
    wrong = edge_type.clone()
    wrong[3] = RELATIONS
    with pytest.raises(IndexRangeError, match=r"edge_type, position 3, is relation 4, outside"):
        layer(x, edge_index, wrong)
    with pytest.raises(InputError, match="RGATConv needs edge_type, the relation of each edge"):
        layer(x, edge_index)
    with pytest.raises(ArgumentTypeError, match=r"edge_type has dtype torch\.float32; expected"):
        layer(x, edge_index, edge_type.float())
    with pytest.raises(ArgumentTypeError, match="edge_type is of type list; expected a tensor"):
        layer(x, edge_index, edge_type.tolist())
    with pytest.raises(InputError, match=r"edge_type has shape \[5\]; expected one .*\[211\]"):
        layer(x, edge_index, edge_type[:5])
    with pytest.raises(InputError, match="made without edge_dim; make the layer with edge_dim=3"):
        layer(x, edge_index, edge_type, edge_attr)
    with pytest.raises(InputError, match=r"edge_attr has shape \[5, 3\]; expected one row per"):
        rgat_twins(edge_dim=3)[1](x, edge_index, edge_type, edge_attr[:5])
    with pytest.raises(InputError, match="x must be a tensor or a full pair"):
        layer((x, None), edge_index, edge_type)
    with pytest.raises(InputError, match=r"\[31, 5\]; expected dense features, 6 channels"):
        layer(x[:, :5], edge_index, edge_type)
    with pytest.raises(InputError, match=r"x has shape \[31\], dtype torch\.float64; expected"):
        layer(x[:, 0], edge_index, edge_type)
    numbers = torch.arange(31)
    with pytest.raises(IndexRangeError, match=r"x, position 6, is node number 6, outside \[0, 6\)"):
        layer(numbers, edge_index, edge_type)
    with pytest.raises(InputError, match=r"node numbers .* in a layer without num_blocks"):
        rgat_twins(num_blocks=3)[1](numbers % 6, edge_index, edge_type)
    with pytest.raises(IndexError, match="names target node 31, outside"):
        layer(x, torch.tensor([[0], [31]]), edge_type[:1])
    other = Relations.of(Graph.from_edge_index(edge_index[:, :9], 31), edge_type[:9], RELATIONS)
    with pytest.raises(InputError, match="Relations given as edge_type have 9 edges"):
        layer(x, edge_index, other)


@SPARSE
def test_values_without_an_order_are_refused():
    _, x, _, _ = typed("random")
    loose = torch.sparse_coo_tensor(torch.tensor([[0, 0], [1, 1]]), torch.tensor([1, 1]), (31, 31))
    with pytest.raises(InputError, match=r"no order; pass matrix\.coalesce\(\)"):
        rgat_twins()[1](x, loose)


def test_repr_state_dict_and_signature_are_pygs():
    theirs, ours = rgat_twins(edge_dim=3, num_bases=2)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert isinstance(ours, pyg.RGATConv)
    assert inspect.signature(RGATConv) == inspect.signature(pyg.RGATConv)
    names = [list(inspect.signature(c.forward).parameters) for c in (RGATConv, pyg.RGATConv)]
    assert names[0] == names[1]
    assert torch.equal(RGATConv(WIDTH, 4, 2).l2, torch.full((4, 4), 0.25))


@pytest.mark.parametrize("way", WAYS, ids=WAY_IDS)
def test_a_layer_of_pygs_becomes_ours_by_its_class(way):
    edge_index, x, edge_type, _ = typed("random")
    theirs, _ = rgat_twins(**way)
    expected = theirs(x, edge_index, edge_type)
    theirs.__class__ = RGATConv
    torch.testing.assert_close(theirs(x, edge_index, edge_type), expected)
    copied = pickle.loads(pickle.dumps(copy.deepcopy(theirs)))
    torch.testing.assert_close(copied(x, edge_index, edge_type), expected)


@pytest.mark.parametrize("way", ["hook", "aggr", "message", "explain"])
def test_goes_pygs_way_where_only_that_gives_what_was_asked(way):
    edge_index, x, edge_type, _ = typed("random")
    theirs, ours = rgat_twins(**({"aggr": "max"} if way == "aggr" else {}))
    seen = []
    if way == "hook":
        ours.register_message_forward_hook(lambda *args: seen.append(1))
    elif way == "message":
        original = ours.message
        ours.message = lambda *args, **kwargs: seen.append(1) or original(*args, **kwargs)
    elif way == "explain":
        for layer in (ours, theirs):
            layer.explain = True
            layer._edge_mask = torch.linspace(-1, 1, edge_index.size(1), dtype=torch.float64)
            layer._loop_mask = edge_index[0] != edge_index[1]
    torch.testing.assert_close(ours(x, edge_index, edge_type), theirs(x, edge_index, edge_type))
    assert bool(seen) is (way in ("hook", "message"))
    graph = Graph.from_edge_index(edge_index, 31)
    with pytest.raises(InputError, match=r"runs through PyG's code, and a gat\.Graph cannot"):
        ours(x, graph, edge_type)
    with pytest.raises(InputError, match="knows edge_type as a tensor only"):
        ours(x, edge_index, Relations.of(graph, edge_type, RELATIONS))


def test_gnn_explainer_runs_on_our_layer():
    edge_index, x, edge_type, _ = typed("random")
    explainer = Explainer(
        rgat_twins()[1], GNNExplainer(epochs=3), explanation_type="model",
        node_mask_type="attributes", edge_mask_type="object",
        model_config={"mode": "multiclass_classification", "task_level": "node",
                      "return_type": "raw"},
    )  # fmt: skip
    explanation = explainer(x, edge_index, edge_type=edge_type, index=3)
    assert explanation.edge_mask.shape == (edge_index.size(1),)
    assert explanation.edge_mask.sum() > 0


@pytest.mark.parametrize("edge_dim", [None, EDGE_DIM], ids=["", "edge_dim"])
@pytest.mark.parametrize("mode", [ADDITIVE, MULTIPLICATIVE])
@pytest.mark.parametrize("bias", [True, False])
def test_dtypes_under_autocast_are_pygs(bias, mode, edge_dim):
    edge_index, x, edge_type, edge_attr = typed("random")
    options = {"bias": bias, "edge_dim": edge_dim, "attention_mode": mode}
    features = edge_attr.float() if edge_dim else None
    dtypes = []
    for layer in rgat_twins(**options):
        with torch.autocast("cpu", torch.bfloat16):
            out, (_, weights) = layer.float()(
                x.float(), edge_index, edge_type, features, return_attention_weights=True
            )
        dtypes.append((out.dtype, weights.dtype))
    assert dtypes[0] == dtypes[1]


@pytest.mark.parametrize("way", [WAYS[0], WAYS[5]], ids=[WAY_IDS[0], WAY_IDS[5]])
def test_a_graph_and_relations_compile_in_one_piece(way):
    edge_index, x, edge_type, _ = typed("random")
    _, layer = rgat_twins(**way)
    graph = Graph.from_edge_index(edge_index, 31)
    relations = Relations.of(graph, edge_type, RELATIONS)
    whole = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(whole(x, graph, relations), layer(x, edge_index, edge_type))


@pytest.mark.parametrize("way", [WAYS[0], WAYS[5]], ids=[WAY_IDS[0], WAY_IDS[5]])
def test_gradients_and_their_gradients(way):
    edge_index, x, edge_type, _ = typed("loops_and_duplicates")
    _, layer = rgat_twins(heads=2, **way)

    def run(features, weight):
        call = {"weight": weight}
        return torch.func.functional_call(layer, call, (features, edge_index, edge_type))

    weight = layer.weight.detach().requires_grad_()
    assert torch.autograd.gradcheck(run, (x.requires_grad_(), weight), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (x, weight), fast_mode=True)
