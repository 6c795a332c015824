"""Attention records of any graph, by hand, for tests of pictures."""

import torch

from gat.inspection.record import AttentionRecord


def record_of(edge_index, num_src, num_dst, heads=2, loops=None, seed=0, sharp=1.0, **parts):
    """Random weights that sum to 1 at each target, as a layer that adds loops gives them where
    sources and targets are the same nodes. sharp: 0 for an even spread."""
    loops = num_src == num_dst if loops is None else loops
    generator = torch.Generator().manual_seed(seed)
    target = edge_index[1]
    edges = (sharp * torch.randn(len(target), heads, generator=generator)).exp()
    added = (sharp * torch.randn(num_dst, heads, generator=generator)).exp()
    if loops:
        added[target[edge_index[0] == target]] = 0
    else:
        added = added * 0
    sums = added.index_add(0, target, edges)
    # 0 / 0 at a node without edges.
    return AttentionRecord(
        layer="conv1",
        layer_type="GATConv",
        when="before_dropout",
        edge_index=edge_index,
        weights=edges / sums[target],
        loops=(added / sums).nan_to_num(0),
        num_src=num_src,
        num_dst=num_dst,
        **parts,
    )


def star(leaves, heads=2, **options):
    """Node 0 listens to ``leaves`` others, which listen to it."""
    out = torch.stack([torch.arange(1, leaves + 1), torch.zeros(leaves, dtype=torch.int64)])
    edges = torch.cat([out, out.flip(0)], dim=1)
    return record_of(edges, leaves + 1, leaves + 1, heads, **options)
