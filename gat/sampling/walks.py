"""`RandomWalks`: the subgraph around some random walks, as GraphSAINT trains on it.

Zeng, Zhou, Srivastava, Kannan, Prasanna 2020, "GraphSAINT: Graph Sampling Based Inductive Learning
Method" (arXiv 1907.04931): the sampler RW of its algorithm 2, the normalisation of its section 3.2.
"""

import torch
from torch import Tensor

from gat.errors import InputError
from gat.graph import Graph
from gat.sampling.draws import hop_key
from gat.sampling.hops import Tables
from gat.sampling.neighbors import check_whole
from gat.sampling.subgraphs import Subgraph, check_step, induced, stream

__all__ = ["RandomWalks"]


class RandomWalks:
    """Subgraphs of the nodes that ``roots`` random walks of ``length`` steps visit.

    Walks start at nodes drawn uniformly, with replacement, and go on to the source of an incoming
    edge drawn uniformly: from a node to one it listens to. (The paper's graphs are undirected; on
    these it is the same.) Where no edge comes in they stay. ``steps``: batches of an epoch. Nodes
    are in ascending order.

    coverage: how many times a node is sampled on average, before training, to count how often each
    node (C_v) and edge (C_uv) is in S subgraphs. Then a subgraph has

    - node_weight 1 / lambda_v = S / (C_v N) of N nodes: the weighted sum of the nodes' losses has
      the mean over all nodes as its expectation;
    - edge_norm 1 / alpha_uv = C_v / C_uv for an edge u -> v: multiplying messages with it makes
      sums over neighbours right in expectation, where their coefficients are fixed. Attention's
      depend, by the softmax, on which neighbours are there, so for GAT it promises nothing and no
      layer here uses it.

    What was never counted is taken to have been counted once; PyG takes 0.1 for such nodes, and in
    its edge_norm has C_u in place of C_v. Raises InputError for numbers that cannot be meant.
    """

    def __init__(
        self, graph: Graph, roots: int, length: int, steps: int, *, seed: int = 0, coverage: int = 0
    ) -> None:
        check_whole(graph)
        least = {"roots": (roots, 1), "length": (length, 0), "steps": (steps, 1)}
        for name, (value, low) in (least | {"coverage": (coverage, 0)}).items():
            if value < low:
                raise InputError(f"{name} is {value}; expected a whole number from {low} up")
        if not graph.num_dst:
            raise InputError("the graph has no nodes; random walks need one to start from")
        self.graph, self.roots, self.length, self.steps = graph, roots, length, steps
        self.seed, self.coverage = int(seed), coverage
        self._tables = Tables(graph.num_src)
        self._weights = self._count() if coverage else None

    def __len__(self) -> int:
        return self.steps

    def sample(self, epoch: int, step: int) -> Subgraph:
        """Subgraph ``step`` of an epoch; IndexRangeError for a step there is not."""
        check_step(step, len(self))
        subgraph = self._around(hop_key(self.seed, epoch, step))
        if self._weights is not None:
            of_nodes, of_edges = self._weights
            subgraph.node_weight = of_nodes[subgraph.nodes]
            subgraph.edge_norm = of_edges[subgraph.edges]
        return subgraph

    def _around(self, key: int) -> Subgraph:
        return induced(self.graph, self.walk(key).unique(), self._tables)

    def walk(self, key: int) -> Tensor:
        """The nodes of walks drawn from a key's stream, int64 [length + 1, roots]."""
        edges, roots = self.graph.by_target, self.roots
        nodes = [_below(stream(key, 0, roots), torch.tensor(self.graph.num_dst))]
        for step in range(1, self.length + 1):
            first = edges.rowptr[nodes[-1]].long()
            degree = edges.rowptr[nodes[-1] + 1] - first
            moving = degree.nonzero().squeeze(1)
            edge = first + _below(stream(key, step * roots, roots), degree)
            following = nodes[-1].clone()
            following[moving] = edges.col[edge[moving]].long()
            nodes.append(following)
        return torch.stack(nodes)

    def _count(self) -> tuple[Tensor, Tensor]:
        """Weights of all nodes and edges, float32 [N] and [E], by section 3.2."""
        graph, samples = self.graph, 0
        nodes = torch.zeros(graph.num_dst, dtype=torch.int64)
        edges = torch.zeros(graph.num_edges, dtype=torch.int64)
        while nodes.sum() < self.coverage * graph.num_dst:
            # Of relation 1: none of these is a batch of training.
            subgraph = self._around(hop_key(self.seed, 0, samples, relation=1))
            nodes[subgraph.nodes] += 1
            edges[subgraph.edges] += 1
            samples += 1
        nodes, edges = nodes.clamp(min=1), edges.clamp(min=1)
        of_nodes = samples / (nodes.double() * graph.num_dst)
        of_edges = nodes[graph.edge_index[1]].double() / edges
        return of_nodes.float(), of_edges.float()


def _below(numbers: Tensor, n: Tensor) -> Tensor:
    """Draws as whole numbers in [0, n), n below 2**31; of them all 64 bits, the upper 32 serve."""
    return ((numbers >> 32 & 0xFFFFFFFF) * n) >> 32
