"""Pictures of images: what they show is what was recorded, on the pixels' grid."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gat import topology
from gat.errors import IndexRangeError, InputError
from gat.inspection.pictures import caption_of, draw_image_attention
from tests.inspection.figures import assert_well_laid_out, drawn, legend_of, only, parts
from tests.inspection.sequence_records import dense, record_on, weights_of


@pytest.mark.parametrize("head", [None, 1])
def test_draw_image_attention_has_the_map_of_each_pixel(head):
    record = record_on(topology.grid(3, 5))
    image = torch.rand(3, 5)
    places = [(0, 0), (2, 3)]
    figure = draw_image_attention(record, image, places, head)
    shown = only(figure, "image")
    assert shown.get_array().tolist() == (255 * image).round().int().tolist()
    for panel, (row, column) in enumerate(places, start=1):
        values = weights_of(record, head, 5 * row + column).reshape(3, 5)
        np.testing.assert_allclose(drawn(only(figure, "weights", panel)), values, rtol=1e-6)
        assert only(figure, "weights", panel).norm.vmax == pytest.approx(
            np.nanmax(weights_of(record, head, [0, 13]))
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
    np.testing.assert_allclose(drawn(maps), weights_of(record, None, node).reshape(4, 6), rtol=1e-6)
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
    values = weights_of(record)[-1].reshape(shape)
    np.testing.assert_allclose(drawn(only(figure, "weights", 1)), values, rtol=1e-6)
    assert_well_laid_out(figure)


def test_draw_image_attention_refuses():
    record = record_on(topology.complete(3))
    with pytest.raises(InputError, match="has 3 sources"):
        draw_image_attention(record, torch.rand(2, 2))
    with pytest.raises(IndexRangeError, match=r"pixel is \(0, 3\)"):
        draw_image_attention(record, torch.rand(1, 3), (0, 3))
    with pytest.raises(IndexRangeError, match="no record of head 2"):
        draw_image_attention(record, torch.rand(1, 3), head=2)
