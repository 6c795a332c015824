"""`MultiHeadAttention` against its paper's equations, and torch's layer with the same weights."""

import math

import pytest
import torch
from torch import nn

import gat
from gat import topology
from gat.errors import InputError
from gat.graph import Graph
from gat.nn import MultiHeadAttention
from gat.nn.normalizers import TopK
from tests.graphs import GRAPHS

LENGTHS = [5, 1, 3, 0, 4]
LAYERS = [
    {},
    {"bias": False},
    {"kdim": 5, "vdim": 7},
    {"kdim": 5, "bias": False},
    {"vdim": 3},
]


def rand(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def biased(layer):
    """In float64, with biases that are not 0."""
    for parameter in layer.double().parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer


def pair(features, heads, **options):
    """torch's layer and ours, with the same weights."""
    theirs = biased(nn.MultiheadAttention(features, heads, batch_first=True, **options))
    ours = MultiHeadAttention(features, heads, **options).double()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def rows_of(weight, head, heads):
    size = weight.size(0) // heads
    return weight[head * size : (head + 1) * size]


def transcribed(layer, edge_index, query, key, value):
    """Each head, target and edge by itself: section 3.2.1, eq. 1, and section 3.2.2."""
    heads = layer.num_heads
    if layer.in_proj_weight is None:
        weights = layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight
    else:
        weights = layer.in_proj_weight.chunk(3)
    biases = [0, 0, 0] if layer.in_proj_bias is None else layer.in_proj_bias.chunk(3)
    out = []
    for target in range(query.size(0)):
        joined = []
        for head in range(heads):
            own = [rows_of(weight, head, heads) for weight in weights]
            add = [b if isinstance(b, int) else rows_of(b, head, heads) for b in biases]
            sources = [j for j, i in edge_index.t().tolist() if i == target]
            q = own[0] @ query[target] + add[0]
            total = torch.zeros_like(q)
            if sources:
                keys = [own[1] @ key[j] + add[1] for j in sources]
                scores = torch.stack([q @ k / math.sqrt(len(q)) for k in keys])
                for j, weight in zip(sources, scores.softmax(0), strict=True):
                    total = total + weight * (own[2] @ value[j] + add[2])
            joined.append(total)
        bias = 0 if layer.out_proj.bias is None else layer.out_proj.bias
        out.append(layer.out_proj.weight @ torch.cat(joined) + bias)
    return torch.stack(out)


def gradients(out, wanted):
    scale = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
    return torch.autograd.grad((out * scale).sum(), wanted, materialize_grads=True)


def padded(rows, lengths):
    """Ragged rows as [B, longest, .], and where they are padding."""
    rest = torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]
    return nn.utils.rnn.pad_sequence(rows.split(lengths), batch_first=True), rest


# The equations


SQUARES = {
    "complete": topology.complete([4, 1, 2]),
    "causal": topology.causal([4, 1, 2]),
    "window": topology.window([4, 1, 2], 1),
    **{
        name: Graph.from_edge_index(*GRAPHS[name][:2])
        for name in ("no_edges", "isolated_nodes", "loops_and_duplicates")
    },
}


@pytest.mark.parametrize("graph", SQUARES.values(), ids=SQUARES)
def test_multihead_self_attention_by_the_papers_equations(graph):
    layer = biased(MultiHeadAttention(6, 3))
    x = rand(graph.num_src, 6)
    out = layer(x, edge_index=graph)
    expected = transcribed(layer, graph.edge_index, x, x, x)
    torch.testing.assert_close(out, expected)
    wanted = [x, *layer.parameters()]
    torch.testing.assert_close(gradients(out, wanted), gradients(expected, wanted))


@pytest.mark.parametrize("options", LAYERS, ids=str)
@pytest.mark.parametrize("heads", [1, 2, 6])
def test_multihead_cross_attention_by_the_papers_equations(options, heads):
    layer = biased(MultiHeadAttention(6, heads, **options))
    graph = topology.bipartite([3, 1, 2], [2, 4, 1])
    query, key, value = rand(7, 6), rand(6, layer.kdim), rand(6, layer.vdim)
    out = layer(query, key, value, edge_index=graph)
    expected = transcribed(layer, graph.edge_index, query, key, value)
    torch.testing.assert_close(out, expected)
    wanted = [query, key, value, *layer.parameters()]
    torch.testing.assert_close(gradients(out, wanted), gradients(expected, wanted))


def test_multihead_gradcheck():
    layer = biased(MultiHeadAttention(4, 2, kdim=3))
    graph = topology.bipartite([2, 1, 0], [1, 2, 1])
    weights = dict(layer.named_parameters())

    def run(query, key, value, *given):
        named = dict(zip(weights, given, strict=True))
        return torch.func.functional_call(layer, named, (query, key, value), {"edge_index": graph})

    inputs = (rand(4, 4), rand(3, 3), rand(3, 4), *weights.values())
    assert torch.autograd.gradcheck(run, inputs)


# torch's layer


@pytest.mark.parametrize("options", LAYERS, ids=str)
def test_multihead_draws_and_names_its_parameters_as_torch_does(options):
    torch.manual_seed(3)
    theirs = nn.MultiheadAttention(6, 2, **options)
    torch.manual_seed(3)
    ours = MultiHeadAttention(6, 2, **options)
    torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()), rtol=0, atol=0)
    biased(ours)
    torch.manual_seed(3)
    ours.float().reset_parameters()
    torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize("options", LAYERS[:2], ids=str)
def test_multihead_self_attention_of_ragged_rows_is_torchs_with_padding(options):
    theirs, ours = pair(6, 3, **options)
    x = rand(sum(LENGTHS), 6)
    out, (edges, weights) = ours(
        x, edge_index=topology.complete(LENGTHS), return_attention_weights=True
    )
    lengths = [length for length in LENGTHS if length]
    full, rest = padded(x, lengths)
    expected, dense = theirs(full, full, full, key_padding_mask=rest, average_attn_weights=False)
    torch.testing.assert_close(out, expected[~rest])
    wanted = [(x, *theirs.parameters()), (x, *ours.parameters())]
    torch.testing.assert_close(gradients(out, wanted[1]), gradients(expected[~rest], wanted[0]))
    inside = ~rest[:, None, :, None] & ~rest[:, None, None, :]
    listed = dense.masked_select(inside)
    assert edges.size(1) == sum(length**2 for length in LENGTHS)
    blocks = weights.split([length**2 for length in lengths])
    torch.testing.assert_close(torch.cat([block.t().flatten() for block in blocks]), listed)


@pytest.mark.parametrize("options", LAYERS, ids=str)
def test_multihead_cross_attention_of_ragged_rows_is_torchs_with_padding(options):
    theirs, ours = pair(6, 2, **options)
    sources, targets = [3, 1, 5], [2, 4, 1]
    query = rand(sum(targets), 6)
    key, value = rand(sum(sources), ours.kdim), rand(sum(sources), ours.vdim)
    out = ours(query, key, value, edge_index=topology.bipartite(sources, targets))
    (q, outside), (k, rest), (v, _) = (
        padded(query, targets),
        padded(key, sources),
        padded(value, sources),
    )
    expected = theirs(q, k, v, key_padding_mask=rest, need_weights=False)[0][~outside]
    torch.testing.assert_close(out, expected)
    given = (query, key, value)
    torch.testing.assert_close(
        gradients(out, [*given, *ours.parameters()]),
        gradients(expected, [*given, *theirs.parameters()]),
    )


def test_multihead_on_a_causal_graph_is_torchs_with_a_causal_mask():
    theirs, ours = pair(8, 4)
    x = rand(3, 5, 8)
    out = ours(x, edge_index=topology.causal(5))
    mask = torch.ones(5, 5, dtype=torch.bool).triu(1)
    expected = theirs(x, x, x, attn_mask=mask, need_weights=False)[0]
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(
        gradients(out, [x, *ours.parameters()]), gradients(expected, [x, *theirs.parameters()])
    )


def test_multihead_load_state_dict_refuses_torchs_extra_keys_and_values():
    theirs = nn.MultiheadAttention(6, 3, add_bias_kv=True)
    with pytest.raises(RuntimeError, match="bias_k"):
        MultiHeadAttention(6, 3).load_state_dict(theirs.state_dict())


# Its own


@pytest.mark.parametrize("length", [1, 4])
def test_multihead_of_a_batch_is_that_of_ragged_rows(length):
    layer = biased(MultiHeadAttention(6, 2))
    x, memory = rand(3, length, 6), rand(3, 5, 6)
    for graphs, key in (
        ((topology.complete(length), topology.complete([length] * 3)), None),
        ((topology.bipartite(5, length), topology.bipartite([5] * 3, length)), memory),
    ):
        out = layer(x, key, edge_index=graphs[0])
        ragged = layer(
            x.flatten(0, 1), None if key is None else key.flatten(0, 1), edge_index=graphs[1]
        )
        torch.testing.assert_close(out.flatten(0, 1), ragged)


def test_multihead_of_the_same_key_and_value_is_that_of_the_key_alone():
    layer = biased(MultiHeadAttention(6, 2))
    x, memory, graph = rand(3, 6), rand(4, 6), topology.bipartite(4, 3)
    torch.testing.assert_close(
        layer(x, memory, edge_index=graph), layer(x, memory, memory.clone(), edge_index=graph)
    )
    square = topology.complete(3)
    torch.testing.assert_close(layer(x, x.clone(), edge_index=square), layer(x, edge_index=square))


def test_multihead_attends_to_what_came_projected():
    layer = biased(MultiHeadAttention(6, 2, vdim=3))
    graph = topology.bipartite([2, 2], [1, 3])
    query, key, value = rand(4, 6), rand(4, 6), rand(4, 3)
    source = layer.project_source(key, value)
    assert [tuple(part.shape) for part in source] == [(4, 2, 3), (4, 2, 3)]
    out = layer.attend(layer.project_query(query), source, graph)
    torch.testing.assert_close(out, layer(query, key, value, edge_index=graph))


def test_multihead_with_a_mask_is_that_of_fewer_edges():
    layer = biased(MultiHeadAttention(6, 2))
    graph, x = topology.complete([3, 2]), rand(5, 6)
    kept = torch.arange(graph.num_edges) % 3 != 1
    fewer = graph.edge_index[:, kept]
    torch.testing.assert_close(layer(x, edge_index=graph, mask=kept), layer(x, edge_index=fewer))
    bias = torch.zeros(graph.num_edges, dtype=x.dtype).masked_fill(~kept, -torch.inf)
    torch.testing.assert_close(
        layer(x, edge_index=graph, score_bias=bias), layer(x, edge_index=fewer)
    )


@pytest.mark.parametrize("score", ["mlp", "bilinear", "additive"])
def test_multihead_takes_any_score_and_normaliser(score):
    layer = MultiHeadAttention(6, 2, score=score, normalizer=TopK(1)).double()
    assert any(name.startswith("attention.score.") for name, _ in layer.named_parameters())
    before = {name: p.clone() for name, p in layer.named_parameters() if p.dim() > 1}
    graph = topology.complete([3, 2])
    _, (_, weights) = layer(rand(5, 6), edge_index=graph, return_attention_weights=True)
    assert sorted(weights.flatten().tolist()) == [0.0] * (2 * 13 - 10) + [1.0] * 10
    layer.reset_parameters()
    for name, value in before.items():
        assert not torch.equal(value, layer.get_parameter(name)), name


def test_multihead_is_recorded_by_its_attention():
    model = nn.ModuleDict({"first": MultiHeadAttention(4, 2)})
    graph = topology.causal([2, 3])
    with gat.record_attention(model) as attention:
        out, (_, weights) = model["first"](
            torch.randn(5, 4), edge_index=graph, return_attention_weights=True
        )
    assert list(attention) == ["first.attention"]
    record = attention["first.attention"]
    assert torch.equal(record.edge_index, graph.edge_index)
    torch.testing.assert_close(record.weights, weights.detach())
    assert out.shape == (5, 4)


def test_multihead_drops_weights_in_training_alone():
    layer, x = MultiHeadAttention(6, 2, dropout=0.5), torch.randn(20, 6)
    graph = topology.complete(20)
    once, again = layer(x, edge_index=graph), layer(x, edge_index=graph)
    assert not torch.allclose(once, again)
    layer.eval()
    assert torch.equal(layer(x, edge_index=graph), layer(x, edge_index=graph))
    plain = MultiHeadAttention(6, 2)
    plain.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x, edge_index=graph), plain(x, edge_index=graph))


def test_multihead_of_nothing_is_nothing():
    layer = MultiHeadAttention(6, 2)
    assert layer(torch.empty(0, 6), edge_index=topology.complete([])).shape == (0, 6)
    alone = layer(torch.randn(2, 6), torch.empty(0, 6), edge_index=topology.bipartite([0, 0], 1))
    torch.testing.assert_close(alone, layer.out_proj.bias.expand(2, 6))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiHeadAttention(6, 4), "embed_dim is 6 and num_heads 4; expected a number of"),
        (lambda: MultiHeadAttention(6, 0), "num_heads is 0; expected 1 or more"),
        (lambda: MultiHeadAttention(6, 2, kdim=0), "kdim is 0; expected 1 or more"),
        (lambda: MultiHeadAttention(6, 2, dropout=2), "dropout is 2"),
    ],
)
def test_multihead_refuses_sizes(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_multihead_refuses_features_that_do_not_fit():
    layer, graph = MultiHeadAttention(6, 2, kdim=5), topology.complete(3)
    x = torch.randn(3, 6)
    with pytest.raises(InputError, match=r"query has shape \[3, 5\]; expected \[nodes, 6\]"):
        layer(torch.randn(3, 5), torch.randn(3, 5), x, edge_index=graph)
    with pytest.raises(InputError, match=r"key has shape \[3, 6\]; expected \[nodes, 5\]"):
        layer(x, edge_index=graph)
    with pytest.raises(InputError, match=r"value has shape \[3\]; expected \[nodes, 6\]"):
        layer(x, torch.randn(3, 5), torch.randn(3), edge_index=graph)
    with pytest.raises(InputError, match="given value without key"):
        layer(x, value=x, edge_index=graph)
    with pytest.raises(InputError, match="weighs each step by itself"):
        layer(x, torch.randn(3, 5), x, edge_index=graph, previous=torch.ones(9, 2))
