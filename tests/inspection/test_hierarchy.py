"""gat.inspection.hierarchy: a document's two records laid out as the document is."""

import pytest

from gat import topology
from gat.errors import ArgumentTypeError, InputError
from gat.inspection import block
from gat.inspection.hierarchy import reading_of
from tests.inspection.sequence_records import dense, record_on

DOCUMENT = [["one", "two", "three"], ["four"], ["five", "six"]]


def records(lengths=(3, 1, 2), documents=(3,)):
    return [record_on(graph, heads=1) for graph in topology.hierarchy(lengths, documents)]


def test_reading_of_has_each_sentence_with_its_words():
    words, sentences = records()
    reading = reading_of(words, sentences, DOCUMENT)
    assert reading.document == DOCUMENT
    assert reading.sentences.tolist() == dense(sentences)[0].tolist()
    weights = words.weights[:, 0].double().tolist()
    assert [line.tolist() for line in reading.words] == [weights[:3], weights[3:4], weights[4:]]


def test_reading_of_one_document_out_of_a_batch():
    lengths, documents = [2, 3, 1, 2], [1, 3]
    words, sentences = records(lengths, documents)
    reading = reading_of(
        block(words, 1, [2, 6], [1, 3]), block(sentences, 1, documents, 1), DOCUMENT
    )
    assert reading.sentences.tolist() == dense(sentences)[1, 1:].tolist()
    assert reading.words[2].tolist() == words.weights[6:, 0].double().tolist()


def test_reading_of_an_empty_sentence():
    words, sentences = records((2, 0, 1), (3,))
    reading = reading_of(words, sentences, [["a", "b"], [], ["c"]])
    assert [line.size for line in reading.words] == [2, 0, 1]
    assert float(reading.words[2][0]) == 1


@pytest.mark.parametrize(
    ("lengths", "documents", "document", "error", "words"),
    [
        ((3, 1, 2), (3,), "one two", ArgumentTypeError, "expected a list of sentences"),
        ((3, 1), (2,), [["a"], "one two"], ArgumentTypeError, r"document\[1\] is the text 'one"),
        ((3, 1, 2), (1, 2), DOCUMENT, InputError, "has 2 targets; expected one, the document"),
        ((3, 1), (2,), DOCUMENT, InputError, "document has 3 sentences; attention has 2 targets"),
        ((3, 1, 3), (3,), DOCUMENT, InputError, "document has 6 words; expected one for each of"),
        ((2, 2, 2), (3,), DOCUMENT, InputError, "has 2, 2, 2 words in its first sentences"),
    ],
    ids=str,
)  # fmt: skip
def test_reading_of_refuses(lengths, documents, document, error, words):
    with pytest.raises(error, match=words):
        reading_of(*records(lengths, documents), document)


def test_reading_of_records_of_different_documents():
    words, _ = records()
    _, sentences = records((1, 1), (2,))
    with pytest.raises(InputError, match="3 sentences; attention has 2 sources"):
        reading_of(words, sentences, DOCUMENT)
