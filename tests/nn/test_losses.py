"""Attention losses: their definitions, bounds and gradients, and that training lowers them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gat.nn
from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.graph import Graph
from gat.nn.losses import (
    attention_agreement,
    attention_entropy,
    attention_sparsity,
    edge_agreement,
)
from gat.ops import dot_scores, segment_softmax
from tests.device import generator
from tests.graphs import GRAPHS

HEADS = 3


def softmax_of(name, scores=None):
    edge_index, num_src, num_dst = GRAPHS[name]
    graph = Graph.from_edge_index(edge_index, (num_src, num_dst))
    if scores is None:
        scores = 2 * torch.randn(graph.num_edges, HEADS, dtype=torch.float64)
    return graph, segment_softmax(graph, scores)


def rows(graph, weights):
    """The weights entering each target with edges, as lists by target and head."""
    target = graph.edge_index[1]
    for node in target.unique():
        yield weights[target == node], (target == node).nonzero().squeeze(1)


def mean(values):
    return sum(values) / len(values) if values else 0.0


@pytest.mark.parametrize("name", GRAPHS)
def test_definitions(name):
    graph, weights = softmax_of(name)
    labels = torch.rand(graph.num_edges) < 0.4
    entropy, normalized, sparsity, agreement = [], [], [], []
    for of_target, numbers in rows(graph, weights):
        right = labels[numbers]
        for a in of_target.t():
            found = -sum(float(p) * math.log(p) for p in a)
            entropy.append(found)
            if a.numel() > 1:
                normalized.append(found / math.log(a.numel()))
            sparsity.append(1 - float(a.square().sum()))
            if right.any():
                agreement.append(-float(a[right].log().mean()))
    expected = [mean(values) for values in (entropy, normalized, sparsity, agreement)]
    given = [
        attention_entropy(graph, weights, normalize=False),
        attention_entropy(graph, weights),
        attention_sparsity(graph, weights),
        attention_agreement(graph, weights, labels),
    ]
    assert [float(value) for value in given] == pytest.approx(expected)


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from([name for name in GRAPHS if GRAPHS[name][0].numel()]),
    st.floats(0, 30),
    st.integers(0, 10**6),
)
def test_bounds(name, spread, seed):
    draw = generator(seed)
    edge_index = GRAPHS[name][0]
    scores = spread * torch.randn(edge_index.size(1), HEADS, dtype=torch.float64, generator=draw)
    graph, weights = softmax_of(name, scores)
    assert -1e-9 <= attention_entropy(graph, weights) <= 1 + 1e-9
    assert -1e-9 <= attention_sparsity(graph, weights) <= 1 - 1 / int(graph.in_degree.max()) + 1e-9
    labels = torch.rand(graph.num_edges, generator=draw) < 0.5
    assert attention_agreement(graph, weights, labels) >= -1e-9
    assert edge_agreement(scores, labels) >= 0


@pytest.mark.parametrize("name", ["loops_and_duplicates", "hub", "random"])
def test_uniform_and_hard_attention(name):
    graph, weights = softmax_of(name, torch.zeros(GRAPHS[name][0].size(1), HEADS))
    assert float(attention_entropy(graph, weights)) == pytest.approx(1)
    # One edge of each target gets everything.
    first = torch.cat([numbers[:1] for _, numbers in rows(graph, weights)])
    hard = torch.zeros_like(weights).index_fill(0, first, 1.0)
    labels = hard[:, 0] > 0
    assert attention_entropy(graph, hard) == 0
    assert attention_sparsity(graph, hard) == 0
    assert attention_agreement(graph, hard, labels) == 0
    assert attention_agreement(graph, weights, labels) > 0.3


def test_labels_are_shares():
    graph, weights = softmax_of("random")
    labels = torch.rand(graph.num_edges, dtype=torch.float64)
    scaled = labels * (1 + graph.edge_index[1])  # each target's by its own factor
    torch.testing.assert_close(
        attention_agreement(graph, weights, labels), attention_agreement(graph, weights, scaled)
    )


@pytest.mark.parametrize("loss", ["entropy", "plain_entropy", "sparsity", "agreement", "edges"])
def test_gradcheck(loss):
    edge_index, num_nodes, _ = GRAPHS["loops_and_duplicates"]
    graph = Graph.from_edge_index(edge_index, num_nodes)
    labels = torch.tensor([1, 0, 1, 0, 0, 1, 0], dtype=torch.bool)
    run = {
        "entropy": lambda w: attention_entropy(graph, w),
        "plain_entropy": lambda w: attention_entropy(graph, w, normalize=False),
        "sparsity": lambda w: attention_sparsity(graph, w),
        "agreement": lambda w: attention_agreement(graph, w, labels),
        "edges": lambda w: edge_agreement(w, labels),
    }[loss]
    weights = torch.rand(7, 2, dtype=torch.float64).add(0.1).requires_grad_()
    assert torch.autograd.gradcheck(run, weights)
    assert torch.autograd.gradgradcheck(run, weights)


def losses(graph, scores, labels):
    weights = segment_softmax(graph, scores)
    return {
        "entropy": attention_entropy(graph, weights),
        "plain_entropy": attention_entropy(graph, weights, normalize=False),
        "sparsity": attention_sparsity(graph, weights),
        "agreement": attention_agreement(graph, weights, labels),
        "edges": edge_agreement(scores, labels),
    }


@pytest.mark.parametrize("loss", ["entropy", "plain_entropy", "sparsity", "agreement", "edges"])
@pytest.mark.parametrize("masked", ["some", "all", "underflow"])
def test_masked_edges_have_no_gradient_and_spoil_no_others(loss, masked):
    edge_index, num_nodes, _ = GRAPHS["random"]
    graph = Graph.from_edge_index(edge_index, num_nodes)
    scores = torch.randn(graph.num_edges, HEADS)
    if masked == "underflow":
        scores[::3] = -1e4  # weights of exactly 0 without a mask
    else:
        scores[:: 3 if masked == "some" else 1] = -torch.inf
    scores.requires_grad_()
    labels = torch.arange(graph.num_edges) % 2 == 0
    value = losses(graph, scores, labels)[loss]
    value.backward()
    assert value.isfinite()
    assert scores.grad.isfinite().all()
    if masked == "some":
        assert (scores.grad[::3] == 0).all()
        assert scores.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["no_edges", "no_nodes", "one_node_without_edges"])
def test_nothing_to_weigh_is_a_loss_of_zero_with_a_gradient(name):
    edge_index, num_nodes, _ = GRAPHS[name]
    scores = torch.zeros(0, HEADS, requires_grad=True)
    graph = Graph.from_edge_index(edge_index, num_nodes)
    values = torch.stack(list(losses(graph, scores, torch.zeros(0)).values()))
    assert values.tolist() == [0.0] * 5
    values.sum().backward()
    assert scores.grad.shape == (0, HEADS)


def test_targets_without_a_label_are_left_out():
    graph, weights = softmax_of("random")
    nothing = torch.zeros(graph.num_edges)
    assert attention_agreement(graph, weights, nothing) == 0
    one = nothing.clone()
    one[5] = 1
    expected = -weights[5].log().mean()
    torch.testing.assert_close(attention_agreement(graph, weights, one), expected)


def test_a_graph_its_edges_and_a_layers_return_say_the_same():
    edge_index, num_nodes, _ = GRAPHS["loops_and_duplicates"]
    x = torch.randn(num_nodes, 6)
    layer = gat.nn.GATConv(6, 4, heads=2)
    edges, weights = layer(x, edge_index, return_attention_weights=True)[1]
    graph = Graph.from_edge_index(edge_index, num_nodes).with_self_loops()
    labels = torch.rand(graph.num_edges)
    for loss in (
        attention_entropy,
        attention_sparsity,
        lambda g, w: attention_agreement(g, w, labels),
    ):
        torch.testing.assert_close(loss(edges, weights), loss(graph, weights))
        one = weights[:, :1]
        torch.testing.assert_close(loss(edges, one.squeeze(1)), loss(edges, one))
        batch = torch.stack([weights, weights.flip(1)])
        torch.testing.assert_close(loss(edges, batch), loss(edges, weights))
    scores = torch.randn(2, graph.num_edges, 3)
    scores[1, 4] = -torch.inf
    each = torch.stack([edge_agreement(one, labels) for one in scores])
    torch.testing.assert_close(edge_agreement(scores, labels), each.mean())


@pytest.mark.parametrize("kind", ["MX", "SD"])
def test_edge_agreement_is_supergats_loss(kind):
    edge_index, num_nodes, _ = GRAPHS["random"]
    layer = gat.nn.SuperGATConv(6, 5, heads=2, attention_type=kind, add_self_loops=False)
    others, x = torch.randint(num_nodes, (2, 40)), torch.randn(num_nodes, 6)
    layer(x, edge_index, neg_edge_index=others)
    value = layer.lin(x).view(-1, 2, 5)
    graph = Graph.from_edge_index(torch.cat([edge_index, others], dim=1), num_nodes)
    scores = dot_scores(graph, value, value, scale=1.0 if kind == "MX" else None)
    labels = torch.arange(graph.num_edges) < edge_index.size(1)
    torch.testing.assert_close(edge_agreement(scores, labels), layer.get_attention_loss())


def test_edge_agreement_is_binary_cross_entropy_of_the_mean_score():
    scores, labels = torch.randn(9, HEADS), torch.tensor([1, 1, 0, 1, 0, 0, 0, 1, 1.0])
    likely = scores.mean(dim=1).sigmoid()
    expected = -(labels * likely.log() + (1 - labels) * (1 - likely).log()).mean()
    torch.testing.assert_close(edge_agreement(scores, labels), expected)
    scores[4, 1] = -torch.inf
    rest = torch.arange(9) != 4
    torch.testing.assert_close(
        edge_agreement(scores, labels), edge_agreement(scores[rest], labels[rest])
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    graph, weights = softmax_of("random")
    weights = weights.to(dtype).requires_grad_()
    for loss in (attention_entropy(graph, weights), attention_sparsity(graph, weights)):
        assert loss.dtype is torch.float32
    loss.backward()
    assert weights.grad.dtype is dtype


@pytest.mark.parametrize("loss", ["entropy", "sparsity", "agreement"])
def test_training_lowers_it(loss):
    edge_index, num_nodes, _ = GRAPHS["random"]
    x = torch.randn(num_nodes, 6)
    layer = gat.nn.GATv2Conv(6, 8, heads=2)
    edge_index = edge_index[:, edge_index[0] != edge_index[1]]
    right = torch.rand(edge_index.size(1) + num_nodes) < 0.3
    run = {
        "entropy": attention_entropy,
        "sparsity": attention_sparsity,
        "agreement": lambda edges, weights: attention_agreement(edges, weights, right),
    }[loss]
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    values = []
    for _ in range(40):
        value = run(*layer(x, edge_index, return_attention_weights=True)[1])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < 0.8 * values[0]


def test_wrong_arguments_are_refused_in_words():
    graph, weights = softmax_of("random")
    with pytest.raises(InputError, match=r"weights has shape \[210, 3\]; expected .* E = 211 edge"):
        attention_entropy(graph, weights[:210])
    with pytest.raises(InputError, match=r"weights has shape \[\]"):
        attention_sparsity(graph, weights.sum())
    with pytest.raises(ArgumentTypeError, match=r"weights has dtype torch\.int64"):
        attention_sparsity(graph, weights.long())
    with pytest.raises(InputError, match=r"labels has shape \[211, 3\]; expected \[211\]"):
        attention_agreement(graph, weights, weights > 0)
    with pytest.raises(InputError, match=r"scores has shape \[\]; expected \[E, H\]"):
        edge_agreement(weights.sum(), weights[:, 0])
    with pytest.raises(InputError, match=r"labels has shape \[3\]; expected \[211\]"):
        edge_agreement(weights, weights[0])
    with pytest.raises(IndexRangeError):
        attention_entropy(torch.tensor([[0], [-1]]), weights[:1])
