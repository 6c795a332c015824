"""How large what is trained on is: of the whole data, and of what one step computes on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gat.data import NodeTask
from gat.train.batches import density, is_sparse
from gat.train.config import TrainConfig
from gat.train.sampling_config import SamplingConfig

__all__ = ["Level", "Sizes", "attention_layers", "levels_of", "sizes_of"]


@dataclass(frozen=True)
class Sizes:
    """Of a task's largest batch of whole graphs, and of all that is loaded.

    nodes, edges: of the batch, edges as the graph lists them, without added self-loops. features,
    classes, edge_dim: columns of each. density: share of the features that are not zero, where
    they are multiplied as a sparse matrix; None where dense. trained: nodes that the loss is of;
    None: all. loaded_nodes, loaded_edges: of the whole task as it was read; None: the batch's.
    """

    nodes: int
    edges: int
    features: int
    classes: int
    edge_dim: int | None = None
    density: float | None = None
    trained: int | None = None
    multilabel: bool = False
    splits: int = 1
    loaded_nodes: int | None = None
    loaded_edges: int | None = None

    @property
    def nonzero(self) -> int:
        """Features that are not zero, of sparse ones."""
        return math.ceil((self.density or 0.0) * self.nodes * self.features)


@dataclass(frozen=True)
class Level:
    """What one attention layer computes on: nodes it reads and writes, edges without loops, and
    the loops it adds."""

    sources: int
    targets: int
    edges: int
    loops: int


def sizes_of(task: NodeTask, config: TrainConfig) -> Sizes:
    """The sizes of the largest training step on whole graphs.

    Where ``data.undirected`` adds reverse edges, every edge is counted twice, which is a bound.
    """
    data = config.data
    count = config.graphs_per_batch if task.inductive else 1
    training = [graph for graph in task.graphs if bool(graph.train_mask[:, data.split].any())]
    nodes = _largest([graph.num_nodes for graph in training], count)
    edges = _largest([graph.num_edges for graph in training], count)
    trained = None
    if not task.inductive:
        trained = task.part_sizes(data.split)["train"]
    return Sizes(
        nodes=nodes,
        edges=edges * (2 if data.undirected else 1),
        features=task.num_features + (task.num_classes if config.labels.inputs else 0),
        classes=task.num_classes,
        edge_dim=task.edge_dim,
        density=_density(task, config),
        trained=trained,
        multilabel=task.multilabel,
        splits=task.num_splits,
        loaded_nodes=task.num_nodes,
        loaded_edges=task.num_edges,
    )


def levels_of(config: TrainConfig, sizes: Sizes) -> list[Level]:
    """What each attention layer computes on, first layer first: of the full batch, or bounds for
    a sampled one."""
    loops = config.model.add_self_loops
    count = attention_layers(config)
    if config.sampling.name in ("none", "auto"):
        return [_level(sizes.nodes, sizes.nodes, sizes.edges, loops)] * count
    if config.sampling.name != "neighbor":
        share = _share(config.sampling, sizes)
        nodes, edges = math.ceil(sizes.nodes * share), math.ceil(sizes.edges * share)
        return [_level(nodes, nodes, edges, loops)] * count
    fan_outs = config.sampling.fanouts(count)
    within, hops = _hops(fan_outs, config.sampling.batch_size, sizes)
    levels = []
    for layer in range(count):
        # A layer reads the nodes within so many hops of the seeds and writes one hop less.
        left = min(count - layer, len(hops))
        edges = min(sum(hops[:left]), sizes.edges)
        levels.append(_level(within[left], within[left - 1], edges, loops))
    return levels


def _share(sampling: SamplingConfig, sizes: Sizes) -> float:
    """Of the nodes, and of the edges, that a batch cut out of the graph has; about."""
    if sampling.name == "random-walk":
        # Walks meet hubs more often than other nodes.
        visited = sampling.roots * (sampling.walk_length + 1)
        return min(1.0, 2 * visited / max(sizes.nodes, 1))
    joined = sampling.clusters_per_batch if sampling.name == "cluster" else 1
    # METIS lets a cluster be a few per cent larger than others.
    return min(1.0, 1.1 * joined / sampling.num_parts)


def attention_layers(config: TrainConfig) -> int:
    return config.model.num_layers


def _hops(fan_outs: Sequence[int], seeds: int, sizes: Sizes) -> tuple[list[int], list[int]]:
    """Nodes within 0, 1, ... hops of the seeds, and edges of each hop, at most."""
    within, hops = [min(seeds, sizes.nodes)], []
    found = within[0]
    for fan_out in fan_outs:
        drawn = sizes.edges if fan_out < 0 else found * fan_out
        hops.append(min(drawn, sizes.edges))
        found = min(hops[-1], sizes.nodes - within[-1])
        within.append(within[-1] + found)
    return within, hops


def _level(sources: int, targets: int, edges: int, loops: bool) -> Level:
    return Level(sources, targets, edges, targets if loops else 0)


def _largest(numbers: list[int], count: int) -> int:
    """The most that ``count`` of these come to."""
    return sum(sorted(numbers, reverse=True)[:count])


def _density(task: NodeTask, config: TrainConfig) -> float | None:
    """As `gat.train.batches` decides it, of the first graph; None for dense features.

    Batches cut from a graph have dense ones, so that features in a file are not read for this.
    """
    cut = config.sampling.name not in ("none", "auto")
    if cut or config.labels.inputs or task.inductive:
        return None
    x = task.graphs[0].x
    return density(x) if is_sparse(x, config.data.features) else None
