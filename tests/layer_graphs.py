"""All the neighbours of some nodes, hop by hop, as one graph for each layer: by plain torch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gat.graph import Graph


@dataclass
class Hops:
    """nodes [n]: whole-graph numbers, seeds first. edges [e]: columns of the edge_index, hop by
    hop. graphs: of each layer, first layer first, the targets the first of the sources."""

    nodes: Tensor
    edges: Tensor
    graphs: list[Graph]


def all_neighbours(edge_index: Tensor, seeds: list[int], num_layers: int) -> Hops:
    """Every edge that enters the seeds, those that enter their sources, and so on."""
    nodes, edges = list(seeds), []
    num_nodes, num_edges, start = [len(nodes)], [0], 0
    for _ in range(num_layers):
        entering = [(edge_index[1] == node).nonzero().flatten() for node in nodes[start:]]
        found = [edge for each in entering for edge in each.tolist()]
        start = len(nodes)
        for edge in found:
            if int(edge_index[0, edge]) not in nodes:
                nodes.append(int(edge_index[0, edge]))
        edges += found
        num_nodes.append(len(nodes))
        num_edges.append(len(edges))
    kept, number = torch.tensor(nodes, dtype=torch.int64), torch.tensor(edges, dtype=torch.int64)
    local = torch.tensor([[nodes.index(int(n)) for n in row] for row in edge_index[:, number]])
    local = local.view(2, -1).long()
    graphs = [
        Graph.from_edge_index(local[:, : num_edges[hop + 1]], (num_nodes[hop + 1], num_nodes[hop]))
        for hop in reversed(range(num_layers))
    ]
    return Hops(kept, number, graphs)
