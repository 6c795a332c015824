"""Read-outs: of the rows of parts a row for their whole, a sentence of words, a graph of nodes.

What belongs to what is a graph from parts to wholes: `gat.topology.hierarchy` makes it of lengths,
`graph_of_batch` of PyG's ``batch`` vector. Parts need not stand in the order of their wholes; a
whole without parts has zeros.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn.inits import glorot

from gat.checks import check_sizes, one_of
from gat.errors import ArgumentTypeError, IndexRangeError, InputError
from gat.graph import EdgeList, Graph
from gat.nn.attend import Attend
from gat.nn.normalizers import Normalizer
from gat.nn.scores import Score
from gat.topology import Lengths, hierarchy

__all__ = [
    "READOUTS",
    "AttentionPooling",
    "HierarchicalAttention",
    "LastReadout",
    "MeanReadout",
    "Readout",
    "graph_of_batch",
    "make_readout",
]

READOUTS = ("last", "mean", "attention")


class Readout(nn.Module, ABC):
    """From parts x [num_src, C] and a graph from parts to wholes to wholes [num_dst, C]; of a
    batch on one graph from [B, num_src, C] to [B, num_dst, C]."""

    def forward(self, x: Tensor, graph: Graph) -> Tensor:
        if not isinstance(graph, Graph):
            raise ArgumentTypeError(
                f"graph is of type {type(graph).__name__}; expected a gat.Graph from parts to "
                f"wholes, as gat.topology.hierarchy(lengths)[0] or graph_of_batch(batch) make it"
            )
        if x.dim() not in (2, 3) or x.size(-2) != graph.num_src:
            raise InputError(
                f"{type(self).__name__}: x has shape {list(x.shape)}; expected "
                f"[{graph.num_src}, channels], a row for each source of the graph, or "
                f"[batch, {graph.num_src}, channels]"
            )
        return self.read(x, graph)

    @abstractmethod
    def read(self, x: Tensor, graph: Graph) -> Tensor:
        """`forward` of what is checked."""


class LastReadout(Readout):
    """The last part of each whole, that of the highest number."""

    def read(self, x: Tensor, graph: Graph) -> Tensor:
        has = (graph.rowptr.diff() > 0).nonzero().squeeze(1)
        # Of each target the sources are sorted.
        last = graph.col[graph.rowptr[has + 1] - 1]
        out = x.new_zeros((*x.shape[:-2], graph.num_dst, x.size(-1)))
        return out.index_copy(-2, has, x.index_select(-2, last))


class MeanReadout(Readout):
    """The mean of each whole's parts: attention whose weights are all the same, so that it is
    recorded like others."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attend(1, score="dot", normalizer="uniform")

    def read(self, x: Tensor, graph: Graph) -> Tensor:
        batch = x.shape[:-2]
        query, key = (x.new_zeros((*batch, n, 1, 1)) for n in (graph.num_dst, graph.num_src))
        return self.attention(query, key, x.unsqueeze(-2), graph).squeeze(-2)


class AttentionPooling(Readout):
    """Attention over the parts by a learned query:

        u_t = tanh(W h_t + b);   a_t = softmax over a whole's parts of u . u_t;   sum of a_t h_t

    (Yang et al. 2016, "Hierarchical Attention Networks for Document Classification", eq. 5-7).
    channels: of the parts and of the result. With more ``heads``, which is ours, each has a slice
    of u_t and h_t, and a query of its own. score, normalizer: as `gat.nn.Attend` has them; the
    paper's by default.
    """

    def __init__(
        self,
        channels: int,
        heads: int = 1,
        score: str | Score = "dot",
        normalizer: str | Normalizer = "softmax",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, heads=heads)
        if channels % heads:
            raise InputError(
                f"channels is {channels} and heads {heads}; expected a multiple, since each head "
                f"has a slice of the channels"
            )
        self.hidden = nn.Linear(channels, channels)
        self.query = nn.Parameter(torch.empty(heads, channels // heads))
        self.attention = Attend(channels // heads, heads, score, normalizer, dropout)
        glorot(self.query)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        self.hidden.reset_parameters()
        self.attention.reset_parameters()
        glorot(self.query)

    def read(self, x: Tensor, graph: Graph) -> Tensor:
        shape = tuple(self.query.shape)
        key = torch.tanh(self.hidden(x)).unflatten(-1, shape)
        query = self.query.expand(*x.shape[:-2], graph.num_dst, *shape)
        return self.attention(query, key, x.unflatten(-1, shape), graph).flatten(-2)


def make_readout(name: str, channels: int) -> Readout:
    """The read-out called "last", "mean" or "attention"."""
    one_of("readout", name, READOUTS)
    if name == "attention":
        return AttentionPooling(channels)
    return LastReadout() if name == "last" else MeanReadout()


def graph_of_batch(batch: Tensor, num_graphs: int | None = None) -> Graph:
    """The graph from nodes to their graphs, of PyG's ``batch``: int64 [N], each node's graph, in
    any order. num_graphs: by default one more than the largest number.

    Raises ArgumentTypeError, InputError, or IndexRangeError for a number outside [0, num_graphs).
    """
    if batch.dtype is not torch.int64:
        raise ArgumentTypeError(f"batch has dtype {batch.dtype}; expected torch.int64")
    if batch.dim() != 1:
        raise InputError(f"batch has shape {list(batch.shape)}; expected [N]")
    if num_graphs is None:
        num_graphs = int(batch.max()) + 1 if batch.numel() else 0
    wrong = ((batch < 0) | (batch >= num_graphs)).nonzero()
    if wrong.numel():
        at = int(wrong[0])
        raise IndexRangeError(
            f"batch, position {at}, names graph {int(batch[at])}, outside [0, {num_graphs})"
        )
    nodes = torch.arange(batch.numel(), device=batch.device)
    return Graph.from_edge_list(EdgeList(nodes, batch, batch.numel(), num_graphs))


class HierarchicalAttention(nn.Module):
    """Words to sentences, sentences to a document, and so on for any number of levels: at each an
    encoder reads the parts of every whole, and attention pools them (Yang et al. 2016, section
    2.2, with two levels and bidirectional GRUs).

    channels: of the words and of all that is made of them. encoders: one for each level, the
    lowest first, a module from (x [parts, channels], lengths int64 [wholes]) to
    [parts, channels], or None for the parts as they are; without any there are ``levels``, by
    default 2.
    Further options are those of `AttentionPooling`; of an object each level has a copy.
    """

    def __init__(
        self,
        channels: int,
        levels: int | None = None,
        encoders: Sequence[nn.Module | None] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        check_sizes(levels=levels)
        given = [None] * (levels or 2) if encoders is None else list(encoders)
        if not given or len(given) != (levels or len(given)):
            raise InputError(
                f"there are {len(given)} encoders for {levels or 1} levels; expected one for each, "
                f"or None in the place of one"
            )
        self.encoders = nn.ModuleList(AsItIs() if one is None else one for one in given)
        self.poolings = nn.ModuleList(
            AttentionPooling(channels, **copy.deepcopy(options)) for _ in given
        )

    def forward(self, x: Tensor, *lengths: Lengths) -> Tensor:
        """x [words, channels] to [documents, channels]; lengths for each level, as
        `gat.topology.hierarchy` takes them: words of each sentence, sentences of each document."""
        if len(lengths) != len(self.poolings):
            raise InputError(
                f"HierarchicalAttention got lengths of {len(lengths)} levels; expected "
                f"{len(self.poolings)}, the parts of each whole at every level"
            )
        graphs = hierarchy(*lengths, device=x.device)
        levels = zip(self.encoders, self.poolings, graphs, lengths, strict=True)
        for encoder, pooling, graph, each in levels:
            counts = torch.as_tensor(each, dtype=torch.int64, device=x.device).reshape(-1)
            x = pooling(encoder(x, counts), graph)
        return x


class AsItIs(nn.Module):
    """The encoder that leaves the parts as they are."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return x
