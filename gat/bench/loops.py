"""The loops whose epochs are measured: `gat train` itself, and the plain one over PyG's layers."""

import time
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gat.bench.timing import Parts
from gat.data import normalize_features
from gat.train import ModelConfig
from gat.train.session import Session
from gat.train.step import forward

__all__ = ["Loop", "OurLoop", "PlainLoop", "PlainNet", "layers", "loop", "with_weights"]

Net = TypeVar("Net", bound=nn.Module)


class PlainNet(nn.Module):
    """The network as PyG's users write it. ``conv``: GATConv or GATv2Conv, theirs or ours."""

    def __init__(self, conv: Any, features: int, classes: int, model: ModelConfig) -> None:
        super().__init__()
        hidden = model.num_layers - 1
        heads = model.heads if isinstance(model.heads, list) else [model.heads] * hidden
        self.dropout = model.feature_dropout
        options: dict[str, Any] = {
            "dropout": model.attention_dropout,
            "add_self_loops": model.add_self_loops,
            "negative_slope": model.negative_slope,
            "bias": model.bias,
        }
        self.convs = nn.ModuleList()
        for count in heads:
            self.convs.append(conv(features, model.hidden_channels, heads=count, **options))
            features = model.hidden_channels * count
        last = {"heads": model.output_heads, "concat": False}
        self.convs.append(conv(features, classes, **last, **options))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs[:-1]:
            x = F.dropout(x, p=self.dropout, training=self.training)
            x = F.elu(conv(x, edge_index))
        x = F.dropout(x, p=self.dropout, training=self.training)
        return self.convs[-1](x, edge_index)


class OurLoop:
    """`gat train`, an epoch at a time."""

    def __init__(self, session: Session) -> None:
        self.session, self.model = session, session.model

    def logits(self) -> Tensor:
        return forward(self.model, self.session.batches[0])

    def epoch(self) -> Parts:
        start = time.perf_counter()
        self.session.train_epoch(lambda: False)
        middle = time.perf_counter()
        self.session.end_epoch(0.0)
        return {"training": middle - start, "validation": time.perf_counter() - middle}


class PlainLoop:
    """The loop that PyG's examples have, in the dtype of its features."""

    def __init__(self, session: Session, conv: Any, dtype: torch.dtype = torch.float32) -> None:
        task, config, device = session.task, session.config, session.device
        graph = task.graphs[0]
        x = normalize_features(graph.x, config.data.normalize_features)
        self.x = x.to(device, dtype)
        self.edge_index, self.y = graph.edge_index.to(device), graph.y.to(device)
        self.train_mask = graph.train_mask[:, config.data.split].to(device)
        self.val_mask = graph.val_mask[:, config.data.split].to(device)
        net = PlainNet(conv, task.num_features, task.num_classes, config.model)
        self.model = with_weights(net, session.model).to(device, dtype)
        settings = config.optimizer
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
        )

    def logits(self) -> Tensor:
        return self.model(self.x, self.edge_index)

    def epoch(self) -> Parts:
        start = time.perf_counter()
        self._train()
        middle = time.perf_counter()
        self._validate()
        return {"training": middle - start, "validation": time.perf_counter() - middle}

    def _train(self) -> float:
        self.model.train()
        self.optimizer.zero_grad()
        out = self.logits()
        loss = F.cross_entropy(out[self.train_mask], self.y[self.train_mask])
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        self.model.eval()
        out, y = self.logits()[self.val_mask], self.y[self.val_mask]
        return float(F.cross_entropy(out, y)), float((out.argmax(dim=-1) == y).float().mean())


Loop = OurLoop | PlainLoop


def with_weights(net: Net, model: nn.Module) -> Net:
    """``net`` with the weights of ``model``, whose layers are the same in the same order."""
    with torch.no_grad():
        for mine, theirs in zip(net.parameters(), model.parameters(), strict=True):
            assert mine.shape == theirs.shape, (mine.shape, theirs.shape)
            mine.copy_(theirs)
    return net


def loop(name: str, session: Session) -> Loop:
    if name == "gat":
        return OurLoop(session)
    return PlainLoop(session, layers(name, session.config.model.attention))


def layers(name: str, attention: str) -> Any:
    import torch_geometric.nn as pyg

    import gat.nn

    rooms: dict[str, Any] = {"pyg": pyg, "drop-in": gat.nn}
    return getattr(rooms[name], {"gat": "GATConv", "gatv2": "GATv2Conv"}[attention])
