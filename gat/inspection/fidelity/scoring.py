"""The scorers that are asked for, and their scores at a node."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gat.errors import ArgumentTypeError, InputError
from gat.inspection.fidelity import scorers as built_in
from gat.inspection.fidelity.answers import RANDOM, seed_of
from gat.inspection.fidelity.inputs import Inputs, Local
from gat.inspection.fidelity.scorers import METHODS, OUTPUTS, Scorer
from gat.inspection.fidelity.subgraph import Neighbourhood, distances

__all__ = ["Scorers"]


class Scorers:
    """The scorers by name, the library's own and the caller's."""

    def __init__(
        self,
        methods: Sequence[str],
        own: Mapping[str, Scorer],
        output: str,
        epochs: int,
        seed: int,
    ) -> None:
        if output not in OUTPUTS:
            raise InputError(f"output is {output!r}; expected {', '.join(map(repr, OUTPUTS))}")
        if isinstance(methods, str):
            raise ArgumentTypeError(f"methods is {methods!r}; expected a list of names")
        _check_names(methods, own)
        self.methods = [name for name in dict.fromkeys(methods) if name != RANDOM]
        self.own, self.output, self.epochs, self.seed = dict(own), output, epochs, seed
        self.weights: Tensor | None = None

    def prepare(self, model: nn.Module, inputs: Inputs) -> None:
        """What is worked out once, on the whole graph."""
        if "attention" in self.methods:
            self.weights = built_in.attention(model, inputs)

    def scores(
        self, model: nn.Module, part: Neighbourhood, target: int
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """The scores of the part's edges, [m] by method, and the seconds each took."""
        inputs = part.inputs
        asked = Local(model, inputs.arguments) if inputs.arguments else model
        scores, seconds = {}, {}
        for name, scorer in {**self._built_in(part, target), **self.own}.items():
            torch.manual_seed(seed_of(self.seed, part.node, name))
            began = time.perf_counter()
            with torch.enable_grad():
                found = scorer(asked, inputs.x, inputs.edge_index, part.centre)
            # Whatever the scorer made of it.
            model.eval()
            seconds[name] = time.perf_counter() - began
            scores[name] = _checked(name, found, part)
        return scores, seconds

    def _built_in(self, part: Neighbourhood, target: int) -> dict[str, Scorer]:
        weights = part.inputs.x.new_empty(0) if self.weights is None else self.weights
        told: dict[str, Any] = {"target": target, "output": self.output}
        known: dict[str, Scorer] = {
            "attention": lambda *_: weights[part.edges],
            "gatt": built_in.gatt_edges,
            "rollout": built_in.rollout_by_edge,
            "nearest": lambda *_: -distances(part).double(),
            "gradient_x_input": partial(built_in.gradient_x_input, **told),
            "gnn_explainer": partial(built_in.gnn_explainer, epochs=self.epochs, **told),
        }
        return {name: known[name] for name in self.methods}


def _check_names(methods: Sequence[str], own: Mapping[str, Scorer]) -> None:
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise InputError(
            f"methods has {unknown[0]!r}; expected some of {', '.join(map(repr, METHODS))}. Pass a "
            f"scorer of your own in scorers={{name: callable}}"
        )
    taken = [name for name in own if name in METHODS]
    if taken:
        raise InputError(f"scorers has {taken[0]!r}, the name of a built-in method; choose another")


def _checked(name: str, scores: Tensor, part: Neighbourhood) -> Tensor:
    """Scores [m], or an error that names the method and the node."""
    count = part.inputs.num_edges
    if not isinstance(scores, Tensor) or scores.shape != (count,):
        got = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise InputError(
            f"{name} gave {got} at node {part.node}; expected a tensor [{count}], a score for each "
            f"edge it was given"
        )
    if bool(scores.isnan().any()):
        raise InputError(f"{name} gave scores at node {part.node} that are no numbers (nan)")
    return scores
