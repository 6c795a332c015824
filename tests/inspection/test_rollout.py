"""Rollout against its definition: the sum over all paths, listed one by one."""

import math
from dataclasses import replace

import pytest
import torch

from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.inspection import Attention
from gat.inspection.attribution import gatt, rollout, rollout_edges
from tests.graphs import GRAPHS, SQUARE
from tests.inspection.attribution_records import (
    BOTH_FLOWS,
    SMALL,
    add_score,
    attentive,
    by_link,
    links,
    records,
    routes,
)


def by_definition(layers, residual=0.0):
    """[N, N]: the paths from each node at the top to each input node."""
    count = layers[0].num_dst
    matrix = torch.zeros(count, count, dtype=torch.float64)
    listed = [links(layer, residual) for layer in layers]
    for node in range(count):
        for route in routes(listed, node):
            last = route[-1].source
            matrix[node, last] += math.prod(link.weight for link in route)
    return matrix


def edges_by_definition(layers, node, residual=0.0):
    scores = by_link(layers[0], len(layers))
    for route in routes([links(layer, residual) for layer in layers], node):
        product = math.prod(link.weight for link in route)
        for above, link in enumerate(route):
            add_score(scores, len(layers) - 1 - above, link, product)
    return scores


def matrix_of(record, reduce):
    dense = torch.zeros(record.num_dst, record.num_dst, dtype=torch.float64)
    dense.index_put_((record.target, record.source), reduce(record.weights), accumulate=True)
    return dense + reduce(record.loops).diag()


@pytest.mark.parametrize("loops", [True, False], ids=["loops", "no_loops"])
@pytest.mark.parametrize("count", [1, 2, 3], ids="{}_layers".format)
@pytest.mark.parametrize("name", SMALL)
def test_rollout_is_the_sum_over_all_paths(name, count, loops):
    layers = records(name, count, loops=loops)
    got = rollout(layers).matrix.to_dense()
    torch.testing.assert_close(got, by_definition(layers), rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["sixty_three_edges", "loops_and_duplicates", "one_edge"])
def test_rollout_against_the_flow(name):
    layers = records(name, flow="target_to_source")
    torch.testing.assert_close(rollout(layers).matrix.to_dense(), by_definition(layers))
    torch.testing.assert_close(
        rollout(layers).matrix.to_dense(), rollout(records(name)).matrix.to_dense()
    )


@pytest.mark.parametrize("residual", [0.5, 0.25, 1.0])
@pytest.mark.parametrize("name", ["path_both_ways", "loops_and_duplicates", "isolated_nodes"])
def test_rollout_with_a_residual(name, residual):
    layers = records(name, 3, loops=False)
    got = rollout(layers, residual=residual).matrix.to_dense()
    torch.testing.assert_close(got, by_definition(layers, residual), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("heads", "first", "second"),
    [
        ("mean", lambda w: w.mean(1), lambda w: w.mean(1)),
        ("max", lambda w: w.amax(1), lambda w: w.amax(1)),
        (2, lambda w: w[:, 2], lambda w: w[:, 2]),
        ([1, "max"], lambda w: w[:, 1], lambda w: w.amax(1)),
    ],
    ids=["mean", "max", "head", "each_its_own"],
)
def test_rollout_of_heads(heads, first, second):
    one, two = records("random", heads=3)
    expected = matrix_of(two, second) @ matrix_of(one, first)
    got = rollout([one, two], heads=heads).matrix.to_dense()
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-14)


def test_a_head_goes_by_its_number_in_the_layer():
    layers = [replace(one, heads=(4, 7)) for one in records("random")]
    expected = rollout(records("random"), heads=1).matrix.to_dense()
    torch.testing.assert_close(rollout(layers, heads=7).matrix.to_dense(), expected)


@pytest.mark.parametrize("residual", [0.0, 0.5])
@pytest.mark.parametrize("name", SQUARE)
def test_rows_of_a_softmax_with_loops_sum_to_one(name, residual):
    sums = rollout(records(name, 3), residual=residual).matrix.to_dense().sum(1)
    torch.testing.assert_close(sums, torch.ones_like(sums))


def test_a_node_without_edges_or_loop_passes_nothing_on():
    result = rollout(records("isolated_nodes", loops=False))
    assert result.of(5).nodes.tolist() == []
    assert result.matrix.to_dense().sum(1).tolist() == pytest.approx([1, 0, 0, 1, 0, 0, 0])


@pytest.mark.parametrize(
    "nodes",
    [[7, 0, 7], torch.tensor([7, 0, 7]), range(3, 9), {4}, 4, torch.tensor(4), []],
    ids=["list", "tensor", "range", "set", "int", "scalar", "none"],
)
def test_rollout_of_some_nodes_is_their_rows_of_all(nodes):
    layers = records("random")
    whole, some = rollout(layers).matrix.to_dense(), rollout(layers, nodes)
    torch.testing.assert_close(some.matrix.to_dense(), whole[some.targets])
    listed = [nodes] if isinstance(nodes, int) else torch.as_tensor(list_of(nodes)).tolist()
    assert some.targets.tolist() == listed


def list_of(nodes):
    return nodes.reshape(-1) if isinstance(nodes, torch.Tensor) else list(nodes)


def test_rollout_of_a_mask():
    mask = torch.zeros(31, dtype=torch.bool)
    mask[[3, 30]] = True
    assert rollout(records("random"), mask).targets.tolist() == [3, 30]
    assert rollout(records("one_edge"), torch.tensor([False, True])).targets.tolist() == [1]


def test_of_lists_the_input_nodes_by_their_scores():
    result = rollout(records("random"), [3, 17])
    scores = result.of(17)
    assert scores.node == 17
    assert scores.values.tolist() == sorted(scores.values.tolist(), reverse=True)
    dense = torch.zeros(31, dtype=torch.float64).index_put((scores.nodes,), scores.values)
    torch.testing.assert_close(dense, result.matrix.to_dense()[1])
    assert (scores.values > 0).all()
    assert repr(result).startswith("NodeAttribution(2 targets, 31 nodes")


def test_of_a_node_that_was_not_asked_for():
    with pytest.raises(InputError, match=r"node 4 is not among the 1 nodes of this attribution"):
        rollout(records("random"), 3).of(4)


@pytest.mark.parametrize("flow", BOTH_FLOWS)
@pytest.mark.parametrize("loops", [True, False], ids=["loops", "no_loops"])
@pytest.mark.parametrize("residual", [0.0, 0.5])
@pytest.mark.parametrize("name", SMALL)
def test_rollout_edges_are_the_paths_over_them(name, residual, loops, flow):
    layers = records(name, 3, loops=loops, flow=flow)
    for node in {0, layers[0].num_dst // 2, layers[0].num_dst - 1}:
        got = rollout_edges(layers, node, residual)
        edges, own = edges_by_definition(layers, node, residual)
        torch.testing.assert_close(got.by_layer, edges, rtol=0, atol=1e-14)
        torch.testing.assert_close(got.loops_by_layer, own, rtol=0, atol=1e-14)
        torch.testing.assert_close(got.edges, edges.sum(0))
        torch.testing.assert_close(got.loops, own.sum(0))


@pytest.mark.parametrize("loops", [True, False], ids=["loops", "no_loops"])
@pytest.mark.parametrize("name", SQUARE)
def test_each_layer_s_edges_and_loops_carry_the_row(name, loops):
    layers = records(name, 3, loops=loops)
    for node in range(min(5, layers[0].num_dst)):
        row = rollout(layers, node).of(node).values.sum()
        scores = rollout_edges(layers, node)
        carried = scores.by_layer.sum(1) + scores.loops_by_layer.sum(1)
        torch.testing.assert_close(carried, row.expand(3))


def test_what_the_residual_keeps_passes_no_edge():
    scores = rollout_edges(records("hub", 3), 0, residual=0.25)
    carried = scores.by_layer.sum(1) + scores.loops_by_layer.sum(1)
    torch.testing.assert_close(carried, torch.full((3,), 0.75, dtype=torch.float64))


@pytest.mark.parametrize("name", SQUARE)
def test_rollout_edges_are_gatt_where_all_weights_sum_to_one(name):
    layers = records(name, 3)
    for node in range(min(5, layers[0].num_dst)):
        ours, theirs = rollout_edges(layers, node), gatt(layers, node)
        torch.testing.assert_close(ours.by_layer, theirs.by_layer)
        torch.testing.assert_close(ours.loops_by_layer, theirs.loops_by_layer)


def test_rollout_edges_and_gatt_differ_where_a_path_ends_early():
    # 1 -> 0, and nothing enters 1: no path of two layers, yet the edge is in the tree.
    layers = records("one_edge", loops=False)
    assert rollout_edges(layers, 0).by_layer.tolist() == [[0.0], [0.0]]
    assert gatt(layers, 0).by_layer.tolist() == [[0.0], [1.0]]


def test_all_nodes_of_a_long_path_need_no_dense_matrix():
    # N x N float32 would be 160 GB.
    count = 200_000
    line = torch.stack([torch.arange(count - 1), torch.arange(1, count)])
    layers = [attentive(line, count, number, loops=False) for number in (1, 2)]
    result = rollout(layers)
    assert result.matrix._nnz() == count - 2
    assert result.of(count - 1).nodes.tolist() == [count - 3]


def test_results_are_of_the_weights_dtype_at_least_float32():
    for dtype, expected in [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.float16, torch.float32),
    ]:
        layers = [
            replace(one, weights=one.weights.to(dtype), loops=one.loops.to(dtype))
            for one in records("random")
        ]
        assert rollout(layers, 0).matrix.dtype == expected
        assert rollout_edges(layers, 0).edges.dtype == expected


def test_weights_that_want_gradients_give_plain_scores():
    layers = records("random")
    wanting = [replace(one, weights=one.weights.clone().requires_grad_()) for one in layers]
    assert not rollout(wanting, 0).matrix.requires_grad


def test_rollout_takes_an_attention_and_one_record():
    one, two = records("random")
    held = rollout(Attention([one, two])).matrix.to_dense()
    torch.testing.assert_close(held, rollout([one, two]).matrix.to_dense())
    torch.testing.assert_close(
        rollout(one).matrix.to_dense(), matrix_of(one, lambda weights: weights.mean(1))
    )


def test_rollout_of_a_graph_without_nodes():
    result = rollout(records("no_nodes"))
    assert result.matrix.shape == (0, 0)


def test_a_heterogeneous_layer_is_refused():
    one, two = records("random")
    kind = ("paper", "cites", "paper")
    with pytest.raises(InputError, match=r"conv2 paper-cites-paper attends over one edge type.*to"):
        rollout([one, replace(two, edge_type=kind)])


def test_a_bipartite_layer_is_refused():
    edge_index, num_src, num_dst = GRAPHS["bipartite_wide"]
    record = replace(
        attentive(edge_index, num_src, 1), num_dst=num_dst, loops=torch.zeros(num_dst, 2)
    )
    with pytest.raises(InputError, match=r"conv1 is bipartite, from 11 to 5 nodes"):
        rollout(record)


@pytest.mark.parametrize(
    "other",
    [
        lambda one: replace(one, edge_index=one.edge_index.flip(1)),
        lambda one: replace(one, edge_index=one.edge_index[:, 1:], weights=one.weights[1:]),
        lambda one: replace(one, flow="target_to_source"),
        lambda one: replace(one, edge_id=torch.arange(211)),
        lambda one: replace(one, num_src=40, num_dst=40, loops=torch.zeros(40, 2)),
    ],
    ids=["order", "fewer", "flow", "edge_id", "nodes"],
)
def test_layers_over_other_edges_are_refused(other):
    one, two = records("random")
    with pytest.raises(InputError, match=r"conv2 attends over other edges than conv1 \("):
        rollout([one, other(two)])


def test_equal_edges_in_another_tensor_are_the_same_edges():
    one, two = records("random")
    copied = replace(two, edge_index=two.edge_index.clone())
    torch.testing.assert_close(
        rollout([one, copied]).matrix.to_dense(), rollout([one, two]).matrix.to_dense()
    )


def test_a_node_sampled_in_the_neighbourhood_is_refused_by_name():
    # 3 <-> 2 <-> 1 <-> 0
    complete = torch.tensor([False, True, True, True])
    layers = [replace(one, complete=complete) for one in records("path_both_ways")]
    with pytest.raises(InputError, match=r"conv1 has not every edge into node 0 on record.*-1"):
        rollout(layers, 1)
    whole = rollout(records("path_both_ways"))
    torch.testing.assert_close(rollout(layers, 3).of(3).values, whole.of(3).values)


def test_a_node_left_out_of_the_record_is_refused_by_name():
    one, two = records("path_both_ways")
    seen = torch.tensor([True, True, True, False])
    with pytest.raises(InputError, match=r"conv2 has no edge into node 3 on record"):
        rollout_edges([one, replace(two, seen=seen)], 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"nodes": 31}, IndexRangeError, r"nodes is 31; expected a node in \[0, 31\)"),
        ({"nodes": [3, -1]}, IndexRangeError, r"nodes is -1"),
        ({"nodes": [0.5]}, ArgumentTypeError, r"nodes are torch.float32 \[1\]"),
        ({"nodes": torch.zeros(2, 2).long()}, ArgumentTypeError, r"torch.int64 \[2, 2\]"),
        ({"heads": 2}, IndexRangeError, r"conv1 has no record of head 2"),
        ({"heads": [0, 9]}, IndexRangeError, r"conv2 has no record of head 9"),
        ({"heads": [0]}, InputError, r"heads has 1 entries; expected one for each of 2 layers"),
        ({"heads": "sum"}, InputError, r"heads is 'sum'; expected 'mean', 'max' or a head's"),
        ({"heads": None}, InputError, r"heads is None; expected"),
        ({"residual": 1.5}, InputError, r"residual is 1.5; expected a share in \[0, 1\]"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_arguments_that_cannot_be_used(arguments, error, message):
    with pytest.raises(error, match=message):
        rollout(records("random"), **arguments)


def test_no_records():
    with pytest.raises(InputError, match=r"no attention records"):
        rollout([])
