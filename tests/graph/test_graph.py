"""`gat.Graph`: sorted, transposed, and every edge traceable to the one the caller passed."""

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric import EdgeIndex
from torch_geometric.utils import add_self_loops, remove_self_loops

from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.graph import Graph, read_edges
from tests.graphs import GRAPHS, SQUARE


def pairs(graph: Graph) -> list[tuple[int, int]]:
    return list(zip(*graph.edge_index.tolist(), strict=True))


@pytest.mark.parametrize("name", GRAPHS)
def test_rowptr_and_col_hold_each_targets_sources_in_order(name):
    edge_index, num_src, num_dst = GRAPHS[name]
    graph = Graph.from_edge_index(edge_index, (num_src, num_dst))
    for target in range(num_dst):
        low, high = graph.rowptr[target : target + 2].tolist()
        assert (
            graph.col[low:high].tolist()
            == edge_index[0][edge_index[1] == target].sort()[0].tolist()
        )
    assert graph.rowptr.tolist()[0] == 0
    assert graph.rowptr.tolist()[-1] == edge_index.size(1)


@pytest.mark.parametrize("name", GRAPHS)
def test_edge_index_is_the_callers_in_the_callers_order(name):
    edge_index, num_src, num_dst = GRAPHS[name]
    graph = Graph.from_edge_index(edge_index, (num_src, num_dst))
    assert torch.equal(graph.edge_index, edge_index)


@pytest.mark.parametrize("name", GRAPHS)
def test_to_listed_undoes_to_sorted(name):
    edge_index, num_src, num_dst = GRAPHS[name]
    graph = Graph.from_edge_index(edge_index, (num_src, num_dst))
    values = torch.arange(edge_index.size(1) * 2).view(-1, 2)
    assert torch.equal(graph.to_listed(graph.to_sorted(values)), values)
    assert torch.equal(graph.to_sorted(edge_index[0]), graph.col)
    assert torch.equal(graph.to_sorted(edge_index[1]), graph.row)


@pytest.mark.parametrize("name", GRAPHS)
def test_transpose_holds_the_same_edges_by_source(name):
    edge_index, num_src, num_dst = GRAPHS[name]
    graph = Graph.from_edge_index(edge_index, (num_src, num_dst))
    transpose = graph.transpose
    assert torch.equal(transpose.rowptr.diff(), graph.out_degree)
    assert torch.equal(graph.row[transpose.edge], transpose.col)
    assert torch.equal(graph.col[transpose.edge], graph.col.sort()[0])


@pytest.mark.parametrize(
    ("name", "symmetric"),
    [("path_both_ways", True), ("no_edges", True), ("one_edge", False), ("hub", False)],
)
def test_symmetric_graphs_share_one_structure(name, symmetric):
    edge_index, num_src, num_dst = GRAPHS[name]
    graph = Graph.from_edge_index(edge_index, (num_src, num_dst))
    assert graph.is_symmetric is symmetric
    assert (graph.transpose.rowptr is graph.rowptr) is symmetric
    assert (graph.transpose.col is graph.col) is symmetric


@pytest.mark.parametrize("name", SQUARE)
def test_self_loops_are_listed_as_pyg_lists_them(name):
    edge_index, num_nodes, _ = GRAPHS[name]
    looped = Graph.from_edge_index(edge_index, num_nodes).with_self_loops()
    theirs, _ = add_self_loops(remove_self_loops(edge_index)[0], num_nodes=num_nodes)
    assert torch.equal(looped.edge_index, theirs)
    assert torch.equal(looped.with_self_loops().edge_index, theirs)


def test_every_weight_is_traced_to_the_callers_edge_or_an_added_loop():
    #        caller's edge:  0  1  2  3  4   (1 and 3 are loops of node 2, 4 of node 0)
    edge_index = torch.tensor([[1, 2, 0, 2, 0], [2, 2, 1, 2, 0]])
    graph = Graph.from_edge_index(edge_index, 4).with_self_loops()
    assert graph.edge_index.tolist() == [[1, 0, 0, 1, 2, 3], [2, 1, 0, 1, 2, 3]]
    assert graph.origin.tolist() == [0, 2, 4, -1, 1, -1]
    weights = torch.tensor([10.0, 11, 20, 21, 22, 23]).view(-1, 1)
    assert graph.to_caller(weights).flatten().tolist() == [10, 22, 11, 0, 20]
    assert graph.added_loops(weights).flatten().tolist() == [0, 21, 0, 23]
    assert graph.to_caller(weights).sum() + graph.added_loops(weights).sum() == weights.sum()


@given(data=st.data())
def test_caller_weights_and_added_loops_keep_each_targets_sum(data):
    num_nodes = data.draw(st.integers(1, 6))
    node = st.integers(0, num_nodes - 1)
    edges = data.draw(st.lists(st.tuples(node, node), max_size=20))
    edge_index = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).t()
    graph = Graph.from_edge_index(edge_index, num_nodes).with_self_loops()
    weights = torch.rand(graph.num_edges, 1, dtype=torch.float64)
    per_target = torch.zeros(num_nodes, 1, dtype=torch.float64)
    whole = per_target.index_add(0, graph.edge_index[1], weights)
    parts = per_target.index_add(0, edge_index[1], graph.to_caller(weights))
    assert torch.allclose(parts + graph.added_loops(weights), whole)


def test_with_self_loops_of_a_bipartite_graph_covers_the_smaller_side():
    edge_index, num_src, num_dst = GRAPHS["bipartite_wide"]
    graph = Graph.from_edge_index(edge_index, (num_src, num_dst)).with_self_loops()
    assert graph.num_loops == 5
    assert graph.edge_index[:, -5:].tolist() == [[0, 1, 2, 3, 4]] * 2


@pytest.mark.parametrize("kind", ["int32", "EdgeIndex", "coo", "csr", "csc", "SparseTensor"])
def test_from_edge_index_takes_the_same_edges_in_any_form(kind):
    edge_index, num_src, num_dst = GRAPHS["bipartite_wide"]
    edge_index = torch.unique(edge_index, dim=1)
    expected = Graph.from_edge_index(edge_index, (num_src, num_dst))
    matrix = torch.sparse_coo_tensor(
        edge_index.flip(0), torch.ones(edge_index.size(1)), (num_dst, num_src)
    )

    class SparseTensor:
        """Speaks torch_sparse's `coo` and `size`, which is all that is asked of it."""

        def coo(self):
            return edge_index[1], edge_index[0], None

        def size(self, dim):
            return (num_dst, num_src)[dim]

    form = {
        "int32": lambda: edge_index.int(),
        "EdgeIndex": lambda: EdgeIndex(edge_index.contiguous(), sparse_size=(num_src, num_dst)),
        "coo": lambda: matrix,
        "csr": matrix.to_sparse_csr,
        "csc": matrix.to_sparse_csc,
        "SparseTensor": SparseTensor,
    }[kind]()
    graph = Graph.from_edge_index(form, (num_src, num_dst))
    assert torch.equal(graph.rowptr, expected.rowptr)
    assert torch.equal(graph.col, expected.col)
    assert (graph.num_src, graph.num_dst) == (num_src, num_dst)


def test_from_sparse_reads_sizes_from_the_matrix():
    matrix = torch.sparse_coo_tensor(torch.tensor([[0, 2], [4, 1]]), torch.ones(2), (3, 5))
    graph = Graph.from_sparse(matrix)
    assert (graph.num_src, graph.num_dst) == (5, 3)
    assert pairs(graph) == [(4, 0), (1, 2)]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (nx.Graph([("a", "b"), ("b", "c"), ("c", "c")]), [(0, 1), (1, 2), (2, 2), (1, 0), (2, 1)]),
        (nx.DiGraph([("a", "b"), ("c", "b")]), [(0, 1), (2, 1)]),
        (nx.MultiDiGraph([(0, 1), (0, 1)]), [(0, 1), (0, 1)]),
    ],
    ids=["undirected", "directed", "parallel"],
)
def test_from_networkx_numbers_nodes_in_their_order(made, expected):
    assert pairs(Graph.from_networkx(made)) == expected


def test_parallel_edges_are_kept():
    graph = Graph.from_edge_index(torch.tensor([[0, 0, 0], [1, 1, 1]]))
    assert graph.rowptr.tolist() == [0, 0, 3]


def test_flow_target_to_source_swaps_the_rows():
    edge_index, num_src, num_dst = GRAPHS["bipartite_wide"]
    flipped = Graph.from_edge_index(edge_index.flip(0), (num_src, num_dst), flow="target_to_source")
    assert torch.equal(flipped.edge_index, edge_index)


@pytest.mark.parametrize(
    ("edges", "error", "sentence"),
    [
        (
            torch.tensor([[0, 4], [1, 0]]),
            IndexRangeError,
            r"edge_index\[0\], position 1, names source node 4, outside \[0, 4\)",
        ),
        (
            torch.tensor([[0, 1], [1, -1]]),
            IndexRangeError,
            r"edge_index\[1\], position 1, names target node -1",
        ),
        (
            torch.tensor([[0.0], [1.0]]),
            ArgumentTypeError,
            "dtype torch.float32; expected torch.int64 or torch.int32",
        ),
        (torch.tensor([[True], [False]]), ArgumentTypeError, "dtype torch.bool"),
        (
            torch.zeros(5, 2, dtype=torch.int64),
            InputError,
            r"shape \[5, 2\]; expected \[2, E\].*edge_index\.t\(\)",
        ),
        (torch.zeros(3, dtype=torch.int64), InputError, r"shape \[3\]; expected \[2, E\]"),
        ([[0], [1]], ArgumentTypeError, "type list; expected an edge_index tensor"),
    ],
    ids=["too_large", "negative", "float", "bool", "transposed", "one_dimensional", "list"],
)
def test_bad_edges_are_refused_in_words(edges, error, sentence):
    with pytest.raises(error, match=sentence):
        Graph.from_edge_index(edges, 4)


def test_bad_index_is_also_pythons_index_error():
    with pytest.raises(IndexError):
        Graph.from_edge_index(torch.tensor([[9], [0]]), 4)


def test_sizes_that_contradict_the_matrix_are_refused():
    matrix = torch.sparse_coo_tensor(torch.tensor([[0], [0]]), torch.ones(1), (3, 5))
    with pytest.raises(InputError, match="number of sources is given as 4, but the edges say 5"):
        read_edges(matrix, (4, 3))


def test_flow_of_a_sparse_matrix_is_refused():
    with pytest.raises(InputError, match="pass the transposed matrix"):
        read_edges(torch.eye(2).to_sparse(), flow="target_to_source")


def test_to_moves_what_was_worked_out_too():
    edge_index, num_nodes, _ = GRAPHS["random"]
    graph = Graph.from_edge_index(edge_index, num_nodes)
    graph.with_self_loops()
    _ = graph.transpose, graph.row, graph.in_degree
    assert graph.to("cpu") is graph
    moved = graph.to("meta")
    assert moved.device.type == "meta"
    assert {moved.transpose.edge.device.type, moved.row.device.type} == {"meta"}
    assert moved.with_self_loops().device.type == "meta"
    assert moved.to("meta", non_blocking=True) is moved
    assert graph.device.type == "cpu"


def test_a_symmetric_graph_stays_one_structure_when_moved():
    graph = Graph.from_edge_index(GRAPHS["path_both_ways"][0], 4)
    assert graph.is_symmetric
    moved = graph.to("meta")
    assert moved.transpose.col is moved.col
    assert moved.is_symmetric


@pytest.mark.parametrize("number", [np.int64(4), torch.tensor(4), [4, 4], (4, None)], ids=repr)
def test_number_of_nodes_may_be_any_integer_or_pair(number):
    graph = Graph.from_edge_index(torch.tensor([[0], [3]]), number)
    assert (graph.num_src, graph.num_dst) == (4, 4)


@pytest.mark.parametrize("number", [4.5, "4", (4, 4, 4)], ids=repr)
def test_number_of_nodes_that_is_none_is_refused(number):
    with pytest.raises(ArgumentTypeError, match=r"number of nodes is .*; expected a number, or"):
        Graph.from_edge_index(torch.tensor([[0], [3]]), number)


def test_negative_number_of_nodes_is_refused():
    with pytest.raises(InputError, match="the number of source nodes is -1; expected 0 or more"):
        Graph.from_edge_index(torch.tensor([[0], [3]]), -1)


@pytest.mark.parametrize("method", ["to_caller", "added_loops", "to_sorted", "to_listed"])
def test_values_of_another_graph_are_refused(method):
    graph = Graph.from_edge_index(torch.tensor([[0, 1], [1, 1]]), 3)
    weights = torch.ones(graph.with_self_loops().num_edges, 1)
    with pytest.raises(InputError, match=r"have 4 rows; expected 2.*graph\.with_self_loops\(\)"):
        getattr(graph, method)(weights)


COMPRESSED = {
    "csr": (torch.sparse_csr_tensor, "row", "column"),
    "csc": (torch.sparse_csc_tensor, "column", "row"),
}


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("layout", COMPRESSED)
def test_compressed_matrices_that_torch_did_not_check_are_refused(layout):
    make, outer, inner = COMPRESSED[layout]

    def build(pointer, index, values=(1.0, 2.0)):
        numbers = torch.tensor(pointer), torch.tensor(index), torch.tensor(values)
        return Graph.from_sparse(make(*numbers, (3, 3)))

    assert build([0, 1, 1, 2], [2, 0]).num_edges == 2
    for pointer in ([0, 3, 1, 2], [0, 1, 1, 9], [1, 1, 1, 2]):
        with pytest.raises(InputError, match=f"{outer} pointers do not rise from 0 to 2, the numb"):
            build(pointer, [2, 0])
    sentence = rf"entry 1 of the sparse matrix is in {inner} 3, outside \[0, 3\); its shape is"
    with pytest.raises(IndexRangeError, match=sentence):
        build([0, 1, 1, 2], [2, 3])


@pytest.mark.filterwarnings("ignore:Sparse")
def test_a_batch_of_matrices_is_refused():
    batch = torch.eye(3).expand(2, 3, 3).to_sparse_csr()
    with pytest.raises(InputError, match=r"shape \[2, 3, 3\]; expected one matrix, not a batch"):
        Graph.from_sparse(batch)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("loops", [False, True], ids=["", "loops"])
def test_edges_as_sources_are_one_edge_each_both_ways(name, loops):
    edge_index, *sizes = GRAPHS[name]
    graph = Graph.from_edge_index(edge_index, tuple(sizes))
    graph = graph.with_self_loops() if loops else graph
    turned = graph.edges_as_sources
    number = torch.arange(graph.num_edges)
    assert torch.equal(turned.edge_index, torch.stack([number, graph.edge_index[1]]))
    target, source = turned.by_target, turned.by_source
    listed = number if target.number is None else target.number.long()
    assert torch.equal(target.rowptr.long(), graph.rowptr)
    assert torch.equal(target.col.long(), listed)
    assert torch.equal(source.rowptr, torch.arange(graph.num_edges + 1, dtype=source.col.dtype))
    assert torch.equal(source.col.long(), graph.edge_index[1])
    assert torch.equal(source.number.long(), number)
    assert torch.equal(source.number[turned.transposed.long()].long(), listed)
