"""The report: it says what the measures say, in Markdown and in JSON."""

import json
import re

import pytest
import torch

import gat
from gat.inspection import faithfulness, measure, report, verdicts
from tests.graphs import GRAPHS
from tests.inspection.networks import WIDTH, network


@pytest.fixture(scope="module")
def found():
    torch.manual_seed(0)
    edge_index, num_nodes, _ = GRAPHS["random"]
    model, x = network("gat", "GATConv"), torch.randn(num_nodes, WIDTH).double()
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
