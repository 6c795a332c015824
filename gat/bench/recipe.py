"""The network of OGB's arxiv recipes as its users write it in PyG, and its loop."""

import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.utils import dropout_edge

from gat.bench.timing import Parts
from gat.train import ModelConfig, metrics
from gat.train.session import Session

__all__ = ["RecipeLoop", "RecipeNet"]


class RecipeNet(nn.Module):
    """Layers of GATConv with linear skips, batch normalisation and ReLU; edges are left out at
    random in training. conv: GATConv, PyG's or ours."""

    def __init__(self, conv: Any, features: int, classes: int, model: ModelConfig) -> None:
        super().__init__()
        self.input_dropout = model.input_dropout or 0.0
        self.dropout, self.edge_dropout = model.feature_dropout, model.edge_dropout
        self.convs, self.skips, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        width = model.hidden_channels * int(model.heads)  # type: ignore[arg-type]
        for _ in range(model.num_layers - 1):
            heads = {"heads": model.heads, "bias": model.bias}
            self.convs.append(conv(features, model.hidden_channels, **heads))
            self.skips.append(nn.Linear(features, width, bias=False))
            self.norms.append(nn.BatchNorm1d(width))
            features = width
        last = {"heads": model.output_heads, "concat": False}
        self.convs.append(conv(features, classes, **last))
        self.skips.append(nn.Linear(features, classes, bias=False))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = F.dropout(x, self.input_dropout, self.training)
        for conv, skip, norm in zip(self.convs, self.skips, self.norms, strict=False):
            x = F.relu(norm(conv(x, self._kept(edge_index)) + skip(x)))
            x = F.dropout(x, self.dropout, self.training)
        return self.convs[-1](x, self._kept(edge_index)) + self.skips[-1](x)

    def _kept(self, edge_index: Tensor) -> Tensor:
        return dropout_edge(edge_index, self.edge_dropout, training=self.training)[0]


class RecipeLoop:
    """A step on all training nodes, then the validation pass."""

    def __init__(self, session: Session, conv: Any) -> None:
        task, config = session.task, session.config
        self.session, self.graph = session, task.graphs[0]
        self.model = RecipeNet(conv, task.num_features, task.num_classes, config.model)
        self.optimizer = torch.optim.RMSprop(self.model.parameters(), lr=config.optimizer.lr)

    def epoch(self) -> Parts:
        start = time.perf_counter()
        self.model.train()
        self.optimizer.zero_grad()
        self._loss(self.graph.train_mask[:, 0]).backward()
        self.optimizer.step()
        middle = time.perf_counter()
        self.model.eval()
        with torch.no_grad():
            self._loss(self.graph.val_mask[:, 0])
        return {"training": middle - start, "validation": time.perf_counter() - middle}

    def _loss(self, rows: Tensor) -> Tensor:
        out = self.model(self.graph.x, self.graph.edge_index)[rows]
        return metrics.loss(out, self.graph.y[rows], 0.0, self.session.config.loss)
