"""Training on parts of a graph: the batches of an epoch, made ahead in the background.

Batch ``step`` of an epoch is a function of (seed, epoch, step) alone, so a run resumed between two
steps goes on as it would have gone. The task's own tensors stay where they are, maybe in a file:
rows are read as batches need them, and normalised then.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from gat.data import NodeTask
from gat.errors import ConfigError
from gat.graph import Graph
from gat.sampling import Sampler
from gat.sampling.clusters import Clusters
from gat.sampling.prefetch import gather, prefetched
from gat.sampling.subgraphs import RandomNodes
from gat.sampling.walks import RandomWalks
from gat.train.batches import Batch, Part, join, make_batches, shuffled
from gat.train.config import TrainConfig
from gat.train.degrees import WholeDegrees
from gat.train.layerwise import Inference
from gat.train.sampling_config import SamplingConfig

__all__ = ["Minibatches", "whole_graphs"]


def whole_graphs(task: NodeTask, config: TrainConfig) -> list[Batch]:
    """The graphs of a task that is trained on in parts, and how they are computed as a whole."""
    sampling, bound = config.sampling, float("inf")
    if sampling.evaluation == "layer-wise":
        bound = sampling.inference_memory * 2**30
    # Labels join the features in memory, which are normalised then; else as rows are read.
    later = "none" if config.labels.inputs else config.data.normalize_features
    way = Inference(bound, sampling.inference_batch_size, later)
    data = config.data.model_copy(update={"features": "dense"})
    if later != "none":
        data = data.model_copy(update={"normalize_features": "none"})
    batches = make_batches(task, data, torch.device("cpu"), labels=config.labels)
    return [replace(batch, inference=way) for batch in batches]


class Minibatches:
    """The steps of every epoch. Several training graphs are sampled from as one.

    Raises ConfigError where ``sampling.name`` is "auto", which must have been settled.
    """

    def __init__(self, graphs: list[Batch], config: TrainConfig, device: torch.device) -> None:
        whole = join([batch for batch in graphs if "train" in batch.parts])
        self.whole = replace(whole, inference=graphs[0].inference)
        self.device, self.depth = device, config.sampling.prefetch
        self.self_loops = config.model.add_self_loops
        self.degrees = None
        if config.model.symmetric_norm:
            self.degrees = WholeDegrees.of(self.whole.edges, self.self_loops)
        # A copy to a GPU goes on in the background only from pinned memory.
        self.cutter = _cutter(self.whole, config, pin=device.type == "cuda")

    def __len__(self) -> int:
        """Steps in an epoch."""
        return len(self.cutter)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from step ``first`` on, on the device."""
        make = partial(self._made, epoch)
        for batch in prefetched(make, range(first, len(self)), self.depth):
            yield batch.to(self.device)

    def batch(self, epoch: int, step: int) -> Batch:
        """One of them."""
        return self._made(epoch, step).to(self.device)

    def _made(self, epoch: int, step: int) -> Batch:
        """Runs in the background: no generator of torch's own may be drawn from here."""
        batch = self.cutter.cut(epoch, step)
        assert batch.nodes is not None
        for graph in batch.edges if isinstance(batch.edges, list) else [batch.edges]:
            graph.prepare(self.self_loops)
            if self.degrees is not None:
                self.degrees.give(graph, batch.nodes)
        return batch.within(self.whole)


class _Cutter(Protocol):
    def __len__(self) -> int: ...

    def cut(self, epoch: int, step: int) -> Batch:
        """A part of the whole graph."""
        ...


def _cutter(whole: Batch, config: TrainConfig, pin: bool) -> _Cutter:
    name = config.sampling.name
    if name == "neighbor":
        fanouts = config.sampling.fanouts(config.model.num_layers)
        return _Neighborhoods(whole, config.sampling, fanouts, config.seed, pin)
    if name == "auto":
        raise ConfigError(
            'sampling.name = "auto" is settled by the memory budget before training begins; name '
            '"neighbor" or "none"'
        )
    return _Subgraphs(whole, _subgraphs(whole.edges, config.sampling, config.seed), pin)


class _Neighborhoods:
    """Training nodes, a batch at a time in the epoch's order, with sampled neighbours."""

    def __init__(
        self, whole: Batch, sampling: SamplingConfig, fanouts: list[int], seed: int, pin: bool
    ) -> None:
        self.whole, self.pin = whole, pin
        self.seed, self.size = seed, sampling.batch_size
        self.sampler = Sampler(whole.edges, fanouts, replace=sampling.replace, seed=seed)
        self.nodes, self.y = _training(whole)
        self._order: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        return -(-self.nodes.numel() // self.size)

    def cut(self, epoch: int, step: int) -> Batch:
        chosen = self._shuffled(epoch)[step * self.size : (step + 1) * self.size]
        sample = self.sampler.sample(self.nodes[chosen], epoch)
        part = Part(None, gather(self.y, chosen, self.pin))
        return _rows(self.whole, sample.graphs, sample, part, self.pin)

    def _shuffled(self, epoch: int) -> Tensor:
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, shuffled(self.nodes.numel(), self.seed, epoch)
        return self._order[1]


class _Subgraphs:
    """Nodes of the graph with the edges between them; the training nodes are among them."""

    def __init__(self, whole: Batch, subgraphs: Any, pin: bool) -> None:
        self.whole, self.subgraphs, self.pin = whole, subgraphs, pin
        nodes, self.y = _training(whole)
        self.place = torch.full((whole.num_nodes,), -1)
        self.place[nodes] = torch.arange(nodes.numel())

    def __len__(self) -> int:
        return len(self.subgraphs)

    def cut(self, epoch: int, step: int) -> Batch:
        found = self.subgraphs.sample(epoch, step)
        place = self.place[found.nodes]
        rows = (place >= 0).nonzero().squeeze(1)
        part = None
        if rows.numel():
            weight = None
            if found.node_weight is not None:
                # Those are of the mean over all nodes; the loss is one over the training nodes.
                weight = found.node_weight[rows] * (self.place.numel() / self.y.size(0))
            part = Part(rows, gather(self.y, place[rows], self.pin), weight)
        return _rows(self.whole, found.graph, found, part, self.pin)


def _subgraphs(graph: Graph, sampling: SamplingConfig, seed: int) -> Any:
    if sampling.name == "random-node":
        return RandomNodes(graph, sampling.num_parts, seed=seed)
    if sampling.name == "cluster":
        return Clusters(graph, sampling.num_parts, sampling.clusters_per_batch, seed=seed)
    return RandomWalks(
        graph,
        sampling.roots,
        sampling.walk_length,
        sampling.steps,
        seed=seed,
        coverage=sampling.coverage,
    )


def _rows(whole: Batch, edges: Any, found: Any, part: Part | None, pin: bool) -> Batch:
    """A batch; found.nodes, found.edges: whose rows of features it has, by the caller's numbers."""
    assert whole.inference is not None
    scaled = whole.inference.normalize != "none"
    x = gather(whole.x, found.nodes, pin and not scaled)
    if scaled:
        x = whole.inference.rows(x)
        x = x.pin_memory() if pin else x
    edge_attr = whole.edge_attr
    if edge_attr is not None:
        edge_attr = gather(edge_attr, found.edges, pin)
    return Batch(x, edges, {} if part is None else {"train": part}, edge_attr, found.nodes)


def _training(whole: Batch) -> tuple[Tensor, Tensor]:
    """The training nodes and their labels."""
    part = whole.parts["train"]
    return torch.arange(whole.num_nodes) if part.rows is None else part.rows, part.y
