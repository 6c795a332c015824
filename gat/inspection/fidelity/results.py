"""What `faithfulness` returns: numbers with their intervals, as data, as rows, and in words."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gat.errors import InputError
from gat.inspection.measures.plain import plain

__all__ = ["Curve", "Estimate", "Faithfulness", "MethodFaithfulness"]


@dataclass(frozen=True, eq=False)
class Estimate:
    """A mean over nodes, its interval (nan for a single node), and each node's value [n]."""

    mean: float
    low: float
    high: float
    values: Tensor

    def to_dict(self) -> dict[str, Any]:
        """Numbers and lists alone; None where there is no number."""
        return plain(self)


@dataclass(frozen=True, eq=False)
class Curve:
    """The probability of the class as edges are taken out, or put in, by their score.

    fraction [K]: of a node's edges; mean, low, high [K]: over nodes; values [n, K]: each node's.
    area: under the curve, by trapezoids over the fractions, divided by their span: the mean height.
    areas [n]: each node's.
    """

    fraction: Tensor
    mean: Tensor
    low: Tensor
    high: Tensor
    values: Tensor
    area: float
    area_low: float
    area_high: float
    areas: Tensor

    def to_dict(self) -> dict[str, Any]:
        """Numbers and lists alone; None where there is no number."""
        return plain(self)


@dataclass(frozen=True, eq=False)
class MethodFaithfulness:
    """How the model answers when edges go, or stay, in the order of one method's scores.

    By k: fidelity_plus, the class's probability on all edges less that without the k highest;
    fidelity_minus, less that with the k highest alone; accuracy_plus and accuracy_minus, the same
    of whether the class is the predicted one (1 or 0). High plus and low minus are faithful.
    deletion, insertion: a faithful method's area is small under the first, large under the second.
    against_random: each measure less that of random orders, paired over nodes, by name
    ("deletion_area", "insertion_area", "fidelity_plus@2", "fidelity_minus@2"); empty for random.
    against_nearest: less that of the nearest edges first, an order that needs no model; empty where
    that was not measured.
    tied: the mean share of a node's edges whose score another one has too, broken at random.
    seconds: spent on the scores. verdict: the two areas against both in words.
    """

    name: str
    fidelity_plus: Mapping[int, Estimate]
    fidelity_minus: Mapping[int, Estimate]
    accuracy_plus: Mapping[int, Estimate]
    accuracy_minus: Mapping[int, Estimate]
    deletion: Curve
    insertion: Curve
    against_random: Mapping[str, Estimate]
    against_nearest: Mapping[str, Estimate]
    tied: float
    seconds: float
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Numbers, texts, lists and dicts alone."""
        by_k = ("fidelity_plus", "fidelity_minus", "accuracy_plus", "accuracy_minus")
        return {
            "name": self.name,
            **{
                name: {str(k): one.to_dict() for k, one in getattr(self, name).items()}
                for name in by_k
            },
            "deletion": self.deletion.to_dict(),
            "insertion": self.insertion.to_dict(),
            "against_random": {k: one.to_dict() for k, one in self.against_random.items()},
            "against_nearest": {k: one.to_dict() for k, one in self.against_nearest.items()},
            "tied": self.tied,
            "seconds": self.seconds,
            "verdict": self.verdict,
        }

    def row(self) -> dict[str, Any]:
        """One row of a table: the means, and the ends of the intervals of areas and differences."""
        flat: dict[str, Any] = {"method": self.name}
        for name in ("fidelity_plus", "fidelity_minus", "accuracy_plus", "accuracy_minus"):
            for k, one in getattr(self, name).items():
                flat[f"{name}@{k}"] = one.mean
        for name, curve in (("deletion_area", self.deletion), ("insertion_area", self.insertion)):
            ends = {"": curve.area, "_low": curve.area_low, "_high": curve.area_high}
            flat.update({name + end: value for end, value in ends.items()})
            for other in ("against_random", "against_nearest"):
                for end in ("mean", "low", "high"):
                    less = getattr(self, other).get(name)
                    flat[f"{name}_{other}_{end}"] = getattr(less, end, math.nan)
        return {**flat, "tied": self.tied, "seconds": self.seconds}


@dataclass(frozen=True, eq=False)
class Faithfulness(Mapping[str, MethodFaithfulness]):
    """How faithful each method's scores are to the model: ``result["attention"]``.

    nodes [n]: those measured; left_out: those without an edge to take out. classes [n]: the class
    whose probability is followed at each. edges [n]: how many edges (or pairs of nodes) each node's
    prediction is computed from. all_edges, no_edges: the probability with every edge and with none;
    change: by how much these two differ at a node, whichever is higher. Where it is small, edges
    explain little; the two means may agree although nodes change much, to both sides.
    difference: the largest one between the model's outputs on a node's neighbourhood and on the
    whole graph. settings: what the call was given.
    """

    nodes: Tensor
    left_out: tuple[int, ...]
    classes: Tensor
    edges: Tensor
    all_edges: Estimate
    no_edges: Estimate
    change: Estimate
    methods: Mapping[str, MethodFaithfulness]
    difference: float
    seconds: float
    settings: Mapping[str, Any]

    def __getitem__(self, name: str) -> MethodFaithfulness:
        if name not in self.methods:
            known = ", ".join(map(repr, self.methods))
            raise UnknownMethodError(f"{name!r} was not measured; measured: {known}")
        return self.methods[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.methods)

    def __len__(self) -> int:
        return len(self.methods)

    def __repr__(self) -> str:
        return f"Faithfulness({len(self.nodes)} nodes; {', '.join(self.methods)})"

    @property
    def verdicts(self) -> dict[str, str]:
        """Each method's faithfulness in words."""
        return {name: one.verdict for name, one in self.methods.items()}

    def table(self) -> list[dict[str, Any]]:
        """One row of numbers for each method, all with the same keys."""
        return [one.row() for one in self.methods.values()]

    def to_dict(self) -> dict[str, Any]:
        """All of it for JSON: numbers, texts, lists and dicts alone."""
        return {
            "nodes": self.nodes.tolist(),
            "left_out": list(self.left_out),
            "classes": self.classes.tolist(),
            "edges": self.edges.tolist(),
            "all_edges": self.all_edges.to_dict(),
            "no_edges": self.no_edges.to_dict(),
            "change": self.change.to_dict(),
            "methods": {name: one.to_dict() for name, one in self.methods.items()},
            "difference": self.difference,
            "seconds": self.seconds,
            "settings": dict(self.settings),
        }


class UnknownMethodError(InputError, KeyError):
    """No method of that name was measured."""

    __str__ = Exception.__str__
