"""Changes of the weights themselves: by a caller's function, uniform, heads switched off."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gat.errors import ArgumentTypeError, InputError
from gat.inspection.record import AttentionRecord
from gat.nn.changes import Change, Weighing

__all__ = [
    "CallerFunction",
    "Function",
    "columns",
    "joins_heads",
    "switched_off",
    "uniform",
    "zeroed_channels",
]

# Of a record: new weights [E, H], or a pair of them and loops [num_dst, H].
Function = Callable[[AttentionRecord], Tensor | tuple[Tensor, Tensor]]


class CallerFunction:
    """The change that a caller's function makes at one layer."""

    def __init__(self, path: str, layer: nn.Module, function: Function) -> None:
        self.path, self.kind, self.function = path, type(layer).__name__, function

    def __call__(self, weighing: Weighing) -> Weighing:
        weights = [self._weights(part) for part in weighing.parts()]
        return weighing.with_weights(torch.cat(weights))

    def _weights(self, weighing: Weighing) -> Tensor:
        record = self._record(weighing)
        given = self.function(record)
        own, loops = given if isinstance(given, tuple) else (given, record.loops)
        own = self._fitting("weights", own, record.weights)
        loops = self._fitting("loops", loops, record.loops)
        return weighing.listed(own, loops)

    def _record(self, weighing: Weighing) -> AttentionRecord:
        graph = weighing.graph
        weights, loops = weighing.to_caller(weighing.weights)
        return AttentionRecord(
            layer=self.path,
            layer_type=self.kind,
            when="before_dropout",
            edge_index=weighing.caller_edges(),
            weights=weights,
            loops=loops,
            num_src=graph.num_src,
            num_dst=graph.num_dst,
            flow=weighing.flow,
            edge_type=weighing.edge_type,
        )

    def _fitting(self, name: str, given: Any, like: Tensor) -> Tensor:
        """[E, 1] or [E, H] as [E, H], or the same of loops."""
        if not isinstance(given, Tensor):
            raise ArgumentTypeError(
                f"the function gave {name} of type {type(given).__name__} for {self.path!r}; "
                f"expected a tensor {list(like.shape)}"
            )
        sizes = list(given.shape)
        if len(sizes) != 2 or sizes[0] != like.size(0) or sizes[1] not in (1, like.size(1)):
            raise InputError(
                f"the function gave {name} of shape {sizes} for {self.path!r}; expected "
                f"{list(like.shape)}"
            )
        return given.to(like).expand(like.shape)


def uniform(heads: tuple[int, ...] | None) -> Change:
    """The same weights for all edges of a target, of those heads or (None) of all."""

    def change(weighing: Weighing) -> Weighing:
        even = weighing.uniform()
        if heads is not None:
            even = torch.where(columns(weighing, heads), even, weighing.weights)
        return weighing.with_weights(even)

    return change


def switched_off(heads: tuple[int, ...]) -> Change:
    """Weights of 0 for those heads, whatever follows."""

    def change(weighing: Weighing) -> Weighing:
        return weighing.without(columns(weighing, heads))

    return change


def zeroed_channels(heads: tuple[int, ...], count: int) -> Callable[..., Any]:
    """A forward hook that makes the channels of those of ``count`` joined heads 0."""

    def hook(layer: nn.Module, args: Any, result: Any) -> Any:
        out, *rest = result if isinstance(result, tuple) else (result,)
        off = torch.zeros(count, dtype=torch.bool, device=out.device)
        off[list(heads)] = True
        out = out.masked_fill(off.repeat_interleave(out.size(-1) // count), 0.0)
        return (out, *rest) if isinstance(result, tuple) else out

    return hook


def joins_heads(layer: nn.Module) -> bool:
    """Whether the layer's output holds each head's channels side by side."""
    ending = getattr(layer, "ending", layer)
    return bool(getattr(ending, "concat", False))


def columns(weighing: Weighing, heads: tuple[int, ...]) -> Tensor:
    """Which columns of the weights are those heads', bool [K]."""
    chosen = torch.zeros(weighing.heads, dtype=torch.bool, device=weighing.value.device)
    chosen[list(heads)] = True
    return chosen.repeat(weighing.batch or 1)
