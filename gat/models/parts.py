"""What `gat.models.GAT` is put together from, and the checks of its options."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gat.checks import one_of
from gat.errors import InputError
from gat.nn.features import Linear, target_rows

__all__ = [
    "ACTIVATIONS",
    "NORMS",
    "RESIDUALS",
    "Activation",
    "HiddenLayer",
    "edge_encoders",
    "heads_by_layer",
    "reset_children",
]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": F.elu,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
}
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda width: nn.Identity(),
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
}
RESIDUALS = ("none", "linear", "identity")


class HiddenLayer(nn.Module):
    """Attention, plus the skip, then normalisation and activation."""

    def __init__(
        self, conv: nn.Module, width_in: int, width_out: int, residual: str, norm: str, name: str
    ) -> None:
        super().__init__()
        one_of("norm", norm, NORMS)
        self.conv = conv
        self.skip = _skip(residual, width_in, width_out)
        self.norm = NORMS[norm](width_out)
        self.activation = Activation(name)

    def forward(self, x: Tensor, edges: Any, edge_attr: Tensor | None) -> Tensor:
        out = self.conv(x, edges, edge_attr)
        if self.skip is not None:
            own = target_rows(x, edges)
            kept = isinstance(self.skip, nn.Identity) and own.layout is not torch.strided
            out = out + (own.to_dense() if kept else self.skip(own))
        return self.activation(self.norm(out))


class Activation(nn.Module):
    """An activation by name, shown by name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        one_of("activation", name, ACTIVATIONS)
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.name](x)

    def extra_repr(self) -> str:
        return self.name


def edge_encoders(edge_dim: int | None, width: int, count: int) -> nn.ModuleList:
    """For each of ``count`` layers a projection of edge features to ``width``, with ReLU; none if
    width is 0."""
    if width < 0:
        raise InputError(f"edge_embedding is {width}; expected 0 or more")
    if width == 0:
        return nn.ModuleList()
    if edge_dim is None:
        raise InputError(
            f"edge_embedding={width} encodes features of edges, and edge_dim says there are none; "
            f"pass edge_dim, or leave edge_embedding out"
        )
    one_each = (nn.Sequential(Linear(edge_dim, width), Activation("relu")) for _ in range(count))
    return nn.ModuleList(one_each)


def reset_children(module: nn.Module) -> None:
    """Reset the outermost modules that know how, which reset what they hold themselves."""
    for child in module.children():
        reset = getattr(child, "reset_parameters", None)
        if callable(reset):
            reset()
        else:
            reset_children(child)


def heads_by_layer(heads: int | Sequence[int], count: int) -> list[int]:
    """Heads of each of ``count`` hidden layers."""
    spread = [heads] * count if isinstance(heads, int) else list(heads)
    if len(spread) != count or any(h < 1 for h in spread):
        raise InputError(
            f"heads is {heads!r}; expected a number >= 1, or {count} of them, one per hidden layer"
        )
    return spread


def _skip(kind: str, width_in: int, width_out: int) -> nn.Module | None:
    one_of("residual", kind, RESIDUALS)
    if kind == "none":
        return None
    if kind == "identity" and width_in == width_out:
        return nn.Identity()
    return Linear(width_in, width_out, bias=False)
