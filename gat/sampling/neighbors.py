"""`Sampler`: neighbourhoods of nodes of one graph, hop by hop."""

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.graph import Graph
from gat.graph.compact import LARGEST
from gat.sampling.grow import Relation, grow, starting
from gat.sampling.hops import Rule, Tables
from gat.sampling.sample import Sample

__all__ = ["Sampler", "check_fanouts", "check_nodes", "check_whole"]

MOST = 2**62


class Sampler:
    """Samples the neighbours that nodes listen to, as in Hamilton et al. 2017, "Inductive
    Representation Learning on Large Graphs", algorithm 2.

    graph: the whole graph, without added self-loops. num_neighbors: how many incoming edges of a
    node are drawn, for each hop from the seeds on; -1 takes all, 0 none. A node is expanded once,
    in the hop after the one that found it, so all layers see the same edges of it, as in PyG.
    replace: draw with replacement. weight: [E] in the caller's order, not negative: edges are drawn
    in proportion to it. seed: of all draws.

    What is drawn for a node is a function of (seed, epoch, node, hop): not of the batch it is in,
    nor of threads or processes. Raises InputError for what cannot be meant.
    """

    def __init__(
        self,
        graph: Graph,
        num_neighbors: Sequence[int],
        *,
        replace: bool = False,
        weight: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        check_whole(graph)
        self.graph, self.seed = graph, int(seed)
        self.num_neighbors = check_fanouts(num_neighbors)
        self.rule = Rule(0, replace, sorted_weights(graph, weight))
        self._tables = Tables(graph.num_src)

    def sample(self, nodes: Tensor, epoch: int = 0) -> Sample:
        """The neighbourhood of ``nodes``, int64 [S], all different; epochs differ in what is drawn.

        Raises InputError for a node twice, IndexRangeError for one the graph does not have.
        """
        nodes = check_nodes(nodes, self.graph.num_dst)
        edges = self.graph.by_target
        relation = Relation(None, None, edges, self.num_neighbors, self.rule)
        with starting({None: nodes}, {None: self._tables}) as known:
            grown = grow([relation], known, self.seed, epoch)
        hops = grown.expansions[0]
        num_edges = [hop.edge.numel() for hop in hops]
        if sum(num_edges) >= LARGEST:
            raise InputError(
                f"{sum(num_edges)} edges were sampled; a sample counts to {LARGEST}, so take fewer "
                "nodes at a time or smaller fan-outs"
            )
        return Sample(
            nodes=torch.cat(known[None].nodes),
            rowptr=pointer(torch.cat([hop.ends.diff() for hop in hops])),
            col=torch.cat([hop.source for hop in hops]),
            positions=torch.cat([hop.edge for hop in hops]),
            numbers=edges.number,
            num_nodes=grown.num_nodes[None],
            num_edges=num_edges,
        )


def check_whole(graph: Any) -> None:
    """Refuse what is no Graph, ArgumentTypeError, and one that parts of cannot be meant of, or that
    is not in the memory which the compiled library reads, InputError."""
    if not isinstance(graph, Graph):
        raise ArgumentTypeError(
            f"graph is of type {type(graph).__name__}; expected a gat.Graph, such as "
            "gat.Graph.from_edge_index(edge_index, num_nodes)"
        )
    if graph.device.type != "cpu":
        raise InputError(
            f"the graph is on {graph.device}; neighbours are drawn on the CPU, so pass "
            "graph.to('cpu')"
        )
    if graph.num_loops:
        raise InputError(
            "the graph has self-loops that were added; sample from the graph without, since "
            "layers add them to what is sampled"
        )
    if graph.num_src != graph.num_dst:
        raise InputError(
            f"the graph has {graph.num_src} sources and {graph.num_dst} targets; sampling goes "
            "from node to node, so it needs one set of nodes. For several use a HeteroData"
        )


def pointer(degrees: Tensor) -> Tensor:
    """CSR pointer int32 [m + 1] of degrees [m]."""
    rowptr = torch.zeros(degrees.numel() + 1, dtype=torch.int32)
    torch.cumsum(degrees, 0, dtype=torch.int32, out=rowptr[1:])
    return rowptr


def check_fanouts(num_neighbors: Sequence[int]) -> list[int]:
    """The fan-outs as a list of whole numbers from -1 up; InputError for anything else."""
    fanouts = list(num_neighbors) if isinstance(num_neighbors, Iterable) else []
    bad = [k for k in fanouts if isinstance(k, bool) or not isinstance(k, Integral) or k < -1]
    if bad or not fanouts:
        raise InputError(
            f"num_neighbors is {num_neighbors!r}; expected a whole number for each hop, such as "
            "[15, 10]: 0 for no neighbour, -1 for all"
        )
    # The library counts in 64 bits; no node has as many edges.
    return [min(int(k), MOST) for k in fanouts]


def check_nodes(nodes: Tensor, num_nodes: int, name: str = "nodes") -> Tensor:
    """Seeds int64 [S] on the CPU, contiguous and in range; ``name`` is the argument's."""
    nodes = torch.as_tensor(nodes)
    if nodes.dim() != 1 or nodes.dtype not in (torch.int64, torch.int32):
        raise ArgumentTypeError(
            f"{name} must be whole numbers of shape [S]; it is {nodes.dtype} of shape "
            f"{list(nodes.shape)}"
            + ("; pass mask.nonzero()[:, 0]" if nodes.dtype == torch.bool else "")
        )
    nodes = nodes.detach().cpu().long().contiguous()
    if nodes.numel():
        low, high = (int(end) for end in torch.aminmax(nodes))
        if low < 0 or high >= num_nodes:
            bad = int(((nodes < 0) | (nodes >= num_nodes)).nonzero()[0])
            raise IndexRangeError(
                f"{name}: {int(nodes[bad])} in place {bad} is no node of this graph, which has "
                f"{num_nodes}, counted from 0"
            )
    return nodes


def sorted_weights(graph: Graph, weight: Tensor | None, name: str = "weight") -> Tensor | None:
    """Weights [E] in the caller's order as float64 in sorted order, a copy, scaled as a whole;
    InputError for bad ones."""
    if weight is None:
        return None
    if weight.dim() != 1 or weight.numel() != graph.num_edges:
        raise InputError(
            f"{name} has shape {list(weight.shape)}; expected [{graph.num_edges}], one per edge"
        )
    weight = weight.detach().to("cpu", torch.float64, copy=True)
    bad = (~(torch.isfinite(weight) & (weight >= 0))).nonzero()
    if len(bad):
        edge = int(bad[0])
        raise InputError(
            f"{name} of edge {edge} is {float(weight[edge])}; expected finite weights from 0 up"
        )
    return graph.to_sorted(_scaled(weight)).contiguous()


def _scaled(weight: Tensor) -> Tensor:
    """The weights times a power of two that makes the largest about 1, so that neither sums nor
    quotients overflow; what is drawn in proportion to them stays the same."""
    if not weight.numel():
        return weight
    exponent = int(torch.frexp(weight.max()).exponent)
    half = -exponent // 2
    # In two steps: 2.0**1074 is no number.
    return weight * 2.0**half * 2.0 ** (-exponent - half)
