"""How PyG's layers that keep their weights to themselves are heard, by hooks and nothing else.

SuperGATConv's and HANConv's weights are what goes into dropout. AGNNConv and HGTConv have no
dropout on them; their weights are the messages of values 1.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from gat.inspection.interventions.hooked import CHANGED_WEIGHTS
from gat.inspection.record import WHEN
from gat.inspection.recording.asking_ears import AskingEar, OwnEar
from gat.inspection.recording.ears import Drops, Ear, Heard, counts, pygs_name
from gat.inspection.recording.hooks import Hook
from gat.nn.pyg import DropIn

__all__ = ["ear_for", "tells_without_asking"]

BY_DROPOUT = ("SuperGATConv", "HANConv")
# The name of the value in a message.
BY_MESSAGE = {"AGNNConv": "x_j", "HGTConv": "v_j"}


def tells_without_asking(module: nn.Module) -> bool:
    """Whether a layer of PyG's without the keyword can be heard all the same."""
    return isinstance(module, MessagePassing) and pygs_name(module) in (*BY_DROPOUT, *BY_MESSAGE)


def ear_for(path: str, layer: nn.Module, when: str, hear: Callable[[Heard], None]) -> Ear:
    """The ear that suits a layer."""
    name = pygs_name(layer)
    kind: type[Ear] = AskingEar
    if isinstance(layer, DropIn):
        kind = OwnEar
    elif name in BY_DROPOUT:
        kind = DropoutEar
    elif name in BY_MESSAGE:
        kind = MessageEar
    return kind(path, layer, when, hear)


class SilentEar(Ear):
    """A layer that keeps its weights to itself: the edges are those it propagates along."""

    layer: MessagePassing

    def enter(self, stack: ExitStack) -> None:
        self.edges: list[Any] = []
        self.arguments_of: list[dict[str, Any]] = []
        self.on_call(stack, self.before, self.after)
        handle = self.layer.register_propagate_forward_pre_hook(Hook(self.note_edges))
        stack.callback(handle.remove)

    def before(self, layer: nn.Module, args: Any, kwargs: Any) -> None:
        self.arguments_of.append(self.arguments(args, kwargs).arguments)
        self.edges.clear()

    def after(self, layer: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        if self.arguments_of:
            self.arguments_of.pop()

    def note_edges(self, layer: nn.Module, inputs: Any) -> None:
        self.edges.append(inputs[0])

    def heard(self, weights: Tensor) -> None:
        """Report the weights of the edges propagated along last, by edge type if there are."""
        arguments = self.arguments_of[-1]
        given = arguments.get("edge_index_dict")
        if given is None:
            pair = self.edges[-1], weights
            self.report(arguments["edge_index"], pair, None, counts(arguments.get("x")))
            return
        x = arguments["x_dict"]
        for kind, part in self.by_kind(given, weights):
            ends = counts((x[kind[0]], x[kind[2]]))
            self.report(given[kind], (given[kind], part), kind, ends)

    @abstractmethod
    def by_kind(self, given: dict[Any, Any], weights: Tensor) -> Iterable[tuple[Any, Tensor]]:
        """Which edge types the weights are of."""


class DropoutEar(SilentEar):
    """A layer whose weights are what goes into dropout, and what comes out."""

    def enter(self, stack: ExitStack) -> None:
        super().enter(stack)
        self.drops: list[Drops] = []

    def before(self, layer: nn.Module, args: Any, kwargs: Any) -> None:
        super().before(layer, args, kwargs)
        self.drops.append(Drops(self.dropped))
        self.drops[-1].__enter__()

    def after(self, layer: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        if self.drops:
            self.drops.pop().__exit__(None, None, None)
        super().after(layer, args, kwargs, result)

    def dropped(self, before: Tensor, after: Tensor) -> None:
        # Between propagation and the layer's end dropout is called on the weights alone.
        if self.edges:
            self.heard((before, after)[WHEN.index(self.when)])

    def by_kind(self, given: dict[Any, Any], weights: Tensor) -> Iterable[tuple[Any, Tensor]]:
        """One edge type after the other."""
        return [(list(given)[len(self.edges) - 1], weights)]


class MessageEar(SilentEar):
    """A layer without dropout whose message is weight times value: of values 1 it is the weight."""

    def enter(self, stack: ExitStack) -> None:
        super().enter(stack)
        handle = self.layer.register_message_forward_hook(Hook(self.on_message))
        stack.callback(handle.remove)

    def on_message(self, layer: Any, inputs: Any, output: Tensor) -> None:
        changed = vars(layer).get(CHANGED_WEIGHTS)
        if changed is not None:
            self.heard(changed)
            return
        (given,) = inputs
        name = BY_MESSAGE[pygs_name(layer)]
        with torch.no_grad():
            message = layer.message(**{**given, name: torch.ones_like(given[name])})
        self.heard(message.view(given[name].shape)[..., 0])

    def by_kind(self, given: dict[Any, Any], weights: Tensor) -> Iterable[tuple[Any, Tensor]]:
        """All edge types in one, one after the other."""
        sizes = [edges.size(1) for edges in given.values()]
        return zip(given, weights.split(sizes), strict=True)
