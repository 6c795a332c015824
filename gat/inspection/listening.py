"""Hearing the attention of a model's layers while it runs, without the model noticing.

A layer is asked by its own keyword, ``return_attention_weights``, and what it adds to its result is
taken off again before anybody else sees it.
"""

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gat.errors import InputError

__all__ = ["KEYWORD", "Heard", "attention_layers", "listening"]

KEYWORD = "return_attention_weights"


@dataclass(frozen=True, eq=False)
class Heard:
    """One layer's attention in one call.

    layer: its name and class, for messages; path: its name in the model; given: the edge_index it
    was called with; edges [2, E'] and weights [E', heads]: what it attended over; kind: the edge
    type, where the layer itself tells it.
    """

    layer: str
    path: str
    given: Any
    edges: Tensor
    weights: Tensor
    kind: Any = None


def attention_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers that return their attention, by name: the innermost modules with that keyword.

    A layer with PyG's ``explain=False`` is left out.
    """
    able = {path: module for path, module in model.named_modules() if _takes_keyword(module)}
    outer = {
        path
        for path, module in able.items()
        if any(part is not module and _takes_keyword(part) for part in module.modules())
    }
    return {
        path: module
        for path, module in able.items()
        if path not in outer and getattr(module, "explain", None) is not False
    }


def _takes_keyword(module: nn.Module) -> bool:
    try:
        return KEYWORD in inspect.signature(module.forward).parameters
    except (TypeError, ValueError):  # what is no Python function, as in a scripted module
        return False


@contextmanager
def listening(layers: dict[str, nn.Module]) -> Iterator[list[Heard]]:
    """A list that fills with what the layers attend over, as the model runs inside the block."""
    heard: list[Heard] = []
    with ExitStack() as stack:
        for path, layer in layers.items():
            ear = _Ear(path, layer, heard)
            # Ours is the first to see the result: the caller's own hooks see the usual one.
            stack.callback(
                layer.register_forward_hook(ear.after, prepend=True, with_kwargs=True).remove
            )
            stack.callback(layer.register_forward_pre_hook(ear.before, with_kwargs=True).remove)
        yield heard


class _Ear:
    """The two hooks of one layer."""

    def __init__(self, path: str, layer: nn.Module, heard: list[Heard]) -> None:
        self.path, self.heard = path, heard
        self.name = f"{path} ({type(layer).__name__})" if path else type(layer).__name__
        self.signature = inspect.signature(layer.forward)
        self.asked: list[bool] = []

    def before(self, layer: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        bound = self.signature.bind(*args, **kwargs)
        self.asked.append(bool(bound.arguments.get(KEYWORD)))
        bound.arguments[KEYWORD] = True
        return bound.args, bound.kwargs

    def after(self, layer: nn.Module, args: Any, kwargs: Any, result: Any) -> Any:
        bound = self.signature.bind(*args, **kwargs).arguments
        given = bound.get("edge_index", bound.get("edge_index_dict"))
        out, attention = self._take_apart(result)
        if isinstance(attention, dict):
            for kind, pair in attention.items():
                self._hear(None, pair, kind)
        else:
            self._hear(given, attention, None)
        return result if self.asked.pop() else out

    def _take_apart(self, result: Any) -> tuple[Any, Any]:
        if not isinstance(result, tuple) or len(result) < 2:
            raise InputError(
                f"{self.name} was called with {KEYWORD}=True and returned {_kind(result)}; "
                f"expected its output and then (edges, weights)"
            )
        *out, attention = result
        return out[0] if len(out) == 1 else tuple(out), attention

    def _hear(self, given: Any, attention: Any, kind: Any) -> None:
        edges, weights = self._check(attention)
        self.heard.append(Heard(self.name, self.path, given, edges, weights.detach(), kind))

    def _check(self, attention: Any) -> tuple[Tensor, Tensor]:
        pair = attention if isinstance(attention, tuple) and len(attention) == 2 else (None, None)
        edges, weights = (_plain(part) for part in pair)
        if edges is None or weights is None or edges.dim() != 2 or edges.size(0) != 2:
            raise InputError(
                f"{self.name} returned its attention as {_kind(attention)}; expected (edges "
                f"[2, E], weights [E, heads]). A sparse matrix has no order that the weights "
                f"could be told by: give the model an edge_index"
            )
        weights = weights.unsqueeze(1) if weights.dim() == 1 else weights
        if weights.dim() != 2 or weights.size(0) != edges.size(1):
            raise InputError(
                f"{self.name} returned weights of shape {list(weights.shape)} for "
                f"{edges.size(1)} edges; expected [E, heads]. Of a batch of feature matrices, "
                f"explain one at a time"
            )
        return edges, weights


def _plain(part: Any) -> Tensor | None:
    """A dense tensor, without the wrapper that PyG's EdgeIndex is; None of anything else."""
    if not isinstance(part, Tensor) or part.layout is not torch.strided:
        return None
    return part.as_tensor() if hasattr(part, "as_tensor") else part


def _kind(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_kind, value))})"
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)} of layout {value.layout}"
    return f"a {type(value).__name__}"
