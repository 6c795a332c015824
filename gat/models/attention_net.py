"""`AttentionNet`: a small residual network over images whose pixels attend to one another."""

from collections.abc import Sequence

from torch import Tensor, nn

from gat.checks import check_sizes, one_of
from gat.errors import InputError
from gat.models.parts import reset_children
from gat.nn.images import AttentionPool2d, ConvBlock, ResBlock, SelfAttention
from gat.ops.dropout import check_probability

__all__ = ["PLACES", "AttentionNet"]

PLACES = ("after", "before", "pool", "none")


class AttentionNet(nn.Module):
    """Convolution, a residual block for each of ``widths``, attention, average pooling, linear.

    in_channels, num_classes: of the images and of the scores. strides: of the residual blocks.
    The default leaves 4x4 pixels of an 8x8 image to attention: with two of stride 2 there would
    be 2x2, where it has nothing to choose.

    attention: where it stands: "after" the residual blocks; "before" them, on what the first
    convolution gives; in the pooling ("pool", `gat.nn.AttentionPool2d` in the place of the mean);
    or "none". radius, gamma: of `gat.nn.SelfAttention`, which "after" and "before" have; gamma
    "zero" is the ablation, the same network to which attention adds nothing. dropout: before the
    linear layer.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 10,
        *,
        widths: Sequence[int] = (64, 128, 256),
        strides: Sequence[int] = (1, 2, 1),
        attention: str = "after",
        radius: int | None = None,
        gamma: str = "learned",
        dropout: float = 0.0,
    ) -> None:
        # All it takes to make such a network again.
        self.options = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        one_of("attention", attention, PLACES)
        check_sizes(num_classes=num_classes)
        check_probability("dropout", dropout)
        if not widths or len(strides) != len(widths):
            raise InputError(
                f"widths is {widths!r} and strides {strides!r}; expected one of each for every "
                f"residual block"
            )
        attends = attention in ("after", "before")
        if not attends and (radius is not None or gamma != "learned"):
            given = f"gamma={gamma!r}" if radius is None else f"radius={radius!r}"
            raise InputError(
                f"{given} is of the attention between pixels, which attention={attention!r} has "
                f"not; use 'after' or 'before', or leave it out"
            )
        self.place = attention
        self.first = ConvBlock(in_channels, widths[0])
        ends = zip([widths[0], *widths], widths, strides, strict=False)
        self.blocks = nn.Sequential(*(ResBlock(*each) for each in ends))
        self.look: nn.Module = nn.Identity()
        if attends:
            self.look = SelfAttention(
                widths[-1 if attention == "after" else 0], radius, gamma=gamma
            )
        self.pool: nn.Module = _Mean()
        if attention == "pool":
            self.pool = AttentionPool2d(widths[-1])
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(widths[-1], num_classes)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        reset_children(self)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the classes [B, num_classes], of images [B, in_channels, height, width]."""
        x = self.first(images)
        x = self.blocks(self.look(x)) if self.place == "before" else self.look(self.blocks(x))
        return self.output(self.dropout(self.pool(x)))


class _Mean(nn.Module):
    """Average pooling of all pixels."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))
