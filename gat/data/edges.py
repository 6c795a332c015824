"""Edge lists as data sets need them: both directions of an undirected edge, each edge once."""

import numpy as np
import torch
from torch import Tensor

__all__ = ["simple_edges"]


def simple_edges(edges: np.ndarray, *, undirected: bool, keep_loops: bool = False) -> Tensor:
    """int64 [2, E'] without duplicates, sorted by (target, source).

    edges: integers [2, E]. undirected: add the reverse of every edge. keep_loops: leave self-loops
    (once each); the attention layers settle them for themselves, so most readers drop them.
    """
    edges = edges.astype(np.int64, copy=False)
    if undirected:
        edges = np.concatenate([edges, edges[::-1]], axis=1)
    if not keep_loops:
        edges = edges[:, edges[0] != edges[1]]
    order = np.lexsort((edges[0], edges[1]))
    edges = edges[:, order]
    first = np.ones(edges.shape[1], dtype=bool)
    first[1:] = (edges[:, 1:] != edges[:, :-1]).any(axis=0)
    return torch.from_numpy(np.ascontiguousarray(edges[:, first]))
