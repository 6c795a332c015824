"""`Attend` by its definition, edge by edge, on any graph; what it refuses, and PyG's way."""

import copy
import pickle

import pytest
import torch

from gat import topology
from gat.errors import InputError
from gat.graph import Graph
from gat.nn import Attend
from gat.nn.normalizers import NORMALIZERS
from gat.nn.scores import SCORES
from tests.graphs import GRAPHS

HEADS, CHANNELS, OWN = 2, 3, 5
EDGE_INDEX, NUM_SRC, NUM_DST = GRAPHS["bipartite_wide"]


def inputs(num_src=NUM_SRC, num_dst=NUM_DST, batch=()):
    shapes = (num_dst, HEADS, CHANNELS), (num_src, HEADS, CHANNELS), (num_src, HEADS, OWN)
    return [torch.randn(*batch, *shape).double().requires_grad_() for shape in shapes]


def by_edges(scores, value, edge_index, num_dst):
    """Softmax over the edges of each target, and the sum of values: out, weights [E, H]."""
    weights, out = torch.zeros_like(scores), []
    for target in range(num_dst):
        mine = (edge_index[1] == target).nonzero().flatten()
        found = scores[mine]
        top = found.exp().nan_to_num() / found.exp().sum(0).clamp(min=1e-300)
        weights = weights.index_copy(0, mine, top)
        out.append((top.unsqueeze(2) * value[edge_index[0, mine]]).sum(0))
    return torch.stack(out) if out else value.new_zeros(0, HEADS, OWN), weights


def scaled_dot(query, key, edge_index):
    pairs = [(query[i] * key[j]).sum(1) / CHANNELS**0.5 for j, i in edge_index.t().tolist()]
    return torch.stack(pairs) if pairs else query.new_zeros(0, HEADS)


def gradients(out, given):
    scale = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
    return torch.autograd.grad((out * scale).sum(), given, allow_unused=True)


@pytest.mark.parametrize("name", GRAPHS)
def test_attend_is_its_definition(name):
    edge_index, num_src, num_dst = GRAPHS[name]
    attend, given = Attend(CHANNELS, HEADS), inputs(num_src, num_dst)
    scores = scaled_dot(*given[:2], edge_index)
    expected, weights = by_edges(scores, given[2], edge_index, num_dst)
    out = attend(*given, edge_index)
    torch.testing.assert_close(out, expected)
    if edge_index.numel():
        torch.testing.assert_close(gradients(out, given), gradients(expected, given))
    again, (edges, got) = attend(*given, edge_index, return_attention_weights=True)
    torch.testing.assert_close(again, expected)
    # In the caller's order.
    torch.testing.assert_close(got, weights)
    assert torch.equal(edges, edge_index)
    torch.testing.assert_close(
        attend(*given, Graph.from_edge_index(edge_index, (num_src, num_dst))), expected
    )


@pytest.mark.parametrize("columns", [(), (1,), (HEADS,)], ids=["edge", "one", "head"])
def test_masks_and_biases_are_of_the_callers_edges(columns):
    attend, given = Attend(CHANNELS, HEADS), inputs()
    bias = torch.randn(EDGE_INDEX.size(1), *columns).double()
    mask = torch.rand(EDGE_INDEX.size(1), *columns) > 0.4
    # A target all of whose edges are masked.
    mask[EDGE_INDEX[1] == 0] = False
    rows = (bias.view(len(bias), -1), mask.view(len(mask), -1))
    scores = (scaled_dot(*given[:2], EDGE_INDEX) + rows[0]).masked_fill(~rows[1], -torch.inf)
    expected, weights = by_edges(scores, given[2], EDGE_INDEX, NUM_DST)
    call = {"mask": mask, "score_bias": bias}
    out, (_, got) = attend(*given, EDGE_INDEX, **call, return_attention_weights=True)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(got, weights)
    assert (out[0] == 0).all()
    torch.testing.assert_close(attend(*given, EDGE_INDEX, **call), expected)


@pytest.mark.parametrize("normalizer", sorted(set(NORMALIZERS.names()) - {"gumbel"}))
@pytest.mark.parametrize("score", SCORES.names())
def test_a_batch_is_each_alone(score, normalizer):
    graph = topology.bipartite([3, 1, 4], [2, 3, 1])
    attend = Attend(CHANNELS, HEADS, score, normalizer).double().eval()
    given = inputs(graph.num_src, graph.num_dst, batch=(3,))
    out, (_, weights) = attend(*given, graph, return_attention_weights=True)
    each = [attend(*one, graph, return_attention_weights=True) for one in zip(*given, strict=True)]
    torch.testing.assert_close(out, torch.stack([one for one, _ in each]))
    torch.testing.assert_close(weights, torch.stack([one for _, (_, one) in each]))
    torch.testing.assert_close(attend(*given, graph), out)


@pytest.mark.parametrize("score", SCORES.names())
def test_attend_has_the_gradients_of_its_output(score):
    graph = topology.bipartite([2, 0, 1], [1, 1, 2])
    attend = Attend(CHANNELS, HEADS, score).double()
    given = inputs(graph.num_src, graph.num_dst)
    assert torch.autograd.gradcheck(lambda *given: attend(*given, graph), given)
    assert torch.autograd.gradgradcheck(lambda *given: attend(*given, graph), given)


def test_the_weights_returned_are_those_used():
    attend, given = Attend(CHANNELS, HEADS, dropout=0.5), inputs()
    out, (_, weights) = attend(*given, EDGE_INDEX, return_attention_weights=True)
    expected = torch.zeros_like(out)
    for edge, (source, target) in enumerate(EDGE_INDEX.t().tolist()):
        expected[target] += weights[edge].unsqueeze(1) * given[2][source]
    torch.testing.assert_close(out, expected)
    assert (weights == 0).any()
    torch.testing.assert_close(attend.eval()(*given, EDGE_INDEX), attend(*given, EDGE_INDEX))


@pytest.mark.parametrize("batch", [(), (2,)], ids=["one", "batch"])
def test_attend_with_a_hook_inside_message_passing_gives_the_same(batch):
    attend, given, seen = Attend(CHANNELS, HEADS, "mlp").double(), inputs(batch=batch), []
    expected = attend(*given, EDGE_INDEX)
    attend.register_message_forward_hook(lambda *call: seen.append(1))
    torch.testing.assert_close(attend(*given, EDGE_INDEX), expected)
    assert seen == [1]


def test_attend_takes_another_aggregation():
    attend, given = Attend(CHANNELS, HEADS, aggr="max"), inputs()
    _, (_, weights) = Attend(CHANNELS, HEADS)(*given, EDGE_INDEX, return_attention_weights=True)
    messages = weights.unsqueeze(2) * given[2][EDGE_INDEX[0]]
    expected = torch.stack([messages[EDGE_INDEX[1] == i].amax(0) for i in range(NUM_DST)])
    torch.testing.assert_close(attend(*given, EDGE_INDEX), expected)


def test_attend_is_copied_and_pickled_and_has_no_parameters_but_its_parts():
    attend, given = Attend(CHANNELS, HEADS, "mlp", "entmax").double(), inputs()
    expected = attend(*given, EDGE_INDEX)
    assert set(attend.state_dict()) == {"score.v", "normalizer.raw"}
    assert not Attend(CHANNELS, HEADS).state_dict()
    for again in (copy.deepcopy(attend), pickle.loads(pickle.dumps(attend))):
        assert torch.equal(again(*given, EDGE_INDEX), expected)
    again = Attend(CHANNELS, HEADS, "mlp", "entmax").double()
    again.load_state_dict(attend.state_dict())
    assert torch.equal(again(*given, EDGE_INDEX), expected)


def of_shapes(query=(4, 2, 3), key=(5, 2, 3), value=(5, 2, 7), **call):
    given = (torch.randn(*shape) for shape in (query, key, value))
    return Attend(3, 2)(*given, topology.bipartite(5, 4), **call)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"query": (4, 6)}, r"query has shape \[4, 6\]; expected \[nodes, 2, 3\], or with a batch"),
        ({"key": (5, 2, 4)}, r"key has shape \[5, 2, 4\]; expected \[nodes, 2, 3\]"),
        ({"value": (5, 1, 3)}, r"value has shape \[5, 1, 3\]; expected \[nodes, 2, channels\]"),
        ({"query": (1, 4, 2, 3)}, r"key has shape \[5, 2, 3\]; expected \[1, nodes, 2, 3\]"),
        ({"query": (0, 4, 2, 3)}, r"query has shape \[0, 4, 2, 3\], a batch of none; expected at"),
        ({"query": (3, 2, 3)}, "the graph has 4 target nodes, but the features have 3 rows"),
        ({"value": (4, 2, 7)}, r"value has shape \[4, 2, 7\]; expected \[5, 2, 7\]"),
        ({"previous": torch.ones(5, 2)}, "Softmax weighs each step by itself; leave out previous"),
    ],
    ids=["query", "channels", "heads", "batch", "none", "targets", "sources", "previous"],
)
def test_what_does_not_fit_is_refused_in_words(call, message):
    with pytest.raises(InputError, match=message):
        of_shapes(**call)
