"""What edges say beside who sends to whom: how many targets, the features and weights they hold."""

from typing import Any

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.utils import is_torch_sparse_tensor

from gat.errors import InputError
from gat.graph import Graph

__all__ = ["as_csr", "check_size", "known_targets", "stored_features", "stored_values"]


def check_size(size: Any, num_src: int, num_dst: int | None) -> int | None:
    """The number of targets by ``size``, whose entries may be None, and the features."""
    src, dst = size
    if src not in (None, num_src) or (None not in (dst, num_dst) and dst != num_dst):
        raise InputError(
            f"size is {tuple(size)}, but the features have {num_src} source rows"
            + ("" if num_dst is None else f" and {num_dst} target rows")
        )
    return num_dst if dst is None else dst


def stored_values(matrix: Tensor) -> Tensor:
    """The values of a sparse matrix, one row per entry."""
    if matrix.layout is torch.sparse_coo and not matrix.is_coalesced():
        raise InputError(
            "what an uncoalesced sparse matrix holds has no order; pass matrix.coalesce()"
        )
    return matrix.values()


def stored_features(matrix: Tensor) -> Tensor | None:
    """Edge features held as the values [E, D] of a sparse matrix; None if it holds scalars."""
    return stored_values(matrix) if matrix.dense_dim() else None


def known_targets(edge_index: Any, num_src: int) -> int:
    """How many targets the edges themselves speak of; else as many as sources."""
    if isinstance(edge_index, Graph):
        return edge_index.num_dst
    if is_torch_sparse_tensor(edge_index):
        return edge_index.size(0)
    if isinstance(edge_index, EdgeIndex):
        return edge_index.sparse_size(1) or num_src
    return num_src


def as_csr(graph: Graph, weights: Tensor, layout: Any) -> Tensor:
    """Weights in sorted order as a sparse matrix [num_dst, num_src] of ``layout``."""
    matrix = torch.sparse_csr_tensor(
        graph.rowptr.clone(),
        graph.col.clone(),
        weights,
        (graph.num_dst, graph.num_src, *weights.shape[1:]),
    )
    return matrix.to_sparse_coo() if layout is torch.sparse_coo else matrix
