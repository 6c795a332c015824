"""A layer's weights by today's names: from those of older PyTorch Geometrics, and of DGL.

Each function takes what a state dict holds for one layer and returns it rewritten; what today's
layer does not know keeps its name and is told of by `gat.nn.weights`, which loads the whole.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from gat.errors import CheckpointMismatchError

__all__ = ["Entries", "is_same", "of_dgl", "of_pyg"]

# The weights of one layer: name in the layer -> (name in the state dict, value).
Entries = dict[str, tuple[str, Any]]

# GATConv of PyG 1.6 and 1.7; those of 2.0 to 2.4 are today's, but for `_one_projection`.
PYG_GAT = MappingProxyType(
    {
        "att_l": "att_src",
        "att_r": "att_dst",
        "lin_l.weight": "lin_src.weight",
        "lin_r.weight": "lin_dst.weight",
    }
)
DGL_GAT = MappingProxyType(
    {
        "attn_l": "att_src",
        "attn_r": "att_dst",
        "fc.weight": "lin.weight",
        "fc_src.weight": "lin_src.weight",
        "fc_dst.weight": "lin_dst.weight",
    }
)
DGL_GATV2 = MappingProxyType(
    {
        "attn": "att",
        "fc_src.weight": "lin_l.weight",
        "fc_src.bias": "lin_l.bias",
        "fc_dst.weight": "lin_r.weight",
        "fc_dst.bias": "lin_r.bias",
    }
)


# The projection of the target features, whichever a layer has.
TARGET_PROJECTIONS = ("lin.weight", "lin_dst.weight", "lin_r.weight")


def _renamed(entries: Entries, table: Mapping[str, str]) -> Entries:
    """Under the names of ``table``; a name whose new one is taken stays, and is unexpected."""
    taken = entries.keys()
    return {
        name if table.get(name, name) in taken else table[name]: entry
        for name, entry in entries.items()
    }


def of_pyg(layer: nn.Module, entries: Entries) -> Entries:
    if not isinstance(layer, pyg.GATConv):
        return entries
    return _one_projection(layer, _renamed(entries, PYG_GAT))


def of_dgl(layer: nn.Module, entries: Entries, identity_residual: bool) -> Entries:
    is_v2 = isinstance(layer, pyg.GATv2Conv)
    table = DGL_GATV2 if is_v2 else DGL_GAT
    if not table.keys() & entries.keys():
        return entries
    entries = _renamed(entries, table)
    entries = _shared(layer, entries) if is_v2 else _one_projection(layer, entries)
    entries = _residual(layer, entries, identity_residual)
    return _bias(layer, entries)


def _one_projection(layer: Any, entries: Entries) -> Entries:
    """``lin`` instead of ``lin_src`` and ``lin_dst``, in a layer whose sources are its targets."""
    if layer.lin is None or "lin.weight" in entries or "lin_src.weight" not in entries:
        return entries
    src = entries.pop("lin_src.weight")
    dst = entries.pop("lin_dst.weight", src)
    if not is_same(src[1], dst[1]):
        raise CheckpointMismatchError(
            f"{src[0]} and {dst[0]} differ, but the layer projects sources and targets alike; "
            f"make it with a pair of in_channels, (source, target); nothing was loaded"
        )
    return {**entries, "lin.weight": src}


def _shared(layer: Any, entries: Entries) -> Entries:
    """Where a layer shares its projection, a file may hold it once."""
    if layer.lin_r is not layer.lin_l:
        return entries
    for name in ("weight", "bias"):
        if f"lin_l.{name}" in entries:
            entries.setdefault(f"lin_r.{name}", entries[f"lin_l.{name}"])
    return entries


def _residual(layer: Any, entries: Entries, identity: bool) -> Entries:
    given = entries.pop("res_fc.weight", None)
    if given is None and layer.res is not None:
        given = _identity(layer, entries, identity)
    if given is None:
        return entries
    return {**entries, "res.weight": (given[0], _join_heads(layer, *given))}


def _identity(layer: Any, entries: Entries, allowed: bool) -> tuple[str, Tensor] | None:
    """The identity as a weight [H*C, in]; None without a projection, which is then missing too."""
    known = [entries[name] for name in TARGET_PROJECTIONS if name in entries]
    if not known or not isinstance(known[0][1], Tensor):
        return None
    source, weight = known[0]
    heads, channels, width = layer.heads, layer.out_channels, weight.size(-1)
    if not allowed:
        reason = "if it was the identity (equal widths), pass identity_residual=True"
    elif width not in (channels, heads * channels):
        reason = f"the identity does not lead from {width} channels to {heads} heads of {channels}"
    else:
        eye = torch.eye(width, dtype=weight.dtype, device=weight.device)
        return "identity", eye if width == heads * channels else eye.repeat(heads, 1)
    raise CheckpointMismatchError(
        f"the layer of {source} has residual=True, but the state_dict no res_fc.weight for it; "
        f"{reason}; nothing was loaded"
    )


def _bias(layer: Any, entries: Entries) -> Entries:
    """What DGL adds after the sum: its bias, or its residual's."""
    given = [entries.pop(name) for name in ("bias", "res_fc.bias") if name in entries]
    if given:
        name = " + ".join(name for name, _ in given)
        total = sum(_join_heads(layer, *entry) for entry in given)
        return {**entries, "bias": (name, total)}
    if isinstance(layer, pyg.GATv2Conv) and layer.bias is not None:
        return {**entries, "bias": ("no bias", torch.zeros_like(layer.bias))}
    return entries


def _join_heads(layer: Any, name: str, value: Tensor) -> Tensor:
    """What belongs to H heads of C channels [H*C, ...], for the layer's output: its mean over heads
    where the layer takes that."""
    heads, channels = layer.heads, layer.out_channels
    if not isinstance(value, Tensor) or value.shape[:1] != (heads * channels,):
        what = f"shape {list(value.shape)}" if isinstance(value, Tensor) else "no numbers"
        raise CheckpointMismatchError(
            f"{name} has {what}; expected {heads * channels} rows, one for each of {heads} heads' "
            f"{channels} channels; nothing was loaded"
        )
    value = value.detach()
    return value if layer.concat else value.unflatten(0, (heads, channels)).mean(0)


def is_same(first: Any, second: Any) -> bool:
    if first is second:
        return True
    known = all(isinstance(value, Tensor) and not is_lazy(value) for value in (first, second))
    return known and first.shape == second.shape and torch.equal(first, second)
