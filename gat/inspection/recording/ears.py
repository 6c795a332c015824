"""What an ear is: the hooks of one layer that make it tell its attention, and what it tells.

An ear for each kind of layer stands in `asking_ears.py` and `silent_ears.py`.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gat.errors import InputError
from gat.graph import Graph
from gat.inspection.recording.hooks import Hook
from gat.inspection.words import shown

__all__ = [
    "KEYWORD",
    "Drops",
    "Ear",
    "Ends",
    "Heard",
    "counts",
    "kind_of",
    "pygs_name",
    "signature_of",
]

KEYWORD = "return_attention_weights"
# How many sources and targets there are, as far as it is known.
Ends = tuple[int | None, int | None]


@dataclass(frozen=True, eq=False)
class Heard:
    """One layer's attention in one call.

    path: the layer's name in the model; module: the layer; given: the edge_index it was called
    with; edges: what it attended over, [2, E'] or one of our layers' graph; weights [E', H]; kind:
    the edge type, where the layer itself tells it; num_nodes: (sources, targets), where known.
    """

    path: str
    module: nn.Module
    given: Any
    edges: Tensor | Graph
    weights: Tensor
    kind: Any = None
    num_nodes: Ends = (None, None)

    @property
    def layer(self) -> str:
        """The layer's name and class, for messages."""
        return shown(self.path, self.module)

    @property
    def flow(self) -> str:
        return getattr(self.module, "flow", "source_to_target")

    def edge_list(self) -> Tensor:
        """The edges attended over, int64 [2, E'], as the layer's flow writes them."""
        if isinstance(self.edges, Tensor):
            return self.edges
        edges = self.edges.edge_index
        return edges if self.flow == "source_to_target" else edges.flip(0)


class Ear(ABC):
    """The hooks of one layer, open inside `open`; subclasses say what is done in them."""

    def __init__(
        self, path: str, layer: nn.Module, when: str, hear: Callable[[Heard], None]
    ) -> None:
        self.path, self.layer, self.when, self.tell = path, layer, when, hear
        self.name = shown(path, layer)

    @contextmanager
    def open(self) -> Iterator[None]:
        with ExitStack() as stack:
            self.enter(stack)
            yield

    @abstractmethod
    def enter(self, stack: ExitStack) -> None:
        """Put the hooks on, and onto ``stack`` what takes them off."""

    def on_call(self, stack: ExitStack, before: Any, after: Any) -> None:
        """Hooks around the layer's call. ``after`` is the first to see its result, and is called
        when the layer raises too, so that nothing stays behind: with result None."""
        handles = (
            self.layer.register_forward_hook(
                Hook(after), prepend=True, with_kwargs=True, always_call=True
            ),
            self.layer.register_forward_pre_hook(Hook(before), with_kwargs=True),
        )
        for handle in handles:
            stack.callback(handle.remove)

    def arguments(self, args: Any, kwargs: Any) -> inspect.BoundArguments:
        signature = signature_of(self.layer)
        assert signature is not None
        return signature.bind(*args, **kwargs)

    def report(self, given: Any, attention: Any, kind: Any, num_nodes: "Ends") -> None:
        """Check (edges, weights) and pass them on."""
        pair = attention if isinstance(attention, tuple) and len(attention) == 2 else (None, None)
        edges = pair[0] if isinstance(pair[0], Graph) else _plain(pair[0])
        weights = _plain(pair[1])
        if edges is None or weights is None or (isinstance(edges, Tensor) and edges.dim() != 2):
            raise InputError(
                f"{self.name} returned its attention as {kind_of(attention)}; expected (edges "
                f"[2, E], weights [E, heads]). A sparse matrix has no order that the weights "
                f"could be told by: give the model an edge_index"
            )
        count = edges.num_edges if isinstance(edges, Graph) else edges.size(1)
        weights = weights.unsqueeze(1) if weights.dim() == 1 else weights
        # A batch of one is that one.
        weights = weights.squeeze(0) if weights.dim() == 3 else weights
        if weights.dim() != 2 or weights.size(0) != count:
            raise InputError(
                f"{self.name} returned weights of shape {list(weights.shape)} for {count} edges; "
                f"expected [E, heads]. Of a batch of feature matrices, explain one at a time"
            )
        self.tell(Heard(self.path, self.layer, given, edges, weights.detach(), kind, num_nodes))


class Drops(TorchFunctionMode):
    """Inside it every call of dropout is noted: what went in and what came out."""

    def __init__(self, noted: Callable[[Tensor, Tensor], None] | None = None) -> None:
        super().__init__()
        self.pairs: list[tuple[Tensor, Tensor]] = []
        self.noted = noted or (lambda before, after: self.pairs.append((before, after)))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.dropout:
            self.noted(args[0], result)
        return result


# Looked up for each class once: asking Python anew takes longer than a small layer runs.
_SIGNATURES: WeakKeyDictionary[type, Any] = WeakKeyDictionary()
UNKNOWN = object()


def signature_of(module: nn.Module) -> inspect.Signature | None:
    """The signature of a module's forward; None of what is no Python function, as in a scripted
    module."""
    if "forward" in vars(module):
        return _signature(module.forward)
    known = _SIGNATURES.get(type(module), UNKNOWN)
    if known is UNKNOWN:
        known = _SIGNATURES[type(module)] = _signature(module.forward)
    return known


def _signature(forward: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(forward)
    except (TypeError, ValueError):
        return None


def pygs_name(module: nn.Module) -> str:
    """The name of the class of PyG's that a layer is, or is derived from."""
    for kind in type(module).__mro__:
        if kind.__module__.startswith("torch_geometric.nn.conv."):
            return kind.__name__
    return ""


def counts(x: Any, size: Any = None) -> Ends:
    """How many sources and targets the features are of, as far as they tell."""
    x_src, x_dst = x if isinstance(x, tuple | list) else (x, x)
    known = [
        None if one is None else one.size(-2 if one.dim() > 1 else 0) for one in (x_src, x_dst)
    ]
    if size is not None:
        known = [rows if one is None else one for one, rows in zip(size, known, strict=True)]
    return known[0], known[1]


def _plain(part: Any) -> Tensor | None:
    """A dense tensor, without the wrapper that PyG's EdgeIndex is; None of anything else."""
    if not isinstance(part, Tensor) or part.layout is not torch.strided:
        return None
    return part.as_tensor() if hasattr(part, "as_tensor") else part


def kind_of(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(kind_of, value))})"
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)} of layout {value.layout}"
    return f"a {type(value).__name__}"
