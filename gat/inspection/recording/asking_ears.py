"""Layers that are asked for their attention, through hooks that come off.

- Ours are asked for their graph and weights by `gat.nn.pyg.DropIn`'s own door.
- Layers that take ``return_attention_weights`` are asked by it, and what it adds to the result is
  taken off again before anybody else sees it. Whether these are the weights before or after dropout
  differs from layer to layer, so the calls of dropout are watched: they name both.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gat.errors import InputError
from gat.inspection.record import WHEN
from gat.inspection.recording.ears import KEYWORD, Drops, Ear, counts, kind_of, pygs_name

__all__ = ["AskingEar", "OwnEar"]

# What a call says of itself whose layer runs through PyG's code.
PYGS_WAY = object()
# PyG's layers that return the tuple for any bool, and be it False.
FOR_ANY_BOOL = ("TransformerConv", "RGATConv", "FAConv")


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
        layer.__dict__["_recorded"] = True
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
        drops = (getattr(self.layer, name, 0) > 0 for name in ("dropout", "edge_dropout"))
        dropped = self.layer.training and any(drops)
        return isinstance(asked, bool) or (dropped and self.when == "before_dropout")

    def from_twin(self, state: "RandomState", args: Any, kwargs: Any) -> Any:
        """(graph, weights) of the same call without dropout, or with the same dropout."""
        twin = object.__new__(type(self.layer))
        twin.__dict__.update(self.layer.__dict__, _recorded=True)
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


def _goes_pygs_way(layer: Any, arguments: dict[str, Any]) -> bool:
    given = arguments.get("edge_index_dict", {"": arguments.get("edge_index")})
    return any(layer._why_pygs_way(edges) for edges in given.values())


def _of_key(arguments: dict[str, Any], key: Any) -> Any:
    """What the first dict among a call's arguments that knows ``key`` holds there."""
    holding = (one for one in arguments.values() if isinstance(one, dict) and key in one)
    return next(holding, {}).get(key)


def _take_apart(name: str, result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) < 2:
        raise InputError(
            f"{name} was called with {KEYWORD}=True and returned {kind_of(result)}; expected its "
            f"output and then (edges, weights)"
        )
    *out, attention = result
    return out[0] if len(out) == 1 else tuple(out), attention
