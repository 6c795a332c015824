"""`DocumentClassifier`: hierarchical and flat, against reading every document by itself."""

import pytest
import torch

import gat
from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.models import DocumentClassifier
from gat.models.document_classifier import POOLINGS
from gat.models.encoders import ENCODERS

VOCABULARY, CLASSES, CHANNELS = 11, 3, 6
DOCUMENTS = {
    "one_word": ([1], [1]),
    "unequal": ([3, 1, 4, 2, 5], [2, 3]),
    "an_empty_sentence": ([3, 0, 4], [1, 2]),
    "an_empty_document": ([3, 2], [2, 0]),
    "no_documents": ([], []),
}
of_documents = pytest.mark.parametrize("counts", DOCUMENTS.values(), ids=DOCUMENTS)


def classifier(**options):
    options = {"channels": CHANNELS, **options}
    return DocumentClassifier(VOCABULARY, CLASSES, **options).double().eval()


def words_of(counts):
    return torch.randint(VOCABULARY, (sum(counts[0]),))


def weighted(pooling, parts):
    """The sum of parts [n, C] by attention; of none zeros."""
    if not len(parts):
        return torch.zeros(CHANNELS, dtype=torch.float64)
    scores = torch.tanh(pooling.hidden(parts)) @ pooling.query[0]
    return scores.softmax(0) @ parts


def level(model, number, parts):
    """One whole, read alone."""
    reader = model.reader
    read = reader.encoders[number](parts, torch.tensor([len(parts)]))
    return weighted(reader.poolings[number], read)


def one_by_one(model, words, counts, pooling):
    sentences = model.embedding(words).split(counts[0])
    out, at = [], 0
    for count in counts[1]:
        own = sentences[at : at + count]
        at += count
        if pooling == "flat":
            document = level(model, 0, torch.cat([*own, words.new_zeros(0, CHANNELS).double()]))
        else:
            vectors = [level(model, 0, one) for one in own]
            document = torch.stack(vectors) if own else torch.zeros(0, CHANNELS).double()
            document = level(model, 1, document)
        out.append(model.output(document))
    return torch.stack(out) if out else torch.zeros(0, CLASSES).double()


@of_documents
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_classifier_reads_every_document_alone(pooling, encoder, counts):
    model = classifier(pooling=pooling, encoder=encoder)
    words = words_of(counts)
    out = model(words, *counts)
    expected = one_by_one(model, words, counts, pooling)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(model(words, *map(torch.tensor, counts)), out)


def test_record_attention_hears_both_levels():
    counts = DOCUMENTS["unequal"]
    model = classifier(encoder="none")
    with gat.record_attention(model) as attention:
        model(words_of(counts), *counts)
    words, sentences = (attention[f"reader.poolings.{k}.attention"] for k in range(2))
    assert (words.num_src, words.num_dst) == (15, 5)
    assert sentences.edge_index.tolist() == [[0, 1, 2, 3, 4], [0, 0, 1, 1, 1]]


def test_flat_attention_is_over_all_words_of_a_document():
    counts = DOCUMENTS["unequal"]
    model = classifier(encoder="none", pooling="flat", heads=2)
    with gat.record_attention(model) as attention:
        model(words_of(counts), *counts)
    (record,) = attention.values()
    assert record.edge_index[1].tolist() == [0] * 4 + [1] * 11
    assert record.num_heads == 2


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_parameter_is_told_how_to_change(pooling):
    counts = DOCUMENTS["unequal"]
    model = classifier(pooling=pooling, encoder="gru")
    model(torch.arange(15) % VOCABULARY, *counts).square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_options_make_the_classifier_again():
    model = classifier(pooling="flat", encoder="self-attention", normalizer="sparsemax", heads=2)
    again = DocumentClassifier(**model.options).double().eval()
    again.load_state_dict(model.state_dict())
    counts = DOCUMENTS["unequal"]
    words = words_of(counts)
    assert torch.equal(again(words, *counts), model(words, *counts))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_counts_are_refused_that_do_not_fit(pooling):
    model = classifier(pooling=pooling)
    words = torch.zeros(5, dtype=torch.int64)
    with pytest.raises(InputError, match=r"words_per_sentence has 2 counts, .* sum to 4; .* 5 w"):
        model(words, [2, 2], [2])
    with pytest.raises(InputError, match="sentences_per_document has 1 counts, which sum to 1; "):
        model(words, [2, 3], [1])
    with pytest.raises(InputError, match=r"words_per_sentence has .* a count of -1"):
        model(words, [6, -1], [2])
    with pytest.raises(ArgumentTypeError, match=r"sentences_per_document has dtype torch\.float32"):
        model(words, [2, 3], [2.0])
    with pytest.raises(IndexRangeError, match=r"words has the token -1; .*vocabulary_size="):
        model(words - 1, [2, 3], [2])
    with pytest.raises(InputError, match="pooling is 'deep'; expected one of 'hierarchical'"):
        classifier(pooling="deep")


def test_reset_parameters_draws_anew():
    model = classifier()
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    model.reset_parameters()
    drawn = {n for n, weight in model.named_parameters() if not torch.equal(weight, before[n])}
    assert {"embedding.weight", "output.weight", "reader.poolings.1.hidden.weight"} <= drawn
