"""Each measure against its definition in loops, and what it does where nothing can be said."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import spearmanr

from gat.errors import ArgumentTypeError, InputError
from gat.inspection import Attention
from gat.inspection.measures import (
    change_over_epochs,
    class_weight,
    degree_weight,
    entropy,
    head_agreement,
    measure,
    self_weight,
    shares_of,
)
from tests.graphs import GRAPHS
from tests.inspection.measure_records import (
    CASES,
    IDS,
    by_definition,
    distribution,
    entropy_of,
    mean,
    random_record,
    record_of,
    seats,
)

on_any_graph = pytest.mark.parametrize(("name", "adds_loops"), CASES, ids=IDS)
LOG2 = math.log(2)


def close(actual, expected, tolerance=1e-12):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    actual = torch.as_tensor(actual, dtype=torch.float64)
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance, equal_nan=True)


def two_heads(first, second, target=None):
    """One target, or those named, whose edges have these weights at two heads."""
    target = [0] * len(first) if target is None else target
    weights = torch.tensor([first, second], dtype=torch.float64).t()
    edges = [list(range(1, len(first) + 1)), target]
    return record_of(edges, weights, 1 + len(first))


# What a distribution is


@on_any_graph
def test_shares_count_the_edges_each_target_attends_over(name, adds_loops):
    shares = shares_of(random_record(name, adds_loops=adds_loops))
    nodes = range(shares.record.num_dst)
    attended = [seats(shares.record, node) for node in nodes]
    assert shares.degree.tolist() == [len(edges) for edges in attended]
    assert shares.own.tolist() == [sum(own for _, _, own in edges) for edges in attended]
    sums = shares.loops.index_add(0, shares.record.target, shares.edges)
    close(sums[shares.degree > 0], torch.ones_like(sums[shares.degree > 0]))
    assert sums[shares.degree == 0].isnan().all()


def test_weights_that_do_not_sum_to_one_are_divided_by_their_sum():
    edges = [[1, 2, 3], [0, 0, 0]]
    sigmoid = record_of(edges, [[0.9], [0.9], [0.6]], 4)
    same = record_of(edges, [[0.375], [0.375], [0.25]], 4)
    close(entropy(sigmoid).entropy, entropy(same).entropy)
    found = measure(sigmoid)["conv1"]
    close(found.mean_sum, [2.4])
    close(found.sum_error, [1.4])


def test_a_target_whose_weights_were_all_dropped_has_no_distribution_at_that_head():
    weights = [[0.0, 1.0], [0.0, 1.0], [1.5, 0.5], [0.5, 0.5]]
    record = record_of([[1, 2, 0, 2], [0, 0, 1, 1]], weights, 3, when="after_dropout")
    spread = entropy(record)
    assert spread.entropy[0, 0].isnan()
    close(spread.entropy[0, 1], LOG2)
    found = measure(record)["conv1"]
    close(found.entropy, [entropy_of([0.75, 0.25]), LOG2])
    assert found.when == "after_dropout"


def test_an_added_loop_that_dropout_made_zero_is_still_an_edge():
    loops = [[0.0], [0.5], [1.0]]
    record = record_of([[1, 0], [0, 1]], [[1.0], [0.5]], 3, loops=loops)
    assert shares_of(record).degree.tolist() == [2, 2, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_measures_are_worked_out_in_float64(dtype):
    record = random_record("random", dtype=dtype)
    wide = random_record("random")
    found, expected = measure(record)["conv1"], measure(wide)["conv1"]
    assert found.entropy.dtype == torch.float64
    close(found.entropy, expected.entropy, tolerance=torch.finfo(dtype).eps)


@pytest.mark.parametrize("function", [entropy, self_weight, degree_weight, head_agreement, measure])
def test_negative_weights_are_refused(function):
    record = record_of([[1, 2], [0, 0]], [[0.5, 1.0], [0.5, -0.25]], 3)
    with pytest.raises(InputError) as error:
        function(record)
    assert str(error.value) == (
        "conv1 (GATConv) has negative weights, such as -0.25 for edge 1 at head 1; expected shares "
        "of attention, which are 0 or more. Measure the other layers: pass a list of records "
        "without this one"
    )


def test_negative_loops_are_refused_by_their_node():
    record = record_of([[1], [0]], [[0.5]], 2, loops=[[0.5], [-1.0]])
    with pytest.raises(InputError, match="such as -1 for the loop of node 1 at head 0"):
        measure(record)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused(value):
    record = record_of([[1, 2], [0, 0]], [[0.5], [value]], 3)
    with pytest.raises(InputError, match=f"attention weight of {value}; expected finite"):
        entropy(record)


# Entropy


@on_any_graph
def test_entropy_is_that_of_each_target(name, adds_loops):
    record = random_record(name, adds_loops=adds_loops)
    spread = entropy(record)
    assert spread.entropy.shape == (record.num_dst, record.num_heads)
    for node in range(record.num_dst):
        degree = len(seats(record, node))
        even = math.log(degree) if degree else math.nan
        close(spread.uniform[node], even)
        for head in range(record.num_heads):
            shares = distribution(record, node, head)
            expected = math.nan if shares is None else entropy_of(shares)
            close(spread.entropy[node, head], expected)
            close(spread.gap[node, head], even - expected)
            close(spread.effective_neighbours[node, head], math.exp(expected), 1e-10)
            close(spread.normalised[node, head], expected / even if degree > 1 else math.nan)


@on_any_graph
def test_entropy_by_degree_class(name, adds_loops):
    record = random_record(name, adds_loops=adds_loops)
    nodes = {}
    for node in range(record.num_dst):
        degree = len(seats(record, node))
        if degree:
            nodes.setdefault(degree.bit_length(), []).append(node)
    found = entropy(record).by_degree
    assert [(one.low, one.high, one.nodes) for one in found] == [
        (2 ** (bits - 1), 2**bits - 1, len(nodes[bits])) for bits in sorted(nodes)
    ]
    for one, bits in zip(found, sorted(nodes), strict=True):
        close(one.uniform, mean([math.log(len(seats(record, node))) for node in nodes[bits]]))
        for head in range(record.num_heads):
            values = [entropy_of(distribution(record, node, head)) for node in nodes[bits]]
            close(one.entropy[head], mean(values))
            close(one.effective[head], mean(map(math.exp, values)), 1e-10)


def close_float(value, expected):
    assert value == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=12).filter(any))
@settings(max_examples=50, deadline=None)
def test_entropy_lies_between_none_and_an_even_spread(weights):
    record = record_of([range(1, len(weights) + 1), [0] * len(weights)], weights, 1 + len(weights))
    spread = entropy(record)
    assert 0 <= spread.entropy[0, 0] <= math.log(len(weights)) + 1e-12
    close(spread.entropy[0, 0], entropy_of(distribution(record, 0, 0)))


def test_even_weights_have_the_entropy_of_an_even_spread():
    edge_index, count, _ = GRAPHS["hub"]
    spread = entropy(record_of(edge_index, torch.full((97, 2), 1 / 97), count))
    close(spread.effective_neighbours[0], [97, 97], 1e-4)
    close(spread.normalised[0], [1, 1], 1e-6)


def test_targets_not_seen_have_no_entropy_and_are_counted():
    seen = torch.tensor([True, False, True, True])
    complete = torch.tensor([True, False, False, True])
    record = record_of(
        [[1, 2, 0, 1], [0, 0, 2, 3]],
        [[0.5], [0.5], [0.9], [1.0]],
        4,
        loops=[[0.0], [0.0], [0.1], [0.0]],
        seen=seen,
        complete=complete,
        edge_id=torch.tensor([4, 2, 7, 9]),
    )
    assert entropy(record).entropy[1].isnan().all()
    nodes = measure(record)["conv1"].nodes
    assert (nodes.all, nodes.choosing, nodes.one_edge) == (4, 3, 0)
    assert (nodes.no_edge, nodes.not_seen, nodes.sampled) == (0, 1, 1)


# Self


@on_any_graph
def test_self_weight_beside_that_of_an_even_spread(name, adds_loops):
    record = random_record(name, adds_loops=adds_loops)

    def own(node, head):
        edges = zip(seats(record, node), distribution(record, node, head), strict=True)
        return sum(share for (_, _, is_own), share in edges if is_own)

    def even(node, _):
        return mean([float(is_own) for _, _, is_own in seats(record, node)])

    found = self_weight(record)
    close(found.mean, by_definition(record, own))
    close(found.mean_uniform, by_definition(record, even))
    for node in range(record.num_dst):
        has = bool(seats(record, node))
        close(found.weight[node, 0], own(node, 0) if has else math.nan)
        close(found.uniform[node], even(node, 0))


def test_self_weight_follows_the_flow_of_messages():
    edges = [[0, 0, 1], [1, 0, 1]]
    record = record_of(edges, [[0.75], [0.25], [1.0]], 2, flow="target_to_source")
    close(self_weight(record).weight, [[0.25], [1.0]])


# Classes


def same_class_shares(record, sources, targets, node, head):
    """(weight on neighbours of the node's class, their share, how many neighbours), or None."""
    known = [
        (sources[source] == targets[node], weights[head])
        for source, weights, own in seats(record, node)
        if not own and sources[source] >= 0 and targets[node] >= 0
    ]
    total = sum(weight for _, weight in known)
    if not known or total == 0:
        return None
    alike = sum(same for same, _ in known)
    return sum(w for same, w in known if same) / total, alike / len(known), len(known)


@on_any_graph
@pytest.mark.parametrize("unknown", [False, True], ids=["all-labelled", "some-unlabelled"])
def test_class_weight_beside_the_share_of_such_neighbours(name, adds_loops, unknown):
    record = random_record(name, adds_loops=adds_loops)
    low = -1 if unknown else 0
    sources, targets = (torch.randint(low, 3, (n,)) for n in (record.num_src, record.num_dst))
    targets = sources if record.same_nodes else targets
    found = class_weight(record, sources if record.same_nodes else (sources, targets))
    lists = sources.tolist(), targets.tolist()
    for head in range(record.num_heads):
        triples = [same_class_shares(record, *lists, n, head) for n in range(record.num_dst)]
        close(found.weight[:, head], [math.nan if t is None else t[0] for t in triples])
        triples = [triple for triple in triples if triple and triple[2] >= 2]
        check_means(found.all, triples, head)
        check_means(found.mixed, [triple for triple in triples if 0 < triple[1] < 1], head)


def check_means(found, triples, head):
    differences = [weight - share for weight, share, _ in triples]
    count = len(triples)
    error = np.std(differences, ddof=1) / math.sqrt(count) if count > 1 else math.nan
    assert int(found.nodes[head]) == count
    close(found.weight[head], mean([weight for weight, _, _ in triples]))
    close(found.share[head], mean([share for _, share, _ in triples]))
    close(found.difference[head], mean(differences))
    close(found.standard_error[head], error)


def test_even_weights_seek_no_class():
    edge_index, count, _ = GRAPHS["random"]
    record = record_of(edge_index, torch.ones(edge_index.size(1), 2), count)
    found = class_weight(record, torch.randint(3, (count,)))
    close(found.all.difference, [0, 0])
    close(found.mixed.difference, [0, 0])


REFUSED = {
    "float": (
        torch.zeros(3),
        ArgumentTypeError,
        "are torch.float32; expected a tensor of integers",
    ),
    "short": (
        torch.zeros(2, dtype=torch.int64),
        InputError,
        r"have shape \[2\]; expected one class per node, \[3\]",
    ),
    "several-classes": (
        torch.zeros(3, 2, dtype=torch.int64),
        InputError,
        r"have shape \[3, 2\]; expected one class per node",
    ),
    "by-node-type": ({"paper": torch.zeros(3)}, InputError, "conv1 has no edge type; pass one"),
    "text": ("classes", ArgumentTypeError, "y is a str; expected a tensor of classes, a pair"),
}


@pytest.mark.parametrize(("y", "kind", "words"), REFUSED.values(), ids=REFUSED)
def test_labels_that_do_not_fit_are_refused(y, kind, words):
    with pytest.raises(kind, match=words):
        measure(random_record("loops_and_duplicates"), y)


def test_one_tensor_of_labels_is_refused_for_a_bipartite_graph():
    with pytest.raises(InputError, match=r"pass two, \(classes of sources, classes of targets\)"):
        class_weight(random_record("bipartite_wide"), torch.zeros(11, dtype=torch.int64))


def test_labels_by_node_type_serve_the_edge_types_that_have_both():
    kinds = [("author", "writes", "paper"), ("paper", "cites", "paper")]
    records = [
        random_record("bipartite_tall", edge_type=kinds[0]),
        random_record("random", edge_type=kinds[1]),
    ]
    y = {"paper": torch.randint(2, (31,))}
    found = measure(Attention(records), y)
    assert list(found) == ["conv1 author-writes-paper", "conv1 paper-cites-paper"]
    assert found["conv1 author-writes-paper"].same_class is None
    close(
        found["conv1 paper-cites-paper"].same_class.weight,
        class_weight(records[1], y["paper"]).all.weight,
    )
    with pytest.raises(InputError, match=r"no classes for both ends of \('author', 'writes'"):
        class_weight(records[0], y)


# Degree


@on_any_graph
def test_degree_correlation_is_spearmans(name, adds_loops):
    record = random_record(name, adds_loops=adds_loops)
    found = degree_weight(record)
    pairs = list(zip(record.source.tolist(), record.target.tolist(), strict=True))
    between = [not (record.same_nodes and s == t) for s, t in pairs]
    leaving = [sum(b for b, (s, _) in zip(between, pairs, strict=True) if s == n) for n in
               range(record.num_src)]  # fmt: skip
    entering = [len(seats(record, node)) for node in range(record.num_dst)]
    rows = [e for e, (_, t) in enumerate(pairs) if between[e] and entering[t] >= 2]
    assert found.edge.tolist() == rows
    assert found.source_degree.tolist() == [leaving[pairs[e][0]] for e in rows]
    assert found.target_degree.tolist() == [entering[pairs[e][1]] for e in rows]
    relative = record.weights[rows] * torch.tensor([entering[pairs[e][1]] for e in rows])[:, None]
    close(found.relative, relative.reshape(len(rows), record.num_heads))
    for head in range(record.num_heads):
        degrees = found.source_degree.tolist()
        varies = len(set(degrees)) > 1
        expected = spearmanr(relative[:, head], degrees)[0] if varies else math.nan
        close(found.correlation[head], expected)


def test_rounding_of_an_even_spread_is_no_correlation():
    edge_index, count, _ = GRAPHS["random"]
    noise = 1 + 1e-7 * torch.randn(edge_index.size(1), 2)
    record = record_of(edge_index, noise, count, dtype=torch.float32)
    assert degree_weight(record).correlation.isnan().all()


# Agreement


@on_any_graph
def test_divergence_of_heads_is_scipys(name, adds_loops):
    record = random_record(name, adds_loops=adds_loops)
    found = head_agreement(record)
    for one in range(record.num_heads):
        for other in range(record.num_heads):
            values = [
                jensenshannon(distribution(record, n, one), distribution(record, n, other)) ** 2
                for n in range(record.num_dst)
                if len(seats(record, n)) >= 2
            ]
            close(found.divergence[one, other], mean(values), 1e-9)
    others = found.divergence + torch.diag(torch.full((record.num_heads,), torch.inf))
    close(found.nearest, others.min(1).values)
    if not found.divergence.isnan().any():
        assert list(found.nearest_head) == others.argmin(1).tolist()


def test_divergence_in_blocks_is_the_same(monkeypatch):
    record = random_record("random", adds_loops=True)
    whole = head_agreement(record).divergence
    monkeypatch.setattr("gat.inspection.measures.heads.BLOCK", 7)
    close(head_agreement(record).divergence, whole)


def test_heads_without_an_edge_in_common_are_as_far_apart_as_can_be():
    found = head_agreement(two_heads([1, 0, 0], [0, 0.5, 0.5]))
    close(found.divergence, [[0, LOG2], [LOG2, 0]])
    close_float(found.effective_heads, 2)


def test_equal_heads_are_one():
    record = random_record("random", heads=1)
    record = record_of(record.edge_index, record.weights.expand(-1, 4), 31, heads=(0, 2, 5, 7))
    found = head_agreement(record)
    close(found.divergence, torch.zeros(4, 4))
    close_float(found.effective_heads, 1)
    assert found.nearest_head[0] in (2, 5, 7)


def test_two_equal_heads_and_a_third_are_fewer_than_three_and_more_than_one():
    weights = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    found = head_agreement(record_of([[1, 2], [0, 0]], weights, 3))
    assert found.nearest_head == (1, 0, 0)
    # Eigenvalues 2/3 and 1/3.
    close_float(found.effective_heads, math.exp(entropy_of([2 / 3, 1 / 3])))


def test_one_head_has_no_other():
    found = head_agreement(random_record("random", heads=1))
    close(found.divergence, [[0]])
    assert found.nearest.isnan().all()
    assert found.nearest_head == (None,)
    close_float(found.effective_heads, 1)


def test_a_head_without_distributions_agrees_with_none():
    found = head_agreement(two_heads([0.5, 0.5], [0, 0]))
    close(found.divergence, [[0, math.nan], [math.nan, math.nan]])
    assert found.nearest_head == (None, None)
    assert math.isnan(found.effective_heads)


@given(st.integers(0, 10_000), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_effective_heads_lie_between_one_and_all(seed, heads):
    found = head_agreement(random_record("sixty_three_edges", heads=heads, seed=seed))
    assert 1 - 1e-9 <= found.effective_heads <= heads + 1e-9
    similarity = 1 - found.divergence / LOG2
    assert torch.linalg.eigvalsh(similarity).min() >= -1e-9


# Epochs


def test_change_over_epochs_compares_each_with_the_next_and_the_last():
    records = {10: random_record("random", seed=1), 0: random_record("random", seed=0)}
    records[5] = random_record("random", seed=2)
    found = change_over_epochs(records)
    assert found.epochs == (0, 5, 10)

    def between(one, other, head):
        return mean(
            jensenshannon(
                distribution(records[one], n, head), distribution(records[other], n, head)
            )
            ** 2
            for n in range(31)
            if len(seats(records[one], n)) >= 2
        )

    for head in range(3):
        close(found.successive[:, head], [between(0, 5, head), between(5, 10, head)])
        close(found.to_last[:, head], [between(0, 10, head), between(5, 10, head), 0])
    expected = [measure(records[epoch])["conv1"].entropy for epoch in (0, 5, 10)]
    close(found.series("entropy"), torch.stack(expected))
    assert json.loads(json.dumps(found.to_dict()))["epochs"] == [0, 5, 10]


def test_one_epoch_has_no_next():
    found = change_over_epochs({3: random_record("random")}, torch.zeros(31, dtype=torch.int64))
    assert found.successive.shape == (0, 3)
    close(found.to_last, torch.zeros(1, 3))
    close(found.measures[0].same_class.weight, [1, 1, 1])


DIFFERENT = {
    "edges": (random_record("sixty_three_edges"), "epoch 1 has nodes .13, 13., that of epoch 0"),
    "heads": (random_record("random", heads=2), "heads .0, 1., that of epoch 0 .0, 1, 2."),
    "layer": (random_record("random", layer="conv2"), "layer conv2, that of epoch 0 conv1"),
    "order": (
        record_of(GRAPHS["random"][0].flip(1), torch.ones(211, 3), 31),
        "edges 211 other edges, that of epoch 0 211 edges; expected one layer over the same edges",
    ),
}


@pytest.mark.parametrize(("record", "words"), DIFFERENT.values(), ids=DIFFERENT)
def test_records_that_cannot_be_compared_are_refused(record, words):
    with pytest.raises(InputError, match=words):
        change_over_epochs({0: random_record("random"), 1: record})


def test_no_epochs_and_unknown_series_are_refused():
    with pytest.raises(InputError, match="expected a mapping from epoch to AttentionRecord"):
        change_over_epochs({})
    change = change_over_epochs({0: random_record("random")})
    with pytest.raises(InputError, match="no measure 'layer' with a number per head; there are "):
        change.series("layer")


# All of it


@on_any_graph
def test_measure_has_the_means_over_targets_that_choose(name, adds_loops):
    record = random_record(name, adds_loops=adds_loops)
    found = measure(record)["conv1"]

    def of(function):
        return by_definition(record, lambda n, h: function(distribution(record, n, h)))

    close(found.degree, of(len))
    close(found.entropy, of(entropy_of))
    close(found.uniform_entropy, of(lambda p: math.log(len(p))))
    close(found.normalised_entropy, of(lambda p: entropy_of(p) / math.log(len(p))))
    close(found.effective_neighbours, of(lambda p: math.exp(entropy_of(p))), 1e-10)
    close(found.effective_share, of(lambda p: math.exp(entropy_of(p)) / len(p)))
    degrees = [len(seats(record, node)) for node in range(record.num_dst)]
    assert found.nodes.choosing == sum(degree >= 2 for degree in degrees)
    assert found.nodes.one_edge == degrees.count(1)
    assert found.nodes.no_edge == degrees.count(0)
    assert found.same_class is None


@on_any_graph
def test_measures_are_json(name, adds_loops):
    record = random_record(name, adds_loops=adds_loops)
    y = [torch.randint(3, (n,)) for n in (record.num_src, record.num_dst)]
    found = measure(record, y)
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    (layer,) = written["layers"]
    assert layer == json.loads(json.dumps(found["conv1"].to_dict()))
    assert layer["heads"] == [0, 1, 2]
    finite = [None if math.isnan(value) else value for value in found["conv1"].entropy.tolist()]
    assert layer["entropy"] == finite


def test_measure_takes_one_record_a_list_and_an_attention():
    records = [random_record("random", layer=layer) for layer in ("conv1", "conv2")]
    expected = measure(records).to_dict()
    assert measure(Attention(records)).to_dict() == expected
    assert measure(records[0]).to_dict()["layers"] == expected["layers"][:1]
    with pytest.raises(KeyError, match="no measures of 'conv3'; measured: 'conv1', 'conv2'"):
        measure(records)["conv3"]
    with pytest.raises(InputError, match="several records are called 'conv1'"):
        measure([records[0], records[0]])


def test_a_record_of_some_heads_is_measured_like_the_whole():
    record = random_record("random", heads=4)
    found, whole = measure(record.head(2))["conv1"], measure(record)["conv1"]
    assert found.heads == (2,)
    close(found.entropy, whole.entropy[2:3])


def test_weights_with_gradients_are_measured_without():
    record = random_record("random")
    record.weights.requires_grad_()
    found = measure(record)["conv1"]
    assert not found.entropy.requires_grad
    assert not entropy(record).entropy.requires_grad
