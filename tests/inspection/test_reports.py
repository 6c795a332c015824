"""The report: it says what the measures say, in Markdown and in JSON."""

import json
import re

import pytest
import torch

import gat
from gat.inspection import faithfulness, measure, report, verdicts
from gat.inspection.fidelity.scorers import gradient_x_input
from gat.inspection.reports import _in_a_sentence
from gat.inspection.words import interval
from tests.graphs import GRAPHS
from tests.inspection.networks import WIDTH, network


def case():
    """A network, its features and its edges."""
    torch.manual_seed(0)
    edge_index, num_nodes, _ = GRAPHS["random"]
    return network("gat", "GATConv"), torch.randn(num_nodes, WIDTH).double(), edge_index


@pytest.fixture(scope="module")
def found():
    model, x, edge_index = case()
    num_nodes = x.size(0)
    with gat.record_attention(model) as attention:
        model(x, edge_index)
    y = torch.arange(num_nodes) % 4
    methods = ("attention", "nearest", "random")
    faithful = faithfulness(model, x, edge_index, range(12), methods, resamples=50)
    return attention, y, faithful


def test_every_head_is_told_of(found):
    attention, y, _ = found
    text = report(attention, y, title="A title", facts={"data": "random"}).markdown()
    assert text.startswith("# A title\n\n- data: random\n")
    for one in verdicts(measure(attention, y)):
        assert f"- {one.sentence}" in text
    assert "### first (GATConv, 2 heads)" in text
    assert "### second (GATConv, 1 head)" in text
    assert "Does it mean anything?" not in text


def test_tables_are_whole(found):
    attention, y, faithful = found
    text = report(attention, y, faithfulness=faithful, node=3).markdown({"Curves": "a/b.png"})
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [line.split(" | ") for line in block.strip().splitlines()]
        assert len({len(row) for row in rows}) == 1
    assert "![Curves](a/b.png)" in text


def test_faithfulness_is_told_by_its_numbers(found):
    attention, y, faithful = found
    text = report(attention, y, faithfulness=faithful).markdown()
    deletion = faithful["attention"].deletion
    shown = f"{deletion.area:.3f} ({deletion.area_low:.3f} to {deletion.area_high:.3f})"
    assert shown in text
    # Every column is explained.
    assert all(f"**{word}" in text for word in ("Deletion", "Insertion", "Fidelity+", "fidelity−"))
    for verdict in faithful.verdicts.values():
        assert f"- {verdict}" in text
    against = faithful["attention"].against_random
    wins = (against["deletion_area"].high < 0) + (against["insertion_area"].low > 0)
    assert f"sooner than a random order in {wins} of 2 tests" in text


def test_a_nodes_neighbours_are_listed_most_attended_first(found):
    attention, y, _ = found
    names = [f"n{k}|<b>" for k in range(31)]
    look = report(attention, y, node=3, names=names, class_names=["a", "b", "c", "d"]).node
    first = attention["first"]
    sums = {}
    for record in attention.values():
        for one in record.neighbours(3):
            key = one.node, one.edge
            sums[key] = sums.get(key, 0) + float(one.weights.mean())
    order = sorted(sums, key=lambda key: -sums[key])
    assert [row[0].split(" ")[1] for row in look.rows] == [f"({node})" for node, _ in order]
    assert {row[1] for row in look.rows} <= {"a", "b", "c", "d"}
    assert sum(row[2][0] for row in look.rows) == pytest.approx(float(first.sums[3].mean()))
    # GAtt's scores of all links of the tree sum to 1 a layer; these enter the root or return to it.
    scores = gat.inspection.gatt(attention, 3)
    shown = sum(row[3] for row in look.rows)
    entering = (first.target == 3).nonzero().squeeze(1)
    assert shown == pytest.approx(float(scores.edges[entering].sum() + scores.loops[3]) / 2)
    text = look.markdown()
    assert "n3\\|&lt;b&gt; (3) (itself)" in text


def test_a_hub_lists_its_first_neighbours():
    edge_index, num_nodes, _ = GRAPHS["hub"]
    layer, x = gat.nn.GATConv(WIDTH, 5, heads=2), torch.randn(num_nodes, WIDTH)
    with gat.record_attention(layer) as attention:
        layer(x, edge_index)
    look = report(attention, node=0).node
    assert (len(look.rows), look.left_out) == (20, 78)
    assert "78 more neighbours are not listed" in look.markdown()
    assert {row[1] for row in look.rows} == {"–"}


def test_json_has_everything_and_no_nan(found):
    attention, y, faithful = found
    data = report(attention, y, faithfulness=faithful, node=3, even="As good.").to_dict()
    text = json.dumps(data, allow_nan=False)
    back = json.loads(text)
    assert back["verdicts"][0]["layer"] == "first"
    assert back["faithfulness"]["methods"]["attention"]["deletion"]["area"] == pytest.approx(
        faithful["attention"].deletion.area
    )
    assert back["node"]["node"] == 3
    assert back["even"] == "As good."
    assert len(back["measures"]) == 2


def test_few_nodes_are_not_counted_as_wins(found):
    attention, _, _ = found
    few = faithfulness(*case(), [0, 1, 2], ["attention", "nearest"], resamples=50)
    text = report(attention, faithfulness=few).markdown()
    assert "cannot be told from 3 nodes; 10 or more are needed." in text
    assert "of 2 tests" not in text


def test_a_method_is_compared_only_with_what_was_measured(found):
    attention, _, _ = found
    without = faithfulness(*case(), range(12), ["attention"], top_k=(), resamples=50)
    text = report(attention, faithfulness=without).markdown()
    assert "nearest" not in text
    assert "| ranked by | deletion area | insertion area |\n| --- | --- | --- |\n" in text


def test_where_a_method_is_worse_it_says_so():
    flipped = {"flipped": lambda m, x, e, n: -gradient_x_input(m, x, e, n)}
    worse = faithfulness(*case(), range(31), [], scorers=flipped, resamples=200)["flipped"]
    sides = [worse.against_random[f"{way}_area"] for way in ("deletion", "insertion")]
    later = (sides[0].low > 1e-6) + (sides[1].high < -1e-6)
    assert later > 0
    assert f"(later in {later})" in _in_a_sentence(worse)


def test_the_followed_class_is_called_what_it_is(found):
    attention, y, faithful = found
    assert (
        "With all edges the predicted class" in report(attention, faithfulness=faithful).markdown()
    )
    given = faithfulness(*case(), range(12), [], target=y, resamples=50)
    assert "With all edges the given class" in report(attention, faithfulness=given).markdown()


def test_why_nothing_was_measured_is_told_and_stored(found):
    attention, _, _ = found
    told = report(attention, unmeasured="there were no nodes")
    assert told.markdown().count("was not measured: there were no nodes.") == 2
    assert told.to_dict()["unmeasured"] == "there were no nodes"


def test_a_node_that_no_edge_enters_has_no_table():
    conv = gat.nn.GATConv(3, 2, add_self_loops=False)
    with gat.record_attention(conv) as attention:
        conv(torch.randn(3, 3), torch.tensor([[0, 1], [1, 1]]))
    text = report(attention, node=2).markdown()
    assert "## What node 2 looks at\n\nNo edge enters it" in text
    assert "| neighbour |" not in text


def test_markup_in_names_stays_text(found):
    attention, _, _ = found
    names = ["<script>x\ny"] * 31
    told = report(attention, title="<i>", facts={"run": "<b>"}, node=1, names=names)
    text = told.markdown({"a <u>\nb]": "my folder/a.png"})
    assert re.findall(r"<(?!sub)", text) == []
    assert "## What &lt;script&gt;x y (node 1) looks at" in text
    assert "![a &lt;u&gt; b)](my%20folder/a.png)" in text


def test_no_number_is_minus_nothing():
    assert interval(-0.0001, -0.0002, 0.0) == "0.000 (0.000 to 0.000)"


def test_writing_gives_markdown_and_json(found, tmp_path):
    attention, y, _ = found
    told = report(attention, y)
    assert told.write(tmp_path / "r.md") == (tmp_path / "r.md", tmp_path / "r.json")
    assert (tmp_path / "r.md").read_text(encoding="utf-8") == told.markdown()
    assert json.loads((tmp_path / "r.json").read_text()) == told.to_dict()
