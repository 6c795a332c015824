"""What is looked into: a model in eval mode, and the features and edges it runs on.

On a data set the model is its recipe's, fed as `gat train` feeds it; on a synthetic graph layers of
GATConv over random features. The weights are those that a new model has: what it costs to record
them, or to follow them, does not depend on their values.
"""

from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gat.bench import graphs
from gat.bench.whole import drawn
from gat.checks import check_sizes
from gat.errors import InputError
from gat.graph import Graph
from gat.nn import GATConv

__all__ = ["InspectShape", "Inspected", "built"]

# Of the model on a synthetic graph: the layer of the other rows, twice for a 2-hop neighbourhood.
SIZES = {"layers": 2, "heads": 8, "channels": 32, "features": 128}


@dataclass(frozen=True, kw_only=True)
class InspectShape:
    """A model and its graph.

    dense: features of a data set as a dense matrix, however `gat train` feeds them; self_loops:
    every second node has its self-loop among the edges; layers, heads, channels, features: of the
    model on a synthetic graph, by default `SIZES`, and None on a data set, whose recipe says.
    """

    graph: str = "cora"
    dense: bool = False
    self_loops: bool = False
    layers: int | None = None
    heads: int | None = None
    channels: int | None = None
    features: int | None = None

    def __post_init__(self) -> None:
        graphs.check_name(self.graph)
        given = {name: getattr(self, name) for name in SIZES if getattr(self, name) is not None}
        if given and self.of_data_set:
            raise InputError(
                f"{', '.join(given)} can be chosen on a synthetic graph such as arxiv-size only; "
                f"{self.graph} is measured with the model of its recipe: leave that out"
            )
        check_sizes(**given)
        for name, default in SIZES.items() if not self.of_data_set else ():
            object.__setattr__(self, name, given.get(name, default))

    @property
    def of_data_set(self) -> bool:
        return not graphs.is_synthetic(self.graph)

    def __str__(self) -> str:
        what = f"{self.layers} x GATConv {self.heads}x{self.channels}"
        parts = ["the recipe's model" if self.of_data_set else what, f"on {self.graph}"]
        if self.dense:
            parts.append("with dense features")
        if self.self_loops:
            parts.append("with self-loops at every second node")
        return " ".join(parts)


class Inspected(NamedTuple):
    """Called, it is one forward pass. x [N, F], dense or CSR; edges: a Graph or [2, E]."""

    model: nn.Module
    x: Tensor
    edges: Any

    def __call__(self) -> Tensor:
        return self.model(self.x, self.edges)

    @property
    def edge_index(self) -> Tensor:
        return self.edges.edge_index if isinstance(self.edges, Graph) else self.edges

    def plainly(self, dtype: torch.dtype) -> "Inspected":
        """The same pass in ``dtype``, over dense features and an edge_index."""
        dense = self.x if self.x.layout is torch.strided else self.x.to_dense()
        return Inspected(deepcopy(self.model).to(dtype), dense.to(dtype), self.edge_index)

    def facts(self) -> dict[str, int | str]:
        """What a reader of the figures wants to know; edges are those the model is given."""
        nodes, edges = self.x.size(0), self.edge_index
        degree = torch.bincount(edges[1], minlength=1)
        facts: dict[str, int | str] = {
            "nodes": nodes,
            "edges": edges.size(1),
            "self-loops among them": int((edges[0] == edges[1]).sum()),
            "largest in-degree": int(degree.max()),
            "features": self.x.size(1),
        }
        return facts | {"features as": "dense" if self.x.layout is torch.strided else "sparse CSR"}


class Layers(nn.Module):
    """GATConv on GATConv, heads joined in each."""

    def __init__(self, features: int, heads: int, channels: int, layers: int) -> None:
        super().__init__()
        widths = [features, *[heads * channels] * (layers - 1)]
        self.convs = nn.ModuleList(GATConv(width, channels, heads) for width in widths)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs[:-1]:
            x = F.elu(conv(x, edge_index))
        return self.convs[-1](x, edge_index)


def built(shape: InspectShape) -> Inspected:
    """The same model, features and edges each time."""
    model, x, edges = (_of_recipe if shape.of_data_set else _of_sizes)(shape)
    if shape.self_loops:
        edges = _with_some_loops(edges, x.size(0))
    return Inspected(model.eval(), x, edges)


def _of_recipe(shape: InspectShape) -> tuple[nn.Module, Tensor, Any]:
    """Of several graphs the first."""
    from gat.train import load_task, recipe_for
    from gat.train.batches import make_batches
    from gat.train.kinds import nodes_only
    from gat.train.session import build_model

    config = nodes_only(recipe_for(shape.graph))
    task = load_task(config.data)
    as_fed = {"features": "dense"} if shape.dense else {}
    batch = make_batches(task, config.data.model_copy(update=as_fed), torch.device("cpu"))[0]
    model = drawn(partial(build_model, config.model, task.num_features, task.num_classes))
    return model, batch.x, batch.edges


def _of_sizes(shape: InspectShape) -> tuple[nn.Module, Tensor, Any]:
    features, heads, channels, layers = (
        getattr(shape, name) or SIZES[name] for name in ("features", "heads", "channels", "layers")
    )
    graph = graphs.build(shape.graph)
    edges = graph.edge_index
    # As the real graphs come: without the loops that the layers then add.
    edges = edges[:, edges[0] != edges[1]]
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(graph.num_src, features, generator=draw)
    return drawn(partial(Layers, features, heads, channels, layers)), x, edges


def _with_some_loops(edges: Any, nodes: int) -> Any:
    """Edges of the same kind, mixed with the self-loops that even nodes lack."""
    listed = edges.edge_index if isinstance(edges, Graph) else edges
    lacking = torch.arange(nodes) % 2 == 0
    lacking[listed[0, listed[0] == listed[1]]] = False
    own = lacking.nonzero()[:, 0].expand(2, -1)
    joined = torch.cat([listed, own], dim=1)
    joined = joined[:, torch.randperm(joined.size(1), generator=torch.Generator().manual_seed(0))]
    return Graph.from_edge_index(joined, nodes) if isinstance(edges, Graph) else joined
