"""Pictures of sentences and documents: what they show is what was recorded, legibly."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gat import topology
from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.inspection.pictures import (
    caption_of,
    draw_alignment,
    draw_document,
    draw_sentence,
)
from tests.inspection.figures import assert_well_laid_out, drawn, legend_of, only, parts
from tests.inspection.sequence_records import LONG, SENTENCE, edges_between, record_on, weights_of

MATH = "$x_{1}$"
WORDS = [*(SENTENCE * 6)[:57], LONG * 2, MATH, ""]
AWKWARD = [(1, 1), (5, 1), (1, 5), (60, 3), (3, 60), (60, 60), (7, 11)]


def words(count, start=0):
    """As many awkward words: repeated ones, a very long one, a formula, none at all."""
    return (WORDS[::-1] * 2)[start : start + count]


# Alignment


@pytest.mark.parametrize(("sources", "targets"), AWKWARD)
def test_draw_alignment_has_the_weights_and_the_words(sources, targets):
    record = record_on(topology.bipartite(sources, targets))
    given = words(sources), words(targets, 2)
    figure = draw_alignment(record, *given)
    np.testing.assert_allclose(drawn(only(figure, "weights")), weights_of(record), rtol=1e-6)
    (ax,) = figure.axes
    for axis, tokens in ((ax.xaxis, given[0]), (ax.yaxis, given[1])):
        labels = [text.get_text() for text in axis.get_ticklabels()]
        short = [token if len(token) <= 20 else LONG[:19] + "…" for token in tokens]
        assert labels == [token or "∅" for token in short]
        assert not any(text.get_parse_math() for text in axis.get_ticklabels())
        assert axis.get_ticklocs().tolist() == list(range(len(tokens)))
    assert "mean of 2 heads" in caption_of(figure)
    assert_well_laid_out(figure)


@pytest.mark.parametrize("head", [0, 2])
def test_draw_alignment_of_a_head(head):
    record = record_on(topology.bipartite(5, 3), heads=3)
    figure = draw_alignment(record, words(5), words(3), head)
    np.testing.assert_allclose(drawn(only(figure, "weights")), weights_of(record, head), rtol=1e-6)
    assert f"Weights of head {head}." in caption_of(figure)
    with pytest.raises(IndexRangeError, match="no record of head 3"):
        draw_alignment(record, words(5), words(3), 3)


def test_draw_alignment_hatches_what_has_no_edge():
    record = record_on(topology.causal(6))
    figure = draw_alignment(record, words(6), words(6))
    assert np.isnan(drawn(only(figure, "weights"))).sum() == 15
    np.testing.assert_allclose(drawn(only(figure, "weights")), weights_of(record), rtol=1e-6)
    assert figure.axes[0].patch.get_hatch()
    assert legend_of(figure)[-1] == "no edge"
    assert "Hatched" in caption_of(figure)
    whole = draw_alignment(record_on(topology.complete(6)), words(6), words(6))
    assert "no edge" not in legend_of(whole)


def test_draw_alignment_writes_the_numbers_of_small_matrices():
    record = record_on(topology.causal(3), heads=1)
    numbers = [
        text.get_text() for text in parts(draw_alignment(record, *[words(3)] * 2), "number")[0]
    ]
    weights = [value for value in weights_of(record).ravel() if not np.isnan(value)]
    shown = [1.0 if text == "1" else float(f"0{text}") for text in numbers]
    assert shown == pytest.approx(weights, abs=0.005)
    assert numbers[0] == "1"
    assert parts(draw_alignment(record_on(topology.complete(13)), *[words(13)] * 2), "number") == [
        []
    ]


def test_draw_alignment_of_many_words_labels_some_and_says_so():
    many = [f"w{place}" for place in range(90)]
    figure = draw_alignment(record_on(topology.window(90, 2)), many, many)
    assert_well_laid_out(figure)
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == many[::2]
    assert "One word in 2 is written" in caption_of(figure)
    assert max(figure.get_size_inches()) < 16


def test_draw_alignment_writes_short_words_upright():
    record = record_on(topology.bipartite(4, 2))
    for tokens, turn in ((list("2 Ma"), 0), (["two", "May", "a", "b"], 90)):
        figure = draw_alignment(record, tokens, ["0", "2"])
        assert {text.get_rotation() for text in figure.axes[0].get_xticklabels()} == {turn}
    assert figure.axes[0].get_xticklabels()[1].get_text() == "May"
    shown = [
        text.get_text()
        for text in draw_alignment(record, list("2 Ma"), ["0", "2"]).axes[0].get_xticklabels()
    ]
    assert shown == ["2", "␣", "M", "a"]


def test_draw_alignment_of_an_empty_sentence_says_so():
    figure = draw_alignment(record_on(topology.bipartite(0, 3)), [], words(3))
    assert "One of the sentences is empty" in caption_of(figure)
    assert parts(figure, "weights") == [[]]
    assert_well_laid_out(figure)


def test_draw_alignment_shades_negative_weights_by_their_size():
    record = record_on(topology.bipartite(3, 2), heads=1)
    record = replace(record, weights=-record.weights)
    figure = draw_alignment(record, words(3), words(2))
    np.testing.assert_allclose(drawn(only(figure, "weights")), -weights_of(record), rtol=1e-6)
    assert "Some weights are negative" in caption_of(figure)


# Sentences


def lines_of(figure, width):
    """Shown weights, a row for each word that looks."""
    return drawn(only(figure, "words")).reshape(-1, width)


@pytest.mark.parametrize("count", [1, 2, 12])
@pytest.mark.parametrize("kind", [topology.complete, topology.causal], ids=["complete", "causal"])
def test_draw_sentence_has_a_line_for_each_word(count, kind):
    record, tokens = record_on(kind(count)), words(count)
    figure = draw_sentence(record, tokens)
    np.testing.assert_allclose(lines_of(figure, count), weights_of(record), rtol=1e-6)
    shown = [text.get_text() for text in parts(figure, "name")[0]]
    assert shown == [token or "∅" if len(token) <= 16 else LONG[:15] + "…" for token in tokens]
    texts = parts(figure, "word")[0]
    assert len(texts) == count * count
    # The word that looks is framed, and bold.
    assert len(only(figure, "frames").get_paths()) == count
    bold = [place for place, text in enumerate(texts) if text.get_weight() == "bold"]
    assert bold == [place * count + place for place in range(count)]
    assert_well_laid_out(figure)


def test_draw_sentence_words_without_an_edge_are_grey():
    record = record_on(topology.causal(5))
    figure = draw_sentence(record, SENTENCE[:5])
    grey = [text.get_color() != "black" for text in parts(figure, "word")[0]]
    assert grey == (~edges_between(record)).flatten().tolist()
    assert "grey letters have no edge" in caption_of(figure)


def test_draw_sentence_frames_surround_their_words_and_no_two_grounds_meet():
    figure = draw_sentence(record_on(topology.complete(40)), words(40), word=[3, 39])
    figure.draw_without_rendering()
    (ax,) = figure.axes
    grounds = [path.get_extents() for path in only(figure, "words").get_paths()]
    for place, one in enumerate(grounds):
        assert not any(one.overlaps(other) for other in grounds[place + 1 :])
    renderer = figure.canvas.get_renderer()
    for ground, text in zip(grounds, parts(figure, "word")[0], strict=True):
        box = text.get_window_extent(renderer).transformed(ax.transData.inverted())
        assert ground.x0 <= box.x0
        assert box.x1 <= ground.x1
    frames = [path.get_extents() for path in only(figure, "frames").get_paths()]
    assert [frame.bounds for frame in frames] == [grounds[3].bounds, grounds[79].bounds]
    assert_well_laid_out(figure)


@pytest.mark.parametrize("word", [4, [4], (4, 0, 4)])
@pytest.mark.parametrize("head", [None, 1])
def test_draw_sentence_of_chosen_words(word, head):
    record = record_on(topology.complete(12))
    figure = draw_sentence(record, SENTENCE, word, head)
    rows = [word] if isinstance(word, int) else list(word)
    np.testing.assert_allclose(lines_of(figure, 12), weights_of(record, head, rows), rtol=1e-6)
    # Its own largest weight is the darkest.
    assert only(figure, "words").norm.vmax == pytest.approx(
        np.nanmax(weights_of(record, head, rows))
    )
    alone = figure.texts[0].get_text() == "What “on” looks at in attention"
    assert alone == (len(rows) == 1)


@pytest.mark.parametrize(("sources", "targets"), [(1, 1), (12, 5), (60, 4), (3, 30)])
def test_draw_sentence_of_a_pair_shades_the_source_for_each_target_word(sources, targets):
    record = record_on(topology.bipartite(sources, targets))
    figure = draw_sentence(record, words(sources), target_tokens=words(targets, 1))
    np.testing.assert_allclose(lines_of(figure, sources), weights_of(record), rtol=1e-6)
    assert only(figure, "frames").get_paths() == []
    assert len(parts(figure, "name")[0]) == targets
    assert_well_laid_out(figure)


def test_draw_sentence_of_sixty_words_wraps_them_and_draws_the_first_ten_that_look():
    record = record_on(topology.complete(60))
    figure = draw_sentence(record, words(60))
    np.testing.assert_allclose(lines_of(figure, 60), weights_of(record, rows=range(10)), rtol=1e-6)
    assert "50 more words can be drawn by word=[...]" in caption_of(figure)
    assert figure.get_size_inches()[0] < 12
    assert_well_laid_out(figure)


def test_draw_sentence_draws_the_layers_own_loops():
    record = record_on(topology.bipartite(3, 3), heads=1)
    record = replace(record, loops=torch.tensor([[0.5], [0.0], [0.25]]))
    own = lines_of(draw_sentence(record, SENTENCE[:3]), 3).diagonal()
    added = record.loops[:, 0].numpy()
    assert own == pytest.approx(weights_of(record).diagonal() + added)


def test_draw_sentence_of_a_partial_record_draws_what_was_seen():
    seen = torch.tensor([True, False, True])
    record = replace(record_on(topology.complete(3)), seen=seen)
    figure = draw_sentence(record, SENTENCE[:3])
    assert [text.get_text() for text in parts(figure, "name")[0]] == ["the", "that"]
    with pytest.raises(InputError, match="no record of word 1; record it with nodes="):
        draw_sentence(record, SENTENCE[:3], 1)


def test_draw_sentence_of_no_words_says_so():
    figure = draw_sentence(record_on(topology.complete(0)), [])
    assert "No word looks at another" in caption_of(figure)
    assert_well_laid_out(figure)


# Documents


@pytest.mark.parametrize("head", [None, 1])
def test_draw_document_has_both_weights(head):
    document = [SENTENCE[:5], words(3), SENTENCE]
    graphs = topology.hierarchy([5, 3, 12], [3])
    below, above = (record_on(graph, seed=seed) for seed, graph in enumerate(graphs))
    figure = draw_document(below, above, document, head)
    columns = below.weights.mean(1) if head is None else below.weights[:, head]
    np.testing.assert_allclose(drawn(only(figure, "words")), columns, rtol=1e-6)
    np.testing.assert_allclose(drawn(only(figure, "names")), weights_of(above, head)[0], rtol=1e-6)
    numbers = [float(text.get_text()) for text in parts(figure, "name")[0]]
    assert numbers == pytest.approx(weights_of(above, head)[0], abs=5e-4)
    assert_well_laid_out(figure)


@pytest.mark.parametrize("lengths", [[1], [2, 0, 1], [60, 1], [3] * 25], ids=str)
def test_draw_document_of_awkward_lengths(lengths):
    document = [words(length) for length in lengths]
    below, above = map(record_on, topology.hierarchy(lengths, [len(lengths)]))
    figure = draw_document(below, above, document)
    assert len(parts(figure, "word")[0]) == sum(lengths)
    assert_well_laid_out(figure)


# All of them


def test_pictures_read_in_greyscale_and_letters_on_any_shade():
    figure = draw_sentence(record_on(topology.complete(3)), SENTENCE[:3])
    colours = only(figure, "words").cmap(np.linspace(0, 1, 50))[:, :3]
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    assert np.all(np.diff(luminance) < 0)
    # Black letters: contrast 4.5 is what WCAG asks of small text.
    assert (luminance.min() + 0.05) / 0.05 > 4.5
    assert luminance.max() / luminance.min() > 3


PAIR = record_on(topology.bipartite(3, 2))
SELF = record_on(topology.complete(3))


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda: draw_alignment(PAIR, words(2), words(2)), InputError,
         "source_tokens has 2 words; expected one for each of the 3 sources of attention"),
        (lambda: draw_alignment(PAIR, words(3), words(3)), InputError,
         "target_tokens has 3 words; expected one for each of the 2 targets"),
        (lambda: draw_alignment(PAIR, "abc", words(2)), ArgumentTypeError, "a list of words"),
        (lambda: draw_sentence(PAIR, words(3)), InputError, "tokens has 3 words; .* 2 targets"),
        (lambda: draw_sentence(SELF, words(4)), InputError, "tokens has 4 words"),
        (lambda: draw_sentence(SELF, words(3), 3), IndexRangeError, r"word is 3; .* \[0, 3\)"),
        (lambda: draw_sentence(SELF, words(3), head=2), IndexRangeError, "no record of head 2"),
        (lambda: draw_document(SELF, PAIR, [words(3)]), InputError, "expected one, the document"),
    ],
)  # fmt: skip
def test_pictures_refuse(draw, error, message):
    with pytest.raises(error, match=message):
        draw()


@pytest.mark.parametrize("draw", [draw_alignment, draw_sentence], ids=lambda one: one.__name__)
def test_pictures_refuse_weights_that_are_no_numbers(draw):
    record = replace(SELF, weights=SELF.weights / 0)
    given = [words(3)] * (2 if draw is draw_alignment else 1)
    with pytest.raises(InputError, match="not all finite"):
        draw(record, *given)
