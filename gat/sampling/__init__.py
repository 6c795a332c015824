"""Neighbour sampling for graphs that do not fit: a batch of nodes, and what they listen to.

`Sampler` draws neighbourhoods of a `gat.Graph` and hands each layer its own graph.
`NeighborLoader` gives PyG's batches of a Data or HeteroData; `NeighborSampler` serves PyG's own
loaders. `RandomNodes`, `RandomWalks` and `Clusters` cut parts of a graph out whole; `prefetched`
makes batches ahead.
"""

from gat.sampling.clusters import Clusters, partition
from gat.sampling.loader import NeighborLoader
from gat.sampling.neighbors import Sampler
from gat.sampling.prefetch import gather, prefetched
from gat.sampling.pyg_sampler import NeighborSampler
from gat.sampling.sample import Sample
from gat.sampling.subgraphs import RandomNodes, Subgraph, induced
from gat.sampling.walks import RandomWalks

__all__ = [
    "Clusters",
    "NeighborLoader",
    "NeighborSampler",
    "RandomNodes",
    "RandomWalks",
    "Sample",
    "Sampler",
    "Subgraph",
    "gather",
    "induced",
    "partition",
    "prefetched",
]
