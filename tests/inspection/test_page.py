"""gat.inspection.page.write_page: what is in the file, and what is refused. In a browser:
test_page_browser.py."""

import base64
import hashlib
import re
import tomllib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import torch

import gat
from gat.errors import IndexRangeError, InputError
from gat.inspection import Attention
from gat.inspection.page import write_page
from gat.inspection.page.edges import count_within, shared_edges
from gat.inspection.page.layout import layout
from tests.graphs import GRAPHS, HUB, SQUARE
from tests.inspection.page_parts import document_of, elements_of
from tests.inspection.page_records import record, ring, scattered

VENDOR = files("gat.inspection.page") / "vendor"
DRAWN = [name for name in SQUARE if GRAPHS[name][1] > 0]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "page.html"


@pytest.mark.parametrize("name", DRAWN)
def test_page_holds_every_edge_with_its_weights(name, path):
    edge_index, num_nodes, _ = GRAPHS[name]
    layer = record(edge_index, num_nodes)
    assert write_page(path, layer) == path
    document = document_of(path)
    nodes, edges, written = document["nodes"], document["edges"], document["layers"][0]
    assert nodes["number"] == list(range(num_nodes))
    assert edges["number"] == list(range(edge_index.size(1)))
    assert [edges["source"], edges["target"]] == edge_index.tolist()
    torch.testing.assert_close(
        torch.tensor(written["weights"]), layer.weights.t().contiguous(), atol=0, rtol=1e-3
    )
    torch.testing.assert_close(
        torch.tensor(written["loops"]), layer.loops.t().contiguous(), atol=0, rtol=1e-3
    )
    assert len(nodes["x"]) == len(nodes["y"]) == num_nodes
    in_degree = edge_index[1].bincount(minlength=num_nodes)
    assert in_degree[document["centre"]] == in_degree.max()


def test_page_of_a_target_to_source_record_turns_its_edges(path):
    write_page(path, replace(record(torch.tensor([[1], [0]]), 2), flow="target_to_source"))
    assert document_of(path)["edges"] == {"source": [0], "target": [1], "number": [0]}


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_neighbourhood_is_what_messages_reach_the_node_over(hops, path):
    edge_index, num_nodes, _ = GRAPHS["random"]
    inner, chosen = {7}, set()
    for _ in range(hops):
        chosen = {e for e, t in enumerate(edge_index[1].tolist()) if t in inner}
        border_after = inner | {int(edge_index[0, e]) for e in chosen}
        within, inner = inner, border_after
    layer = record(edge_index, num_nodes)
    write_page(path, layer, node=7, hops=hops)
    document = document_of(path)
    nodes, edges = document["nodes"], document["edges"]
    assert set(edges["number"]) == chosen
    assert set(nodes["number"]) == border_after
    for place, number in enumerate(edges["number"]):
        pair = [nodes["number"][edges[end][place]] for end in ("source", "target")]
        assert pair == edge_index[:, number].tolist()
        assert document["layers"][0]["weights"][1][place] == pytest.approx(
            float(layer.weights[number, 1]), rel=1e-3
        )
    border = {n for n, out in zip(nodes["number"], nodes["border"], strict=True) if out}
    assert border == border_after - within
    assert nodes["number"][document["centre"]] == 7


def test_page_is_well_formed_and_asks_for_nothing_from_outside(path):
    write_page(path, record(ring(5), 5), title="a title")
    elements = elements_of(path)
    assert elements.faults == []
    assert elements.open == []
    for tag, attrs in elements.tags:
        assert not {"src", "href", "style", "srcset"} & set(attrs) or tag == "a", (tag, attrs)
    ids = [attrs["id"] for _, attrs in elements.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    labelled = {attrs.get("for") for tag, attrs in elements.tags if tag == "label"}
    controls = {attrs["id"] for tag, attrs in elements.tags if tag in ("input", "select")}
    assert labelled == controls


def test_policy_lets_run_the_pages_own_scripts_and_nothing_else(path):
    write_page(path, record(ring(5), 5))
    elements = elements_of(path)
    policy = next(a["content"] for t, a in elements.tags if a.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    run = [
        text
        for text, (_, attrs) in zip(
            elements.scripts, [one for one in elements.tags if one[0] == "script"], strict=True
        )
        if "type" not in attrs
    ]
    digests = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run}
    script_sources = next(part for part in policy.split(";") if "script-src" in part)
    assert set(re.findall(r"sha256-([^']+)", script_sources)) == digests


# A lone surrogate, too: it cannot be written as UTF-8.
EVIL = "</script><script>alert(1)</script><!-- & \u2028 \u2029 ' \" \ud800"


def test_labels_cannot_leave_their_place(path):
    write_page(
        path,
        record(ring(3), 3, layer=EVIL),
        y=[0, 0, 0],
        class_names=[EVIL],
        names=[EVIL] * 3,
        title=EVIL,
    )
    text = path.read_text("utf-8")
    assert "<script>alert" not in text
    elements = elements_of(path)
    assert elements.faults == []
    assert not any(set("<>&\u2028\u2029") & set(text) for text in elements.scripts[:1])
    document = document_of(path)
    assert document["nodes"]["label"] == [EVIL] * 3
    assert document["classes"] == [EVIL]
    assert document["layers"][0]["name"] == EVIL


def test_too_large_a_graph_is_refused_with_the_neighbourhood_offered(path):
    edges = torch.cat([scattered(40, 5001), HUB], 1)
    layer = record(edges, 98)
    one, two = (count_within(shared_edges([layer]), 0, hops) for hops in (1, 2))
    with pytest.raises(InputError) as error:
        write_page(path, layer)
    words = str(error.value)
    assert "5098 edges" in words
    assert "up to 5000" in words
    assert f"node=0, has {one} edges within hops=1 and {two} edges within hops=2" in words
    assert not path.exists()


def test_too_large_a_neighbourhood_offers_fewer_hops(path):
    layer = record(scattered(40, 400), 40)
    near = int((layer.target == 3).sum())
    with pytest.raises(InputError, match=rf"2-hop neighbourhood of node 3 .* node 3 has {near} e"):
        write_page(path, layer, node=3, max_edges=100)
    with pytest.raises(InputError, match="choose a node with fewer edges"):
        write_page(path, layer, node=3, hops=1, max_edges=1)
    assert write_page(path, layer, node=3, hops=1, max_edges=100) == path


def test_5000_edges_are_not_too_many(path):
    write_page(path, record(scattered(300, 5000), 300, heads=1))
    assert len(document_of(path)["edges"]["number"]) == 5000


def test_layers_over_the_same_edges_stand_side_by_side(path):
    edge_index, num_nodes, _ = GRAPHS["loops_and_duplicates"]
    first = record(edge_index, num_nodes, "first", heads=3)
    second = record(edge_index, num_nodes, "second", heads=1, loops=False)
    for given in ([first, second], Attention([first, second])):
        write_page(path, given)
        layers = document_of(path)["layers"]
        assert [layer["name"] for layer in layers] == ["first", "second"]
        assert [len(layer["weights"]) for layer in layers] == [3, 1]
        assert layers[1]["loops"] == [[0.0] * num_nodes]


def test_heads_keep_their_numbers_in_the_layer(path):
    write_page(path, record(ring(4), 4, heads=3).head(2))
    assert document_of(path)["layers"][0]["heads"] == [2]


def test_partial_records_are_joined_by_the_callers_numbers(path):
    edge_index = ring(6)
    whole = record(edge_index, 6)
    rows = torch.tensor([9, 0, 4])
    part = replace(
        whole,
        layer="part",
        edge_index=edge_index[:, rows],
        weights=whole.weights[rows],
        edge_id=rows,
        seen=torch.tensor([0, 1, 0, 1, 1, 1], dtype=torch.bool),
        complete=torch.tensor([0, 1, 0, 0, 0, 0], dtype=torch.bool),
    )
    write_page(path, [whole, part])
    layers = document_of(path)["layers"]
    assert layers[0]["state"] is None
    assert layers[1]["state"] == ["none", "all", "none", "some", "some", "some"]
    recorded = {e for e, weight in enumerate(layers[1]["weights"][0]) if weight is not None}
    assert recorded == set(rows.tolist())
    write_page(path, part)
    document = document_of(path)
    assert document["edges"]["number"] == sorted(rows.tolist())
    ends = {int(node) for node in part.edge_index.flatten()}
    assert set(document["nodes"]["number"]) == ends | {1, 3, 4, 5}


def other_edges():
    return [record(ring(4), 4, "a"), record(ring(4).flip(1), 4, "b")]


@pytest.mark.parametrize(
    ("records", "words"),
    [
        pytest.param(
            lambda: record(torch.tensor([[4], [0]]), 2, num_src=5),
            "attends from 2 nodes over another 5; the page draws one set of nodes",
            id="bipartite",
        ),
        pytest.param(
            lambda: record(ring(3), 3, edge_type=("author", "writes", "paper")),
            "conv1 author-writes-paper attends from 3 nodes over another 3",
            id="two_types_of_as_many_nodes",
        ),
        pytest.param(
            lambda: [record(ring(4), 4, "a"), record(ring(5), 5, "b")],
            "a attends over 8 edges of 4 nodes and b over 10 of 5",
            id="other_graphs",
        ),
        pytest.param(
            other_edges,
            "edge 0 goes from node 0 to 1 in a and from 0 to 3 in a later layer",
            id="same_edges_in_another_order",
        ),
        pytest.param(
            lambda: replace(record(ring(3), 3), loops=torch.full((3, 2), float("nan"))),
            "weights of conv1 are not all finite",
            id="nan",
        ),
        pytest.param(
            lambda: record(torch.empty(2, 0, dtype=torch.int64), 0), "nothing to draw", id="empty"
        ),
        pytest.param(list, "there are no attention records", id="no_layer"),
    ],
)
def test_records_the_page_cannot_draw_are_refused(records, words, path):
    with pytest.raises(InputError, match=re.escape(words)):
        write_page(path, records())
    assert not path.exists()


def test_a_typed_record_over_one_type_of_nodes_is_drawn(path):
    write_page(path, record(ring(3), 3, edge_type=("paper", "cites", "paper")))
    assert document_of(path)["layers"][0]["name"] == "conv1 paper-cites-paper"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"names": ["a", "b"]}, "names has 2 entries; expected one for each of the 4 nodes"),
        ({"names": "abcd"}, "names has 4 entries"),
        ({"y": [0, 1, 0]}, r"y has shape \[3\].*expected an integer for each of the 4 nodes"),
        ({"y": torch.rand(4)}, "dtype torch.float32; expected an integer"),
        ({"y": torch.zeros(4, 2, dtype=torch.int64)}, r"y has shape \[4, 2\]"),
        ({"y": [0, 1, 2, 0], "class_names": ["a", "b"]}, "class_names has 2 entries.*expected 3"),
        ({"class_names": ["a"]}, "class_names were passed without y"),
        ({"node": 1, "hops": 0}, "hops is 0; expected 1 or more"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, dict) else "",
)
def test_wrong_options_are_refused(options, words, path):
    with pytest.raises(InputError, match=words):
        write_page(path, record(ring(4), 4), **options)


def test_a_node_out_of_range_is_refused(path):
    with pytest.raises(IndexRangeError, match=r"node is 4; expected a node in \[0, 4\)"):
        write_page(path, record(ring(4), 4), node=4)


def test_classes_may_be_unknown_and_need_no_names(path):
    write_page(path, record(ring(4), 4), y=torch.tensor([1, -1, 0, 1]))
    document = document_of(path)
    assert document["nodes"]["class"] == [1, None, 0, 1]
    assert document["classes"] == ["class 0", "class 1"]


def test_a_missing_folder_or_one_in_the_files_place_is_named(tmp_path):
    layer = record(ring(3), 3)
    with pytest.raises(InputError, match=r"there is no folder .*absent"):
        write_page(tmp_path / "absent" / "page.html", layer)
    with pytest.raises(InputError, match="is a folder; expected the name of a file"):
        write_page(tmp_path, layer)


def test_what_was_there_stays_where_writing_fails(path, monkeypatch):
    write_page(path, record(ring(3), 3))
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(InputError, match=r"could not write .*No space left"):
        write_page(path, record(ring(4), 4))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_the_same_records_make_the_same_page(path, tmp_path):
    layer = record(scattered(50, 200), 50)
    again = tmp_path / "again.html"
    write_page(path, layer)
    write_page(again, layer)
    assert path.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("name", DRAWN)
def test_no_two_nodes_lie_in_one_place(name):
    edge_index, num_nodes, _ = GRAPHS[name]
    places = torch.as_tensor(layout(num_nodes, *edge_index.numpy(), 0))
    assert places.isfinite().all()
    apart = torch.cdist(places, places) + 9 * torch.eye(num_nodes, dtype=places.dtype)
    assert apart.min() > 0.2


def test_neighbours_lie_nearer_than_others():
    edges = ring(40)
    places = torch.as_tensor(layout(40, *edges.numpy(), 0))
    apart = torch.cdist(places, places)
    assert 2 * apart[edges[0], edges[1]].mean() < apart.mean()


def test_vendored_files_are_the_ones_the_readme_lists():
    table = re.findall(r"\| `([\w.]+)` \|.*`([0-9a-f]{64})`", (VENDOR / "README.md").read_text())
    assert {name for name, _ in table} == {
        one.name for one in VENDOR.iterdir() if one.name.endswith(".js")
    }
    for name, digest in table:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest


def test_every_page_carries_the_licences(path):
    write_page(path, record(ring(3), 3))
    text = path.read_text("utf-8")
    for one in VENDOR.iterdir():
        if one.name.endswith(".LICENSE.txt"):
            assert one.read_text("utf-8").strip() in text


def test_the_package_names_the_licences_of_what_it_holds():
    root = Path(gat.__file__).parent.parent
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["project"]["license-files"]
    named = {path for pattern in patterns for path in root.glob(pattern)}
    assert {one for one in VENDOR.iterdir() if one.name.endswith(".LICENSE.txt")} < named
