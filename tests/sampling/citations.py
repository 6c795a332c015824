"""Small Data and HeteroData to sample from."""

import torch
from torch_geometric.data import Data, HeteroData

CITES = ("paper", "cites", "paper")
WRITES = ("author", "writes", "paper")
WRITTEN = ("paper", "rev_writes", "author")


def pairs(num_src: int, num_dst: int, count: int, seed: int) -> torch.Tensor:
    """Unsorted, with parallel edges; the last target has none."""
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(num_src, (count,), generator=generator)
    target = torch.randint(max(num_dst - 1, 1), (count,), generator=generator)
    return torch.stack([source, target])


def papers(nodes: int = 50, edges: int = 400) -> Data:
    """A homogeneous graph with features, labels, edge features, weights and times of both kinds."""
    generator = torch.Generator().manual_seed(7)
    return Data(
        x=torch.randn(nodes, 6, generator=generator).double(),
        y=torch.randint(3, (nodes,), generator=generator),
        edge_index=pairs(nodes, nodes, edges, seed=1),
        edge_attr=torch.randn(edges, 2, generator=generator).double(),
        weight=torch.rand(edges, generator=generator),
        time=torch.randint(10, (nodes,), generator=generator),
        edge_time=torch.randint(10, (edges,), generator=generator),
    )


def library() -> HeteroData:
    """Papers and authors, who write them."""
    generator = torch.Generator().manual_seed(8)
    data = HeteroData()
    data["paper"].x = torch.randn(40, 6, generator=generator).double()
    data["author"].x = torch.randn(25, 4, generator=generator).double()
    data["paper"].y = torch.randint(3, (40,), generator=generator)
    data["paper"].time = torch.randint(10, (40,), generator=generator)
    data[CITES].edge_index = pairs(40, 40, 200, seed=2)
    data[WRITES].edge_index = pairs(25, 40, 120, seed=3)
    data[WRITTEN].edge_index = data[WRITES].edge_index.flip(0)
    for kind in data.edge_types:
        data[kind].weight = torch.rand(data[kind].num_edges, generator=generator)
        data[kind].edge_time = torch.randint(10, (data[kind].num_edges,), generator=generator)
    return data
