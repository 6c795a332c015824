"""Batches that are a part of the graph: some nodes, and all edges between them.

Which nodes is what the classes differ in: `RandomNodes` here, `RandomWalks` and `Clusters` next
door. Each has ``len(batches)``, the steps of an epoch, and ``batches.sample(epoch, step)``, a
function of the seed, the epoch and the step alone.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gat.errors import IndexRangeError, InputError
from gat.graph import CompactEdges, Graph
from gat.ops.dropout import numbers
from gat.sampling.draws import hop_key
from gat.sampling.grow import starting
from gat.sampling.hops import Rule, Tables, expand
from gat.sampling.neighbors import check_nodes, check_whole
from gat.sampling.structure import SampledGraph

__all__ = ["RandomNodes", "Subgraph", "check_step", "induced", "shuffled", "stream"]


@dataclass(eq=False)
class Subgraph:
    """Nodes of a graph and the edges between them: n nodes, e edges.

    nodes        int64 [n]: their numbers in the whole graph
    graph        the edges by local numbers, n sources and n targets
    edges        int64 [e]: the caller's number of each, columns of the whole graph's edge_index
    node_weight  float32 [n]: what to multiply each node's loss by before summing, where the batches
                 hold some nodes more often than others
    edge_norm    float32 [e]: the same for each edge's message, where layers sum them by fixed
                 coefficients
    """

    nodes: Tensor
    graph: SampledGraph
    edges: Tensor
    node_weight: Tensor | None = None
    edge_norm: Tensor | None = None


def induced(graph: Graph, nodes: Tensor, tables: Tables | None = None) -> Subgraph:
    """The subgraph of ``nodes``, int64 [n], all different, in their order.

    Parallel edges and loops are kept. The work is in proportion to the edges that enter these
    nodes, given ``tables`` of the graph, which spare every call but the first a pass over all
    nodes. Raises InputError for a node twice, for a graph with two sets of nodes or added loops,
    and for another graph's tables, IndexRangeError for a node the graph does not have.
    """
    check_whole(graph)
    if tables is not None and tables.num_nodes != graph.num_src:
        raise InputError(
            f"tables are of {tables.num_nodes} nodes, the graph has {graph.num_src}; pass "
            "Tables(graph.num_src)"
        )
    nodes, edges = check_nodes(nodes, graph.num_dst), graph.by_target
    tables = Tables(graph.num_src) if tables is None else tables
    with starting({None: nodes}, {None: tables}) as known:
        ends, source, position = expand(edges, nodes, known[None], Rule(-1), key=0)
    # Sources found on the way were numbered after the nodes themselves.
    kept = (source < nodes.numel()).nonzero().squeeze(1)
    rowptr = torch.searchsorted(kept, ends).int()
    between = CompactEdges(rowptr, source.index_select(0, kept), None)
    position = position.index_select(0, kept)
    number = position if edges.number is None else edges.number.index_select(0, position)
    return Subgraph(nodes, SampledGraph.of(between, nodes.numel()), number.long())


class RandomNodes:
    """All nodes, cut at random into ``num_parts`` subgraphs of equal size, each epoch anew.

    Sizes differ by one at most; a part's nodes are in ascending order. Raises InputError for a
    number of parts that is not between 1 and the number of nodes.
    """

    def __init__(self, graph: Graph, num_parts: int, *, seed: int = 0) -> None:
        check_whole(graph)
        if not 1 <= num_parts <= max(graph.num_dst, 1):
            raise InputError(
                f"num_parts is {num_parts}; expected between 1 and {graph.num_dst}, the number of "
                "nodes"
            )
        self.graph, self.num_parts, self.seed = graph, num_parts, int(seed)
        self._tables = Tables(graph.num_src)
        self._kept: tuple[int, tuple[Tensor, ...]] | None = None

    def __len__(self) -> int:
        return self.num_parts

    def sample(self, epoch: int, step: int) -> Subgraph:
        """Part ``step`` of an epoch; IndexRangeError for a step there is not."""
        check_step(step, len(self))
        nodes = self._parts(epoch)[step].sort().values
        return induced(self.graph, nodes, self._tables)

    def _parts(self, epoch: int) -> tuple[Tensor, ...]:
        # Set at once, never changed: several threads may sample.
        kept = self._kept
        if kept is None or kept[0] != epoch:
            order = shuffled(hop_key(self.seed, epoch, 0), self.graph.num_dst)
            kept = self._kept = (epoch, order.tensor_split(self.num_parts))
        return kept[1]


def stream(key: int, start: int, count: int) -> Tensor:
    """Numbers ``start`` .. of the stream of a key of `gat.sampling.draws`, int64 [count]."""
    signed = key - (1 << 64) if key >> 63 else key
    return numbers(torch.tensor(signed), start, count)


def shuffled(key: int, count: int) -> Tensor:
    """The numbers below ``count`` in an order drawn from the key's stream."""
    return stream(key, 0, count).argsort(stable=True)


def check_step(step: int, steps: int) -> None:
    if not 0 <= step < steps:
        raise IndexRangeError(f"step {step} is none of an epoch's {steps}, counted from 0")
