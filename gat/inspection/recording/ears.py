"""How a layer is made to tell its attention: by kind of layer, all through hooks that come off.

- Ours are asked for their graph and weights by `gat.nn.pyg.DropIn`'s own door.
- Layers that take ``return_attention_weights`` are asked by it, and what it adds to the result is
  taken off again before anybody else sees it. Whether these are the weights before or after dropout
  differs from layer to layer, so the calls of dropout are watched: they name both.
- PyG's layers without that keyword are heard by `silent_ears.py`.
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
from gat.inspection.record import WHEN
from gat.inspection.recording.hooks import Hook

__all__ = [
    "KEYWORD",
    "AskingEar",
    "Drops",
    "Ear",
    "Ends",
    "Heard",
    "OwnEar",
    "counts",
    "pygs_name",
    "signature_of",
]

KEYWORD = "return_attention_weights"
# What a call says of itself whose layer runs through PyG's code.
PYGS_WAY = object()
# PyG's layers that return the tuple for any bool, and be it False.
FOR_ANY_BOOL = ("TransformerConv", "RGATConv", "FAConv")


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
        return _named(self.path, self.module)

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
        self.name = _named(path, layer)

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
                f"{self.name} returned its attention as {_kind(attention)}; expected (edges "
                f"[2, E], weights [E, heads]). A sparse matrix has no order that the weights "
                f"could be told by: give the model an edge_index"
            )
        count = edges.num_edges if isinstance(edges, Graph) else edges.size(1)
        weights = weights.unsqueeze(1) if weights.dim() == 1 else weights
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


class AskingEar(Ear):
    """A layer that takes the keyword."""

    def enter(self, stack: ExitStack) -> None:
        self.calls: list[tuple[bool, Drops]] = []
        self.on_call(stack, self.before, self.after)

    def before(self, layer: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        bound = self.arguments(args, kwargs)
        drops = Drops()
        asked = bound.arguments.get(KEYWORD)
        returns = isinstance(asked, bool) and pygs_name(layer) in FOR_ANY_BOOL
        self.calls.append((bool(asked) or returns, drops))
        bound.arguments[KEYWORD] = True
        drops.__enter__()
        return bound.args, bound.kwargs

    def after(self, layer: nn.Module, args: Any, kwargs: Any, result: Any) -> Any:
        if not self.calls:  # a hook before ours raised
            return None
        asked, drops = self.calls.pop()
        drops.__exit__(None, None, None)
        if result is None:
            return None
        out, attention = _take_apart(self.name, result)
        self.hear(self.arguments(args, kwargs).arguments, attention, drops)
        return result if asked else out

    def hear(self, arguments: dict[str, Any], attention: Any, drops: "Drops | None" = None) -> None:
        """Report the attention of a call, for each edge type if it is a dict of them."""
        if isinstance(attention, dict):
            for kind, pair in attention.items():
                given = _of_key(arguments, kind)
                ends = counts([_of_key(arguments, kind[0]), _of_key(arguments, kind[2])])
                self.report(given, self.asked_for(pair, drops), kind, ends)
        else:
            ends = counts(arguments.get("x"), arguments.get("size"))
            given = arguments.get("edge_index")
            self.report(given, self.asked_for(attention, drops), None, ends)

    def asked_for(self, attention: Any, drops: "Drops | None") -> Any:
        """(edges, weights) with the weights before or after dropout, as ``when`` says."""
        if drops is None or not isinstance(attention, tuple) or len(attention) != 2:
            return attention
        edges, weights = attention
        for pair in drops.pairs:
            if any(weights is one for one in pair):
                return edges, pair[WHEN.index(self.when)]
        return attention


class OwnEar(AskingEar):
    """One of our layers.

    Where the layer's own run cannot tell (the caller wants the weights returned, or the dropped
    weights are not those asked for), a twin with the same parameters runs after it, from the same
    random numbers.
    """

    def enter(self, stack: ExitStack) -> None:
        self.states: list[Any] = []
        # A block that is left in the middle of a call leaves nothing behind.
        stack.callback(self.layer.__dict__.pop, "_recorded", None)
        self.calls = []
        self.on_call(stack, self.before, self.after)

    def before(self, layer: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        bound = self.arguments(args, kwargs)
        if _goes_pygs_way(layer, bound.arguments):
            self.states.append(PYGS_WAY)
            return super().before(layer, args, kwargs)
        if self.needs_twin(bound.arguments.get(KEYWORD)):
            self.states.append(RandomState.now())
            return args, kwargs
        self.states.append(None)
        layer.__dict__["_recorded"] = self.when
        bound.arguments[KEYWORD] = True
        return bound.args, bound.kwargs

    def after(self, layer: nn.Module, args: Any, kwargs: Any, result: Any) -> Any:
        if not self.states:  # a hook before ours raised
            return None
        state = self.states.pop()
        if state is PYGS_WAY:
            return super().after(layer, args, kwargs, result)
        layer.__dict__.pop("_recorded", None)
        if result is None:
            return None
        arguments = self.arguments(args, kwargs).arguments
        if state is None:
            out, attention = _take_apart(self.name, result)
        else:
            out, attention = result, self.from_twin(state, args, kwargs)
        self.hear(arguments, attention)
        return out

    def needs_twin(self, asked: Any) -> bool:
        dropped = self.layer.training and getattr(self.layer, "dropout", 0) > 0
        returned = self.layer.returned_weights
        # Layers that return the weights before dropout have both at hand.
        unknown = dropped and self.when == "before_dropout" and returned == "after_dropout"
        return isinstance(asked, bool) or unknown

    def from_twin(self, state: "RandomState", args: Any, kwargs: Any) -> Any:
        """(graph, weights) of the same call without dropout, or with the same dropout."""
        twin = object.__new__(type(self.layer))
        twin.__dict__.update(self.layer.__dict__, _recorded=self.when)
        if self.when == "before_dropout":
            # The twin's own flag: what it holds, say a normaliser that draws noise, keeps its own.
            twin.training = False
        bound = self.arguments(args, kwargs)
        bound.arguments[KEYWORD] = True
        with torch.no_grad(), state.again():
            return _take_apart(self.name, twin.forward(*bound.args, **bound.kwargs))[1]


@dataclass(frozen=True)
class RandomState:
    """Where torch's random numbers stand, to draw the same ones again."""

    cpu: Tensor
    cuda: list[Tensor]

    @classmethod
    def now(cls) -> "RandomState":
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return cls(torch.get_rng_state(), cuda)

    @contextmanager
    def again(self) -> Iterator[None]:
        with torch.random.fork_rng(range(len(self.cuda))):
            torch.set_rng_state(self.cpu)
            if self.cuda:
                torch.cuda.set_rng_state_all(self.cuda)
            yield


# Looked up for each class once: asking Python anew takes longer than a small layer runs.
_SIGNATURES: WeakKeyDictionary[type, inspect.Signature | None] = WeakKeyDictionary()


def signature_of(module: nn.Module) -> inspect.Signature | None:
    """The signature of a module's forward; None of what is no Python function, as in a scripted
    module."""
    kind = type(module)
    if "forward" in vars(module):
        return _signature(module.forward)
    if kind not in _SIGNATURES:
        _SIGNATURES[kind] = _signature(module.forward)
    return _SIGNATURES[kind]


def _signature(forward: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(forward)
    except (TypeError, ValueError):
        return None


def _goes_pygs_way(layer: Any, arguments: dict[str, Any]) -> bool:
    given = arguments.get("edge_index_dict", {"": arguments.get("edge_index")})
    return any(layer._why_pygs_way(edges) for edges in given.values())


def _of_key(arguments: dict[str, Any], key: Any) -> Any:
    """What the first dict among a call's arguments that knows ``key`` holds there."""
    holding = (one for one in arguments.values() if isinstance(one, dict) and key in one)
    return next(holding, {}).get(key)


def pygs_name(module: nn.Module) -> str:
    """The name of the class of PyG's that a layer is, or is derived from."""
    for kind in type(module).__mro__:
        if kind.__module__.startswith("torch_geometric.nn.conv."):
            return kind.__name__
    return ""


def _take_apart(name: str, result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) < 2:
        raise InputError(
            f"{name} was called with {KEYWORD}=True and returned {_kind(result)}; expected its "
            f"output and then (edges, weights)"
        )
    *out, attention = result
    return out[0] if len(out) == 1 else tuple(out), attention


def counts(x: Any, size: Any = None) -> Ends:
    """How many sources and targets the features are of, as far as they tell."""
    x_src, x_dst = x if isinstance(x, tuple | list) else (x, x)
    known = [
        None if one is None else one.size(-2 if one.dim() > 1 else 0) for one in (x_src, x_dst)
    ]
    if size is not None:
        known = [rows if one is None else one for one, rows in zip(size, known, strict=True)]
    return known[0], known[1]


def _named(path: str, module: nn.Module) -> str:
    kind = type(module).__name__
    return f"{path} ({kind})" if path else kind


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
