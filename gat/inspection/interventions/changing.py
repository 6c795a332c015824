"""Putting a change of attention into a model's layers, and taking it out again without a trace.

While a change is in force the layer holds it in ``_changes`` (`gat.nn.changes`), a layer of PyG's
is of our class (`gat.accelerate`) or has hooks, and compiled code runs uncompiled, since it would
not notice.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch_geometric.nn as pyg
from torch import nn

from gat.errors import ArgumentTypeError, InputError
from gat.inspection.compiled import plain_name, uncompiled
from gat.inspection.interventions.hooked import SignedHooks, TypedHooks
from gat.inspection.words import shown
from gat.nn.accelerate import TWINS, accelerate, restore, twins, why_left
from gat.nn.changes import Change
from gat.nn.pyg import DropIn

__all__ = ["Layers", "changing", "check_heads", "layers_of", "num_heads"]

# A layer's name, several, or None for all.
Layers = str | Iterable[str] | None

CHANGED = "_changes"
# Whose attention can be changed.
OURS = ", ".join([*(n for n in TWINS if n != "HeteroConv"), "FAConv", "HGTConv, AttentionConv"])
# What attends over something else than edges.
NOT_OVER_EDGES = ("DNAConv", "GPSConv")
# What turns a layer of PyG's back, which the change in force turned into ours.
TURNED = "_gat_turned_by_change"


def layers_of(model: nn.Module, layers: Layers = None) -> dict[str, nn.Module]:
    """The attention layers of those names, or all; "" is the model itself.

    Raises InputError for a name that is no attention layer's, and for a model without any where all
    are meant; ArgumentTypeError if ``model`` is no module.
    """
    if not isinstance(model, nn.Module):
        raise ArgumentTypeError(f"model is a {type(model).__name__}; expected a torch.nn.Module")
    known = {kind: ours for kind, ours in twins().items() if kind is not pyg.HeteroConv}
    modules = ((plain_name(path), one) for path, one in model.named_modules())
    found = {path: one for path, one in modules if _attends(one, known)}
    if layers is not None:
        return {name: _named(model, name, found, known) for name in _names(layers)}
    if not found:
        raise InputError(
            f"{type(model).__name__} has no attention layer to change; expected at least one of "
            f"{OURS}"
        )
    return found


def num_heads(layer: nn.Module) -> int:
    """How many weights each edge has in this layer."""
    # RGATConv has `dim` of them per head.
    return getattr(layer, "heads", 1) * getattr(layer, "dim", 1)


def check_heads(path: str, layer: nn.Module, heads: Iterable[int]) -> tuple[int, ...]:
    """The numbers of heads of this layer; InputError for one it has not."""
    numbers, count = tuple(map(operator.index, heads)), num_heads(layer)
    for head in numbers:
        if not 0 <= head < count:
            raise InputError(
                f"{shown(path, layer)} has no head {head}; expected numbers from 0 to {count - 1}"
            )
    return numbers


@contextmanager
def changing(model: nn.Module, changes: Mapping[str, Change]) -> Iterator[None]:
    """Each change in force at the layer of its name; they follow those in force already."""
    layers = layers_of(model, changes)
    with ExitStack() as stack:
        stack.enter_context(uncompiled())
        for path, change in changes.items():
            layer = layers[path]
            # Of its own, so that it is this one that goes, whoever leaves first.
            one = _Once(change)
            _put(path, layer, one)
            stack.callback(_take, layer, one)
        yield


class _Once:
    """A change, told from others by identity."""

    def __init__(self, change: Change) -> None:
        self.change = change

    def __call__(self, weighing: Any) -> Any:
        return self.change(weighing)


def _put(path: str, layer: nn.Module, change: _Once) -> None:
    if CHANGED not in layer.__dict__ and not isinstance(layer, DropIn):
        layer.__dict__[TURNED] = _turn(path, layer)
    layer.__dict__[CHANGED] = (*layer.__dict__.get(CHANGED, ()), change)


def _take(layer: nn.Module, change: _Once) -> None:
    left = tuple(one for one in layer.__dict__[CHANGED] if one is not change)
    if left:
        layer.__dict__[CHANGED] = left
        return
    del layer.__dict__[CHANGED]
    turn_back = layer.__dict__.pop(TURNED, None)
    if turn_back is not None:
        turn_back()


def _turn(path: str, layer: nn.Module) -> Callable[[], Any]:
    """Make a layer of PyG's one that can be changed; what undoes it."""
    if type(layer) is pyg.FAConv:
        return SignedHooks(layer).remove
    if type(layer) is pyg.HGTConv:
        return TypedHooks(layer).remove
    report = accelerate(layer)
    if not isinstance(layer, DropIn):
        why = next((note.why for note in report.left if not note.name), "gat has no such layer")
        raise InputError(
            f"the attention of {shown(path, layer)} cannot be changed: {why}. It can be of {OURS}"
        )
    return partial(restore, layer)


def _attends(module: nn.Module, known: dict[type, type]) -> bool:
    """Whether it attends over edges, be it in a way that cannot be changed."""
    if isinstance(module, DropIn) or type(module) in known:
        return True
    others = any(base.__name__ in NOT_OVER_EDGES for base in type(module).__mro__)
    return not others and bool(why_left(module, known))


def _names(layers: Any) -> list[str]:
    names = [layers] if isinstance(layers, str) else list(layers)
    for name in names:
        if not isinstance(name, str):
            raise ArgumentTypeError(
                f"layers holds a {type(name).__name__}; expected names, such as 'conv1'"
            )
    return names


def _named(
    model: nn.Module, name: str, found: dict[str, nn.Module], known: dict[type, type]
) -> nn.Module:
    if plain_name(name) in found:
        return found[plain_name(name)]
    # A second name of a module that `named_modules` gives once.
    try:
        module = model.get_submodule(name)
    except AttributeError:
        module = None
    if module is None or not _attends(module, known):
        listed = ", ".join(shown(path, one) for path, one in found.items()) or "none"
        what = "no layer" if module is None else f"{type(module).__name__}, no attention layer,"
        raise InputError(
            f"{type(model).__name__} has {what} at {name!r}; its attention layers: {listed}"
        )
    return module
