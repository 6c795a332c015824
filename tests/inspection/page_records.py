"""Records of attention by hand, for the page's tests."""

import torch
from torch import Tensor

from gat.inspection import AttentionRecord


def record(
    edge_index: Tensor,
    num_nodes: int,
    layer: str = "conv1",
    heads: int = 2,
    loops: bool = True,
    num_src: int | None = None,
    **changed,
) -> AttentionRecord:
    """Weights by lot that sum to 1 over each target's edges and, with ``loops``, its own loop."""
    generator = torch.Generator().manual_seed(len(layer) + heads)
    scores = torch.rand(edge_index.size(1), heads, generator=generator) + 0.1
    own = torch.rand(num_nodes, heads, generator=generator) + 0.1 if loops else 0.0
    total = torch.zeros(num_nodes, heads).index_add(0, edge_index[1], scores) + own
    return AttentionRecord(
        layer=layer,
        layer_type="GATConv",
        when="before_dropout",
        edge_index=edge_index,
        weights=scores / total[edge_index[1]],
        loops=own / total if loops else torch.zeros(num_nodes, heads),
        num_src=num_nodes if num_src is None else num_src,
        num_dst=num_nodes,
        **changed,
    )


def ring(num_nodes: int) -> Tensor:
    """Both directions between neighbours on a ring: 2N edges."""
    nodes = torch.arange(num_nodes)
    beside = (nodes + 1) % num_nodes
    return torch.stack([torch.cat([nodes, beside]), torch.cat([beside, nodes])])


def scattered(num_nodes: int, num_edges: int) -> Tensor:
    """``num_edges`` edges between nodes by lot, no self-loops."""
    generator = torch.Generator().manual_seed(num_edges)
    source = torch.randint(num_nodes, (num_edges,), generator=generator)
    step = torch.randint(1, num_nodes, (num_edges,), generator=generator)
    return torch.stack([source, (source + step) % num_nodes])
