"""From the edges a layer attended over to the caller's: what was heard, as an `AttentionRecord`."""

from typing import Any

import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from gat.errors import InputError
from gat.graph import Graph, read_edges
from gat.inspection.record import AttentionRecord, EdgeType, ends_of
from gat.inspection.recording.ears import Heard
from gat.inspection.recording.edges import own_rows

__all__ = ["aligned"]

# Weights of the caller's edges [E, H] and of added loops [num_dst, H].
Parts = tuple[Tensor, Tensor]


def aligned(heard: Heard, layer: str, edge_type: EdgeType | None, when: str) -> AttentionRecord:
    """The record of one call, in the order of the edges the layer was called with.

    A Graph's order is that of its edge_index, a sparse matrix's that of its entries. Raises
    InputError for a layer that attends over other edges than those it was given.
    """
    edges, flow = _given_edges(heard)
    if isinstance(heard.edges, Graph):
        num_nodes = heard.edges.num_src, heard.edges.num_dst
        weights, loops = _of_graph(heard.edges, heard.weights, heard.given)
    else:
        num_nodes = _num_nodes(heard, edges, flow)
        weights, loops = _of_list(heard, edges, flow, num_nodes[1])
    return AttentionRecord(
        layer, type(heard.module).__name__, when, edges, weights, loops, *num_nodes, flow, edge_type
    )


def _given_edges(heard: Heard) -> tuple[Tensor, str]:
    """The edges a layer was called with, [2, E], and their flow."""
    given = heard.given
    if isinstance(given, Graph):
        return given.edge_index, "source_to_target"
    if isinstance(given, EdgeIndex):
        return given.as_tensor(), heard.flow
    if isinstance(given, Tensor) and given.layout is torch.strided:
        return given, heard.flow
    read = read_edges(given)
    return torch.stack([read.source, read.target]), "source_to_target"


def _of_graph(graph: Graph, weights: Tensor, given: Any) -> Parts:
    if graph is given or graph.origin is None:
        return weights, weights.new_zeros(graph.num_dst, weights.size(1))
    count = graph.num_caller_edges
    if graph.num_edges - graph.num_loops == count:
        # None of the caller's edges is a loop: the weights stand there as they are, no copy.
        loops = weights[count:]
        short = graph.num_dst - graph.num_loops
        if short:
            loops = torch.cat([loops, loops.new_zeros(short, loops.size(1))])
        return weights[:count], loops
    return graph.to_caller(weights), graph.added_loops(weights)


def _of_list(heard: Heard, edges: Tensor, flow: str, num_dst: int) -> Parts:
    listed, weights = heard.edge_list(), heard.weights
    loops = weights.new_zeros(num_dst, weights.size(1))
    rows = own_rows(edges, listed)
    if rows is None:
        raise InputError(
            f"{heard.layer} attends over {listed.size(1)} edges, and they are not the "
            f"{edges.size(1)} it was given with or without self-loops: it samples, drops or adds "
            f"edges itself. Leave it out with layers=, naming the others"
        )
    has = rows >= 0
    added = torch.ones(listed.size(1), dtype=torch.bool, device=rows.device)
    added[rows[has]] = False
    _, target = ends_of(listed, flow)
    loops.index_add_(0, target[added], weights[added])
    if bool(has.all()) and torch.equal(rows, torch.arange(rows.numel(), device=rows.device)):
        return weights[: rows.numel()], loops
    own = weights.new_zeros(edges.size(1), weights.size(1))
    own[has] = weights[rows[has]]
    return own, loops


def _num_nodes(heard: Heard, edges: Tensor, flow: str) -> tuple[int, int]:
    """(sources, targets), by the features where they tell, else by the largest numbers."""
    largest = [int(row.max()) + 1 if row.numel() else 0 for row in ends_of(edges, flow)]
    num_src, num_dst = (
        seen if known is None else known
        for known, seen in zip(heard.num_nodes, largest, strict=True)
    )
    return num_src, num_dst
