"""Small graphs of awkward shapes, by name, for every test that says "on any graph"."""

import torch
from torch import Tensor

from tests.device import DEVICE


def _random(num_src: int, num_dst: int, num_edges: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(num_src, (num_edges,), generator=generator)
    target = torch.randint(num_dst, (num_edges,), generator=generator)
    return torch.stack([source, target])


HUB = torch.stack([torch.arange(1, 98), torch.zeros(97, dtype=torch.int64)])

# name -> (edge_index, num_src, num_dst)
GRAPHS: dict[str, tuple[Tensor, int, int]] = {
    "no_edges": (torch.empty(2, 0, dtype=torch.int64), 5, 5),
    "no_nodes": (torch.empty(2, 0, dtype=torch.int64), 0, 0),
    "one_node_without_edges": (torch.empty(2, 0, dtype=torch.int64), 1, 1),
    "one_node_one_loop": (torch.tensor([[0], [0]]), 1, 1),
    "one_edge": (torch.tensor([[1], [0]]), 2, 2),
    "path_both_ways": (torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]]), 4, 4),
    "isolated_nodes": (torch.tensor([[3, 0], [0, 3]]), 7, 7),
    "loops_and_duplicates": (torch.tensor([[2, 0, 0, 2, 1, 2, 0], [2, 1, 1, 2, 0, 1, 0]]), 3, 3),
    "hub": (HUB, 98, 98),
    "hub_that_sends": (HUB.flip(0), 98, 98),
    "sixty_three_edges": (_random(13, 13, 63, seed=1), 13, 13),
    "bipartite_wide": (_random(11, 5, 37, seed=2), 11, 5),
    "bipartite_tall": (_random(3, 17, 29, seed=3), 3, 17),
    "random": (_random(31, 31, 211, seed=4), 31, 31),
}
GRAPHS = {name: (edges.to(DEVICE), *sizes) for name, (edges, *sizes) in GRAPHS.items()}
SQUARE = [name for name, (_, num_src, num_dst) in GRAPHS.items() if num_src == num_dst]
