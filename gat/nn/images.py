"""Blocks of networks over images [B, C, height, width]: convolutions, and attention of pixels.

To attention an image is the graph of its pixels (`gat.topology.grid`), complete or within a radius,
and a batch of images one graph of as many blocks, as sentences are: so `gat.record_attention` hears
all of them. Pixel (y, x) of image b is node (b * height + y) * width + x.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gat.checks import check_sizes, one_of
from gat.errors import InputError
from gat.nn.attend import Attend
from gat.nn.normalizers import Normalizer
from gat.nn.readout import AttentionPooling
from gat.nn.scores import Score
from gat.topology import bipartite, grid

__all__ = ["GAMMAS", "AttentionPool2d", "ConvBlock", "ResBlock", "SelfAttention"]

GAMMAS = ("learned", "zero")


class ConvBlock(nn.Module):
    """Convolution, batch normalisation, activation (None for none).

    The kernel_size is odd, and the border padded with zeros: a stride of 1 keeps the image's size,
    one of s divides it by s, rounded up. The convolution has no bias, which the normalisation would
    take away.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        activation: Callable[[Tensor], Tensor] | None = F.relu,
    ) -> None:
        super().__init__()
        check_sizes(in_channels=in_channels, out_channels=out_channels, stride=stride)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise InputError(f"kernel_size is {kernel_size}; expected an odd number")
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = activation

    def forward(self, images: Tensor) -> Tensor:
        out = self.norm(self.conv(images))
        return out if self.activation is None else self.activation(out)


class ResBlock(nn.Module):
    """relu(F(x) + x), F two 3x3 convolutions with batch normalisation (He et al. 2016, "Deep
    Residual Learning for Image Recognition", eq. 1 and figure 5, left).

    Where the shape changes x is projected, by a 1x1 convolution of the same stride with batch
    normalisation (their eq. 2, option B).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.first = ConvBlock(in_channels, out_channels, stride=stride)
        self.second = ConvBlock(out_channels, out_channels, activation=None)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels or stride != 1:
            self.shortcut = ConvBlock(in_channels, out_channels, 1, stride, activation=None)

    def forward(self, images: Tensor) -> Tensor:
        return F.relu(self.second(self.first(images)) + self.shortcut(images))


class SelfAttention(nn.Module):
    """Each pixel looks at the others, and adds what it sees:

        a_ij = softmax over j of (W_g x_i) . (W_f x_j);   y_i = gamma * sum of a_ij W_h x_j + x_i

    (Zhang et al. 2019, "Self-Attention Generative Adversarial Networks", eq. 1-3). Queries and keys
    have ``channels // ratio`` channels, at least 1; scores are not divided by a root, as there.
    radius: how many rows and columns away a pixel looks; None for the whole image.

    gamma starts at 0, where the layer is the identity; "zero" keeps it there, the ablation.

    We differ in the values: theirs pass the eighth of the channels too and are brought back by one
    more 1x1 projection W_v; ours is one projection W_h at full width. Their spectral normalisation
    is the generator's business and left out. score, normalizer: as `gat.nn.Attend` has them.
    """

    gamma: Tensor

    def __init__(
        self,
        channels: int,
        radius: int | None = None,
        ratio: int = 8,
        gamma: str = "learned",
        score: str | Score = "dot",
        normalizer: str | Normalizer = "softmax",
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, ratio=ratio)
        one_of("gamma", gamma, GAMMAS)
        if radius is not None and radius < 0:
            raise InputError(f"radius is {radius}; expected 0 or more, or None for the whole image")
        inner = max(1, channels // ratio)
        self.channels, self.radius = channels, radius
        self.query = nn.Linear(channels, inner, bias=False)
        self.key = nn.Linear(channels, inner, bias=False)
        self.value = nn.Linear(channels, channels, bias=False)
        self.attention = Attend(inner, score=score, normalizer=normalizer)
        if gamma == "learned":
            self.gamma = nn.Parameter(torch.zeros(()))
        else:
            self.register_buffer("gamma", torch.zeros(()))

    def reset_parameters(self) -> None:
        """Draw all parameters anew; gamma goes back to 0."""
        for part in (self.query, self.key, self.value, self.attention):
            part.reset_parameters()
        nn.init.zeros_(self.gamma)

    def forward(self, images: Tensor) -> Tensor:
        """[B, channels, height, width] to the same."""
        count, height, width = _sizes(self, images, self.channels)
        pixels = _as_pixels(images)
        projected = (part(pixels).unsqueeze(1) for part in (self.query, self.key, self.value))
        heights, widths = [height] * count, [width] * count
        edges = grid(heights, widths, self.radius, device=images.device)
        seen = self.attention(*projected, edges).view(count, height, width, self.channels)
        return self.gamma * seen.permute(0, 3, 1, 2) + images

    def extra_repr(self) -> str:
        return f"radius={self.radius}"


class AttentionPool2d(nn.Module):
    """From images [B, channels, height, width] to [B, channels]: attention over the pixels by a
    learned query, in the place of their mean. Options are those of `gat.nn.AttentionPooling`."""

    def __init__(
        self,
        channels: int,
        heads: int = 1,
        score: str | Score = "dot",
        normalizer: str | Normalizer = "softmax",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.pooling = AttentionPooling(channels, heads, score, normalizer, dropout)

    def forward(self, images: Tensor) -> Tensor:
        count, height, width = _sizes(self, images, self.channels)
        edges = bipartite([height * width] * count, [1] * count, device=images.device)
        return self.pooling(_as_pixels(images), edges)


def _sizes(layer: nn.Module, images: Tensor, channels: int) -> tuple[int, int, int]:
    """B, height and width."""
    if images.dim() != 4 or images.size(1) != channels:
        raise InputError(
            f"{type(layer).__name__}: images have shape {list(images.shape)}; expected "
            f"[images, channels, height, width] with {channels} channels"
        )
    return images.size(0), images.size(2), images.size(3)


def _as_pixels(images: Tensor) -> Tensor:
    """[B, C, height, width] as [B * height * width, C]."""
    return images.permute(0, 2, 3, 1).flatten(0, 2)
