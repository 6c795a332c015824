"""Loops over sampled neighbourhoods: our trainer, and those that PyG's examples have.

All see the same batches, drawn by our sampler (PyG's needs pyg-lib) and made ahead in the same
background thread. The plain loop computes every node of a batch in every layer and takes the seeds
at the end; the trimmed one drops, before each layer, what only earlier ones needed.
"""

from contextlib import closing
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import trim_to_layer

from gat.bench.loops import PlainNet, layers, with_weights
from gat.sampling import Sampler
from gat.sampling.prefetch import gather, prefetched
from gat.train.batches import shuffled
from gat.train.session import Session
from gat.train.step import forward

__all__ = ["Batches", "OurEpochs", "PlainEpochs", "SampledNet", "TrimmedNet", "epochs"]


class OurEpochs:
    """`gat train` with sampled neighbours."""

    def __init__(self, session: Session) -> None:
        self.session, self.model = session, session.model

    def run(self, steps: int) -> None:
        """An epoch, of so many steps."""
        at = self.session.at
        self.session.train_epoch(lambda: at.step >= steps)
        at.epoch, at.step, at.losses = at.epoch + 1, 0, []

    def logits(self) -> Tensor:
        """Of the seeds of the first batch."""
        assert self.session.minibatches is not None
        return forward(self.model, self.session.minibatches.batch(0, 0))


class Batches:
    """The trainer's batches as PyG has them: x [n, F], edge_index [2, e], y [S] of the seeds, which
    are the first nodes, and how many nodes and edges each hop added."""

    def __init__(self, session: Session) -> None:
        config, graph = session.config, session.task.graphs[0]
        self.size, self.seed = config.sampling.batch_size, config.seed
        self.x, self.y = graph.x, graph.y
        self.nodes = graph.train_mask[:, 0].nonzero()[:, 0]
        fanouts = config.sampling.fanouts(config.model.num_layers)
        self.sampler = Sampler(graph.graph(), fanouts, seed=self.seed)
        self.order: tuple[int, Tensor] | None = None

    def __len__(self) -> int:
        return -(-self.nodes.numel() // self.size)

    def batch(self, epoch: int, step: int) -> Data:
        if self.order is None or self.order[0] != epoch:
            self.order = epoch, shuffled(self.nodes.numel(), self.seed, epoch)
        chosen = self.order[1][step * self.size : (step + 1) * self.size]
        seeds = self.nodes[chosen]
        sample = self.sampler.sample(seeds, epoch)
        return Data(
            x=gather(self.x, sample.nodes),
            edge_index=sample.edge_index,
            y=self.y[seeds],
            n_id=sample.nodes,
            batch_size=sample.num_seeds,
            num_sampled_nodes=sample.num_nodes,
            num_sampled_edges=sample.num_edges,
        )


class SampledNet(PlainNet):
    """All nodes in all layers, the seeds at the end."""

    def of(self, data: Data) -> Tensor:
        return self(data.x, data.edge_index)[: data.batch_size]


class TrimmedNet(SampledNet):
    """What a layer does not need is dropped before it."""

    def of(self, data: Data) -> Tensor:
        x, edges = data.x, data.edge_index
        hops = data.num_sampled_nodes, data.num_sampled_edges
        for number, conv in enumerate(self.convs):
            x, edges, _ = trim_to_layer(number, *hops, x, edges)
            x = conv(F.dropout(x, p=self.dropout, training=self.training), edges)
            if number + 1 < len(self.convs):
                x = F.elu(x)
        return x[: data.batch_size]


class PlainEpochs:
    """The loop that PyG's examples have. conv: GATConv, theirs or ours."""

    def __init__(self, session: Session, net: type[SampledNet], conv: Any) -> None:
        task, config = session.task, session.config
        made = net(conv, task.num_features, task.num_classes, config.model)
        self.model = with_weights(made, session.model)
        self.batches, self.depth = Batches(session), config.sampling.prefetch
        self.optimizer = torch.optim.Adam(
            self.model.parameters(),
            lr=config.optimizer.lr,
            weight_decay=config.optimizer.weight_decay,
        )
        self.epoch = 0

    def run(self, steps: int) -> None:
        """An epoch, of so many steps."""
        make = partial(self.batches.batch, self.epoch)
        self.epoch += 1
        self.model.train()
        count = range(min(steps, len(self.batches)))
        with closing(prefetched(make, count, self.depth)) as batches:
            for data in batches:
                self._step(data)

    def _step(self, data: Data) -> float:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model.of(data), data.y)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def logits(self) -> Tensor:
        """Of the seeds of the first batch."""
        return self.model.of(self.batches.batch(0, 0))


NETS: dict[str, type[SampledNet]] = {"pyg": SampledNet, "pyg-trimmed": TrimmedNet}


def epochs(name: str, session: Session) -> OurEpochs | PlainEpochs:
    """The loop of a peer, with the session's weights."""
    if name == "gat":
        return OurEpochs(session)
    return PlainEpochs(session, NETS[name], layers("pyg", session.config.model.attention))
