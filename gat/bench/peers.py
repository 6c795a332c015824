"""Who is measured: our backends, PyG's layers, and what one would write in plain torch.

A peer is a function of a graph, which may prepare what it needs of it, and gives a function of the
tensors of `shape.OPERATORS` that returns the output [N, H, C] and that autograd can follow.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gat import ops
from gat.bench import plain
from gat.errors import InputError
from gat.graph import Graph

__all__ = ["DEFAULT", "OURS", "PEERS", "Kind", "Tensors", "check_names"]

Tensors = dict[str, Tensor]
Attend = Callable[[Tensors], Tensor]
Peer = Callable[[Graph], Attend]

OURS: dict[str, Callable[..., Any]] = {
    "gat": ops.additive_attention,
    "gatv2": ops.gatv2_attention,
    "dot": ops.dot_attention,
}


def _ours(operator: str, backend: str) -> Peer:
    def prepare(graph: Graph) -> Attend:
        return lambda tensors: OURS[operator](graph, **tensors, backend=backend)

    return prepare


def _pyg(operator: str, *, in_order: bool = False) -> Peer:
    """The edge part of PyG's layer; its edges as they were listed, or sorted by target."""

    def prepare(graph: Graph) -> Attend:
        edges = torch.stack([graph.col, graph.row]) if in_order else graph.edge_index
        return functools.partial(LAYERS[operator], edges)

    return prepare


def _plain(operator: str) -> Peer:
    return lambda graph: functools.partial(plain.OPERATORS[operator], graph)


@functools.cache
def _layer(name: str, heads: int, channels: int) -> Any:
    import torch_geometric.nn as pyg

    options = {} if name == "TransformerConv" else {"add_self_loops": False, "bias": False}
    return getattr(pyg, name)(1, channels, heads=heads, **options)


def _gat_conv(edges: Tensor, given: Tensors) -> Tensor:
    layer = _layer("GATConv", *given["value"].shape[1:])
    scores = (given["score_src"], given["score_dst"])
    alpha = layer.edge_updater(edges, alpha=scores, edge_attr=None, size=None)
    return layer.propagate(edges, x=(given["value"],) * 2, alpha=alpha, size=None)


def _gatv2_conv(edges: Tensor, given: Tensors) -> Tensor:
    layer = _layer("GATv2Conv", *given["key"].shape[1:])
    # A parameter of the layer, here an input like the others.
    layer._parameters.pop("att", None)
    layer.att = given["att"].unsqueeze(0)
    x = (given["key"], given["query"])
    alpha = layer.edge_updater(edges, x=x, edge_attr=None)
    return layer.propagate(edges, x=x, alpha=alpha)


def _transformer_conv(edges: Tensor, given: Tensors) -> Tensor:
    layer = _layer("TransformerConv", *given["key"].shape[1:])
    out = layer.propagate(edges, **given, edge_attr=None)
    # What the layer keeps for return_attention_weights, and its forward takes away.
    layer._alpha = None
    return out


LAYERS = {"gat": _gat_conv, "gatv2": _gatv2_conv, "dot": _transformer_conv}


@dataclass(frozen=True)
class Kind:
    """One who is measured: ``of(operator)`` is the peer."""

    what: str
    of: Callable[[str], Peer]


PEERS: dict[str, Kind] = {
    "gat": Kind("ours, as a user has it", lambda operator: _ours(operator, "auto")),
    "cpu": Kind("our compiled kernels", lambda operator: _ours(operator, "cpu")),
    "blockwise": Kind("ours without them", lambda operator: _ours(operator, "blockwise")),
    "reference": Kind("our definition", lambda operator: _ours(operator, "reference")),
    "pyg": Kind("PyTorch Geometric's layer", _pyg),
    "pyg-sorted": Kind("the same, edges sorted by target", functools.partial(_pyg, in_order=True)),
    "torch": Kind("plain torch, a sparse product per head", _plain),
}
DEFAULT = ("gat", "pyg", "torch")


def check_names(names: Sequence[str], known: Iterable[str] = PEERS) -> None:
    """Refuse a peer that is not known, by name and with the list of those that are."""
    known = ", ".join(known)
    if not names:
        raise InputError(f"no peer is given; known are {known}")
    for name in names:
        if name not in known.split(", "):
            raise InputError(f"there is no peer {name!r} here; known are {known}")
