"""`NeighborLoader`: PyG's loader of sampled neighbourhoods, whose batches are sorted already."""

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.loader import NodeLoader
from torch_geometric.loader.base import DataLoaderIterator
from torch_geometric.sampler import BaseSampler
from torch_geometric.sampler.base import SubgraphType

from gat.errors import ArgumentTypeError, InputError
from gat.graph import CompactEdges, remember
from gat.graph.compact import LARGEST
from gat.sampling.neighbors import pointer
from gat.sampling.pyg_sampler import NeighborSampler, check_epoch
from gat.sampling.sample import layer_graphs
from gat.sampling.structure import SampledGraph

__all__ = ["NeighborLoader"]


class NeighborLoader(NodeLoader):
    """Batches of nodes with sampled neighbourhoods: `torch_geometric.loader.NeighborLoader` in
    signature, without pyg-lib or torch-sparse.

    data: a Data or HeteroData with edge_index. num_neighbors: how many edges that enter a node are
    drawn, for each hop from the input nodes on, -1 for all; in heterogeneous data for each edge
    type, or a dict of such lists. input_nodes: numbers, a mask, or (node type, either of these);
    all nodes by default. input_time: a time for each of them instead of its own. replace,
    weight_attr: drawn with replacement, in proportion to this edge attribute. subgraph_type:
    "directional" has the edges drawn, "bidirectional" those and their reverse, "induced" all among
    the nodes found. disjoint: a tree for each input node, told apart by ``batch``. time_attr: an
    attribute of nodes or of edges in whole numbers; a tree follows only edges not newer than its
    input node, and is disjoint; temporal_strategy: "uniform" draws from these, "last" takes the
    newest. seed: of all draws. The rest, batch_size and so on, as in PyG; give ``generator`` for
    an order of ``shuffle=True`` that comes again.

    A batch is a Data or HeteroData as PyG's: n_id, e_id, input_id, batch_size, num_sampled_nodes,
    num_sampled_edges, seed_time. Its edges are known to be sorted, so the layers of `gat.nn` take
    ``batch.edge_index`` as it is. Of homogeneous data it also has ``graphs``, for
    `gat.models.GAT`: the `gat.Graph` of each layer, first layer first, if the model has as many
    layers as there are hops; its targets are the first of its sources.

    Differences from PyG:

    - What is drawn for a node is a function of (seed, epoch, node, hop), not of a generator's
      state: all batches of an epoch that expand a node in the same hop draw the same neighbours,
      and the batches are the same with any number of workers, persistent or not.
    - Each pass is an epoch of its own, the first epoch 0. ``loader.epoch`` is the epoch of the next
      pass; save it, and `set_epoch` it to go on. Finish a pass, or give it up, before the next.
    - Edges of weight 0 are not drawn, even where too few others are left; -1 takes them all.
    - An input node twice in a batch, without disjoint, is refused: they would be one node.
    - ``is_sorted`` is noticed rather than believed; ``directed=False`` means "induced".

    Raises InputError, ArgumentTypeError (TypeError) or IndexRangeError for what cannot be meant.
    """

    def __init__(
        self,
        data: Any,
        num_neighbors: Any,
        input_nodes: Any = None,
        input_time: Tensor | None = None,
        replace: bool = False,
        subgraph_type: SubgraphType | str = "directional",
        disjoint: bool = False,
        temporal_strategy: str = "uniform",
        time_attr: str | None = None,
        weight_attr: str | None = None,
        transform: Callable[[Any], Any] | None = None,
        transform_sampler_output: Callable[[Any], Any] | None = None,
        is_sorted: bool = False,
        filter_per_worker: bool | None = None,
        neighbor_sampler: BaseSampler | None = None,
        directed: bool = True,
        *,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if input_time is not None and time_attr is None:
            raise InputError("input_time is given, but no time_attr to compare it with")
        if neighbor_sampler is None:
            neighbor_sampler = NeighborSampler(
                data,
                num_neighbors,
                replace=replace,
                subgraph_type=subgraph_type,
                disjoint=disjoint,
                temporal_strategy=temporal_strategy,
                time_attr=time_attr,
                weight_attr=weight_attr,
                is_sorted=is_sorted,
                directed=directed,
                seed=seed,
            )
        if isinstance(data, HeteroData):
            _check_typed(data, input_nodes)
        _check_mask(data, input_nodes)
        self._next_epoch = 0
        super().__init__(
            data=data,
            node_sampler=neighbor_sampler,
            input_nodes=input_nodes,
            input_time=input_time,
            transform=transform,
            transform_sampler_output=transform_sampler_output,
            filter_per_worker=filter_per_worker,
            **kwargs,
        )
        given = self.input_data
        if isinstance(neighbor_sampler, NeighborSampler):
            neighbor_sampler.check_nodes(given.input_type, given.node)
        if input_time is not None and input_time.shape != given.node.shape:
            raise InputError(
                f"input_time has shape {list(input_time.shape)}; expected "
                f"[{given.node.numel()}], one for each of the input nodes"
            )

    @property
    def epoch(self) -> int:
        """The epoch that the next pass draws."""
        return self._next_epoch

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass draw what belongs to this epoch, counted from 0."""
        self._next_epoch = check_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        set_epoch = getattr(self.node_sampler, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(self._next_epoch)
        self._next_epoch += 1
        return super().__iter__()

    def __call__(self, index: Any) -> Any:
        """The batch of some input nodes, by their places in ``input_nodes``."""
        return remember_graphs(super().__call__(index))

    def _get_iterator(self) -> Iterator[Any]:
        return _Batches(super()._get_iterator(), remember_graphs)


def _check_typed(data: HeteroData, input_nodes: Any) -> None:
    pair = isinstance(input_nodes, tuple | list) and len(input_nodes) == 2
    kind = input_nodes[0] if pair else input_nodes
    if not isinstance(kind, str):
        raise ArgumentTypeError(
            f"input_nodes is of type {type(input_nodes).__name__}; of heterogeneous data expected "
            "a node type, or (node type, numbers or a mask)"
        )
    if kind not in data.node_types:
        raise InputError(f"input_nodes are of type {kind!r}; the data have {data.node_types}")


def _check_mask(data: Any, input_nodes: Any) -> None:
    """PyG would take a mask of another size for one of the first nodes."""
    kind = None
    if isinstance(data, HeteroData) and not isinstance(input_nodes, str):
        kind, input_nodes = input_nodes
    if not isinstance(input_nodes, Tensor) or input_nodes.dtype != torch.bool:
        return
    count = data.num_nodes if kind is None else data[kind].num_nodes
    if input_nodes.shape != (count,):
        raise InputError(
            f"input_nodes is a mask of shape {list(input_nodes.shape)}; expected [{count}], one "
            f"for each node{'' if kind is None else f' of type {kind!r}'}"
        )


class _Batches(DataLoaderIterator):
    """Batches as they come out of the workers, in the process that uses them."""

    def __next__(self) -> Any:
        # Tensors made in inference mode have no version, so no graph can be remembered of them;
        # leaving it turns gradients on.
        gradients = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.set_grad_enabled(gradients):
            return super().__next__()


def remember_graphs(batch: Any) -> Any:
    """The batch, its edges' graphs known to `gat.graph.graph_of` where they are sorted, and
    ``graphs`` set where its hops are known."""
    for store in getattr(batch, "edge_stores", ()):
        edge_index = store.get("edge_index")
        graph = None if edge_index is None else _sorted_graph(edge_index, *store.size())
        if graph is None:
            continue
        remember(edge_index, graph)
        if isinstance(batch, Data) and _has_hops(batch, graph):
            edges = graph.by_target
            batch.graphs = layer_graphs(
                edges.rowptr, edges.col, batch.num_sampled_nodes, batch.num_sampled_edges
            )
    return batch


def _sorted_graph(edge_index: Tensor, num_src: int, num_dst: int) -> SampledGraph | None:
    """The graph of edges that are grouped by target; None of others."""
    source, target = edge_index
    if not edge_index.is_cpu or max(target.numel(), num_src, num_dst) >= LARGEST:
        return None
    # A transform may have changed them.
    grouped = not bool((target[1:] < target[:-1]).any())
    if not (grouped and _inside(source, num_src) and _inside(target, num_dst)):
        return None
    rowptr = pointer(torch.bincount(target, minlength=num_dst))
    return SampledGraph.of(CompactEdges(rowptr, source.int(), None), num_src)


def _inside(index: Tensor, size: int) -> bool:
    if not index.numel():
        return True
    low, high = torch.aminmax(index)
    return int(low) >= 0 and int(high) < size


def _has_hops(batch: Data, graph: SampledGraph) -> bool:
    nodes, edges = batch.get("num_sampled_nodes"), batch.get("num_sampled_edges")
    if nodes is None or edges is None:
        return False
    if sum(nodes) != graph.num_src or sum(edges) != graph.num_edges:
        return False
    # A transform may have changed as many edges: each hop's targets have all of theirs within it,
    # and their sources are no further than the next.
    within, upto = list(accumulate(nodes)), list(accumulate(edges))
    rowptr, col = graph.by_target.rowptr, graph.by_target.col
    return rowptr[within[:-1]].tolist() == upto and all(
        _inside(col[first:last], known)
        for first, last, known in zip([0, *upto], upto, within[1:], strict=False)
    )
