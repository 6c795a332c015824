"""gat.cli.looked_at: the tables of what was looked at most, against the records they are of."""

import pytest
import torch

from gat import topology
from gat.cli.looked_at import looks_of_document, looks_of_image, looks_of_tokens
from tests.inspection.sequence_records import dense, record_on


def test_looks_of_tokens_tells_of_each_the_one_it_looks_at_most():
    record = record_on(topology.bipartite(3, 2), heads=1)
    header, rows = looks_of_tokens(record, (["a", " ", "c"], [" ", "y"]))
    assert header == ["looking", "looks most at", "weight"]
    most = dense(record).argmax(1).tolist()
    names = ["a (0)", "␣ (1)", "c (2)"]
    assert [row[:2] for row in rows] == [["␣", names[most[0]]], ["y", names[most[1]]]]
    assert rows[0][2] == f"{100 * float(dense(record)[0].max()):.1f} %"


def test_looks_of_tokens_tells_more_of_one_that_looks_alone():
    record = record_on(topology.bipartite(11, 1), heads=1)
    _, rows = looks_of_tokens(record, (list("abcdefghijk"), ["answer"]))
    order = dense(record)[0].argsort(descending=True)[:8].tolist()
    assert [row[1] for row in rows] == [f"{'abcdefghijk'[place]} ({place})" for place in order]


def test_looks_of_tokens_tells_who_looks_at_nothing():
    record = record_on(topology.bipartite(3, 2), heads=1)
    record.weights[record.target == 1] = 0
    _, rows = looks_of_tokens(record, (list("abc"), list("xy")))
    assert rows[1] == ["y", "nothing", ""]


def test_looks_of_document_tells_sentences_and_their_words():
    words, sentences = (record_on(one, heads=1) for one in topology.hierarchy([2, 3], [2]))
    document = [["a", "b"], ["c", "d", "e"]]
    _, rows = looks_of_document(words, sentences, document)
    for number, row in enumerate(rows):
        within = dense(words)[number].argmax()
        assert row[0] == number
        assert row[1] == f"{100 * float(dense(sentences)[0, number]):.1f} %"
        assert row[2] == "abcde"[int(within)]
        assert row[3] == f"{100 * float(dense(words)[number, within]):.1f} %"


@pytest.mark.parametrize("sides", [(4, 6), (2, 3)], ids=["pixels", "smaller map"])
def test_looks_of_image_tells_the_places_of_most_weight(sides):
    record = record_on(topology.grid(*sides), heads=1)
    header, rows = looks_of_image(record, torch.rand(1, 4, 6))
    assert header[0] == "part of {} x {}".format(*sides)
    mean = dense(record).mean(0)
    best = int(mean.argmax())
    share = f"{100 * float(mean[best]):.1f} %"
    assert rows[0] == [f"({best // sides[1]}, {best % sides[1]})", share]
    assert len(rows) == min(8, mean.numel())
