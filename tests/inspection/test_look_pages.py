"""Pages of sentences, images and documents: what is in the file, and what is refused. In a browser:
test_look_pages_browser.py."""

import base64
import hashlib
import re
from dataclasses import replace
from itertools import chain

import pytest
import torch

from gat import topology
from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.inspection import (
    Attention,
    write_document_page,
    write_image_page,
    write_text_page,
)
from gat.inspection.page import image as image_page
from gat.inspection.page import text as text_page
from tests.inspection.page_parts import document_of, elements_of
from tests.inspection.sequence_records import EVIL, SENTENCE, dense, edges_between, record_on

CUT = EVIL + "</script><!-- & \u2028 ' \" \ud800"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "page.html"


def weights_in(layer, num_src):
    """What a page says, [H, num_dst, num_src], 0 without an edge; and where it has an edge."""
    first = torch.tensor(layer["first"])
    target = torch.arange(first.numel() - 1).repeat_interleave(first.diff())
    matrix = torch.zeros(len(layer["heads"]), first.numel() - 1, num_src, dtype=torch.float64)
    matrix[:, target, layer["source"]] = torch.tensor(layer["weights"], dtype=torch.float64)
    there = torch.zeros(matrix.shape[1:], dtype=torch.bool)
    there[target, layer["source"]] = True
    return matrix, there


def assert_holds(layer, record):
    matrix, there = weights_in(layer, record.num_src)
    assert torch.equal(there, edges_between(record))
    for head, weights in enumerate(matrix):
        torch.testing.assert_close(weights, dense(record, head), atol=0, rtol=1e-3)


@pytest.mark.parametrize(
    "graph",
    [topology.complete(1), topology.complete(12), topology.causal(7), topology.window(60, 3)],
    ids=["one_word", "complete", "causal", "sixty_words"],
)
def test_text_page_of_a_sentence_holds_every_weight(graph, path):
    record = record_on(graph)
    words = (SENTENCE * 5)[: graph.num_dst]
    assert write_text_page(path, record, words) == path
    document = document_of(path)
    assert document["source"] == words
    assert document["target"] is None
    assert document["start"] == {"layer": 0, "head": "mean", "word": 0}
    (layer,) = document["layers"]
    assert_holds(layer, record)
    assert (layer["name"], layer["type"], layer["seen"]) == ("attention", "Attend", None)


@pytest.mark.parametrize(("sources", "targets"), [(1, 1), (3, 60), (60, 3), (5, 7)])
def test_text_page_of_a_pair_holds_every_weight_of_every_layer(sources, targets, path):
    graph = topology.bipartite(sources, targets)
    records = [replace(record_on(graph, heads, heads), layer=f"cross.{heads}") for heads in (1, 3)]
    words = [f"s{place}" for place in range(sources)], [f"t{place}" for place in range(targets)]
    write_text_page(path, Attention(records), *words, word=targets - 1, layer="cross.3", head=2)
    document = document_of(path)
    assert (document["source"], document["target"]) == words
    for layer, record in zip(document["layers"], records, strict=True):
        assert_holds(layer, record)
    assert document["start"] == {"layer": 1, "head": 2, "word": targets - 1}


def test_text_page_shows_blanks_and_sums_loops(path):
    record = record_on(topology.bipartite(3, 3), heads=1)
    record = replace(record, loops=torch.tensor([[0.5], [0.0], [0.0]]))
    write_text_page(path, record, [" ", "\n", ""])
    document = document_of(path)
    assert document["source"] == ["␣", "⏎", "∅"]
    expected = dense(record)
    expected[0, 0] += 0.5
    matrix, _ = weights_in(document["layers"][0], 3)
    torch.testing.assert_close(matrix[0], expected, atol=0, rtol=1e-3)


@pytest.mark.parametrize(("shape", "size"), [((4, 6), None), ((3, 8, 12), None), ((9, 9), (4, 6))])
def test_image_page_holds_the_image_and_every_weight(shape, size, path):
    record = record_on(topology.grid(4, 6, radius=1))
    image = torch.rand(shape)
    write_image_page(path, record, image, size=size, pixel=(3, 5))
    document = document_of(path)
    assert document["size"] == [4, 6]
    shown = (255 * image).round().int()
    assert document["image"] == (shown.movedim(0, -1) if len(shape) == 3 else shown).tolist()
    assert_holds(document["layers"][0], record)
    assert document["layers"][0]["own"] is True
    tall, wide = shape[-2:]
    node = (3 * 4 // tall) * 6 + 5 * 6 // wide
    assert document["start"] == {"layer": 0, "head": "mean", "node": node}


def test_image_page_of_a_read_out_says_that_its_targets_are_no_pixels(path):
    records = [record_on(topology.grid(2, 2)), record_on(topology.bipartite(4, 1))]
    records[1] = replace(records[1], layer="pooling")
    write_image_page(path, records, torch.rand(2, 2))
    assert [layer["own"] for layer in document_of(path)["layers"]] == [True, False]
    with pytest.raises(InputError, match="of a layer whose targets are the pixels"):
        write_image_page(path, records, torch.rand(2, 2), pixel=(0, 0), layer="pooling")


def test_image_page_is_of_layers_with_one_size_of_map(path):
    records = [record_on(topology.grid(8, 8, radius=1)), record_on(topology.grid(4, 4))]
    with pytest.raises(InputError, match=r"maps of different sizes \(.* 8 x 8, .* 4 x 4\); write"):
        write_image_page(path, records, torch.rand(8, 8))
    assert not path.exists()


@pytest.mark.parametrize("lengths", [[1], [3, 0, 2], [60, 1]], ids=str)
def test_document_page_holds_both_weights_by_sentence(lengths, path):
    graphs = topology.hierarchy(lengths, [len(lengths)])
    below, above = (record_on(graph, seed=seed) for seed, graph in enumerate(graphs))
    text = [(SENTENCE * 5)[:length] for length in lengths]
    write_document_page(path, below, above, text, head=1)
    document = document_of(path)
    assert document["document"] == text
    assert document["start"] == {"layer": 0, "head": 1}
    (layer,) = document["layers"]
    for head in range(2):
        sentences = torch.tensor(layer["sentences"][head], dtype=torch.float64)
        torch.testing.assert_close(sentences, dense(above, head)[0], atol=0, rtol=1e-3)
        assert [len(line) for line in layer["words"][head]] == lengths
        words = torch.tensor([*chain(*layer["words"][head])], dtype=torch.float64)
        torch.testing.assert_close(words, below.weights[:, head].double(), atol=0, rtol=1e-3)


def test_document_page_of_layers_with_other_heads_has_their_means(path):
    below, above = (
        record_on(graph, heads=heads)
        for heads, graph in zip((3, 1), topology.hierarchy([2, 2], [2]), strict=True)
    )
    write_document_page(path, below, above, [["a", "b"], ["c", "d"]])
    (layer,) = document_of(path)["layers"]
    assert layer["heads"] == [-1]
    words = torch.tensor([*chain(*layer["words"][0])])
    torch.testing.assert_close(words, below.weights.mean(1), atol=0, rtol=1e-3)


def text(path, **options):
    return write_text_page(path, record_on(topology.complete(3)), ["a", CUT, CUT], **options)


def pair(path, **options):
    record = replace(record_on(topology.bipartite(3, 2)), layer=CUT)
    return write_text_page(path, record, [CUT] * 3, [CUT] * 2, **options)


def image(path, **options):
    record = replace(record_on(topology.grid(2, 2)), layer=CUT)
    return write_image_page(path, record, torch.eye(2), **options)


def document(path, **options):
    below, above = map(record_on, topology.hierarchy([2, 1], [2]))
    return write_document_page(path, below, above, [[CUT, "b"], [CUT]], **options)


PAGES = {one.__name__: one for one in (text, pair, image, document)}


@pytest.mark.parametrize("write", PAGES.values(), ids=PAGES)
def test_pages_are_well_formed_and_ask_for_nothing_from_outside(write, path):
    write(path, title="a title")
    elements = elements_of(path)
    assert elements.faults == []
    assert elements.open == []
    for tag, attrs in elements.tags:
        assert not {"src", "href", "style", "srcset"} & set(attrs) or tag == "a", (tag, attrs)
    ids = [attrs["id"] for _, attrs in elements.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    labelled = {attrs.get("for") for tag, attrs in elements.tags if tag == "label"}
    assert labelled == {attrs["id"] for tag, attrs in elements.tags if tag in ("input", "select")}
    referred = {
        attrs["aria-labelledby"] for _, attrs in elements.tags if "aria-labelledby" in attrs
    }
    assert referred <= set(ids)
    assert "sigma" not in path.read_text("utf-8")


@pytest.mark.parametrize("write", PAGES.values(), ids=PAGES)
def test_policy_lets_run_a_pages_own_scripts_and_nothing_else(write, path):
    write(path)
    elements = elements_of(path)
    policy = next(attrs["content"] for _, attrs in elements.tags if attrs.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    kinds = [attrs for tag, attrs in elements.tags if tag == "script"]
    run = [code for code, attrs in zip(elements.scripts, kinds, strict=True) if "type" not in attrs]
    digests = {base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in run}
    allowed = next(part for part in policy.split(";") if "script-src" in part)
    assert set(re.findall(r"sha256-([^']+)", allowed)) == digests


@pytest.mark.parametrize("write", PAGES.values(), ids=PAGES)
def test_words_cannot_leave_their_place(write, path):
    write(path, title=CUT)
    html = path.read_text("utf-8")
    assert "<script>window" not in html
    assert "<img" not in html
    elements = elements_of(path)
    assert elements.faults == []
    contents = document_of(path)
    data = elements.scripts[[a.get("id") for t, a in elements.tags if t == "script"].index("data")]
    assert not set("<>&\u2028") & set(data)
    shown = [*contents.get("source", [CUT]), *chain(*contents.get("document", []))]
    # A surrogate, which UTF-8 has not, is shown as what it is.
    assert CUT in shown or CUT.replace("\ud800", "\ufffd") in shown


@pytest.mark.parametrize("write", PAGES.values(), ids=PAGES)
def test_the_same_records_make_the_same_page(write, path, tmp_path):
    again = tmp_path / "again.html"
    assert write(path).read_bytes() == write(again).read_bytes()


SELF, PAIR = record_on(topology.complete(3)), record_on(topology.bipartite(3, 2))
ABC = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("write", "error", "message"),
    [
        (lambda path: write_text_page(path, SELF, ["a", "b"]), InputError,
         "tokens has 2 words; expected one for each of the 3 sources of attention"),
        (lambda path: write_text_page(path, PAIR, ABC), InputError,
         "tokens has 3 words; expected one for each of the 2 targets"),
        (lambda path: write_text_page(path, PAIR, ABC, ABC), InputError, "target_tokens has 3"),
        (lambda path: write_text_page(path, [SELF, PAIR], ABC), InputError, "the 2 targets"),
        (lambda path: write_text_page(path, SELF, "abc"), ArgumentTypeError, "a list of words"),
        (lambda path: write_text_page(path, SELF, ABC, word=3), IndexRangeError, "word is 3"),
        (lambda path: write_text_page(path, SELF, ABC, head=2), IndexRangeError, "no record of h"),
        (lambda path: write_text_page(path, SELF, ABC, layer="x"), InputError, "layer is 'x'"),
        (lambda path: write_text_page(path, [], ABC), InputError, "no attention records"),
        (lambda path: write_text_page(path, record_on(topology.complete(0)), []), InputError,
         "attention has no edges; there is nothing to draw"),
        (lambda path: write_text_page(path, replace(SELF, weights=SELF.weights / 0), ABC),
         InputError, "not all finite"),
        (lambda path: write_text_page(path.parent / "absent" / "page.html", SELF, ABC), InputError,
         "there is no folder"),
        (lambda path: write_image_page(path, SELF, torch.rand(2, 2)), InputError, "3 sources"),
        (lambda path: write_image_page(path, SELF, torch.rand(1, 3), pixel=(1, 0)),
         IndexRangeError, r"pixel is \(1, 0\)"),
        (lambda path: write_image_page(path, SELF, torch.rand(1, 3), pixel=[(0, 0), (0, 1)]),
         InputError, "expected one pixel"),
        (lambda path: write_document_page(path, SELF, PAIR, [ABC]), InputError, "the document"),
    ],
)  # fmt: skip
def test_pages_refuse_and_leave_no_file(write, error, message, path):
    with pytest.raises(error, match=message):
        write(path)
    assert not path.exists()


def test_more_weights_than_a_page_holds_are_refused(path, monkeypatch):
    monkeypatch.setattr(text_page, "MAX_WEIGHTS", 17)
    monkeypatch.setattr(image_page, "MAX_WEIGHTS", 7)
    with pytest.raises(InputError, match=r"18 weights; a page holds up to 17\. Draw a shorter"):
        write_text_page(path, SELF, ABC)
    with pytest.raises(InputError, match=r"a page holds up to 7\. Draw a smaller image"):
        write_image_page(path, record_on(topology.grid(1, 2)), torch.rand(1, 2))
    assert write_text_page(path, SELF.head(0), ABC) == path
