"""gat.inspection.pixels: images to be shown, and which node lies over which pixel."""

import numpy as np
import pytest
import torch

from gat import topology
from gat.errors import IndexRangeError, InputError
from gat.inspection.pixels import chosen, pixels_of
from tests.inspection.sequence_records import record_on

GRID = record_on(topology.grid(4, 6))


def test_nodes_are_numbered_row_by_row_over_a_larger_image():
    pixels = pixels_of(GRID, torch.rand(8, 12))
    assert (pixels.height, pixels.width) == (4, 6)
    for row in range(8):
        for column in range(12):
            assert pixels.node((row, column)) == (row // 2) * 6 + column // 2
    assert pixels.map(np.arange(24))[3, 5] == 23
    with pytest.raises(IndexRangeError, match=r"pixel is \(8, 0\); expected .* image of 8 x 12"):
        pixels.node((8, 0))
    with pytest.raises(IndexRangeError, match=r"pixel is \(0, -1\)"):
        pixels.node((0, -1))


@pytest.mark.parametrize("shape", [(4, 6), (1, 4, 6), (3, 12, 18), (5, 8, 12)], ids=str)
def test_size_is_found_where_the_map_is_the_image_scaled_down(shape):
    pixels = pixels_of(GRID, torch.rand(shape))
    assert (pixels.height, pixels.width) == (4, 6)
    assert pixels.shown.shape == shape[-2:] + (3,) * (shape[0] == 3)


def test_size_is_taken_where_it_cannot_be_found():
    with pytest.raises(InputError, match=r"the image is 7 x 9 .* 24 sources.*pass size="):
        pixels_of(GRID, torch.rand(7, 9))
    pixels = pixels_of(GRID, torch.rand(7, 9), (4, 6))
    assert [pixels.node((row, 0)) // 6 for row in range(7)] == [0, 0, 1, 1, 2, 2, 3]
    with pytest.raises(InputError, match="size is 5 x 5, 25 nodes; attention has 24 sources"):
        pixels_of(GRID, torch.rand(7, 9), (5, 5))


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        (torch.tensor([[0.0, 0.2], [0.6, 1.0]]), [[0, 51], [153, 255]]),
        (torch.tensor([[0.0, 16.0], [8.0, 16.0]]), [[0, 255], [128, 255]]),
        (torch.tensor([[-1.0, 1.0], [0.0, 0.0]]), [[0, 255], [128, 128]]),
        (torch.tensor([[3, 200], [0, 7]], dtype=torch.uint8), [[3, 200], [0, 7]]),
        (torch.full((2, 2), 7.0), [[0, 0], [0, 0]]),
        (torch.tensor([[[0.0, 1.0]], [[1.0, 1.0]]]).repeat(1, 2, 1), [[128, 255], [128, 255]]),
        (torch.tensor([[[4, 200]], [[4, 100]]], dtype=torch.uint8).repeat(1, 2, 1), [[4, 150]] * 2),
        (np.array([[0.0, 0.2], [0.6, 1.0]]), [[0, 51], [153, 255]]),
    ],
    ids=["fractions", "larger", "negative", "bytes", "even", "two", "two_bytes", "numpy"],
)  # fmt: skip
def test_values_as_they_are_shown(image, shown):
    record = record_on(topology.grid(2, 2))
    assert pixels_of(record, image).shown.tolist() == shown


def test_colours_stay_colours():
    image = torch.zeros(3, 4, 6)
    image[0, 1, 2] = 1
    assert pixels_of(GRID, image).shown[1, 2].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.rand(24), r"image has shape \[24\]; expected \[H, W\] or \[C, H, W\]"),
        (torch.rand(1, 1, 4, 6), r"image has shape \[1, 1, 4, 6\]"),
        (torch.rand(0, 6), r"image has shape \[0, 6\]"),
        (torch.full((4, 6), float("nan")), "image is not finite"),
    ],
    ids=["one_dimension", "batch", "empty", "nan"],
)
def test_other_images_are_refused(image, words):
    with pytest.raises(InputError, match=words):
        pixels_of(GRID, image)


def test_chosen_takes_one_pixel_or_several():
    assert chosen(None) == []
    assert chosen((1, 2)) == chosen(np.array([1, 2])) == chosen(torch.tensor([1, 2])) == [(1, 2)]
    assert chosen([(1, 2), [3, 4]]) == [(1, 2), (3, 4)]
    with pytest.raises(InputError, match=r"expected \(row, column\)"):
        chosen([(1, 2, 3)])
