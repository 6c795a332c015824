"""What is SuperGATConv's own: the attention loss, and the edges it draws for it."""

import random

import pytest
import torch

import gat.nn.supergat_conv
from gat.errors import ArgumentTypeError, IndexRangeError
from gat.graph import Graph
from tests.nn.twins import features, ours, twins

NAME = "SuperGATConv"
TYPES = ["MX", "SD"]


def step(layer, x, *args, seed=5, **kwargs):
    """Output, loss, and the gradients of both together, of one step in training."""
    torch.manual_seed(seed)
    random.seed(seed)
    layer.train().zero_grad()
    x = x.detach().clone().requires_grad_()
    out = layer(x, *args, **kwargs)
    loss = layer.get_attention_loss()
    (out.square().sum() + 3 * loss).backward()
    gradients = {name: parameter.grad for name, parameter in layer.named_parameters()}
    return out, loss, layer.att_x, layer.att_y, x.grad, gradients


@pytest.mark.parametrize("graph", ["hub", "loops_and_duplicates", "random"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"neg_sample_ratio": 1.5, "is_undirected": True},
        {"edge_sample_ratio": 0.6, "concat": False},
        {"add_self_loops": False, "flow": "target_to_source"},
    ],
    ids=lambda options: "-".join(options) or "default",
)
@pytest.mark.parametrize("attention_type", TYPES)
def test_the_loss_and_its_gradients_are_pygs_under_one_seed(attention_type, options, graph):
    edge_index, x, _, _ = features(graph)
    theirs, mine = twins(NAME, 6, 5, heads=2, attention_type=attention_type, **options)
    torch.testing.assert_close(step(mine, x, edge_index), step(theirs, x, edge_index))


@pytest.mark.parametrize("attention_type", TYPES)
def test_edges_to_train_against_may_be_given(attention_type):
    edge_index, x, _, _ = features("random")
    others = torch.randint(31, (2, 50))
    theirs, mine = twins(NAME, 6, 5, heads=2, attention_type=attention_type)
    expected = step(theirs, x, edge_index, others)
    torch.testing.assert_close(step(mine, x, edge_index, others), expected)
    graph = Graph.from_edge_index(others, 31)
    torch.testing.assert_close(step(mine, x, edge_index, neg_edge_index=graph), expected)
    with pytest.raises(IndexRangeError, match="names source node 31, outside"):
        mine(x, edge_index, torch.tensor([[31], [0]]))


def test_drawn_edges_stay_inside_one_graph_of_a_joined_one():
    edge_index, x, _, _ = features("random")
    joined = torch.cat([edge_index, edge_index + 31], dim=1)
    batch, both = torch.arange(2).repeat_interleave(31), torch.cat([x, -x])
    theirs, mine = twins(NAME, 6, 5, heads=2)
    torch.testing.assert_close(
        step(mine, both, joined, batch=batch), step(theirs, both, joined, batch=batch)
    )


@pytest.mark.parametrize("kind", ["Graph", "csr"])
@pytest.mark.filterwarnings("ignore:Sparse")
def test_the_loss_of_other_kinds_of_edges(kind):
    """PyG's layer trains on no torch sparse matrix; the loss is that of the edges it holds."""
    edge_index = torch.unique(features("random")[0].flip(0), dim=1).flip(0)  # by target, as CSR
    x, layer = features("random")[1], ours(NAME, 6, 5, heads=2)
    graph = Graph.from_edge_index(edge_index, 31)
    matrix = torch.sparse_csr_tensor(graph.rowptr, graph.col, torch.ones(graph.num_edges))
    given = graph if kind == "Graph" else matrix
    torch.testing.assert_close(step(layer, x, given), step(layer, x, edge_index))


def test_outside_training_the_loss_is_zero_and_nothing_is_drawn():
    edge_index, x, _, _ = features("random")
    layer = ours(NAME, 6, 5).eval()
    before = random.getstate(), torch.get_rng_state()
    layer(x, edge_index)
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert layer.att_x is None
    assert layer.get_attention_loss().item() == 0


def test_logits_of_the_edges_are_computed_once(monkeypatch):
    """When all edges are sampled, the loss takes the logits that the attention was made of."""
    edge_index, x, _, _ = features("random")
    edges, real = [], gat.nn.supergat_conv.dot_scores
    monkeypatch.setattr(
        gat.nn.supergat_conv,
        "dot_scores",
        lambda graph, *a, **k: edges.append(graph.num_edges) or real(graph, *a, **k),
    )
    with_loops = 31 + int((edge_index[0] != edge_index[1]).sum())
    step(ours(NAME, 6, 5), x, edge_index)
    assert edges == [with_loops, int(0.5 * with_loops)]
    edges.clear()
    step(ours(NAME, 6, 5, edge_sample_ratio=0.5), x, edge_index)
    assert len(edges) == 3


def test_sampling_of_ones_own_is_used():
    edge_index, x, _, _ = features("random")
    few, others = edge_index[:, :7], torch.tensor([[0, 1], [2, 3]])

    class Sampled(gat.nn.SuperGATConv):
        def positive_sampling(self, edge_index):
            return few

        def negative_sampling(self, edge_index, num_nodes, batch=None):
            return others

    layer = Sampled(6, 5, 2).double()
    layer(x, edge_index)
    value = layer.lin(x).view(31, 2, 5)
    pairs = torch.cat([few, others], dim=1)
    torch.testing.assert_close(layer.att_x, (value[pairs[0]] * value[pairs[1]]).sum(-1))
    assert layer.att_y.tolist() == [1.0] * 7 + [0.0] * 2


@pytest.mark.parametrize("attention_type", TYPES)
def test_the_loss_of_a_batch_is_the_mean_of_its_losses(attention_type):
    edge_index, x, _, _ = features("random")
    layer = ours(NAME, 6, 5, heads=2, attention_type=attention_type).train()
    x, others = torch.randn(3, *x.shape, dtype=x.dtype), torch.randint(31, (2, 50))
    losses = []
    for one in x:
        layer(one, edge_index, others)
        losses.append(layer.get_attention_loss())
    layer(x, edge_index, others)
    torch.testing.assert_close(layer.get_attention_loss(), torch.stack(losses).mean())


def test_a_step_in_training_compiles_in_one_piece_given_both_graphs():
    edge_index, x, _, _ = features("random")
    layer = ours(NAME, 6, 5, heads=2).train()
    graph = Graph.from_edge_index(edge_index, 31).with_self_loops()
    others = Graph.from_edge_index(torch.randint(31, (2, 50)), 31)

    def trained(x):
        return layer(x, graph, others).square().sum() + layer.get_attention_loss()

    whole = torch.compile(trained, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(whole(x), trained(x))


def test_with_edges_drawn_a_compiled_step_is_the_same():
    edge_index, x, _, _ = features("random")
    layer = ours(NAME, 6, 5, heads=2)
    compiled = torch.compile(layer, backend="aot_eager")
    torch.testing.assert_close(step(compiled, x, edge_index)[:2], step(layer, x, edge_index)[:2])


def test_a_pair_of_features_is_refused():
    edge_index, x, _, _ = features("random")
    with pytest.raises(ArgumentTypeError, match="SuperGATConv: x is of type tuple; expected one"):
        ours(NAME, 6, 5)((x, x), edge_index)
