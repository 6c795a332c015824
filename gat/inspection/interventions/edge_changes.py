"""Changes of chosen edges' scores: masks and biases, as a caller gives them for each edge."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor, nn

from gat.errors import ArgumentTypeError, InputError
from gat.inspection.reach import names_kind
from gat.inspection.record import EdgeType
from gat.nn.changes import Weighing

__all__ = ["OnScores", "PerEdge", "check_per_edge"]

# One row per edge, or that for each edge type.
PerEdge = Tensor | Mapping[EdgeType, Tensor]


class OnScores:
    """A mask or a bias at one layer. name: "mask", given bool, or "bias"; else as in
    `gat.inspection.mask_edges`."""

    def __init__(self, path: str, name: str, given: PerEdge, loops: Tensor | None) -> None:
        self.path, self.name, self.given, self.loops = path, name, given, loops

    def __call__(self, weighing: Weighing) -> Weighing:
        given = [self._of_type(part.edge_type) for part in weighing.parts()]
        if all(one is None for one in given):
            return weighing
        rows = [self._bias(*pair) for pair in zip(weighing.parts(), given, strict=True)]
        width = max(one.size(1) for one in rows)
        return weighing.biased(torch.cat([one.expand(-1, width) for one in rows]))

    def _bias(self, weighing: Weighing, given: Tensor | None) -> Tensor:
        """What is added to the scores of one edge type, [E, 1] or [E, H] listed."""
        if given is None:
            return weighing.value.new_zeros((weighing.graph.num_edges, 1))
        own = self._rows(weighing, self.name, given, weighing.num_caller_edges)
        nodes = weighing.graph.num_dst
        if self.loops is None:
            loops = own.new_zeros((nodes, 1))
        else:
            loops = self._rows(weighing, "loops", self.loops, nodes)
        width = max(own.size(1), loops.size(1))
        rows = (part.expand(-1, width) for part in (own, loops))
        return weighing.listed(*rows)

    def _of_type(self, edge_type: EdgeType | None) -> Tensor | None:
        """What was given for the edges of this call; None if nothing was."""
        if isinstance(self.given, Tensor):
            if edge_type is None:
                return self.given
            raise InputError(
                f"{self.path!r} attends over edges of several types; expected {self.name} to be a "
                f"dict by edge type, such as {{{edge_type}: ...}}"
            )
        if edge_type is not None:
            return self.given.get(edge_type)
        return next((one for kind, one in self.given.items() if names_kind(self.path, kind)), None)

    def _rows(self, weighing: Weighing, name: str, given: Tensor, count: int) -> Tensor:
        """What is added to the scores, [count, 1] or [count, H]."""
        rows = given.unsqueeze(1) if given.dim() == 1 else given
        heads = weighing.heads
        if rows.dim() != 2 or rows.size(0) != count or rows.size(1) not in (1, heads):
            raise InputError(
                f"{name} has shape {list(given.shape)}; expected [{count}] or [{count}, {heads}], "
                f"one row per {'node' if name == 'loops' else 'edge'} that {self.path!r} was given"
            )
        rows = rows.to(weighing.value.device)
        if self.name == "bias":
            return rows.to(weighing.value.dtype)
        nothing = weighing.value.new_zeros(rows.shape)
        return nothing.masked_fill(~rows, -torch.inf)


def check_per_edge(
    name: str, given: PerEdge, loops: Tensor | None, layers: Mapping[str, nn.Module]
) -> None:
    """Refuse what is no mask or bias, and edge types that no layer attends over."""
    for part, tensor in _parts(name, given, loops):
        if not isinstance(tensor, Tensor):
            raise ArgumentTypeError(f"{part} is a {type(tensor).__name__}; expected a tensor")
        if name == "mask" and tensor.dtype is not torch.bool:
            raise ArgumentTypeError(
                f"{part} has dtype {tensor.dtype}; expected torch.bool, True where to attend"
            )
        if name == "bias" and not tensor.is_floating_point():
            raise ArgumentTypeError(f"{part} has dtype {tensor.dtype}; expected a floating dtype")
    for kind in () if isinstance(given, Tensor) else given:
        if not any(_has_type(path, layer, kind) for path, layer in layers.items()):
            raise InputError(
                f"{name} names edge type {kind}, over which none of the layers attends: "
                f"{', '.join(map(repr, layers))}"
            )


def _parts(name: str, given: PerEdge, loops: Tensor | None) -> Iterator[tuple[str, Any]]:
    if isinstance(given, Mapping):
        yield from ((f"{name}[{kind}]", one) for kind, one in given.items())
    else:
        yield name, given
    if loops is not None:
        yield "loops", loops


def _has_type(path: str, layer: nn.Module, kind: Any) -> bool:
    if isinstance(layer, pyg.HANConv):
        return "__".join(kind) in layer.lin_src
    if isinstance(layer, pyg.HGTConv):
        return kind in layer.edge_types
    return names_kind(path, kind)
