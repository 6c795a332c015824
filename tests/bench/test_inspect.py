"""What looking inside costs: the passes and attributions measured, held to their definitions."""

from dataclasses import asdict, replace

import pytest
import torch

from gat.bench import aims, attribution, graphs, inspected, recording, targets, timing
from gat.bench.attribution import measure_attribution
from gat.bench.case import Plan
from gat.bench.inspected import InspectShape, built
from gat.bench.record import Case, Figure, Held, Record
from gat.bench.recording import measure_recording
from gat.bench.trees import Trees
from gat.cli import main
from gat.errors import InputError, WrongResultError
from gat.graph import Graph
from gat.inspection import Attention
from tests.bench.test_report import CHECKED, a_record
from tests.inspection.attribution_records import SMALL, records

KEPT = {"repeats": 1, "threads": 1, "malloc": ("kept",)}


def small(**changed):
    """Two layers on the tiny graph, which only a test knows."""
    sizes = {"layers": 2, "heads": 3, "channels": 4, "features": 5}
    return InspectShape(graph="tiny", **{**sizes, **changed})


@pytest.fixture
def few(monkeypatch):
    """So few nodes are timed, and walked."""
    monkeypatch.setattr(attribution, "NODES_A_SAMPLE", 3)
    monkeypatch.setattr(attribution, "CHECKED", 4)
    monkeypatch.setattr(attribution, "CHECKED_OF_ALL", 20)


def test_recording_is_checked_then_weighed_then_timed_beside_the_plain_pass(at_home):
    found = measure_recording(small(), Plan(("plain", "recorded"), **KEPT))
    assert at_home == [
        ("recording.check", "default"),
        *[("recording.memory", "default")] * 2,
        ("recording.times", "kept"),
    ]
    assert (found.kind, found.title) == ("recording", "recording 2 x GATConv 3x4 on tiny")
    assert found.options.items() >= asdict(small()).items()
    (case,) = found.cases
    assert [figure.peer for figure in case.figures] == ["plain", "recorded"]
    assert all(len(figure.parts["together"]) == 1 for figure in case.figures)
    assert [held.peer for held in case.memory] == ["plain", "recorded"]
    assert set(case.checked.errors["plain"]) == {"out"}
    parts = {"weights", "weights to self"}
    named = {f"convs.{layer}'s {part}" for layer in (0, 1) for part in parts}
    assert set(case.checked.errors["recorded"]) == {"out", *named} == set(case.checked.tolerance)
    assert max(case.checked.tolerance.values()) < 1e-4
    edges = case.facts["edges"]
    assert case.facts["heads"] == "3 and 3"
    assert case.facts["bytes of E x H"] == 2 * edges * 3 * 4


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize("loops", [False, True], ids=["no loops", "some loops"])
@pytest.mark.parametrize("graph", ["tiny", "karate"])
def test_weights_are_found_right_with_and_without_loops_among_the_edges(graph, loops):
    plan = Plan(("recorded",), **KEPT)
    (case,) = measure_recording(InspectShape(graph=graph, self_loops=loops), plan).cases
    own = case.facts["self-loops among them"]
    assert own == (case.facts["nodes"] // 2 if loops else 0)


@pytest.mark.parametrize("of", ["weights", "loops", "order"])
def test_a_wrong_record_is_refused_before_anything_is_timed(monkeypatch, at_home, of):
    true = recording._recorded

    def wrong(inspected):
        out, attention = true(inspected)
        record = attention["convs.1"]
        if of == "order":
            record = replace(record, weights=record.weights.flip(0))
        else:
            record = replace(record, **{of: getattr(record, of) * 1.001})
        return out, Attention([attention["convs.0"], record])

    monkeypatch.setattr(recording, "_recorded", wrong)
    sentence = r"recorded computes convs.1's weights( to self)? wrong for recording 2 x GATConv"
    with pytest.raises(WrongResultError, match=sentence):
        measure_recording(small(), Plan(("plain", "recorded"), **KEPT))
    assert [function for function, _ in at_home] == ["recording.check"]


def test_a_layer_without_record_is_no_correct_record(monkeypatch):
    true = recording._recorded

    def short(inspected):
        out, attention = true(inspected)
        return out, Attention([attention["convs.0"]])

    monkeypatch.setattr(recording, "_recorded", short)
    with pytest.raises(KeyError, match=r"convs.1's weights"):
        recording.check(asdict(small()), ["recorded"])


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("method", attribution.METHODS)
def test_an_attribution_is_checked_then_timed_for_a_node_the_hub_and_all(at_home, method):
    found = measure_attribution(method, small(), Plan(("node", "hub", "all"), **KEPT))
    assert at_home == [("attribution.check", "default"), ("attribution.times", "kept")]
    assert found.title == f"{method} through 2 x GATConv 3x4 on tiny"
    assert found.options.items() >= {"method": method, **asdict(small())}.items()
    (case,) = found.cases
    counts = {figure.peer: len(figure.parts["together"]) for figure in case.figures}
    assert counts == {"node": 3, "hub": 1, "all": 1}
    tensors = {"gatt": {"edges", "loops"}, "rollout": {"input nodes"}}[method]
    assert {name: set(found) for name, found in case.checked.errors.items()} == dict.fromkeys(
        ("node", "hub", "all"), tensors
    )
    assert case.checked.on == ("every path of the trees of 4 nodes drawn, the hub, 20 of 50 nodes")


@pytest.mark.parametrize("wrong", [1.001, float("nan")], ids=["off", "nan"])
@pytest.mark.parametrize("peer", attribution.PEERS)
def test_a_wrong_attribution_is_refused(monkeypatch, at_home, peer, wrong):
    how = attribution.METHODS["rollout"]

    def changed(scores):
        return replace(scores, values=scores.values * wrong)

    method = attribution.Method(
        lambda attention, node: changed(how.one(attention, node)),
        how.every,
        lambda attention: map(changed, how.each(attention)),
    )
    monkeypatch.setitem(attribution.METHODS, "rollout", method)
    with pytest.raises(WrongResultError, match=f"{peer} computes input nodes wrong for rollout"):
        measure_attribution("rollout", small(), Plan((peer,), **KEPT))
    assert [function for function, _ in at_home] == ["attribution.check"]


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("graph", SMALL)
def test_a_tree_is_the_product_of_dense_matrices(graph, layers):
    given = records(graph, layers)
    trees, count = Trees(Attention(given)), given[0].num_dst
    each = []
    for record in given:
        dense = torch.diag(record.loops.mean(1))
        dense.index_put_((record.target, record.source), record.weights.mean(1), accumulate=True)
        each.append(dense)
    for node in range(count):
        tree, above = trees.of(node), torch.eye(count, dtype=torch.float64)[node]
        for layer in reversed(range(layers)):
            passed = above[given[layer].target] * given[layer].weights.mean(1)
            torch.testing.assert_close(tree.edges[layer], passed)
            torch.testing.assert_close(tree.loops[layer], above * given[layer].loops.mean(1))
            above = above @ each[layer]
        torch.testing.assert_close(tree.inputs, above)


def test_the_hub_is_the_node_that_most_edges_enter_and_no_node_is_drawn_twice():
    asked = attribution._asked(asdict(small()))
    edges = asked.attention["convs.0"].edge_index
    assert int((edges[1] == asked.hub).sum()) == asked.facts["largest in-degree"] > 8
    assert sorted(asked.drawn) == list(range(50)) != asked.drawn


def test_a_data_set_is_fed_as_training_feeds_it_or_densely():
    fed, dense = (built(InspectShape(graph="karate", dense=dense)) for dense in (False, True))
    assert fed.x.layout is torch.sparse_csr
    assert dense.x.layout is torch.strided
    assert torch.equal(fed.x.to_dense(), dense.x)
    assert isinstance(fed.edges, Graph)
    assert not fed.model.training
    assert (fed.facts()["features as"], dense.facts()["features as"]) == ("sparse CSR", "dense")
    for mine, theirs in zip(fed.model.parameters(), dense.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    torch.testing.assert_close(fed(), dense())


def test_a_synthetic_graph_is_without_loops_or_with_every_second_one():
    plain, some = (built(small(self_loops=loops)).edge_index for loops in (False, True))
    assert not bool((plain[0] == plain[1]).any())
    own = some[0] == some[1]
    assert some[0, own].sort().values.tolist() == list(range(0, 50, 2))

    def listed(edges):
        return sorted(edges.t().tolist())

    assert listed(some[:, ~own]) == listed(plain)
    assert bool(own[:-25].any())  # among the edges, not behind them


def test_loops_that_are_there_are_not_added_again():
    edges = torch.tensor([[0, 1, 2, 1], [0, 1, 1, 2]])
    some = inspected._with_some_loops(edges, 4)
    assert sorted(some.t().tolist()) == [[0, 0], [1, 1], [1, 2], [2, 1], [2, 2]]
    graph = inspected._with_some_loops(Graph.from_edge_index(edges, 4), 4)
    assert torch.equal(graph.edge_index, some)


def test_sizes_are_the_defaults_of_a_synthetic_graph_and_none_of_a_data_set():
    shape = InspectShape(graph="arxiv-size", layers=1)
    assert (shape.layers, shape.heads, shape.channels, shape.features) == (1, 8, 32, 128)
    assert InspectShape(graph="cora").layers is None
    assert str(InspectShape(dense=True, self_loops=True)) == (
        "the recipe's model on cora with dense features with self-loops at every second node"
    )


def test_one_item_after_another_is_a_sample_each_after_one_to_warm_up():
    asked = []
    taker = timing.OneByOne(asked.append, [1, 2, 3], each=2)
    assert all(set(parts) == {"together"} for parts in taker(2))
    assert asked == [1, 2, 3, 1, 2]
    assert len(taker(1)) == 2
    assert asked == [1, 2, 3, 1, 2, 3, 1]


def a_case(**seconds):
    figures = [
        Figure(peer=peer, malloc="default", parts={"together": [value]})
        for peer, value in seconds.items()
    ]
    memory = [
        Held(peer="plain", bytes=5000, inputs=0, exact=True),
        Held(peer="recorded", bytes=6100, inputs=0, exact=True),
    ]
    facts = {"bytes of E x H": 1000}
    return Case(name="tiny", facts=facts, checked=CHECKED, figures=figures, memory=memory)


@pytest.mark.parametrize(
    ("aim", "value", "met", "words"),
    [
        (aims.Added(0.5), 0.25, True, "0.25 of a pass"),
        (aims.Added(0.25), 0.25, False, "0.25 of a pass"),
        (aims.AddedMemory(1.2), 1.1, True, "1.10 times"),
        (aims.AddedMemory(1.0), 1.1, False, "1.10 times"),
        (aims.Within(0.02, "node"), 0.0015, True, "1.5 ms"),
        (aims.Within(2, "all"), 3.0, False, "3.00 s"),
    ],
    ids=str,
)
def test_an_aim_is_measured_on_its_record_and_judged(aim, value, met, words):
    record = a_record(a_case(plain=1.0, recorded=1.25, node=0.0015, all=3.0))
    assert aim.measured(record) == pytest.approx(value)
    assert aim.met(aim.measured(record)) is met
    assert aim.shown(value) == words


@pytest.mark.parametrize("aim", [aims.Added(0.5), aims.AddedMemory(1), aims.Within(1, "hub")])
def test_what_was_not_measured_has_no_value(aim):
    assert aim.measured(a_record(a_case(plain=1.0).model_copy(update={"memory": []}))) is None


def test_the_rows_are_the_ones_the_project_answers_for():
    wanted = {name: [str(aim) for aim in row.aims] for name, row in targets.TARGETS.items()}
    assert wanted["record-cora"] == ["adds less than 0.5 of a forward pass"]
    assert wanted["record-memory"] == ["at most 1.2 times E x H x 4 bytes over the plain pass"]
    assert wanted["gatt-cora"] == ["a node drawn under 20 ms", "the largest hub under 20 ms"]
    assert wanted["rollout-cora"] == ["all nodes under 2 s"]
    assert wanted["rollout-arxiv"] == ["a node drawn under 1 s", "the largest hub under 1 s"]


@pytest.mark.usefixtures("at_home", "few")
@pytest.mark.parametrize("name", ["record-cora", "record-memory", "gatt-cora", "rollout-cora"])
def test_a_row_stands_for_the_record_it_measures(monkeypatch, name):
    # The same rows on graphs that take no time.
    monkeypatch.setitem(graphs.SIZES, "arxiv-size", graphs.SIZES["tiny"])
    row = targets.TARGETS[name]
    if "cora" in name:
        shape = InspectShape(graph="karate")
        if name == "record-cora":
            row = targets._recording(shape, row.what, *row.aims)
        else:
            row = targets._attribution(row.options["method"], shape, row.what, *row.aims)
    record = row.measure(1, 1, say=lambda text: None)
    assert row.stands_for(record)
    assert all(aim.measured(record) is not None for aim in row.aims)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: InspectShape(graph="corra"), "there is no graph 'corra' to measure; expected"),
        (lambda: InspectShape(graph="dates"), "there is no graph 'dates' to measure; expected"),
        (lambda: InspectShape(graph="tiny", heads=0), "heads is 0; expected 1 or more"),
        (
            lambda: InspectShape(graph="cora", heads=4, layers=1),
            "layers, heads can be chosen on a synthetic graph .*; cora is measured with the model",
        ),
        (
            lambda: measure_recording(small(), Plan(("gat",), threads=1)),
            "there is no peer 'gat' here; known are plain, recorded",
        ),
        (
            lambda: measure_attribution("gatt", small(), Plan(("recorded",), threads=1)),
            "there is no peer 'recorded' here; known are node, hub, all",
        ),
        (
            lambda: measure_attribution("flow", small(), Plan(("node",), threads=1)),
            "method is 'flow'; expected one of 'gatt', 'rollout'",
        ),
    ],
    ids=["graph", "examples", "heads", "data set", "peer", "attribution's peer", "method"],
)
def test_what_cannot_be_measured_is_refused_before_anything_runs(at_home, call, sentence):
    with pytest.raises(InputError, match=sentence):
        call()
    assert at_home == []


@pytest.mark.usefixtures("at_home", "few")
def test_the_commands_measure_what_their_options_say(capsys, tmp_path):
    path = tmp_path / "x.json"
    some = ["--graph", "tiny", "--layers", "1", "--heads", "2", "--features", "4", "--repeats", "1"]
    some += ["--output", str(path)]
    assert main(["bench", "inspect", *some, "--self-loops"]) == 0
    said = capsys.readouterr().out
    title = "recording 1 x GATConv 2x32 on tiny with self-loops at every second node: nodes 50, "
    assert said.startswith(title)
    assert "times plain" in said
    assert Record.load(path).options["self_loops"] is True
    assert main(["bench", "inspect", "rollout", *some, "--peers", "hub,all"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("rollout through 1 x GATConv 2x32 on tiny: nodes 50, edges ")
    assert [figure.peer for figure in Record.load(path).cases[0].figures] == ["hub", "all"]
    assert main(["bench", "inspect", "--graph", "cora", "--layers", "3"]) == 2
    assert "layers can be chosen on a synthetic graph such as" in capsys.readouterr().err
