"""What a model is given, on a graph or a part of it: features, edges, further arguments."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gat.errors import ArgumentTypeError, InputError
from gat.inspection.record import ends_of

__all__ = ["Inputs", "Local", "checked"]


@dataclass(frozen=True, eq=False)
class Inputs:
    """The arguments of ``model(x, edge_index, ...)``.

    x [N, F]; edge_index int64 [2, E]; edge_args, node_args: keyword arguments with a row for each
    edge, for each node; model_args: those handed on as they are. flow: as PyG's layers have it.
    """

    x: Tensor
    edge_index: Tensor
    flow: str = "source_to_target"
    edge_args: Mapping[str, Tensor] = field(default_factory=dict)
    node_args: Mapping[str, Tensor] = field(default_factory=dict)
    model_args: Mapping[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> Tensor:
        """The node that sends along each edge, [E]."""
        return ends_of(self.edge_index, self.flow)[0]

    @property
    def target(self) -> Tensor:
        """The node that each edge enters, [E]."""
        return ends_of(self.edge_index, self.flow)[1]

    @property
    def num_nodes(self) -> int:
        return self.x.size(0)

    @property
    def num_edges(self) -> int:
        return self.edge_index.size(1)

    @property
    def arguments(self) -> dict[str, Any]:
        """All keyword arguments."""
        return {**self.model_args, **self.node_args, **self.edge_args}

    def run(self, model: nn.Module) -> Tensor:
        """The model's output, a row for each node."""
        out = model(self.x, self.edge_index, **self.arguments)
        if not isinstance(out, Tensor) or out.dim() != 2 or out.size(0) != self.num_nodes:
            got = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise InputError(
                f"the model's output is {got}; expected a tensor [{self.num_nodes}, classes], a "
                f"row for each node"
            )
        if out.size(1) < 2:
            raise InputError(
                f"the model's output is {list(out.shape)}; expected two classes or more, whose "
                f"probabilities sum to 1"
            )
        return out

    def part(self, nodes: Tensor, edges: Tensor, edge_index: Tensor) -> "Inputs":
        """The inputs of these nodes and edges, by number; edge_index counts the nodes anew."""
        return Inputs(
            self.x[nodes],
            edge_index,
            self.flow,
            {name: rows[edges] for name, rows in self.edge_args.items()},
            {name: rows[nodes] for name, rows in self.node_args.items()},
            self.model_args,
        )


class Local(nn.Module):
    """A model with its further arguments filled in: ``(x, edge_index)`` is all it takes."""

    def __init__(self, model: nn.Module, arguments: dict[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.arguments = arguments
        self.training = model.training

    def forward(self, x: Tensor, edge_index: Tensor) -> Any:
        return self.model(x, edge_index, **self.arguments)


def checked(inputs: Inputs) -> Inputs:
    """The inputs, or an error that names the one that does not fit."""
    if not isinstance(inputs.x, Tensor) or inputs.x.layout is not torch.strided:
        kind = inputs.x.layout if isinstance(inputs.x, Tensor) else type(inputs.x).__name__
        raise ArgumentTypeError(
            f"x is a {kind}; expected a dense tensor [N, F] (of a sparse one, x.to_dense()). "
            f"Graphs of several node types are not measured"
        )
    edges = inputs.edge_index
    if not isinstance(edges, Tensor) or edges.layout is not torch.strided or edges.dim() != 2:
        raise ArgumentTypeError(
            f"edge_index is a {type(edges).__name__}; expected a tensor [2, E], whose edges can be "
            f"taken out one by one"
        )
    for name, rows, count in _per_row(inputs):
        if not isinstance(rows, Tensor) or rows.size(0) != count:
            got = list(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
            raise InputError(f"{name} is {got}; expected a tensor with {count} rows")
    return inputs


def _per_row(inputs: Inputs) -> list[tuple[str, Any, int]]:
    of_edges = [(f"edge_args[{k!r}]", v, inputs.num_edges) for k, v in inputs.edge_args.items()]
    of_nodes = [(f"node_args[{k!r}]", v, inputs.num_nodes) for k, v in inputs.node_args.items()]
    return of_edges + of_nodes
