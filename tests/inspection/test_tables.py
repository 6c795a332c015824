"""to_pandas and to_networkx: the same weights as other libraries hold them."""

import sys

import pytest
import torch

from gat.errors import IndexRangeError, InputError, MissingDependencyError
from gat.inspection.storing.tables import to_networkx, to_pandas
from tests.inspection.stored_records import AWKWARD, partial, record

pandas = pytest.importorskip("pandas")


def rows_of(one, added):
    """(edge or None, source, target, weights) of every edge, then of every added loop."""
    numbers = range(one.num_edges) if one.edge_id is None else one.edge_id.tolist()
    ends = zip(one.source.tolist(), one.target.tolist(), strict=True)
    rows = [(e, *st, w) for e, st, w in zip(numbers, ends, one.weights.tolist(), strict=True)]
    loops = [(None, i, i, w) for i, w in enumerate(one.loops.tolist()) if any(w)]
    return rows + (loops if added else [])


@pytest.mark.parametrize("added", [True, False], ids=["loops", "no_loops"])
@pytest.mark.parametrize("name", AWKWARD)
def test_a_table_has_a_row_for_each_edge_and_loop(name, added):
    one = AWKWARD[name]
    table = to_pandas(one, loops=added)
    heads = [f"head_{head}" for head in one.heads]
    assert list(table.columns) == ["edge", "source", "target", *heads]
    assert str(table["edge"].dtype) == "Int64"
    found = [
        (None if edge is pandas.NA else edge, source, target, weights)
        for edge, source, target, weights in zip(
            table["edge"],
            table["source"],
            table["target"],
            table[heads].values.tolist(),
            strict=True,
        )
    ]
    assert found == rows_of(one, added)


@pytest.mark.parametrize("name", ["float16", "float64", "one_head"])
def test_a_table_keeps_the_dtype(name):
    one = AWKWARD[name]
    assert {str(dtype) for dtype in to_pandas(one).dtypes[3:]} == {str(one.weights.dtype)[6:]}


def test_a_table_is_no_window_on_the_record():
    one = record("path_both_ways")
    before = one.weights.clone()
    table = to_pandas(one, loops=False)
    table.loc[:, "head_0"] = 7.0
    assert torch.equal(one.weights, before)


def test_names_stand_for_numbers():
    one = record("path_both_ways")
    table = to_pandas(one, names=["a", "b", "c", "d"])
    assert list(table["source"][:6]) == ["a", "b", "b", "c", "c", "d"]
    assert list(table["target"]) == ["b", "a", "c", "b", "d", "c", "a", "d"]  # loops at a and d


def test_names_of_two_sets_of_nodes():
    one = record("bipartite_wide")
    names = [f"s{i}" for i in range(11)], [f"t{i}" for i in range(5)]
    table = to_pandas(one, names=names, loops=False)
    assert list(table["source"]) == [f"s{i}" for i in one.source]
    assert list(table["target"]) == [f"t{i}" for i in one.target]


@pytest.mark.parametrize(
    ("graph", "names", "said"),
    [
        ("random", ["a"], "names has 1 entries; expected 31 names, one for each node"),
        ("bipartite_wide", ["a"] * 11, "expected a pair: names of 11 sources and of 5 targets"),
        ("bipartite_wide", (["a"] * 5, ["b"] * 11), "expected a pair: names of 11 sources"),
    ],
)
def test_a_wrong_number_of_names_is_refused(graph, names, said):
    with pytest.raises(InputError, match=said):
        to_pandas(record(graph), names=names)


def test_without_pandas_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'graph-attention\[arrow\]'"):
        to_pandas(record())


def key(one, side, node):
    if one.edge_type is not None:
        return one.edge_type[2 * side], node
    return node if one.num_src == one.num_dst else (("source", "target")[side], node)


@pytest.mark.parametrize("name", AWKWARD)
def test_a_graph_has_every_edge_and_loop(name):
    one = AWKWARD[name]
    graph = to_networkx(one)
    found = [
        (facts["edge"], source, target, facts["weights"])
        for source, target, facts in graph.edges(data=True)
    ]
    expected = [(e, key(one, 0, s), key(one, 1, t), w) for e, s, t, w in rows_of(one, True)]
    assert sorted(found, key=str) == sorted(expected, key=str)
    for *_, facts in graph.edges(data=True):
        assert facts["added"] is (facts["edge"] is None)
        assert facts["weight"] == pytest.approx(sum(facts["weights"]) / one.num_heads)
    sides = [(0, i) for i in range(one.num_src)] + [(1, i) for i in range(one.num_dst)]
    assert set(graph) == {key(one, *side) for side in sides}


def test_nodes_of_two_sets_know_their_side():
    for name in ("bipartite_wide", "edge_type"):
        one = AWKWARD[name]
        sides = dict(to_networkx(one).nodes(data="bipartite"))
        assert sides == {
            **{key(one, 0, i): 0 for i in range(one.num_src)},
            **{key(one, 1, i): 1 for i in range(one.num_dst)},
        }
    assert not any("bipartite" in facts for _, facts in to_networkx(record()).nodes(data=True))


def test_graphs_of_several_edge_types_go_together():
    import networkx

    kinds = [("author", "writes", "paper"), ("paper", "cites", "paper")]
    records = [record("bipartite_wide", edge_type=kinds[0])]
    records.append(record("one_edge", edge_type=kinds[1]))
    whole = networkx.compose_all(map(to_networkx, records))
    assert set(whole) == {("author", i) for i in range(11)} | {("paper", i) for i in range(5)}


def test_the_weight_of_one_head():
    one = AWKWARD["some_heads"]  # heads 5 and 1
    graph = to_networkx(one, head=1)
    assert all(f["weight"] == f["weights"][1] for *_, f in graph.edges(data=True))
    assert graph.number_of_edges() > 0
    with pytest.raises(IndexRangeError, match="no record of head 0; recorded are heads 5, 1"):
        to_networkx(one, head=0)


def test_the_callers_numbers_are_on_the_edges():
    graph = to_networkx(partial())
    numbers = {f["edge"] for *_, f in graph.edges(data=True) if not f["added"]}
    assert numbers == set(partial().edge_id.tolist())
