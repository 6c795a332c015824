"""`graph_of`: one sort per edge_index, never a stale one, never a leak."""

import gc
import weakref

import pytest
import torch
from torch_geometric import EdgeIndex

from gat.errors import InputError
from gat.graph import Graph, cache, compact, graph_of, remember
from gat.nn import GATConv
from tests.graphs import GRAPHS


@pytest.fixture
def edge_index():
    return GRAPHS["random"][0].clone()


def test_same_tensor_gives_the_same_graph(edge_index):
    assert graph_of(edge_index, 31) is graph_of(edge_index, 31)
    assert graph_of(edge_index, 31, self_loops=True) is not graph_of(edge_index, 31)
    assert graph_of(edge_index, 40) is not graph_of(edge_index, 31)


def test_calling_a_layer_twice_sorts_once(edge_index, monkeypatch):
    sorts = []
    real = torch.sort
    monkeypatch.setattr(torch, "sort", lambda *a, **k: sorts.append(1) or real(*a, **k))
    conv, x = GATConv(3, 2), torch.randn(31, 3)
    conv(x, edge_index)
    # The transpose, for a backward pass, is a second sort.
    first = len(sorts)
    assert 1 <= first <= 2
    conv(x, edge_index)
    assert len(sorts) == first


def test_equal_values_in_another_tensor_are_another_graph(edge_index):
    assert graph_of(edge_index, 31) is not graph_of(edge_index.clone(), 31)


@pytest.mark.parametrize("change", ["item", "copy_", "resize", "data"])
def test_changes_in_place_are_noticed(edge_index, change):
    before = graph_of(edge_index, 31)
    other = edge_index.flip(1).contiguous()
    if change == "item":
        edge_index[0, 0] = (edge_index[0, 0] + 1) % 31
    elif change == "copy_":
        edge_index.copy_(other)
    elif change == "resize":
        edge_index.resize_(2, 100)
    else:
        edge_index.data = other
    after = graph_of(edge_index, 31)
    assert after is not before
    assert torch.equal(after.edge_index, edge_index)


def test_graph_does_not_change_when_the_caller_overwrites_sorted_edges():
    edge_index = torch.tensor([[0, 1], [0, 1]])
    graph = graph_of(edge_index, 2)
    edge_index.fill_(0)
    assert graph.edge_index.tolist() == [[0, 1], [0, 1]]


def test_graphs_go_when_their_tensors_go(edge_index):
    gc.collect()
    held = len(cache._REMEMBERED)
    mine = edge_index.clone()
    gone = weakref.ref(graph_of(mine, 31, self_loops=True))
    assert len(cache._REMEMBERED) == held + 1
    del mine
    gc.collect()
    assert gone() is None
    assert len(cache._REMEMBERED) == held


def test_edge_index_of_pyg_is_remembered_by_what_it_wraps(edge_index):
    wrapped = EdgeIndex(edge_index, sparse_size=(31, 31))
    assert graph_of(wrapped, 31) is graph_of(wrapped, 31)


def test_sizes_of_an_edge_index_class_are_its_own():
    edge_index = torch.tensor([[0, 1], [1, 0]])
    sizes = [graph_of(EdgeIndex(edge_index, sparse_size=(n, n))).num_src for n in (3, 5)]
    assert sizes == [3, 5]
    with pytest.raises(InputError, match="given as 2, but the edges say 5"):
        graph_of(EdgeIndex(edge_index, sparse_size=(5, 5)), 2)


def test_graph_made_in_inference_mode_serves_training(edge_index):
    conv, x = GATConv(3, 2), torch.randn(31, 3)
    cold = Graph.from_edge_index(edge_index, 31)
    with torch.inference_mode():
        conv(x, edge_index)
        conv(x, cold)
    conv(x, edge_index).sum().backward()
    conv(x, cold).sum().backward()
    assert conv.att_src.grad is not None


def test_what_a_layer_returns_is_the_callers_to_change(edge_index):
    conv, x = GATConv(3, 2), torch.randn(31, 3)
    before, (edges, _) = conv(x, edge_index, return_attention_weights=True)
    edges.zero_()
    assert torch.equal(conv(x, edge_index), before)


def test_inference_tensors_are_built_anew():
    with torch.inference_mode():
        edge_index = torch.tensor([[0, 1], [1, 0]])
        first = graph_of(edge_index, 2)
        edge_index[0, 0] = 1
        assert graph_of(edge_index, 2).edge_index.tolist() == [[1, 1], [1, 0]]
    assert first.edge_index.tolist() == [[0, 1], [1, 0]]


def test_a_graph_of_other_size_is_refused(edge_index):
    graph = Graph.from_edge_index(edge_index, 31)
    assert graph_of(graph, 31) is graph
    with pytest.raises(InputError, match="31 source nodes, but the features have 30 rows"):
        graph_of(graph, (30, 31))


@pytest.mark.filterwarnings("ignore:Sparse")
def test_a_graph_handed_on_is_found_until_the_matrix_changes():
    matrix = torch.eye(4).to_sparse_csr()
    graph = Graph.from_sparse(matrix)
    remember(matrix, graph)
    assert graph_of(matrix) is graph
    matrix.mul_(2)
    assert graph_of(matrix) is not graph


OPERATOR_CASES = {
    "by_target": (False, None), "by_source": (True, "col"),
    "origin": (True, "col"), "edge_index": (True, "col"),
}  # fmt: skip


@pytest.mark.parametrize("part", OPERATOR_CASES)
def test_operator_of_compiled_code_is_sound(part, edge_index):
    """Schema, shapes and no aliases: what it gives is the compiled code's own."""
    loops, col = OPERATOR_CASES[part]
    request = (edge_index, 31, 31, "source_to_target", loops, False)
    first = torch.ops.gat.sorted_edges(*request, "by_target", None)[1]
    given = (*request, part, first if col else None)
    torch.library.opcheck(torch.ops.gat.sorted_edges, given)
    torch.ops.gat.sorted_edges(*given)[0].zero_()
    assert torch.ops.gat.sorted_edges(*given)[0].any()


def test_operator_of_compiled_code_notices_what_no_version_counts(edge_index):
    request = (31, 31, "source_to_target", False, False, "by_target", None)
    torch.ops.gat.sorted_edges(edge_index, *request)
    version = edge_index._version
    edge_index.numpy()[:] = edge_index.flip(0).numpy()
    assert edge_index._version == version
    found = torch.ops.gat.sorted_edges(edge_index, *request)
    fresh = Graph.from_edge_index(edge_index, 31).by_target
    for array, expected in zip(found, (fresh.rowptr, fresh.col, fresh.number), strict=True):
        assert torch.equal(array, expected)


def test_operator_of_compiled_code_refuses_what_32_bits_cannot_count(edge_index, monkeypatch):
    monkeypatch.setattr(compact, "LARGEST", 200)
    with pytest.raises(InputError, match="too large for this compiled or exported program"):
        torch.ops.gat.sorted_edges(
            edge_index, 31, 31, "source_to_target", False, False, "by_target", None
        )


def test_a_graph_that_is_known_is_given_for_its_edge_index(edge_index):
    known = Graph.from_edge_index(edge_index, 31)
    remember(edge_index, known)
    assert graph_of(edge_index, 31) is known
    assert graph_of(edge_index, (31, 31), self_loops=True) is known.with_self_loops()
    turned = graph_of(edge_index, 31, flow="target_to_source")
    assert torch.equal(turned.edge_index, edge_index.flip(0))
    assert graph_of(edge_index, 40).num_dst == 40
    edge_index[0, 0] = (edge_index[0, 0] + 1) % 31
    assert graph_of(edge_index, 31) is not known
