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
from gat.bench import optional, plain
from gat.bench.shape import Shape
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


def _pyg(operator: str, *, in_order: bool = False, compiled: bool = False) -> Peer:
    """The edge part of PyG's layer; its edges as they were listed, or sorted by target."""
    name, run = LAYERS[operator]

    def prepare(graph: Graph) -> Attend:
        edges = torch.stack([graph.col, graph.row]) if in_order else graph.edge_index
        # For the one shape that is measured; another one before it would make sizes symbols.
        call = torch.compile(run, dynamic=False) if compiled else run

        def attend(given: Tensors) -> Tensor:
            layer = _layer(name, *given["value" if "value" in given else "key"].shape[1:])
            if "att" in given:
                layer.att = given["att"].unsqueeze(0)
            return call(layer, edges, given)

        return attend

    return prepare


def _plain(operator: str) -> Peer:
    return lambda graph: functools.partial(plain.OPERATORS[operator], graph)


@functools.cache
def _layer(name: str, heads: int, channels: int) -> Any:
    import torch_geometric.nn as pyg

    options = {} if name == "TransformerConv" else {"add_self_loops": False, "bias": False}
    layer = getattr(pyg, name)(1, channels, heads=heads, **options)
    if name == "GATv2Conv":
        # A parameter of the layer, here an input like the others.
        layer._parameters.pop("att")
    return layer


def _gat_conv(layer: Any, edges: Tensor, given: Tensors) -> Tensor:
    scores = (given["score_src"], given["score_dst"])
    alpha = layer.edge_updater(edges, alpha=scores, edge_attr=None, size=None)
    return layer.propagate(edges, x=(given["value"],) * 2, alpha=alpha, size=None)


def _gatv2_conv(layer: Any, edges: Tensor, given: Tensors) -> Tensor:
    x = (given["key"], given["query"])
    alpha = layer.edge_updater(edges, x=x, edge_attr=None)
    return layer.propagate(edges, x=x, alpha=alpha)


def _transformer_conv(layer: Any, edges: Tensor, given: Tensors) -> Tensor:
    out = layer.propagate(edges, **given, edge_attr=None)
    # What the layer keeps for return_attention_weights, and its forward takes away.
    layer._alpha = None
    return out


LAYERS: dict[str, tuple[str, Callable[[Any, Tensor, Tensors], Tensor]]] = {
    "gat": ("GATConv", _gat_conv),
    "gatv2": ("GATv2Conv", _gatv2_conv),
    "dot": ("TransformerConv", _transformer_conv),
}


def _anything(shape: Shape) -> str:
    return ""


@dataclass(frozen=True)
class Kind:
    """One who is measured: ``of(operator)`` is the peer; ``why_not(shape)`` says why it is left out
    there, "" if it is not. one_shape: it makes code for a shape, of which a narrower run tells
    nothing."""

    what: str
    of: Callable[[str], Peer]
    why_not: Callable[[Shape], str] = _anything
    one_shape: bool = False


PEERS: dict[str, Kind] = {
    "gat": Kind("ours, as a user has it", lambda operator: _ours(operator, "auto")),
    "cpu": Kind("our compiled kernels", lambda operator: _ours(operator, "cpu")),
    "triton": Kind("our kernels for a GPU", lambda operator: _ours(operator, "triton")),
    "blockwise": Kind("ours without them", lambda operator: _ours(operator, "blockwise")),
    "reference": Kind("our definition", lambda operator: _ours(operator, "reference")),
    "pyg": Kind("PyTorch Geometric's layer", _pyg),
    "pyg-sorted": Kind("the same, edges sorted by target", functools.partial(_pyg, in_order=True)),
    "pyg-compiled": Kind(
        "PyTorch Geometric's layer under torch.compile",
        functools.partial(_pyg, compiled=True),
        optional.no_compiler,
        one_shape=True,
    ),
    "torch": Kind("plain torch, a sparse product per head", _plain, plain.why_not),
    "dgl": Kind("DGL's operators, as its layers call them", optional.dgl, optional.no_dgl),
    "turbo-gnn": Kind("Turbo-GNN's kernels", optional.turbo, optional.no_turbo),
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
