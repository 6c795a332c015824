"""Factors on the weights of `Attend`, after they are normalised."""

import pytest
import torch

from gat import record_attention
from gat.errors import ArgumentTypeError, InputError
from gat.graph import Graph
from gat.nn import Attend
from gat.ops import aggregate
from tests.graphs import GRAPHS

HEADS = 2


def inputs(num_src, num_dst, batch=()):
    shapes = (num_dst, HEADS, 3), (num_src, HEADS, 3), (num_src, HEADS, 5)
    return [torch.randn(*batch, *shape).double() for shape in shapes]


@pytest.mark.parametrize("columns", [(), (1,), (HEADS,)], ids=["edge", "one", "head"])
def test_weights_are_multiplied_and_not_normalised_again(columns):
    edge_index, num_src, num_dst = GRAPHS["bipartite_wide"]
    attend, given = Attend(3, HEADS, score="mlp").double(), inputs(num_src, num_dst)
    factor = torch.rand(edge_index.size(1), *columns).double()
    _, (_, plain) = attend(*given, edge_index, return_attention_weights=True)
    out, (_, weights) = attend(
        *given, edge_index, weight_factor=factor, return_attention_weights=True
    )
    expected = plain * factor.view(edge_index.size(1), -1)
    torch.testing.assert_close(weights, expected)
    graph = Graph.from_edge_index(edge_index, (num_src, num_dst))
    torch.testing.assert_close(out, aggregate(graph, expected, given[2]))
    torch.testing.assert_close(out, attend(*given, edge_index, weight_factor=factor))


def test_a_graph_with_loops_leaves_those_that_were_added_as_they_are():
    edge_index, num, _ = GRAPHS["loops_and_duplicates"]
    graph = Graph.from_edge_index(edge_index, num).with_self_loops()
    attend, given = Attend(3, HEADS).double(), inputs(num, num)
    factor = torch.rand(edge_index.size(1)).double()
    _, (_, plain) = attend(*given, graph, return_attention_weights=True)
    _, (_, weights) = attend(*given, graph, weight_factor=factor, return_attention_weights=True)
    times = torch.where(graph.origin < 0, 1.0, factor[graph.origin]).unsqueeze(1)
    torch.testing.assert_close(weights, plain * times)


def test_a_batch_shares_the_factor():
    edge_index, num, _ = GRAPHS["random"]
    attend, given = Attend(3, HEADS).double(), inputs(num, num, batch=(3,))
    factor = torch.rand(edge_index.size(1), HEADS).double()
    out = attend(*given, edge_index, weight_factor=factor)
    for k in range(3):
        one = attend(*(tensor[k] for tensor in given), edge_index, weight_factor=factor)
        torch.testing.assert_close(out[k], one)


def test_dropout_follows_the_factor_and_gradients_reach_it():
    edge_index, num, _ = GRAPHS["random"]
    attend, given = Attend(3, HEADS, dropout=0.5).double(), inputs(num, num)
    factor = torch.rand(edge_index.size(1)).double().requires_grad_()
    _, (_, plain) = attend.eval()(
        *given, edge_index, weight_factor=factor, return_attention_weights=True
    )
    out, (_, dropped) = attend.train()(
        *given, edge_index, weight_factor=factor, return_attention_weights=True
    )
    kept = dropped != 0
    assert kept.any()
    assert not kept.all()
    torch.testing.assert_close(dropped[kept], 2 * plain[kept])
    out.sum().backward()
    assert (factor.grad[kept.any(1)] != 0).all()
    attend.eval()
    given = [tensor.requires_grad_() for tensor in given]
    assert torch.autograd.gradcheck(
        lambda factor, *given: attend(*given, edge_index, weight_factor=factor),
        (factor, *given),
        fast_mode=True,
    )


def test_records_have_the_weights_that_were_used():
    edge_index, num, _ = GRAPHS["random"]
    attend, given = Attend(3, HEADS).double(), inputs(num, num)
    factor = torch.rand(edge_index.size(1)).double()
    with record_attention(attend) as attention:
        _, (_, weights) = attend(
            *given, edge_index, weight_factor=factor, return_attention_weights=True
        )
    (record,) = attention.values()
    torch.testing.assert_close(record.weights, weights)


@pytest.mark.parametrize(
    ("factor", "error", "message"),
    [
        (torch.rand(3), InputError, r"weight_factor has shape \[3\]; expected one row per edge"),
        (torch.ones(211, dtype=torch.int64), ArgumentTypeError, "weight_factor is a tensor of"),
        (2.0, ArgumentTypeError, "weight_factor is 2.0; expected a floating tensor"),
    ],
    ids=["shape", "dtype", "number"],
)
def test_what_is_no_factor_is_refused_in_words(factor, error, message):
    edge_index, num, _ = GRAPHS["random"]
    with pytest.raises(error, match=message):
        Attend(3, HEADS).double()(*inputs(num, num), edge_index, weight_factor=factor)
