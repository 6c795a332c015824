"""`IntervalGraph`: whatever its intervals, the same graph as `Graph.from_edge_index` makes."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gat.errors import InputError
from gat.graph import Graph, IntervalGraph
from gat.graph.intervals import consecutive, places, pointer, rows_of_blocks
from gat.ops import cpu, dot_attention
from tests.graph.same import ARRAYS, KERNELS, assert_same, assert_same_array, plain
from tests.ops.inputs import FAST, OPERATORS, inputs


@st.composite
def intervals(draw):
    """An IntervalGraph: neither bound of an interval falls, many have no source."""
    num_src, num_dst = draw(st.integers(0, 7)), draw(st.integers(0, 7))
    bound = st.integers(0, num_src)
    bounds = draw(st.lists(st.tuples(bound, bound), min_size=num_dst, max_size=num_dst))
    low, high = (sorted(side) for side in zip(*bounds, strict=True)) if bounds else ([], [])
    first = torch.tensor(low, dtype=torch.int64)
    last = torch.maximum(first, torch.tensor(high, dtype=torch.int64))
    return IntervalGraph(first, last - first, num_src)


@settings(deadline=None, max_examples=30)
@given(intervals())
def test_every_array_is_that_of_the_sorted_graph(graph):
    assert_same(graph, plain(graph))


@settings(deadline=None, max_examples=30)
@given(intervals(), st.permutations((*ARRAYS, *KERNELS, "transposed", "transpose")))
def test_in_whatever_order_it_is_asked(graph, order):
    again = plain(graph)
    for name in order:
        getattr(graph, name)
    assert_same(graph, again)


@settings(deadline=None, max_examples=30)
@given(intervals())
def test_self_loops_and_the_way_back_to_the_caller(graph):
    again = plain(graph)
    ours, theirs = graph.with_self_loops(), again.with_self_loops()
    assert graph.with_self_loops() is ours
    for name in ("rowptr", "col", "perm", "origin", "edge_index"):
        assert_same_array(getattr(ours, name), getattr(theirs, name), name)
    values = torch.arange(ours.num_edges * 2).view(-1, 2)
    assert torch.equal(ours.to_caller(values), theirs.to_caller(values))
    assert torch.equal(ours.added_loops(values), theirs.added_loops(values))
    values = torch.arange(graph.num_edges)
    for change in (graph.to_caller, graph.to_listed, graph.to_sorted):
        assert torch.equal(change(values), values)
    # As many rows as the graph with loops has, where those are others.
    if ours.num_edges != graph.num_edges:
        with pytest.raises(InputError, match="per-edge values have"):
            graph.to_caller(torch.zeros(ours.num_edges))


def test_edges_as_sources_are_the_sorted_graphs():
    graph = IntervalGraph(torch.tensor([0, 0, 2]), torch.tensor([2, 3, 2]), 4)
    ours, theirs = graph.edges_as_sources, plain(graph).edges_as_sources
    for name in ("rowptr", "col", "perm"):
        assert_same_array(getattr(ours, name), getattr(theirs, name), name)
    assert_same_array(ours.by_source.col, theirs.by_source.col, "by_source.col")


def test_indices_are_of_32_bits_and_nothing_is_made_before_it_is_asked():
    graph = IntervalGraph(torch.tensor([0, 0, 2]), torch.tensor([2, 3, 2]), 4)
    made = set(graph.__dict__)
    assert (graph.num_edges, graph.num_src, graph.num_dst) == (7, 4, 3)
    assert graph.device == torch.device("cpu")
    assert repr(graph) == "Graph(num_src=4, num_dst=3, num_edges=7, device='cpu')"
    assert set(graph.__dict__) == made
    assert graph.by_source.number.dtype is torch.int32
    assert graph.transposed.dtype is torch.int32
    assert not {"rowptr", "col", "row", "edge_index", "transpose"} & set(graph.__dict__)


@pytest.mark.skipif(not cpu.status().available, reason=str(cpu.status()))
def test_what_a_dot_product_trains_on_has_no_listed_numbers():
    graph = IntervalGraph(torch.tensor([0, 0, 1]), torch.tensor([2, 3, 2]), 3)
    x = torch.randn(3, 1, 2, requires_grad=True)
    dot_attention(graph, x, x, x, backend="cpu").sum().backward()
    # The graph is symmetric: one pair of arrays serves both ways.
    assert graph.ends_by_source is graph.by_target
    assert not {"by_source", "transposed"} & set(graph.__dict__)


@pytest.mark.parametrize("options", [{}, {"dropout": 0.5, "seed": 3}], ids=["plain", "dropout"])
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("backend", FAST)
def test_every_operator_computes_what_it_does_on_the_sorted_graph(backend, operator, options):
    edge_terms = ("score_edge", "edge", "edge_key", "edge_value")
    for first, count in (([0, 0, 1], [2, 3, 2]), ([0, 2, 2, 3], [2, 0, 2, 2])):
        graph = IntervalGraph(torch.tensor(first), torch.tensor(count), 5)
        for dropped in ((), edge_terms):
            t = inputs(operator, graph, 2, 3)
            t = {name: x.requires_grad_() for name, x in t.items() if name not in dropped}
            results = []
            for on in (graph, plain(graph)):
                out = OPERATORS[operator](on, **t, **options, backend=backend)
                results.append((out, torch.autograd.grad(out.square().sum(), list(t.values()))))
            torch.testing.assert_close(*results)


def test_moved_with_all_that_is_known_of_it():
    graph = IntervalGraph(torch.tensor([0, 0, 1]), torch.tensor([2, 3, 2]), 3)
    assert graph.to("cpu") is graph
    early = graph.to("meta")
    _ = graph.transpose, graph.transposed, graph.edge_index
    late = graph.to("meta")
    for there in (early, late):
        assert isinstance(there, IntervalGraph)
        assert there.device.type == "meta"
        assert there.num_edges == 7
        for name in ("rowptr", "col", "edge_index"):
            assert getattr(there, name).shape == getattr(graph, name).shape
            assert getattr(there, name).device.type == "meta"
    assert late.transpose.col is late.col
    assert late.by_source.col is late.by_target.col


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))]
)
def test_copies_and_pickles(again):
    graph = IntervalGraph(torch.tensor([0, 0, 1]), torch.tensor([2, 3, 2]), 3)
    assert_same(again(graph), plain(graph))
    _ = graph.transpose
    assert_same(again(graph), plain(graph))
    graph = Graph.from_edge_index(torch.tensor([[2, 0, 1], [1, 0, 1]]))
    _ = graph.by_source
    assert torch.equal(again(graph).by_source.number, graph.by_source.number)


def test_arrays_asked_for_in_inference_mode_serve_training():
    with torch.inference_mode():
        graph = IntervalGraph(torch.tensor([0, 0, 1]), torch.tensor([2, 3, 2]), 3)
        _ = graph.by_source, graph.transposed
    x = torch.randn(3, 1, 2, requires_grad=True)
    dot_attention(graph, x, x, x, return_weights=True)[0].sum().backward()
    assert x.grad.isfinite().all()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=6))
def test_consecutive_numbers_of_each_row(rows):
    first = torch.tensor([begin for begin, _ in rows], dtype=torch.int64)
    rowptr = pointer(torch.tensor([count for _, count in rows], dtype=torch.int64))
    by_hand = [begin + k for begin, count in rows for k in range(count)]
    found = consecutive(rowptr, first, len(by_hand))
    assert found.tolist() == by_hand
    assert rowptr.tolist() == [sum(count for _, count in rows[:k]) for k in range(len(rows) + 1)]


BLOCKS = st.lists(st.integers(0, 4), max_size=6)


@settings(deadline=None, max_examples=30)
@given(BLOCKS, st.data())
def test_rows_of_blocks_and_their_places(sizes, data):
    number = st.integers(0, len(sizes) - 1)
    chosen = data.draw(st.lists(number, max_size=6)) if sizes else []
    given, blocks = (torch.tensor(each, dtype=torch.int64) for each in (sizes, chosen))
    assert places(given).tolist() == [place for size in sizes for place in range(size)]
    rows = torch.arange(sum(sizes)).split(sizes)
    expected = [row for block in chosen for row in rows[block].tolist()]
    assert rows_of_blocks(given, blocks).tolist() == expected
