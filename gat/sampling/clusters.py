"""`Clusters`: subgraphs of nodes that belong together, as Cluster-GCN trains on them.

Chiang, Liu, Si, Li, Bengio, Hsieh 2019, "Cluster-GCN: An Efficient Algorithm for Training Deep and
Large Graph Convolutional Networks" (arXiv 1905.07953), algorithm 1 with the stochastic multiple
partitions of its section 3.2. The clusters are METIS's, by the package pymetis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gat.errors import IndexRangeError, InputError, MissingDependencyError
from gat.graph import Graph
from gat.sampling.draws import hop_key
from gat.sampling.hops import Tables
from gat.sampling.neighbors import check_whole
from gat.sampling.subgraphs import Subgraph, check_step, induced, shuffled

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["Clusters", "partition"]


class Clusters:
    """Subgraphs of ``per_batch`` clusters chosen at random, with the edges between them too.

    The graph is cut into ``num_parts`` clusters once; each epoch every cluster is in one batch. The
    last batch has what is left over. Nodes are in ascending order. clusters: int64 [N], the cluster
    of each node, such as an earlier one's ``clusters``: nothing is cut then. Clusters without nodes
    are passed over. Raises InputError for numbers that cannot be meant, and what `partition` does.
    """

    def __init__(
        self,
        graph: Graph,
        num_parts: int,
        per_batch: int,
        *,
        seed: int = 0,
        clusters: Tensor | None = None,
    ) -> None:
        check_whole(graph)
        if not 1 <= per_batch <= num_parts:
            raise InputError(
                f"per_batch is {per_batch}; expected between 1 and {num_parts}, the number of "
                "clusters"
            )
        if clusters is None:
            clusters = partition(graph, num_parts, seed)
        self.graph, self.per_batch, self.seed = graph, per_batch, int(seed)
        self.clusters = _check_clusters(clusters, graph.num_dst, num_parts)
        sizes = self.clusters.bincount(minlength=num_parts)
        by_cluster = self.clusters.argsort(stable=True).split(sizes.tolist())
        self._members = [nodes for nodes in by_cluster if nodes.numel()]
        self._tables = Tables(graph.num_src)

    def __len__(self) -> int:
        return -(-len(self._members) // self.per_batch)

    def sample(self, epoch: int, step: int) -> Subgraph:
        """Batch ``step`` of an epoch; IndexRangeError for a step there is not."""
        check_step(step, len(self))
        order = shuffled(hop_key(self.seed, epoch, 0), len(self._members))
        chosen = order[step * self.per_batch : (step + 1) * self.per_batch].tolist()
        nodes = torch.cat([self._members[cluster] for cluster in chosen]).sort().values
        return induced(self.graph, nodes, self._tables)


def partition(graph: Graph, num_parts: int, seed: int = 0) -> Tensor:
    """The cluster of each node, int64 [N], by METIS: about equal sizes, few edges between them.

    Edges count once, whichever way they go, loops not at all. METIS may leave clusters empty. The
    same seed gives the same clusters on one machine. Raises InputError unless num_parts is between
    1 and the number of nodes, MissingDependencyError without pymetis.
    """
    if not 1 <= num_parts <= graph.num_dst:
        raise InputError(
            f"num_parts is {num_parts}; expected between 1 and {graph.num_dst}, the number of nodes"
        )
    try:
        import pymetis
    except ImportError:
        raise MissingDependencyError(
            "clusters are made by METIS, whose package pymetis is not installed: pip install "
            "pymetis, or pip install 'graph-attention[metis]'. Or pass your own clusters [N]"
        ) from None
    both_ways, dtype = _both_ways(graph), pymetis.zero_copy_dtype()
    adjacency = pymetis.CSRAdjacency(
        both_ways.indptr.astype(dtype, copy=False), both_ways.indices.astype(dtype, copy=False)
    )
    # METIS takes seeds of 31 bits.
    options = pymetis.Options(seed=seed & 0x7FFFFFFF)
    cut = pymetis.part_graph(num_parts, adjacency, options=options)
    return torch.from_numpy(np.array(cut.vertex_part, dtype=np.int64))


def _both_ways(graph: Graph) -> sparse.csr_array:
    """Each edge once in each direction, without loops: CSR [N, N]."""
    # Here, since it takes a while to import and others than clusters do without.
    from scipy import sparse

    edges, nodes = graph.by_target, graph.num_dst
    ones = np.ones(graph.num_edges, dtype=bool)
    one_way = sparse.csr_array((ones, edges.col.numpy(), edges.rowptr.numpy()), (nodes, nodes))
    # Of bool the sum is "or", which makes one of parallel edges.
    both_ways = (one_way + one_way.T).tocsr()
    both_ways.sum_duplicates()
    rows = np.repeat(np.arange(nodes), np.diff(both_ways.indptr))
    apart = rows != both_ways.indices
    starts = np.concatenate([[0], np.cumsum(apart)])[both_ways.indptr]
    return sparse.csr_array(
        (both_ways.data[apart], both_ways.indices[apart], starts), (nodes, nodes)
    )


def _check_clusters(clusters: Tensor, num_nodes: int, num_parts: int) -> Tensor:
    if clusters.shape != (num_nodes,) or clusters.dtype not in (torch.int64, torch.int32):
        raise InputError(
            f"clusters is {clusters.dtype} of shape {list(clusters.shape)}; expected whole numbers "
            f"of shape [{num_nodes}], one per node"
        )
    outside = ((clusters < 0) | (clusters >= num_parts)).nonzero()
    if len(outside):
        node = int(outside[0])
        raise IndexRangeError(
            f"clusters: {int(clusters[node])} of node {node} is none of {num_parts} clusters, "
            "counted from 0"
        )
    return clusters.detach().cpu().long()
