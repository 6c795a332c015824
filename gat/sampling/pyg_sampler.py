"""`NeighborSampler`: neighbours drawn for PyG's loaders, without pyg-lib or torch-sparse."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.sampler import (
    BaseSampler,
    EdgeSamplerInput,
    HeteroSamplerOutput,
    NegativeSampling,
    NodeSamplerInput,
    SamplerOutput,
)
from torch_geometric.sampler.base import SubgraphType
from torch_geometric.sampler.neighbor_sampler import edge_sample, node_sample

from gat.errors import InputError
from gat.notices import warn_once
from gat.sampling.grow import Grown, Trees, grow, starting
from gat.sampling.hops import Known, Tables
from gat.sampling.induced import induced_edges
from gat.sampling.neighbors import check_nodes
from gat.sampling.stores import Stores
from gat.sampling.temporal import ids_of, times_of

__all__ = ["NeighborSampler", "check_epoch"]


class NeighborSampler(BaseSampler):
    """Draws neighbourhoods of nodes and links of a Data or HeteroData, for any loader of PyG that
    takes a `torch_geometric.sampler.BaseSampler`: `NodeLoader`, `LinkLoader` and ours.

    The arguments are those of PyG's NeighborSampler; see `gat.sampling.NeighborLoader` for what
    they mean and what differs. seed: of all draws.

    What is drawn for a node is a function of (seed, epoch, node, hop), in any batch and any worker
    process; where each seed has a tree of its own (disjoint), of (seed, epoch, tree's seed, node,
    hop). So each pass over the nodes needs an epoch of its own: call `set_epoch` before it, which
    workers see at once, or use `gat.sampling.NeighborLoader`, which does so itself.

    Raises InputError, ArgumentTypeError (TypeError) or IndexRangeError for what cannot be meant.
    """

    def __init__(
        self,
        data: Any,
        num_neighbors: Any,
        *,
        replace: bool = False,
        subgraph_type: SubgraphType | str = "directional",
        disjoint: bool = False,
        temporal_strategy: str = "uniform",
        time_attr: str | None = None,
        weight_attr: str | None = None,
        is_sorted: bool = False,
        share_memory: bool = False,
        directed: bool = True,
        seed: int = 0,
    ) -> None:
        # is_sorted and share_memory: sorted edges are noticed, and processes share what they can.
        self.subgraph_type = _subgraph_type(subgraph_type if directed else "induced")
        last = _is_last(temporal_strategy, time_attr, replace, weight_attr)
        self._stores = Stores.of(
            data, num_neighbors, weight_attr, time_attr, replace=replace, last=last
        )
        self.disjoint = disjoint or time_attr is not None
        if self.disjoint and self.subgraph_type is SubgraphType.induced:
            raise InputError(
                "subgraph_type='induced' has all edges among the nodes, which would join the trees "
                "of disjoint or temporal sampling; pass 'directional' or 'bidirectional'"
            )
        self.seed, self.is_hetero = int(seed), not isinstance(data, Data)
        self._tables = {kind: Tables(count) for kind, count in self._stores.num_nodes.items()}
        # -1 until somebody sets it; in shared memory, so that workers see it.
        self._epoch = torch.full((1,), -1).share_memory_()
        self._first: tuple[Any, int] | None = None

    @property
    def epoch(self) -> int:
        return max(int(self._epoch), 0)

    def set_epoch(self, epoch: int) -> None:
        """Draw what belongs to this epoch, counted from 0, from now on and in every worker."""
        self._epoch[0] = check_epoch(epoch)

    @property
    def edge_permutation(self) -> None:
        """None: edges go by the caller's numbers, columns of ``data.edge_index``."""
        return None

    def sample_from_nodes(self, index: NodeSamplerInput) -> SamplerOutput | HeteroSamplerOutput:
        """The neighbourhoods of some nodes, as PyG defines them."""
        self._watch(index)
        return self._typed(node_sample(index, self._sample))

    def sample_from_edges(
        self, index: EdgeSamplerInput, neg_sampling: NegativeSampling | None = None
    ) -> SamplerOutput | HeteroSamplerOutput:
        """The neighbourhoods of the ends of some links, and of links that are none, drawn by
        torch's generator."""
        count, time = self._stores.num_nodes, self._stores.node_time
        num_nodes = count if self.is_hetero else count[None]
        node_time = time if self.is_hetero else time.get(None)
        out = edge_sample(index, self._sample, num_nodes, self.disjoint, node_time, neg_sampling)
        return self._typed(out)

    def _typed(self, out: Any) -> Any:
        if self.subgraph_type is SubgraphType.bidirectional:
            return out.to_bidirectional()
        return out

    def _sample(self, seed: Any, seed_time: Any = None) -> SamplerOutput | HeteroSamplerOutput:
        """From seeds [S], or such by node type, and their times or None."""
        if self.is_hetero:
            seeds, times = dict(seed), dict(seed_time or {})
        else:
            seeds, times = {None: seed}, {} if seed_time is None else {None: seed_time}
        seeds = {kind: self.check_nodes(kind, nodes) for kind, nodes in seeds.items()}
        with self._started(seeds, times) as (known, trees):
            relations = list(self._stores.relations.values())
            grown = grow(relations, known, self.seed, self.epoch, trees)
            out = self._output(known, grown)
            if self.subgraph_type is SubgraphType.induced:
                self._induce(out, known)
        if trees is not None:
            out.batch = {k: trees.places(torch.cat(f.trees or [])) for k, f in known.items()}
        return out if self.is_hetero else _homogeneous(out)

    def check_nodes(self, kind: Any, nodes: Tensor) -> Tensor:
        """Input nodes of a type (None in homogeneous data) int64; IndexRangeError for others."""
        count = self._stores.num_nodes.get(kind)
        if count is None:
            raise InputError(
                f"input_nodes are of type {kind!r}; the data have {sorted(self._stores.num_nodes)}"
            )
        return check_nodes(nodes, count, "input_nodes")

    @contextmanager
    def _started(
        self, seeds: dict[Any, Tensor], times: Mapping[Any, Tensor]
    ) -> Iterator[tuple[dict[Any, Known], Trees | None]]:
        """The seeds as nodes known, and their trees where these are kept apart."""
        if not self.disjoint:
            with starting(seeds, self._tables, "input_nodes") as known:
                yield known, None
            return
        ids = ids_of(seeds, self._stores.num_nodes)
        trees = Trees(torch.cat([*ids.values()]), times_of(seeds, times, self._stores))
        none = torch.empty(0, dtype=torch.int64)
        yield (
            {
                kind: Known([seeds.get(kind, none)], trees=[ids.get(kind, none)])
                for kind in self._stores.num_nodes
            },
            trees,
        )

    def _output(self, known: Mapping[Any, Known], grown: Grown) -> HeteroSamplerOutput:
        out = HeteroSamplerOutput(
            node={kind: torch.cat(found.nodes) for kind, found in known.items()},
            row={},
            col={},
            edge={},
            num_sampled_nodes=grown.num_nodes,
            num_sampled_edges={},
        )
        for number, (kind, relation) in enumerate(self._stores.relations.items()):
            hops = grown.expansions[number]
            out.row[kind], out.col[kind] = grown.ends(number, relation.target)
            out.edge[kind] = relation.numbers(torch.cat([hop.edge for hop in hops]))
            out.num_sampled_edges[kind] = [hop.edge.numel() for hop in hops]
        return out

    def _induce(self, out: HeteroSamplerOutput, known: Mapping[Any, Known]) -> None:
        """All edges among the nodes in place of those drawn."""
        for kind, relation in self._stores.relations.items():
            found = induced_edges(relation, out.node[relation.target], known[relation.source])
            out.row[kind], out.col[kind], out.edge[kind] = found
        out.num_sampled_nodes = out.num_sampled_edges = None

    def _watch(self, index: NodeSamplerInput) -> None:
        """Say once that epochs are forgotten, where the first node comes round again."""
        random = any(k >= 0 for r in self._stores.relations.values() for k in r.fanouts)
        if int(self._epoch) >= 0 or not random or not index.node.numel():
            return
        if self._first is None:
            self._first = index.input_type, int(index.node[0])
            return
        kind, node = self._first
        if kind == index.input_type and bool((index.node == node).any()):
            warn_once(
                "the neighbours of some nodes are drawn a second time in the same epoch, so they "
                "are the same; call set_epoch of gat.sampling.NeighborSampler before each pass, "
                "or use gat.sampling.NeighborLoader, which counts epochs itself"
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._epoch.share_memory_()


def check_epoch(epoch: int) -> int:
    """The number of an epoch, from 0 up; InputError for anything else."""
    if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 0:
        raise InputError(f"epoch is {epoch!r}; expected a whole number from 0 up")
    return epoch


def _homogeneous(out: HeteroSamplerOutput) -> SamplerOutput:
    def only(values: Any) -> Any:
        return None if values is None else values[None]

    return SamplerOutput(
        node=only(out.node),
        row=only(out.row),
        col=only(out.col),
        edge=only(out.edge),
        batch=only(out.batch),
        num_sampled_nodes=only(out.num_sampled_nodes),
        num_sampled_edges=only(out.num_sampled_edges),
    )


def _subgraph_type(name: SubgraphType | str) -> SubgraphType:
    try:
        return SubgraphType(name)
    except ValueError:
        raise InputError(
            f"subgraph_type is {name!r}; expected one of {[kind.value for kind in SubgraphType]}"
        ) from None


def _is_last(strategy: str, time_attr: str | None, replace: bool, weight_attr: str | None) -> bool:
    if strategy not in ("uniform", "last"):
        raise InputError(f"temporal_strategy is {strategy!r}; expected 'uniform' or 'last'")
    if strategy == "last" and time_attr is not None and (replace or weight_attr is not None):
        raise InputError(
            "temporal_strategy='last' takes the newest edges and draws none, so replace=True and "
            "weight_attr have no meaning with it; drop them, or pass temporal_strategy='uniform'"
        )
    return strategy == "last"
