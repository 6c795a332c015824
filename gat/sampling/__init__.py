"""Neighbour sampling for graphs that do not fit: a batch of nodes, and what they listen to.

`Sampler` draws neighbourhoods of a `gat.Graph` and hands each layer its own graph.
"""

from gat.sampling.neighbors import Sampler
from gat.sampling.sample import Sample

__all__ = ["Sample", "Sampler"]
