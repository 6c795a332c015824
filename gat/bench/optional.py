"""Peers that need more than gat does: a compiler, or a package that few have installed.

One that is not there is left out of a measurement with the reason; it is not an error.
"""

import os
import shutil
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gat.bench.shape import Shape
from gat.graph import Graph

__all__ = ["dgl", "no_compiler", "no_dgl", "no_turbo", "turbo"]

Tensors = dict[str, Tensor]
Attend = Callable[[Tensors], Tensor]

# Not from PyPI, whose build computes on the CPU.
INSTALL_DGL = "https://www.dgl.ai/pages/start.html tells how to install it"
INSTALL_TURBO = "pip install --no-build-isolation --pre turbo-gnn"
# Channels per head for which Turbo-GNN's attention is compiled.
TURBO_CHANNELS = (32, 64, 128, 256)


def no_compiler(shape: Shape) -> str:
    """Why torch.compile cannot make code at ``shape``; "" if it can."""
    if shape.device == "cuda":
        return "" if find_spec("triton") else "needs triton (pip install triton)"
    compiler = os.environ.get("CXX", "g++")
    return "" if shutil.which(compiler) else f"needs a C++ compiler; there is no {compiler}"


# DGL ------------------------------------------------------------------------------------------


def no_dgl(shape: Shape) -> str:
    """Why DGL cannot compute at ``shape``; "" if it can."""
    return _missing("dgl", INSTALL_DGL) or _dgl_refuses(shape.device)


def _dgl_refuses(device: str) -> str:
    """A build without CUDA refuses the first graph that is to go there."""
    package = import_module("dgl")
    try:
        package.graph(([0], [0])).to(device)
    except Exception as error:
        return f"has no build for {device} here: {_first_line(error)} ({INSTALL_DGL})"
    return ""


def dgl(operator: str) -> Callable[[Graph], Attend]:
    """What DGL's GATConv, GATv2Conv and DotGatConv do once features are projected: a score of each
    edge, `edge_softmax`, and the sum of the sources times it."""

    def prepare(graph: Graph) -> Attend:
        package, softmax = import_module("dgl"), import_module("dgl.nn.functional").edge_softmax
        # Narrow indices are the faster ones, and all orders of the edges are made beforehand.
        made = package.graph((graph.col, graph.row), num_nodes=graph.num_dst, idtype=torch.int32)
        made.create_formats_()

        def attend(given: Tensors) -> Tensor:
            value = given["value" if "value" in given else "key"]
            weight = softmax(made, _DGL_SCORES[operator](package.ops, made, given))
            return package.ops.u_mul_e_sum(made, value, weight)

        return attend

    return prepare


def _dgl_gat(ops: Any, graph: Any, given: Tensors) -> Tensor:
    """[E, H, 1]"""
    source, target = given["score_src"].unsqueeze(-1), given["score_dst"].unsqueeze(-1)
    return F.leaky_relu(ops.u_add_v(graph, source, target), 0.2)


def _dgl_gatv2(ops: Any, graph: Any, given: Tensors) -> Tensor:
    """[E, H, 1]"""
    hidden = F.leaky_relu(ops.u_add_v(graph, given["key"], given["query"]), 0.2)
    return (hidden * given["att"]).sum(-1, keepdim=True)


def _dgl_dot(ops: Any, graph: Any, given: Tensors) -> Tensor:
    """[E, H, 1]"""
    key = given["key"]
    return ops.u_dot_v(graph, key, given["query"]) * key.size(-1) ** -0.5


_DGL_SCORES = {"gat": _dgl_gat, "gatv2": _dgl_gatv2, "dot": _dgl_dot}


# Turbo-GNN ------------------------------------------------------------------------------------


def no_turbo(shape: Shape) -> str:
    """Why Turbo-GNN cannot compute at ``shape``; "" if it can."""
    if shape.operator not in _TURBO:
        return "has GATv2's and dot-product attention only"
    if shape.device != "cuda":
        return "computes on a GPU only"
    if shape.channels not in TURBO_CHANNELS:
        return f"takes {', '.join(map(str, TURBO_CHANNELS))} channels a head only"
    return _missing("turbo_gnn", INSTALL_TURBO)


def turbo(operator: str) -> Callable[[Graph], Attend]:
    """Its fused operators over both orders of the edges, as it has them by default."""

    def prepare(graph: Graph) -> Attend:
        package, turned = import_module("turbo_gnn"), graph.transpose
        made = package.AdjacencyForwardBackwardWithNodeBuckets.from_csr(
            graph.rowptr, graph.col, turned.rowptr, turned.col, index_dtype=torch.int32
        )
        return lambda given: _TURBO[operator](package, made, given)

    return prepare


def _turbo_gatv2(package: Any, graph: Any, given: Tensors) -> Tensor:
    query, key = given["query"], given["key"]
    return package.gatv2_aggr(graph, query, key, given["att"], 0.2).view_as(query)


def _turbo_dot(package: Any, graph: Any, given: Tensors) -> Tensor:
    query, key, value = given["query"], given["key"], given["value"]
    # What it calls Q is of the sources, and K of the targets.
    scale = key.size(-1) ** -0.5
    return package.graph_transformer_aggr(graph, query, key, query, value, scale).view_as(query)


_TURBO = {"gatv2": _turbo_gatv2, "dot": _turbo_dot}


def _missing(package: str, install: str) -> str:
    """Why a package cannot be imported; "" if it can."""
    if find_spec(package) is None:
        return f"is not installed ({install})"
    try:
        import_module(package)
    except Exception as error:
        # Compiled parts that do not fit torch fail in many ways.
        return f"cannot be imported: {_first_line(error)} ({install})"
    return ""


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
