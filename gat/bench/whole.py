"""What is common to modules that are measured whole, projections and all: `model.py`, `conv.py`.

A step starts from random features and goes forward and backward; then its optimiser's update, where
there is one. Each peer is held to a module of ours in float64 over another implementation.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from gat.bench import check as correctness
from gat.bench import graphs, timing, turns
from gat.bench.case import Plan
from gat.bench.check import NUDGES, ErrorBound, Results
from gat.bench.memory import peak_over
from gat.bench.peers import check_names
from gat.bench.record import Record
from gat.checks import check_sizes
from gat.graph import Graph
from gat.machine import resident
from gat.ops import use_backend

__all__ = ["Given", "Kind", "Whole", "drawn"]


class Given(NamedTuple):
    """What a step starts from: features x [N, F], edges [2, E], and the goal of its backward,
    labels [N] or the gradient of the output."""

    x: Tensor
    edges: Tensor
    goal: Tensor

    def to(self, dtype: torch.dtype) -> "Given":
        x = self.x.detach().to(dtype).requires_grad_(self.x.requires_grad)
        goal = self.goal.to(dtype) if self.goal.is_floating_point() else self.goal
        return Given(x, self.edges, goal)

    def nudged(self, seed: int) -> "Given":
        """The same but for one or two roundings of the features."""
        x = correctness.nudged(self.x, seed)
        return self._replace(x=x.requires_grad_(self.x.requires_grad))


@dataclass(frozen=True, kw_only=True)
class Whole(ABC):
    """Sizes of a module and the graph it runs on.

    backend, checked_most: what the truth runs on, and how many entries [E, H, C] it can take.
    """

    graph: str = "arxiv-size"
    fraction: float = 1.0
    heads: int = 8
    channels: int = 32
    features: int = 128

    peers: ClassVar[tuple[str, ...]]
    backend: ClassVar[str]
    checked_most: ClassVar[int]

    def __post_init__(self) -> None:
        counts = {field.name: getattr(self, field.name) for field in fields(self)}
        check_sizes(**{name: count for name, count in counts.items() if type(count) is int})

    def check(self, peers: tuple[str, ...]) -> None:
        """Refuse what could not be measured."""
        check_names(peers, self.peers)
        graphs.check_name(self.graph, self.fraction)

    @property
    def where(self) -> str:
        return graphs.shown(self.graph, self.fraction)

    @property
    @abstractmethod
    def width(self) -> int:
        """Entries [E, H, C] per edge."""

    @abstractmethod
    def module(self, peer: str) -> nn.Module:
        """The peer; the same parameters each time."""

    @abstractmethod
    def twin(self, peer: str) -> nn.Module:
        """The module of ours, with the peer's parameters, whose results the peer's should be."""

    @abstractmethod
    def given(self, graph: Graph) -> Given:
        """The same values each time."""

    @abstractmethod
    def backward(self, out: Tensor, goal: Tensor) -> None:
        """To ``grad`` of every parameter."""

    def optimizer(self, module: nn.Module) -> torch.optim.Optimizer | None:
        """Whose update is part of the step."""
        return None

    def facts(self) -> dict[str, Any]:
        return {"features": self.features}


Module = TypeVar("Module", bound=nn.Module)


def drawn(make: Callable[[], Module]) -> Module:
    """A module with the same random parameters each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


class Step:
    """A run, in the sense of `timing`, of ``module`` as ``shape`` says."""

    def __init__(self, shape: Whole, module: nn.Module, given: Given) -> None:
        self.shape, self.module, self.given = shape, module, given
        self.optimizer = shape.optimizer(module)
        self.leaves: dict[str, Tensor] = dict(module.named_parameters())
        if given.x.requires_grad:
            self.leaves["x"] = given.x

    def __call__(self) -> timing.Parts:
        start = time.perf_counter()
        out = self._forward()
        middle = time.perf_counter()
        self.shape.backward(out, self.given.goal)
        end = time.perf_counter()
        parts = {"forward": middle - start, "backward": end - middle}
        if self.optimizer is None:
            return parts
        self.optimizer.step()
        return {**parts, "update": time.perf_counter() - end}

    def results(self) -> Results:
        """The output and every gradient, without what is random in training."""
        self.module.eval()
        out = self._forward()
        self.shape.backward(out, self.given.goal)
        grads = {f"grad {name}": _grad(leaf) for name, leaf in self.leaves.items()}
        return {"out": out.detach(), **grads}

    def _forward(self) -> Tensor:
        for leaf in self.leaves.values():
            leaf.grad = None
        return self.module(self.given.x, self.given.edges)


def _grad(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


Shape = TypeVar("Shape", bound=Whole)


class Kind(Generic[Shape]):
    """A kind of case, as `case.Plan` wants it: ``name`` is the module that has it."""

    def __init__(self, name: str, shape: type[Shape]) -> None:
        self.name, self.shape = name, shape

    def measure(self, shape: Shape, plan: Plan) -> Record:
        shape.check(plan.peers)
        what = asdict(shape)
        case = plan.case(self.name, shape.graph, str(shape), {"shape": what}, memory=True)
        return plan.record(self.name, str(shape), what, [case])

    # What follows runs in processes of its own.

    def check(self, shape: dict[str, Any], names: list[str]) -> dict[str, Any]:
        """Facts of the case, and each peer's errors beside the tolerance of its twin's results."""
        wanted = self.shape(**shape)
        most = wanted.checked_most // wanted.width
        graph, told = graphs.to_check(wanted.graph, wanted.fraction, most)
        given = wanted.given(graph)
        twins = {name: type(wanted.twin(name)).__name__ for name in names}
        bounds = {twin: _bounds(wanted, name, given) for name, twin in twins.items()}

        def find(name: str) -> dict[str, float]:
            found = Step(wanted, wanted.module(name), given).results()
            return _titled(twins[name], correctness.errors_of(found, bounds[twins[name]]))

        every = {k: v for twin, each in bounds.items() for k, v in _titled(twin, each).items()}
        told["facts"] |= wanted.facts()
        return {**told, **correctness.compare(find, names, every)}

    def times(self, shape: dict[str, Any], names: list[str], repeats: int) -> dict[str, Any]:
        """Seconds of each peer that fits, taken in turn."""
        return {"samples": turns.take(self.name, {"shape": shape}, names, repeats)}

    def samples(self, shape: dict[str, Any], name: str, count: int) -> list[timing.Parts]:
        """What one peer's turn runs."""
        wanted = self.shape(**shape)
        return timing.Sampler(self._step(wanted, name))(count)

    def memory(self, shape: dict[str, Any], name: str) -> dict[str, Any]:
        """Peak bytes of the first step over module, features and edges; what it keeps of them for
        later steps, as the sorted graph, is part of it."""
        wanted = self.shape(**shape)
        # A tiny run first: libraries are loaded.
        Step(wanted, wanted.module(name), wanted.given(_tiny()))()
        before = resident()
        step = self._step(wanted, name)
        held = max(0, resident() - before)
        peak = peak_over(step)
        return {"bytes": peak.bytes, "inputs": held, "exact": peak.exact}

    def _step(self, shape: Shape, name: str) -> Step:
        given = shape.given(graphs.build(shape.graph, shape.fraction))
        return Step(shape, shape.module(name), given)


def _bounds(shape: Whole, name: str, given: Given) -> dict[str, ErrorBound]:
    def truth(dtype: torch.dtype, given: Given = given) -> Results:
        with use_backend(shape.backend):
            return Step(shape, shape.twin(name).to(dtype), given.to(dtype)).results()

    alike = (truth(torch.float32, given.nudged(seed)) for seed in range(NUDGES))
    return correctness.bounds(truth, alike)


Value = TypeVar("Value")


def _titled(twin: str, values: dict[str, Value]) -> dict[str, Value]:
    """Tensors of two modules may have the same name."""
    return {f"{twin}'s {tensor}": value for tensor, value in values.items()}


def _tiny() -> Graph:
    return Graph.from_edge_index(torch.tensor([[0, 1], [1, 0]]), 2)
