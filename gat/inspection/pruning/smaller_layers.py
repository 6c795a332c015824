"""Layers made smaller in place: an attention layer without some heads, a layer with fewer inputs.

A layer without some of its heads is an ordinary layer of fewer. Where heads are averaged the mean
is over fewer then, so the values are multiplied by (heads left) / (heads before), and what scores
are made of the same projections is divided by it.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
import torch_geometric.nn as pyg
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from gat.errors import InputError

__all__ = ["drop_heads", "keep_inputs", "prunable"]


class Parts(NamedTuple):
    """What a kind of layer is made of. projections: modules from the input to [H*C]; vectors:
    parameters [1, H, C]; residual: the module from the input to the output. Where the values are
    multiplied, widened is multiplied with them and narrowed is divided."""

    projections: tuple[str, ...]
    vectors: tuple[str, ...]
    residual: str = ""
    widened: tuple[str, ...] = ()
    narrowed: tuple[str, ...] = ()


PARTS: Mapping[type, Parts] = MappingProxyType(
    {
        # Values and scores are made of one projection: a . (s W x) / s = a . W x.
        pyg.GATConv: Parts(
            ("lin", "lin_src", "lin_dst"),
            ("att_src", "att_dst", "att_edge"),
            "res",
            ("lin", "lin_src", "lin_dst"),
            ("att_src", "att_dst"),
        ),
        # a . LeakyReLU(s z) / s = a . LeakyReLU(z).
        pyg.GATv2Conv: Parts(
            ("lin_l", "lin_r"), ("att",), "res", ("lin_l", "lin_r", "lin_edge"), ("att",)
        ),
        # Edge features are part of keys and of values.
        pyg.TransformerConv: Parts(
            ("lin_query", "lin_key", "lin_value"),
            (),
            "lin_skip",
            ("lin_value", "lin_key", "lin_edge"),
            ("lin_query",),
        ),
        pyg.SuperGATConv: Parts(("lin",), ("att_l", "att_r")),
    }
)


def prunable(layer: nn.Module) -> Parts | None:
    """What a layer whose heads can be removed is made of; None for another."""
    return next((parts for kind, parts in PARTS.items() if isinstance(layer, kind)), None)


def drop_heads(name: str, layer: Any, dropped: tuple[int, ...]) -> Tensor:
    """Remove heads of a layer in place; which channels of its output are left, int64.

    Raises InputError for a layer that could not compute the same without them.
    """
    parts = _parts(name, layer)
    left = [head for head in range(layer.heads) if head not in dropped]
    if not left:
        raise InputError(
            f"{name} would have no head left of {layer.heads}; leave at least one, or take the "
            f"layer out of the model"
        )
    _refuse(name, layer)
    heads = torch.tensor(left)
    channels = _channels(heads, layer.out_channels)
    keep = {0: channels}
    for module in _distinct(layer, (*parts.projections, "lin_edge")):
        _narrow(name, module, keep)
    for vector in parts.vectors:
        _select(name, layer, vector, {1: heads})
    if layer.concat:
        if hasattr(layer, "bias"):
            _select(name, layer, "bias", keep)
        for module in _distinct(layer, (parts.residual,)):
            _narrow(name, module, keep)
    elif layer.heads > 1:
        _rescale(name, layer, parts, len(left) / layer.heads)
    layer.heads = len(left)
    return channels if layer.concat else torch.arange(layer.out_channels)


def keep_inputs(name: str, layer: Any, keep: Tensor, width: int, start: int | None = None) -> None:
    """Of a layer's ``width`` inputs leave those numbered ``keep``, in place. start: where they
    start among its inputs; None: they are all."""
    parts = prunable(layer)
    is_linear = isinstance(layer, nn.Linear | pyg.Linear)
    count = getattr(layer, "in_features" if isinstance(layer, nn.Linear) else "in_channels", None)
    if (parts is None and not is_linear) or not isinstance(count, int):
        raise InputError(
            f"{name} ({type(layer).__name__}) follows a layer that loses heads, and its inputs "
            f"cannot be removed; expected a linear layer, GATConv, GATv2Conv, TransformerConv or "
            f"SuperGATConv of one set of nodes"
        )
    if start is None and count != width:
        raise InputError(
            f"{name} ({type(layer).__name__}) has {count} inputs and the layer said to come before "
            f"it gives {width}; check `following`"
        )
    first = start or 0
    kept = torch.cat([torch.arange(first), keep + first, torch.arange(first + width, count)])
    if parts is None:
        _narrow(name, layer, {1: kept})
        return
    for module in _distinct(layer, (*parts.projections, parts.residual)):
        _narrow(name, module, {1: kept})
    layer.in_channels = kept.numel()


def _parts(name: str, layer: nn.Module) -> Parts:
    parts = prunable(layer)
    if parts is None:
        raise InputError(
            f"heads of {name} ({type(layer).__name__}) cannot be removed; they can of GATConv, "
            f"GATv2Conv, TransformerConv and SuperGATConv. switch_off_heads takes any layer"
        )
    return parts


def _refuse(name: str, layer: Any) -> None:
    """What would compute something else with fewer heads."""
    why = ""
    if isinstance(layer, pyg.SuperGATConv) and not layer.concat and layer.heads > 1:
        why = "it averages heads, and its scores are no multiple of its values"
    if getattr(layer, "lin_beta", None) is not None and layer.concat:
        why = "the gate of beta=True looks at the channels of all heads"
    if why:
        raise InputError(
            f"heads of {name} ({type(layer).__name__}) cannot be removed: {why}. switch_off_heads "
            f"takes it as it is"
        )


def _channels(heads: Tensor, out_channels: int) -> Tensor:
    """The channels of those heads where all are joined."""
    return (heads.unsqueeze(1) * out_channels + torch.arange(out_channels)).flatten()


def _distinct(layer: nn.Module, names: tuple[str, ...]) -> list[nn.Module]:
    """The modules of those names that there are, each once: weights may be shared."""
    found = (getattr(layer, name, None) for name in names if name)
    return list({id(module): module for module in found if module is not None}.values())


def _narrow(name: str, linear: Any, keep: dict[int, Tensor]) -> None:
    """Leave rows (0) or columns (1) of a linear layer's weight, and its bias's rows."""
    _select(name, linear, "weight", keep)
    if 0 in keep:
        _select(name, linear, "bias", keep)
    sizes = ("out_features", "in_features")
    if not isinstance(linear, nn.Linear):
        sizes = ("out_channels", "in_channels")
    for dim, kept in keep.items():
        setattr(linear, sizes[dim], kept.numel())


def _select(name: str, module: nn.Module, parameter: str, keep: dict[int, Tensor]) -> None:
    def selected(value: Tensor) -> Tensor:
        for dim, kept in keep.items():
            value = value.index_select(dim, kept.to(value.device))
        return value

    _replace(name, module, parameter, selected)


def _rescale(name: str, layer: nn.Module, parts: Parts, factor: float) -> None:
    for names, by in ((parts.widened, factor), (parts.narrowed, 1 / factor)):
        for module in _distinct(layer, tuple(n for n in names if n not in layer._parameters)):
            for parameter in ("weight", "bias"):
                _replace(name, module, parameter, partial(torch.mul, other=by))
        for parameter in layer._parameters.keys() & set(names):
            _replace(name, layer, parameter, partial(torch.mul, other=by))


def _replace(
    name: str, module: nn.Module, parameter: str, make: Callable[[Tensor], Tensor]
) -> None:
    """Put a parameter made of the one there in its place."""
    before = module._parameters.get(parameter, "missing")
    if before is None:
        return
    if not isinstance(before, nn.Parameter) or is_lazy(before):
        raise InputError(
            f"a {parameter} of {name} is no parameter of a known size; call the model once before, "
            f"and remove parametrizations such as weight_norm"
        )
    with torch.no_grad():
        after = make(before).clone()
    module._parameters[parameter] = nn.Parameter(after, requires_grad=before.requires_grad)
