"""Images as pictures and pages show them, and which node of a record is which part of an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gat.errors import IndexRangeError, InputError
from gat.inspection.record import AttentionRecord

__all__ = ["Pixel", "Pixels", "chosen", "pixels_of"]

# Row and column.
Pixel = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Pixels:
    """An image and the map of nodes over it.

    shown: uint8 [H, W] or, in colour, [H, W, 3]; height, width: of the map; its nodes are numbered
    row by row, and each lies over H / height x W / width pixels of the image.
    """

    shown: np.ndarray
    height: int
    width: int

    def node(self, pixel: Pixel) -> int:
        """The node that lies over a pixel of the image."""
        tall, wide = self.shown.shape[:2]
        row, column = pixel
        if not (0 <= row < tall and 0 <= column < wide):
            raise IndexRangeError(
                f"pixel is ({row}, {column}); expected (row, column) in an image of {tall} x {wide}"
            )
        return (row * self.height // tall) * self.width + column * self.width // wide

    def map(self, values: np.ndarray) -> np.ndarray:
        """Values of nodes [height * width] as a map [height, width]."""
        return values.reshape(self.height, self.width)


def pixels_of(
    record: AttentionRecord, image: Tensor | Any, size: tuple[int, int] | None = None
) -> Pixels:
    """The image, [H, W] or [C, H, W], and the map of the record's sources over it.

    size: height and width of the map; None: found where the map is the image, or the image scaled
    down by the same whole number both ways. Of 3 channels the colours are shown, of other numbers
    their mean; values are shown as they are where they lie in [0, 1] or are bytes, else from the
    least to the largest.

    Raises InputError for another shape and where the map does not fit the image or the record.
    """
    values = torch.as_tensor(image).detach().cpu()
    if values.dim() not in (2, 3) or not values.numel():
        raise InputError(f"image has shape {list(values.shape)}; expected [H, W] or [C, H, W]")
    shown = _bytes(values)
    tall, wide = shown.shape[:2]
    height, width = size or _found(record, tall, wide)
    if height * width != record.num_src:
        raise InputError(
            f"size is {height} x {width}, {height * width} nodes; {record.name} has "
            f"{record.num_src} sources"
        )
    return Pixels(shown, height, width)


def _found(record: AttentionRecord, tall: int, wide: int) -> tuple[int, int]:
    """The size of a map that is the image scaled down by a whole number."""
    for scale in range(1, min(tall, wide) + 1):
        fits = not (tall % scale or wide % scale)
        if fits and (tall // scale) * (wide // scale) == record.num_src:
            return tall // scale, wide // scale
    raise InputError(
        f"the image is {tall} x {wide} and {record.name} has {record.num_src} sources, which is "
        f"not the image scaled down by a whole number; pass size=(height, width) of the map, or "
        f"the record of one image (gat.inspection.block)"
    )


def _bytes(values: Tensor) -> np.ndarray:
    values = values.double() / (255 if values.dtype == torch.uint8 else 1)
    if values.dim() == 3:
        values = values.movedim(0, -1) if values.size(0) == 3 else values.mean(0)
    if not bool(values.isfinite().all()):
        raise InputError("image is not finite everywhere; expected numbers")
    least, most = float(values.min()), float(values.max())
    if least < 0 or most > 1:
        values = (values - least) / max(most - least, 1e-12)
    return (255 * values).round().to(torch.uint8).numpy()


def chosen(pixel: Pixel | Sequence[Pixel] | None) -> list[Pixel]:
    """One pixel or several, as a list; none for None."""
    if pixel is None:
        return []
    several: list[Any] = list(torch.as_tensor(pixel).tolist() if hasattr(pixel, "shape") else pixel)
    if all(isinstance(one, Integral) for one in several):
        several = [several]
    for one in several:
        if len(one) != 2:
            raise InputError(f"pixel is {one!r}; expected (row, column)")
    return [(int(row), int(column)) for row, column in several]
