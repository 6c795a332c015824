"""Whether two graphs are the same in every array, for graphs that are made without a sort."""

import torch

from gat.graph import Graph

ARRAYS = ("rowptr", "col", "perm", "origin", "row", "edge_index", "in_degree", "out_degree")
KERNELS = ("by_target", "by_source", "ends_by_source")


def plain(graph):
    """The edges of an IntervalGraph as a Graph, which sorts them."""
    bounds = zip(graph.first.tolist(), graph.count.tolist(), strict=True)
    edges = [
        (source, target)
        for target, (first, count) in enumerate(bounds)
        for source in range(first, first + count)
    ]
    return sorted_graph(edges, graph.num_src, graph.num_dst)


def sorted_graph(edges, num_src, num_dst):
    """The Graph of (source, target) pairs."""
    edge_index = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).t()
    return Graph.from_edge_index(edge_index, (num_src, num_dst))


def assert_same_array(ours, theirs, name):
    if theirs is None:
        assert ours is None, name
        return
    assert ours.dtype is theirs.dtype, name
    assert torch.equal(ours, theirs), name


def assert_same(ours, theirs):
    """Every array that a Graph has, and what it shares."""
    for name in ("num_src", "num_dst", "num_edges", "num_caller_edges", "num_loops", "device"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ARRAYS:
        assert_same_array(getattr(ours, name), getattr(theirs, name), name)
    for kernel in KERNELS:
        for name in ("rowptr", "col"):
            arrays = (getattr(getattr(graph, kernel), name) for graph in (ours, theirs))
            assert_same_array(*arrays, f"{kernel}.{name}")
    assert_same_array(ours.by_target.number, theirs.by_target.number, "by_target.number")
    assert_same_array(ours.by_source.number, theirs.by_source.number, "by_source.number")
    assert_same_array(ours.transposed, theirs.transposed, "transposed")
    for name in ("rowptr", "col", "edge"):
        arrays = (getattr(graph.transpose, name) for graph in (ours, theirs))
        assert_same_array(*arrays, f"transpose.{name}")
    assert ours.is_symmetric is theirs.is_symmetric
    assert (ours.by_source.col is ours.by_target.col) is theirs.is_symmetric
