"""Interventions on every layer against PyG's own layer with its softmax replaced."""

import pytest
import torch
import torch_geometric.nn as pyg

import gat.nn
from gat.errors import ArgumentTypeError, InputError
from gat.graph import Graph
from gat.inspection.interventions.contexts import (
    bias_edges,
    change_attention,
    freeze_attention,
    mask_edges,
    switch_off_heads,
    uniform_attention,
)
from gat.inspection.record import AttentionRecord
from gat.ops import cpu
from tests.graphs import GRAPHS
from tests.inspection.patched import (
    HEADS,
    NAMES,
    RELATIONS,
    WIDTH,
    heads_of,
    inputs,
    layers,
    listed,
    origin,
    results,
    softmax_replaced,
)
from tests.nn.test_memory import Largest

SHAPES = ["loops_and_duplicates", "sixty_three_edges", "isolated_nodes"]


def random_weights(*size):
    return torch.rand(*size, dtype=torch.float64)


def uniform(number, heads, nodes):
    return uniform_attention, (), lambda s, index, softmax: softmax(torch.zeros_like(s))


def one_head_uniform(number, heads, nodes):
    def make(s, index, softmax):
        return torch.cat([softmax(s)[:, :-1], softmax(torch.zeros_like(s))[:, -1:]], dim=1)

    return (lambda model: uniform_attention(model, heads=[heads - 1])), (), make


def mask(number, heads, nodes):
    kept = torch.rand(nodes[1]) < 0.6
    added = torch.tensor(True)

    def make(s, index, softmax):
        return softmax(s.masked_fill(~listed(kept, number, added).view(-1, 1), -torch.inf))

    return mask_edges, (kept,), make


def mask_by_head(number, heads, nodes):
    kept, loops = torch.rand(nodes[1], heads) < 0.6, torch.rand(nodes[0], heads) < 0.5

    def make(s, index, softmax):
        rows = listed(kept, number, torch.zeros(heads, dtype=torch.bool))
        rows = torch.where((number < 0).view(-1, 1), loops[index], rows)
        return softmax(s.masked_fill(~rows, -torch.inf))

    return (lambda model, kept: mask_edges(model, kept, loops=loops)), (kept,), make


def bias(number, heads, nodes):
    added = torch.randn(nodes[1], heads, dtype=torch.float64)

    def make(s, index, softmax):
        return softmax(s + listed(added, number, torch.zeros(heads, dtype=torch.float64)))

    return bias_edges, (added,), make


def off(number, heads, nodes):
    return (
        (lambda model: switch_off_heads(model, {"": [0]})),
        (),
        lambda s, index, softmax: torch.cat([0 * s[:, :1], softmax(s)[:, 1:]], dim=1),
    )


def squared(number, heads, nodes):
    return (
        (lambda model: change_attention(model, lambda r: (r.weights**2, 3 * r.loops))),
        (),
        lambda s, index, softmax: torch.where(
            (number < 0).view(-1, 1), 3 * softmax(s), softmax(s) ** 2
        ),
    )


def frozen(number, heads, nodes):
    weights, loops = random_weights(nodes[1], heads), random_weights(nodes[0], heads)

    def make(s, index, softmax):
        rows = listed(weights, number, torch.zeros(heads, dtype=torch.float64))
        return torch.where((number < 0).view(-1, 1), loops[index], rows)

    def enter(model):
        record = AttentionRecord(
            "", "any", "before_dropout", nodes[2], weights, loops, nodes[0], nodes[0]
        )
        return freeze_attention(model, record)

    return enter, (), make


CASES = [uniform, one_head_uniform, mask, mask_by_head, bias, off, squared, frozen]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("graph", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_is_what_pygs_layer_gives_with_such_weights(name, graph, case):
    theirs, ours = layers(name, **({"bias": False} if name != "AGNNConv" else {}))
    if name == "TransformerConv":
        # A head that is off takes its channels of the root's features along.
        theirs, ours = layers(name, root_weight=False, bias=False)
    given = inputs(name, graph)
    edge_index, num_nodes = given[1], given[0].size(0)
    number = origin(name, edge_index, num_nodes)
    sizes = (num_nodes, edge_index.size(1), edge_index)
    enter, arguments, make = case(number, heads_of(name), sizes)
    with softmax_replaced(name, make):
        expected = results(theirs, given)
    plain = results(ours, given)
    for layer in (ours, theirs):
        with enter(layer, *arguments):
            assert isinstance(layer, getattr(gat.nn, name))
            torch.testing.assert_close(results(layer, given), expected)
        torch.testing.assert_close(results(layer, given), plain)
    assert type(theirs) is getattr(pyg, name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("graph", ["no_nodes", "no_edges", "one_node_one_loop"])
def test_graphs_of_next_to_nothing(name, graph):
    _, layer = layers(name)
    given = inputs(name, graph)
    kept = torch.ones(given[1].size(1), dtype=torch.bool)
    expected = layer(*given)
    with mask_edges(layer, kept), bias_edges(layer, kept.double()), uniform_attention(layer):
        assert layer(*given).shape == expected.shape
    with change_attention(layer, lambda record: record.weights):
        torch.testing.assert_close(layer(*given), expected)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "AGNNConv"])
@pytest.mark.parametrize("concat", [True, False])
def test_channels_of_a_head_that_is_off_are_zero_where_joined_and_missing_in_the_mean(name, concat):
    _, layer = layers(name, concat=concat)
    given = inputs(name, "random")
    count = heads_of(name)
    with switch_off_heads(layer, {"": [1]}):
        out = layer(*given)
    if concat:
        kept = layer(*given).unflatten(1, (count, -1)).clone()
        kept[:, 1] = 0
        torch.testing.assert_close(out, kept.flatten(1))
    else:
        parts = []
        for head in range(count):
            with switch_off_heads(layer, {"": [h for h in range(count) if h != head]}):
                parts.append(layer(*given))
        with switch_off_heads(layer, {"": range(count)}):
            nothing = layer(*given)
        torch.testing.assert_close(sum(parts) - (count - 1) * nothing, layer(*given))
        torch.testing.assert_close(out, layer(*given) - parts[1] + nothing)


NORMALIZERS = ["softmax", "entmax15", "sparsemax", "topk", "sigmoid", "tanh", "uniform"]


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_masks_and_biases_are_attention_convs_own(normalizer):
    options = {"normalizer": normalizer, "add_self_loops": True, "edge_dim": 3, "heads": 2}
    layer = gat.nn.AttentionConv(WIDTH, 5, **options).double()
    given = inputs("GATConv", "loops_and_duplicates")
    count = given[1].size(1)
    kept, added = torch.rand(count, 2) < 0.7, torch.randn(count, dtype=torch.float64)
    expected = layer(*given, mask=kept, score_bias=added)
    with mask_edges(layer, kept), bias_edges(layer, added):
        torch.testing.assert_close(layer(*given), expected)
    with mask_edges(layer, kept):
        torch.testing.assert_close(layer(*given, score_bias=added), expected)
    with bias_edges(layer, added):
        torch.testing.assert_close(layer(*given, mask=kept), expected)
    even = gat.nn.AttentionConv(WIDTH, 5, **{**options, "normalizer": "uniform"}).double()
    even.load_state_dict(layer.state_dict(), strict=False)
    with uniform_attention(layer):
        torch.testing.assert_close(layer(*given), even(*given))
        torch.testing.assert_close(layer(*given, mask=kept), even(*given, mask=kept))


def test_attention_conv_with_hooks_goes_pygs_way_and_is_changed_all_the_same():
    layer = gat.nn.AttentionConv(WIDTH, 5, heads=2, edge_dim=3).double()
    given = inputs("GATConv", "random")
    with uniform_attention(layer):
        expected = layer(*given)
        handle = layer.register_message_forward_hook(lambda *_: None)
        torch.testing.assert_close(layer(*given), expected)
    handle.remove()


@pytest.mark.filterwarnings("ignore:.*invents edges")
@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv", "TransformerConv"])
@pytest.mark.parametrize("graph", ["bipartite_wide", "bipartite_tall"])
def test_bipartite(name, graph):
    edge_index, num_src, num_dst = GRAPHS[graph]
    loops = {"add_self_loops": False} if name != "TransformerConv" else {}
    options = {"heads": HEADS, **loops}
    layer = getattr(pyg, name)((WIDTH, 4), 5, **options).double()
    x = random_weights(num_src, WIDTH), random_weights(num_dst, 4)
    kept = torch.rand(edge_index.size(1)) < 0.5
    expected = layer(x, edge_index[:, kept])
    with mask_edges(layer, kept):
        torch.testing.assert_close(layer(x, edge_index), expected)
    if name != "TransformerConv":
        # On a bipartite graph PyG's loops go from source i to target i.
        looped = getattr(pyg, name)((WIDTH, 4), 5, heads=HEADS).double()
        with uniform_attention(looped):
            _, (edges, weights) = looped(x, edge_index, return_attention_weights=True)
        degree = edges[1].bincount()[edges[1]]
        torch.testing.assert_close(weights, (1 / degree).double().view(-1, 1).expand(-1, HEADS))


@pytest.mark.parametrize("name", [n for n in NAMES if n != "RGATConv"])
def test_a_batch_is_changed_as_each_of_its_matrices(name):
    _, layer = layers(name)
    x, edge_index, *rest = inputs(name, "loops_and_duplicates")
    batch, heads = torch.stack([x, x.flip(0), 2 * x]), heads_of(name)
    added = torch.randn(edge_index.size(1), heads, dtype=torch.float64)
    with bias_edges(layer, added), switch_off_heads(layer, {"": [heads - 1]}):
        expected = torch.stack([layer(one, edge_index, *rest) for one in batch])
        torch.testing.assert_close(layer(batch, edge_index, *rest), expected)


@pytest.mark.parametrize("mod", [None, "additive", "scaled", "f-additive", "f-scaled"])
@pytest.mark.parametrize("mechanism", ["within-relation", "across-relation"])
def test_relational_attention_of_every_kind(mod, mechanism):
    options = {"mod": mod, "attention_mechanism": mechanism, "bias": False}
    theirs, ours = layers("RGATConv", **options)
    given = inputs("RGATConv", "random")
    _, weights = ours(*given, return_attention_weights=True)[1]
    total = torch.zeros(31, 4, dtype=torch.float64).index_add(0, given[1][1], weights)
    with uniform_attention(ours):
        _, even = ours(*given, return_attention_weights=True)[1]
    torch.testing.assert_close(torch.zeros_like(total).index_add(0, given[1][1], even), total)
    same = even[(given[1][1] == given[1][1, 0]) & (given[2] == given[2][0])]
    torch.testing.assert_close(same, same[:1].expand_as(same))
    for layer in (theirs, ours):
        with switch_off_heads(layer, {"": range(4)}):
            assert not layer(*given).any()


def test_sparse_matrices_edge_indices_and_graphs_are_edges_too():
    edge_index, num_nodes, _ = GRAPHS["random"]
    edge_index = torch.unique(edge_index, dim=1)
    edge_index = edge_index[:, torch.argsort(edge_index[1] * num_nodes + edge_index[0])]
    matrix = torch.sparse_coo_tensor(
        edge_index.flip(0), torch.ones(edge_index.size(1)), (num_nodes, num_nodes)
    ).coalesce()
    layer = gat.nn.GATv2Conv(WIDTH, 4, heads=2)
    x, kept = torch.randn(num_nodes, WIDTH), torch.rand(edge_index.size(1)) < 0.5
    with mask_edges(layer, kept), change_attention(layer, _check_record(edge_index)):
        expected = layer(x, edge_index)
        for given in (matrix.to_sparse_csr(), Graph.from_edge_index(edge_index, num_nodes)):
            torch.testing.assert_close(layer(x, given), expected)


def _check_record(edge_index):
    def check(record):
        assert torch.equal(record.edge_index, edge_index)
        torch.testing.assert_close(record.sums, torch.ones_like(record.sums))
        return record.weights

    return check


def test_flow_target_to_source():
    edge_index, num_nodes, _ = GRAPHS["random"]
    turned = gat.nn.GATConv(WIDTH, 4, heads=2, flow="target_to_source")
    layer = gat.nn.GATConv(WIDTH, 4, heads=2)
    layer.load_state_dict(turned.state_dict())
    x, kept = torch.randn(num_nodes, WIDTH), torch.rand(edge_index.size(1)) < 0.5
    with mask_edges(turned, kept), change_attention(turned, _check_record(edge_index)):
        out = turned(x, edge_index)
    with mask_edges(layer, kept):
        torch.testing.assert_close(out, layer(x, edge_index.flip(0)))


def test_bias_and_frozen_weights_have_gradients():
    _, layer = layers("GATConv")
    layer.requires_grad_(False)
    x, edge_index, attr = inputs("GATConv", "loops_and_duplicates")
    added = torch.randn(edge_index.size(1), HEADS, dtype=torch.float64, requires_grad=True)
    weights, loops = random_weights(edge_index.size(1), HEADS), random_weights(3, HEADS)

    def with_bias(added):
        with bias_edges(layer, added):
            return layer(x, edge_index, attr)

    def with_both(weights, added):
        with (
            change_attention(layer, lambda record: (weights, loops)),
            bias_edges(layer, added),
        ):
            return layer(x, edge_index, attr)

    weights[0] = 0
    assert torch.autograd.gradcheck(with_bias, (added,))
    weights = weights[1:].requires_grad_()
    assert torch.autograd.gradcheck(
        lambda w, a: with_both(torch.cat([w.new_zeros(1, HEADS), w]), a), (weights, added)
    )


def test_a_weight_of_zero_that_is_biased_has_no_nan_in_its_gradient():
    layer = gat.nn.GATConv(WIDTH, 4)
    x, edge_index = inputs("AGNNConv", "random")
    weights = torch.zeros(edge_index.size(1), 1, requires_grad=True)
    with change_attention(layer, lambda r: weights), bias_edges(layer, torch.ones(211)):
        layer(x.float(), edge_index).sum().backward()
    assert weights.grad.isfinite().all()


@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv", "TransformerConv", "RGATConv"])
def test_in_training_the_changed_weights_are_dropped(name):
    _, layer = layers(name, dropout=0.5)
    given = inputs(name, "random")
    if name == "RGATConv":
        layer = gat.nn.RGATConv(WIDTH, 5, 3, dropout=0.5).double()
    with uniform_attention(layer):
        quiet = layer.eval()(*given)
        torch.manual_seed(1)
        first = layer.train()(*given)
        torch.manual_seed(1)
        assert torch.equal(layer(*given), first)
        mean = torch.stack([layer(*given) for _ in range(150)]).mean(0)
    assert not torch.allclose(first, quiet)
    torch.testing.assert_close(mean, quiet, rtol=0.3, atol=0.7)


def test_dropped_are_the_entries_that_the_layer_itself_would_drop():
    layer = gat.nn.GATConv(WIDTH, 5, heads=2, dropout=0.5)
    x, edge_index = inputs("AGNNConv", "random")
    torch.manual_seed(1)
    expected = layer(x.float(), edge_index)
    torch.manual_seed(1)
    with change_attention(layer, lambda record: record.weights):
        torch.testing.assert_close(layer(x.float(), edge_index), expected)


def test_masks_of_another_size_or_dtype_are_refused():
    layer = gat.nn.GATConv(WIDTH, 4, heads=2)
    x, edge_index = torch.randn(31, WIDTH), GRAPHS["random"][0]
    with pytest.raises(ArgumentTypeError, match=r"mask has dtype torch.float32; expected torch.b"):
        mask_edges(layer, torch.ones(211)).__enter__()
    with pytest.raises(ArgumentTypeError, match=r"bias has dtype torch.int64; expected a floating"):
        bias_edges(layer, torch.ones(211).long()).__enter__()
    with pytest.raises(ArgumentTypeError, match=r"loops is a list; expected a tensor"):
        mask_edges(layer, torch.ones(211).bool(), loops=[True]).__enter__()
    too_few = r"mask has shape \[210\]; expected \[211\] or \[211, 2\], one row per edge that ''"
    with (
        pytest.raises(InputError, match=too_few),
        mask_edges(layer, torch.ones(210).bool()),
    ):
        layer(x, edge_index)
    with (
        pytest.raises(InputError, match=r"loops has shape \[30\]; .* one row per node"),
        mask_edges(layer, torch.ones(211).bool(), loops=torch.ones(30).bool()),
    ):
        layer(x, edge_index)


def test_what_a_function_gives_must_fit():
    layer = gat.nn.GATConv(WIDTH, 4, heads=2)
    x, edge_index = torch.randn(31, WIDTH), GRAPHS["random"][0]
    with (
        pytest.raises(InputError, match=r"weights of shape \[211\] for ''; expected \[211, 2\]"),
        change_attention(layer, lambda record: record.weights[:, 0]),
    ):
        layer(x, edge_index)
    with (
        pytest.raises(ArgumentTypeError, match="loops of type float"),
        change_attention(layer, lambda record: (record.weights, 1.0)),
    ):
        layer(x, edge_index)


INTERVENTIONS = {
    "uniform": lambda layer, count: uniform_attention(layer),
    "mask": lambda layer, count: mask_edges(layer, torch.arange(count) % 2 > 0),
    "bias": lambda layer, count: bias_edges(layer, torch.linspace(-1, 1, count)),
    "off": lambda layer, count: switch_off_heads(layer, {"": [0]}),
    "function": lambda layer, count: change_attention(layer, lambda r: r.weights / 2),
}


@pytest.mark.skipif(not cpu.status().available, reason="needs the compiled library")
@pytest.mark.parametrize("intervention", INTERVENTIONS)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_as_large_as_edges_times_channels(name, intervention):
    heads, channels = 4, 16
    if name == "AGNNConv":
        layer = gat.nn.AGNNConv()
    else:
        relations = (RELATIONS,) if name == "RGATConv" else ()
        layer = getattr(gat.nn, name)(WIDTH, channels, *relations, heads=heads)
    width = heads * channels if name == "AGNNConv" else WIDTH
    edge_index, num_nodes, _ = GRAPHS["random"]
    rest = (torch.arange(edge_index.size(1)) % RELATIONS,) if name == "RGATConv" else ()
    x = torch.randn(num_nodes, width, requires_grad=True)
    with INTERVENTIONS[intervention](layer, edge_index.size(1)), Largest() as seen:
        layer.eval()(x, edge_index, *rest).square().sum().backward()
    # Of relations it is pairs that are projected, not edges: here they are nearly as many.
    share = 1 if name == "RGATConv" else 3
    assert seen.numbers < edge_index.size(1) * heads * channels / share
