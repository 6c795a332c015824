"""Pictures of sentences, images and documents: what they show is what was recorded, legibly."""

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
    draw_image_attention,
    draw_sentence,
)
from tests.inspection.figures import assert_well_laid_out, legend_of, parts
from tests.inspection.sequence_records import LONG, SENTENCE, dense, edges_between, record_on

MATH = "$x_{1}$"
WORDS = [*(SENTENCE * 6)[:57], LONG * 2, MATH, ""]
AWKWARD = [(1, 1), (5, 1), (1, 5), (60, 3), (3, 60), (60, 60), (7, 11)]


def words(count, start=0):
    """As many awkward words: repeated ones, a very long one, a formula, none at all."""
    return (WORDS[::-1] * 2)[start : start + count]


def drawn(artist):
    """The weights an artist shows, NaN where it shows none."""
    return np.ma.filled(artist.get_array().astype(float), np.nan)


def expected(record, head=None, rows=slice(None)):
    """The weights of a record, NaN without an edge."""
    matrix = dense(record, head).masked_fill(~edges_between(record), float("nan"))
    return matrix[rows].numpy()


def only(figure, gid, panel=0):
    (artist,) = parts(figure, gid)[panel]
    return artist


# Alignment


@pytest.mark.parametrize(("sources", "targets"), AWKWARD)
def test_draw_alignment_has_the_weights_and_the_words(sources, targets):
    record = record_on(topology.bipartite(sources, targets))
    given = words(sources), words(targets, 2)
    figure = draw_alignment(record, *given)
    np.testing.assert_allclose(drawn(only(figure, "weights")), expected(record), rtol=1e-6)
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
    np.testing.assert_allclose(drawn(only(figure, "weights")), expected(record, head), rtol=1e-6)
    assert f"Weights of head {head}." in caption_of(figure)
    with pytest.raises(IndexRangeError, match="no record of head 3"):
        draw_alignment(record, words(5), words(3), 3)


def test_draw_alignment_hatches_what_has_no_edge():
    record = record_on(topology.causal(6))
    figure = draw_alignment(record, words(6), words(6))
    assert np.isnan(drawn(only(figure, "weights"))).sum() == 15
    np.testing.assert_allclose(drawn(only(figure, "weights")), expected(record), rtol=1e-6)
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
    weights = [value for value in expected(record).ravel() if not np.isnan(value)]
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
    np.testing.assert_allclose(drawn(only(figure, "weights")), -expected(record), rtol=1e-6)
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
    np.testing.assert_allclose(lines_of(figure, count), expected(record), rtol=1e-6)
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
    np.testing.assert_allclose(lines_of(figure, 12), expected(record, head, rows), rtol=1e-6)
    # Its own largest weight is the darkest.
    assert only(figure, "words").norm.vmax == pytest.approx(np.nanmax(expected(record, head, rows)))
    alone = figure.texts[0].get_text() == "What “on” looks at in attention"
    assert alone == (len(rows) == 1)


@pytest.mark.parametrize(("sources", "targets"), [(1, 1), (12, 5), (60, 4), (3, 30)])
def test_draw_sentence_of_a_pair_shades_the_source_for_each_target_word(sources, targets):
    record = record_on(topology.bipartite(sources, targets))
    figure = draw_sentence(record, words(sources), target_tokens=words(targets, 1))
    np.testing.assert_allclose(lines_of(figure, sources), expected(record), rtol=1e-6)
    assert only(figure, "frames").get_paths() == []
    assert len(parts(figure, "name")[0]) == targets
    assert_well_laid_out(figure)


def test_draw_sentence_of_sixty_words_wraps_them_and_draws_the_first_fifteen_that_look():
    record = record_on(topology.complete(60))
    figure = draw_sentence(record, words(60))
    np.testing.assert_allclose(lines_of(figure, 60), expected(record, rows=range(15)), rtol=1e-6)
    assert "45 more words can be drawn by word=[...]" in caption_of(figure)
    assert figure.get_size_inches()[0] < 12
    assert_well_laid_out(figure)


def test_draw_sentence_draws_the_layers_own_loops():
    record = record_on(topology.bipartite(3, 3), heads=1)
    record = replace(record, loops=torch.tensor([[0.5], [0.0], [0.25]]))
    own = lines_of(draw_sentence(record, SENTENCE[:3]), 3).diagonal()
    added = record.loops[:, 0].numpy()
    assert own == pytest.approx(expected(record).diagonal() + added)


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


# Images


@pytest.mark.parametrize("head", [None, 1])
def test_draw_image_attention_has_the_map_of_each_pixel(head):
    record = record_on(topology.grid(3, 5))
    image = torch.rand(3, 5)
    places = [(0, 0), (2, 3)]
    figure = draw_image_attention(record, image, places, head)
    shown = only(figure, "image")
    assert shown.get_array().tolist() == (255 * image).round().int().tolist()
    for panel, (row, column) in enumerate(places, start=1):
        values = expected(record, head, 5 * row + column).reshape(3, 5)
        np.testing.assert_allclose(drawn(only(figure, "weights", panel)), values, rtol=1e-6)
        assert only(figure, "weights", panel).norm.vmax == pytest.approx(
            np.nanmax(expected(record, head, [0, 13]))
        )
        mark = only(figure, "pixel", panel)
        assert (mark.get_xdata(), mark.get_ydata()) == ([column], [row])
    assert [ax.get_title() for ax in figure.axes] == ["image", "pixel (0, 0)", "pixel (2, 3)"]
    markers = [mark.get_marker() for mark in parts(figure, "pixel")[0]]
    assert len(set(markers)) == 2
    assert legend_of(figure)[-2:] == ["pixel (0, 0)", "pixel (2, 3)"]
    assert_well_laid_out(figure)


def test_draw_image_attention_of_all_pixels_is_their_mean():
    record = record_on(topology.grid(4, 4))
    figure = draw_image_attention(record, torch.rand(1, 4, 4))
    mean = dense(record).mean(0).reshape(4, 4)
    np.testing.assert_allclose(drawn(only(figure, "weights", 1)), mean, rtol=1e-6)
    assert figure.axes[1].get_title() == "mean over all pixels"
    assert "Spread evenly, each part would get 0.062" in caption_of(figure)
    seen = torch.arange(16) < 4
    kept = seen[record.target]
    part = replace(
        record, edge_index=record.edge_index[:, kept], weights=record.weights[kept], seen=seen
    )
    shown = drawn(only(draw_image_attention(part, torch.rand(4, 4)), "weights", 1))
    np.testing.assert_allclose(shown, dense(record)[:4].mean(0).reshape(4, 4), rtol=1e-6)
    with pytest.raises(InputError, match=r"no record of pixel \(1, 0\)"):
        draw_image_attention(part, torch.rand(4, 4), (1, 0))


@pytest.mark.parametrize("targets", [1, 3])
def test_draw_image_attention_of_a_read_out_is_what_its_targets_look_at(targets):
    record = record_on(topology.bipartite(16, targets))
    figure = draw_image_attention(record, torch.rand(4, 4))
    values = dense(record).mean(0).reshape(4, 4)
    np.testing.assert_allclose(drawn(only(figure, "weights", 1)), values, rtol=1e-6)
    assert figure.axes[1].get_title() == ("the target" if targets == 1 else "mean over 3 targets")
    with pytest.raises(InputError, match="which are not the 16 parts of the image; leave pixel"):
        draw_image_attention(record, torch.rand(4, 4), (0, 0))


@pytest.mark.parametrize("shape", [(3, 8, 12), (8, 12), (16, 24)], ids=str)
def test_draw_image_attention_of_a_smaller_map_covers_the_image(shape):
    record = record_on(topology.grid(4, 6))
    tall, wide = shape[-2:]
    figure = draw_image_attention(record, torch.rand(shape), (tall - 1, wide - 3))
    maps = only(figure, "weights", 1)
    scale = tall // 4
    node = 3 * 6 + (wide - 3) // scale
    np.testing.assert_allclose(drawn(maps), expected(record, None, node).reshape(4, 6), rtol=1e-6)
    assert maps.get_extent() == only(figure, "image").get_extent()
    assert maps.get_extent() == [-0.5, wide - 0.5, tall - 0.5, -0.5]
    assert maps.get_interpolation() == "nearest"
    assert f"over 4 x 6 parts of the image of {tall} x {wide} pixels" in caption_of(figure)
    assert_well_laid_out(figure)


def test_draw_image_attention_of_a_local_grid_hatches_what_is_out_of_reach():
    record = record_on(topology.grid(5, 5, radius=1))
    figure = draw_image_attention(record, torch.rand(5, 5), (0, 0))
    shown = drawn(only(figure, "weights", 1))
    assert (~np.isnan(shown)).sum() == 4
    assert figure.axes[1].patch.get_hatch()
    assert "no edge" in legend_of(figure)
    assert "Hatched" in caption_of(figure)
    mean = draw_image_attention(record, torch.rand(5, 5))
    np.testing.assert_allclose(
        drawn(only(mean, "weights", 1)), dense(record).mean(0).reshape(5, 5), rtol=1e-6
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 20), (20, 1), (2, 3)], ids=str)
def test_draw_image_attention_of_awkward_images(shape):
    record = record_on(topology.grid(*shape), heads=1)
    figure = draw_image_attention(record, torch.zeros(shape), (shape[0] - 1, shape[1] - 1))
    values = expected(record)[-1].reshape(shape)
    np.testing.assert_allclose(drawn(only(figure, "weights", 1)), values, rtol=1e-6)
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
    np.testing.assert_allclose(drawn(only(figure, "names")), expected(above, head)[0], rtol=1e-6)
    numbers = [float(text.get_text()) for text in parts(figure, "name")[0]]
    assert numbers == pytest.approx(expected(above, head)[0], abs=5e-4)
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
        (lambda: draw_image_attention(SELF, torch.rand(2, 2)), InputError, "has 3 sources"),
        (lambda: draw_image_attention(SELF, torch.rand(1, 3), (0, 3)), IndexRangeError,
         r"pixel is \(0, 3\)"),
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
