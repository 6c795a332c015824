"""The graph: edges sorted by target, the transpose, the way back to the caller's order.

A graph is validated once, at the door (`door.py`), and trusted inside. What attention computes over
it is the business of `gat.ops`.
"""

from gat.graph.cache import remember
from gat.graph.compact import CompactEdges
from gat.graph.door import EdgeList, read_edges
from gat.graph.intervals import Blocks, IntervalGraph
from gat.graph.lookup import graph_of
from gat.graph.loops import loop_features
from gat.graph.structure import Graph, Transpose

__all__ = [
    "Blocks",
    "CompactEdges",
    "EdgeList",
    "Graph",
    "IntervalGraph",
    "Transpose",
    "graph_of",
    "loop_features",
    "read_edges",
    "remember",
]
